//! The scheduler: which Pod next, on which Node, and how to say why not.
//!
//! The decision whether a Pod may be on a Node is crate `placement`; here are the order of the Pods ([`queue`]), the
//! picture of Nodes and the Pods on them ([`snapshot`]), one decision ([`decision`]) and the task that
//! observes, decides and binds ([`run`]). It knows only the public API, and only Pods of its own name.
//!
//! Invariants: a Pod counts on its Node from the moment it is decided, not from when the watch shows it; a Pod
//! pinned to Nodes by name costs those Nodes only; among equal Nodes the answer depends on names alone.
//! Upstream: kube-scheduler's scheduling queue, cache, scheduling cycle and preemption.

pub mod decision;
mod driver;
pub mod promises;
pub mod queue;
pub mod snapshot;
mod topology;
mod trim;

use std::sync::Arc;
use std::time::Duration;

use client::Cache;
use client::events::{Recorder, Speaker};
use client::lease::{Candidacy, while_leading};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Api, Client};
use process::{Clock, Shutdown, SystemClock, Tasks};

/// How long the scheduler's own tasks may take to stop: they only wait for answers that nobody needs any more.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Pods that have ended take nothing from a Node and are not looked at.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// What a scheduler is told at its start.
#[derive(Clone)]
pub struct Options {
    /// Pods with this `spec.schedulerName` are its own.
    pub name: String,
    /// Where several processes schedule: only the one that leads does. `None`: this is the only one.
    pub election: Option<Candidacy>,
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: api::well_known::DEFAULT_SCHEDULER.to_owned(),
            election: None,
            clock: SystemClock::shared(),
        }
    }
}

/// Schedules until shutdown. Waits for its caches first; an API that is away is waited for.
pub async fn run(client: Client, options: Options, shutdown: Shutdown) {
    let work = |stop| schedule(client.clone(), options.clone(), stop);
    while_leading(&client, options.election.as_ref(), &options.clock, &shutdown, work).await;
}

async fn schedule(client: Client, options: Options, shutdown: Shutdown) {
    let tasks = Tasks::new(shutdown.child());
    let clock = &options.clock;
    let caches = driver::Caches {
        pods: Cache::<Pod>::builder(Api::all(client.clone()))
            .fields(NOT_ENDED)
            .trim(trim::pod)
            .clock(Arc::clone(clock))
            .start(&tasks),
        nodes: Cache::<Node>::builder(Api::all(client.clone()))
            .trim(trim::node)
            .clock(Arc::clone(clock))
            .start(&tasks),
        namespaces: Cache::<Namespace>::builder(Api::all(client.clone()))
            .clock(Arc::clone(clock))
            .start(&tasks),
        services: Cache::<Service>::builder(Api::all(client.clone())).clock(Arc::clone(clock)).start(&tasks),
        budgets: Cache::<PodDisruptionBudget>::builder(Api::all(client.clone()))
            .clock(Arc::clone(clock))
            .start(&tasks),
    };
    let speaker = Speaker::component(&options.name);
    let recorder = Recorder::start(client.clone(), speaker, Arc::clone(clock), &tasks);
    tokio::select! {
        // Nothing has been decided before the caches are there.
        () = shutdown.cancelled() => {}
        () = async {
            caches.pods.synced().await;
            caches.nodes.synced().await;
            caches.namespaces.synced().await;
            caches.services.synced().await;
            caches.budgets.synced().await;
            driver::Driver::new(client, options, &caches, recorder).run(&shutdown).await;
        } => {}
    }
    // Late tasks are named in the log by `Tasks`.
    let _ = tasks.shutdown(STOP_PATIENCE).await;
}
