//! The garbage collector: what has lost its owners goes, what waits for its dependents waits, what is to be orphaned is.
//!
//! It watches the metadata of every kind that discovery lists, keeps the graph of owners and dependents ([`graph`]),
//! and judges an object ([`verdict`]) only after having looked at it and at its owners in the API itself, because
//! caches of different kinds are never equally far. It knows no kind by name but Event, which it leaves out.
//! Upstream: the garbagecollector controller.

pub mod graph;
mod live;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::Recorder;
use client::queue::Outcome;
use client::{Cache, WorkQueue};
use kube::Api;
use kube::api::DynamicObject;
use kube::core::metadata::PartialObjectMeta;
use parking_lot::Mutex;
use process::Tasks;

use crate::Context;
use crate::kinds::{self, Deletable, Kind, Served};
use graph::{Graph, Item, Work};

/// Metadata of an object of any kind.
type Meta = PartialObjectMeta<DynamicObject>;

/// Upstream's --concurrent-gc-syncs is 20, for clusters of any size; ours are small requests in the same process.
const WORKERS: usize = 8;
/// Upstream's resync of discovery: a new kind is collected after this long at most.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(30);
/// Pause after a discovery that failed: the API is starting or away.
const DISCOVERY_RETRY: Duration = Duration::from_secs(2);
/// Changes taken in before the lock on the graph is given up.
const CHANGES_AT_ONCE_MAX: usize = 256;

/// What the parts of the collector share.
struct Collector {
    context: Context,
    recorder: Recorder,
    graph: Mutex<Graph>,
    queue: WorkQueue<Work>,
    kinds: Mutex<Kinds>,
}

/// The served kinds and their watches, by group and kind.
#[derive(Default)]
struct Kinds {
    by_kind: BTreeMap<(String, String), Kind>,
    watches: BTreeMap<(String, String), Tasks>,
}

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context().clone();
    let collector = Arc::new(Collector {
        recorder: context.recorder("garbage-collector-controller"),
        graph: Mutex::default(),
        queue: WorkQueue::new(context.clock.clone()),
        kinds: Mutex::default(),
        context,
    });
    let shutdown = collector.context.shutdown().clone();
    tokio::select! {
        // The caches only read; nothing has been decided before they are there.
        () = shutdown.cancelled() => return,
        () = collector.first_look() => {}
    }
    tracing::info!(kinds = collector.kinds.lock().watches.len(), "garbage collector has seen every kind");
    let workers = (0..WORKERS).map(|_| collector.queue.work(&shutdown, |work| collector.carry_out(work)));
    tokio::select! {
        // The workers return at shutdown, after the item in hand; discovery holds nothing.
        _ = futures::future::join_all(workers) => {}
        () = collector.rediscover() => {}
    }
}

impl Collector {
    async fn first_look(self: &Arc<Self>) {
        let caches = loop {
            match kinds::served(&self.context.client).await {
                Ok(served) => break self.watch(served),
                Err(error) => {
                    tracing::warn!(error = %error, "cannot discover the served kinds");
                    self.context.clock.sleep(DISCOVERY_RETRY).await;
                }
            }
        };
        for cache in caches {
            cache.synced().await;
        }
    }

    async fn rediscover(self: &Arc<Self>) {
        loop {
            self.context.clock.sleep(DISCOVERY_PERIOD).await;
            match kinds::served(&self.context.client).await {
                Ok(served) => drop(self.watch(served)),
                Err(error) => tracing::warn!(error = %error, "cannot discover the served kinds"),
            }
        }
    }

    /// Begins to watch kinds that are new, ends watches of those that are gone; returns the new caches. Kinds of a
    /// group that does not answer stay as they were.
    fn watch(self: &Arc<Self>, served: Served) -> Vec<Cache<Meta>> {
        let mut by_kind: BTreeMap<_, _> = served
            .kinds
            .into_iter()
            .map(|kind| ((kind.resource.group.clone(), kind.resource.kind.clone()), kind))
            .collect();
        let mut kinds = self.kinds.lock();
        for (key, kind) in &kinds.by_kind {
            if served.silent.contains_key(&key.0) {
                by_kind.entry(key.clone()).or_insert_with(|| kind.clone());
            }
        }
        for (group, error) in &served.silent {
            tracing::warn!(group, error, "a group does not answer; its new kinds are not collected");
        }
        kinds.watches.retain(|key, tasks| {
            let still = by_kind.contains_key(key);
            if !still {
                tasks.shutdown_signal().trigger();
            }
            still
        });
        let mut started = Vec::new();
        for (key, kind) in &by_kind {
            let collected = kind.watchable && kind.deletable != Deletable::No && !kind.is_event();
            if collected && !kinds.watches.contains_key(key) {
                let tasks = Tasks::new(self.context.shutdown().child());
                started.push(self.watch_kind(kind, &tasks));
                kinds.watches.insert(key.clone(), tasks);
            }
        }
        kinds.by_kind = by_kind;
        started
    }

    fn watch_kind(self: &Arc<Self>, kind: &Kind, tasks: &Tasks) -> Cache<Meta> {
        let api: Api<Meta> = Api::all_with(self.context.client.clone(), &kind.resource);
        let cache = Cache::builder(api).clock(self.context.clock.clone()).start(tasks);
        let mut changes = cache.subscribe();
        let (collector, kind) = (Arc::clone(self), kind.clone());
        let shutdown = tasks.shutdown_signal().clone();
        tasks.spawn(format!("graph of {}", kind.resource.plural), async move {
            loop {
                let batch = tokio::select! {
                    // Changes that are not taken stay in their inbox.
                    () = shutdown.cancelled() => return,
                    batch = changes.next_batch(CHANGES_AT_ONCE_MAX) => batch,
                };
                let mut graph = collector.graph.lock();
                for change in batch {
                    let uid = |object: &Arc<Meta>| object.metadata.uid.clone().unwrap_or_default();
                    let before = change.before.as_ref().map(uid);
                    let after = change.after.as_ref().map(uid);
                    if let Some(gone) = before.filter(|before| after.as_ref() != Some(before)) {
                        collector.add(graph.remove(&gone));
                    }
                    if let Some(object) = &change.after {
                        collector.add(graph.set(Item::of(&kind.resource, &object.metadata)));
                    }
                }
            }
        });
        cache
    }

    fn add(&self, work: Vec<Work>) {
        for work in work {
            self.queue.add(work);
        }
    }

    /// The kind of an owner reference: by group and kind, in the version that is served.
    fn kind_of(&self, api_version: &str, kind: &str) -> Option<Kind> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let kinds = self.kinds.lock();
        let found = kinds.by_kind.get(&(group.to_owned(), kind.to_owned()));
        // COMPAT(extensions): owners may still be named by the group that their kind has moved from.
        let moved = || match group {
            "extensions" => kinds.by_kind.get(&("apps".to_owned(), kind.to_owned())),
            _ => None,
        };
        found.or_else(moved).cloned()
    }

    async fn carry_out(&self, work: Work) -> Outcome {
        let done = match &work {
            Work::Judge(uid) => self.judge(uid).await,
            Work::Orphan(uid) => self.orphan(uid).await,
        };
        match done {
            Ok(outcome) => outcome,
            Err(error) => error.outcome(&work),
        }
    }
}
