//! A kind's objects, kept current in memory by list and watch.
//!
//! A [`Cache`] is a handle to one indexed map; its readers get `Arc`s of immutable objects and never wait for
//! the network. One task (see [`Builder::start`]) lists and watches and is the map's only writer. Changes reach
//! subscribers ([`Cache::subscribe`]) coalesced by key; [`Cache::seen`], [`Cache::wait_for`] and
//! [`OwnWrites`] answer whether the cache is past a write of one's own.
//!
//! Invariants: an object's entry, its index rows and the cache's version change together; a subscriber that
//! falls behind loses intermediate states and never the latest one; `metadata.managedFields` is not kept.
//! Upstream: client-go's reflector, informer and indexer.

mod changes;
mod own_writes;
mod reflector;
mod state;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::Api;
use parking_lot::RwLock;
use process::{Clock, SystemClock, Tasks};
use thiserror::Error;
use tokio::sync::watch;

use crate::key::ObjectKey;

pub use changes::{Change, Changes};
pub use own_writes::OwnWrites;
use reflector::Reflector;
use state::State;

/// A kind that can be cached: every k8s-openapi kind, `DynamicObject` and `PartialObjectMeta`.
pub trait Cached:
    kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Cached for K where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// The cache is not as far as was asked within the time that was given.
#[derive(Debug, Error)]
#[error("the cache of {what} has not reached {wanted} within {waited_ms} ms (it is at {at})")]
pub struct NotYet {
    pub what: String,
    pub wanted: String,
    pub at: String,
    pub waited_ms: u64,
}

/// How far a cache is. Resource versions of one API server are compared as integers
/// (upstream promises that since 1.35, and everynode and etcd-backed servers have always kept it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Progress {
    pub synced: bool,
    pub version: u64,
}

/// A handle; clones share the map.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Cache { shared: Arc::clone(&self.shared) }
    }
}

pub(crate) struct Shared<K> {
    what: String,
    state: RwLock<State<K>>,
    progress: watch::Sender<Progress>,
}

/// What to cache and how to find it again.
pub struct Builder<K> {
    api: Api<K>,
    labels: Option<String>,
    fields: Option<String>,
    indexes: Vec<(&'static str, state::IndexFn<K>)>,
    trim: fn(&mut K),
    clock: Arc<dyn Clock>,
}

impl<K: Cached> Cache<K> {
    /// Begins the description of a cache of what `api` lists.
    pub fn builder(api: Api<K>) -> Builder<K> {
        Builder {
            api,
            labels: None,
            fields: None,
            indexes: Vec::new(),
            trim: |_| {},
            clock: SystemClock::shared(),
        }
    }
}

impl<K: Cached> Builder<K> {
    /// Only objects that match this label selector.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only objects that match this field selector, e.g. `spec.nodeName=node-a`.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Takes out of each object what nobody will ask this cache for, before it is kept. What is written back must not come
    /// from such a cache, unless it is a patch.
    #[must_use]
    pub fn trim(mut self, trim: fn(&mut K)) -> Self {
        self.trim = trim;
        self
    }

    /// A secondary index: `by` names the values under which an object is found by [`Cache::by_index`].
    #[must_use]
    pub fn index(
        mut self,
        name: &'static str,
        by: impl Fn(&K) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.indexes.push((name, Box::new(by)));
        self
    }

    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the task that fills the cache, named after what it lists, and returns the handle at once.
    pub fn start(self, tasks: &Tasks) -> Cache<K> {
        let what = match (&self.labels, &self.fields) {
            (None, None) => self.api.resource_url().to_owned(),
            (labels, fields) => {
                let selectors: Vec<&str> =
                    [labels.as_deref(), fields.as_deref()].into_iter().flatten().collect();
                format!("{}?{}", self.api.resource_url(), selectors.join("&"))
            }
        };
        let shared = Arc::new(Shared {
            what: what.clone(),
            state: RwLock::new(State::new(self.indexes)),
            progress: watch::Sender::new(Progress::default()),
        });
        let reflector = Reflector::new(
            self.api,
            self.labels,
            self.fields,
            self.trim,
            Arc::clone(&shared),
            self.clock,
            tasks.shutdown_signal().clone(),
        );
        tasks.supervise(format!("cache {what}"), move || reflector.clone().run());
        Cache { shared }
    }
}

impl<K: Cached> Cache<K> {
    /// What is cached, for log lines: the URL and the selectors.
    pub fn what(&self) -> &str {
        &self.shared.what
    }

    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.shared.state.read().get(key)
    }

    /// Every object, ordered by key.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.state.read().list()
    }

    /// The objects of one namespace, ordered by name. Costs only what it returns.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.state.read().in_namespace(namespace)
    }

    /// The objects that the index `name` files under `value`, ordered by key. Empty for an unknown index.
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        self.shared.state.read().by_index(name, value)
    }

    /// The values that the index `name` holds at least one object under, in order.
    pub fn index_values(&self, name: &str) -> Vec<String> {
        self.shared.state.read().index_values(name)
    }

    pub fn len(&self) -> usize {
        self.shared.state.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first list has been taken in completely.
    pub fn has_synced(&self) -> bool {
        self.shared.progress.borrow().synced
    }

    /// Resolves once the first list has been taken in. Does not resolve while the API is away.
    pub async fn synced(&self) {
        // The sender lives in self, so the channel cannot close.
        let _ = self.shared.progress.subscribe().wait_for(|progress| progress.synced).await;
    }

    /// The version up to which the cache has seen everything, 0 before the first list.
    pub fn version(&self) -> u64 {
        self.shared.progress.borrow().version
    }

    /// Whether the cache is at or past `resource_version`. A version that is no integer counts as seen
    /// once the cache is synced: such a server's versions cannot be compared, and waiting would be forever.
    pub fn seen(&self, resource_version: &str) -> bool {
        seen(*self.shared.progress.borrow(), resource_version)
    }

    /// Waits at most `patience` for the cache to reach `resource_version`.
    ///
    /// A cache with a selector advances with the events that it gets and with bookmarks (about every minute),
    /// so wait only for versions of objects that it selects.
    pub async fn wait_for(&self, resource_version: &str, patience: Duration) -> Result<(), NotYet> {
        let mut progress = self.shared.progress.subscribe();
        let reached = progress.wait_for(|progress| seen(*progress, resource_version));
        match tokio::time::timeout(patience, reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(NotYet {
                what: self.shared.what.clone(),
                wanted: resource_version.to_owned(),
                at: self.version().to_string(),
                waited_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// A subscription that begins with every present object and goes on with every change.
    pub fn subscribe(&self) -> Changes<K> {
        self.shared.state.write().subscribe()
    }
}

fn seen(progress: Progress, resource_version: &str) -> bool {
    progress.synced && resource_version.parse::<u64>().map_or(true, |wanted| progress.version >= wanted)
}

#[cfg(test)]
mod tests;
