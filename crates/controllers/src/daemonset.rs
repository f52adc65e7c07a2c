//! The DaemonSet controller: observe → plan → act around the pure planner of crate `daemonset`.
//!
//! One task owns a view per DaemonSet and is the only one that touches them. It feeds the caches' changes into the views, asks
//! them for plans, and lets [`executor`] carry each plan out beside it; what came of the steps is told to the view before any
//! later event is. It chooses nothing itself: what to do and why is the plan's. A view that panics is dropped and built
//! anew from the caches after a pause, and no other DaemonSet notices. Upstream: `pkg/controller/daemon`.

mod executor;
mod explain;
mod fleet;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::cache::Changes;
use client::{Cache, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use tokio::task::{Id, JoinError, JoinSet};

use crate::Context;
use executor::{Executor, Report};
use fleet::{Caches, Fleet};

pub use explain::{ExplainError, explain};

/// Plans that are carried out at the same time, each of another DaemonSet. Upstream has two workers; a plan's own writes are
/// parallel, so a few more keep a slow namespace from holding up the rest.
const PLANS_AT_ONCE_MAX: usize = 4;
/// Changes taken in before the next look at what is ready to be planned.
const CHANGES_PER_ROUND_MAX: usize = 1_000;
/// With nothing due, look around this often all the same.
const IDLE: Duration = Duration::from_secs(60);

/// Runs until shutdown.
pub async fn run(context: Context) {
    let client = context.client.clone();
    let sets = Cache::<DaemonSet>::builder(Api::all(client.clone()))
        .clock(Arc::clone(&context.clock))
        .start(&context.tasks);
    let revisions = Cache::<ControllerRevision>::builder(Api::all(client.clone()))
        .clock(Arc::clone(&context.clock))
        .start(&context.tasks);
    let mut changes = Inbound {
        sets: sets.subscribe(),
        nodes: context.nodes.subscribe(),
        pods: context.pods.subscribe(),
        revisions: revisions.subscribe(),
    };
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun yet.
        () = shutdown.cancelled() => return,
        () = async {
            sets.synced().await;
            revisions.synced().await;
            context.nodes.synced().await;
            context.pods.synced().await;
        } => {}
    }
    let recorder = context.recorder("daemonset-controller");
    let caches = Caches { sets, revisions, nodes: context.nodes.clone(), pods: context.pods.clone() };
    let mut work = Work {
        executor: Executor::new(client, recorder, Arc::clone(&context.clock)),
        fleet: Fleet::new(caches),
        running: JoinSet::new(),
        keys: BTreeMap::new(),
    };
    let clock = Arc::clone(&context.clock);
    work.fleet.build_all(clock.now());
    loop {
        work.start_plans(clock.now());
        let pause = pause(work.fleet.next_due(), clock.now());
        tokio::select! {
            // What is under way is waited for below.
            () = shutdown.cancelled() => break,
            // A dropped wait takes no change out of its inbox.
            change = changes.next() => {
                work.fleet.take_in(change, clock.now());
                for _ in 1..CHANGES_PER_ROUND_MAX {
                    let Some(change) = changes.try_next() else { break };
                    work.fleet.take_in(change, clock.now());
                }
            }
            // A dropped wait leaves the finished task in the set.
            Some(done) = work.running.join_next_with_id() => work.finished(done, clock.now()),
            // Only a wait.
            () = clock.sleep(pause) => {}
        }
    }
    while let Some(done) = work.running.join_next_with_id().await {
        work.finished(done, clock.now());
    }
}

fn pause(due: Option<Timestamp>, now: Timestamp) -> Duration {
    due.map_or(IDLE, |due| Duration::try_from(due.duration_since(now)).unwrap_or_default().min(IDLE))
}

/// A change of any of the watched kinds.
enum AnyChange {
    Set(client::cache::Change<DaemonSet>),
    Node(client::cache::Change<Node>),
    Pod(client::cache::Change<Pod>),
    Revision(client::cache::Change<ControllerRevision>),
}

struct Inbound {
    sets: Changes<DaemonSet>,
    nodes: Changes<Node>,
    pods: Changes<Pod>,
    revisions: Changes<ControllerRevision>,
}

impl Inbound {
    async fn next(&mut self) -> AnyChange {
        // Each wait takes a change out only when it completes, and then it is the one that is returned.
        tokio::select! {
            change = self.sets.next() => AnyChange::Set(change),
            change = self.revisions.next() => AnyChange::Revision(change),
            change = self.pods.next() => AnyChange::Pod(change),
            change = self.nodes.next() => AnyChange::Node(change),
        }
    }

    fn try_next(&mut self) -> Option<AnyChange> {
        let set = self.sets.try_next().map(AnyChange::Set);
        let revision = || self.revisions.try_next().map(AnyChange::Revision);
        let pod = || self.pods.try_next().map(AnyChange::Pod);
        set.or_else(revision).or_else(pod).or_else(|| self.nodes.try_next().map(AnyChange::Node))
    }
}

/// The views, and the plans of theirs that are being carried out.
struct Work {
    executor: Executor,
    fleet: Fleet,
    running: JoinSet<Report>,
    /// Whose plan a task carries out.
    keys: BTreeMap<Id, ObjectKey>,
}

impl Work {
    fn start_plans(&mut self, now: Timestamp) {
        while self.running.len() < PLANS_AT_ONCE_MAX {
            let Some(job) = self.fleet.next_job(now) else { return };
            let key = job.key.clone();
            let executor = self.executor.clone();
            let task = self.running.spawn(async move { executor.carry_out(job).await });
            self.keys.insert(task.id(), key);
        }
    }

    fn finished(&mut self, done: Result<(Id, Report), JoinError>, now: Timestamp) {
        let (id, report) = match done {
            Ok((id, report)) => (id, Some(report)),
            Err(error) => (error.id(), None),
        };
        let Some(key) = self.keys.remove(&id) else { return };
        match report {
            Some(report) => self.fleet.finished(&key, report, now),
            None => {
                tracing::error!(daemonset = %key, "carrying out a plan panicked; it is built anew");
                self.fleet.crashed(&key, now);
            }
        }
    }
}
