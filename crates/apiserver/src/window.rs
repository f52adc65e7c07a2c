//! Every resource's current objects and its recent events, fed from one watch on the store.
//!
//! Readers take shared pointers out of a window; watchers are cursors into its ring ([`Cursor`]), so a slow watcher costs
//! nothing. A write is answered only after [`Windows::applied`] has reached its revision: reads see acknowledged writes.
//! It knows no kind: a resource is a prefix, an object a header with bytes.

mod cursor;
mod feed;
mod past;
mod ring;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use store::{ReadError, Revision, Store};
use tokio::sync::watch;

pub use cursor::{Cursor, Fallen};
pub use past::Part;
pub use ring::{Event, Lane};

use crate::limits::FRESH_TIMEOUT;
use crate::object::Object;
use ring::Ring;

/// All keys of the server begin so.
pub const PREFIX: &str = "/registry/";

/// Every resource's window, and how far they have come together.
pub struct Windows {
    store: Arc<dyn Store>,
    by_plural: BTreeMap<&'static str, Arc<Window>>,
    applied: watch::Sender<u64>,
}

/// One resource's objects and events.
pub struct Window {
    pub plural: &'static str,
    state: RwLock<State>,
    applied: watch::Receiver<u64>,
    wakes: AtomicU64,
}

struct State {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    /// The keys of the objects whose `spec.nodeName` is this.
    on_node: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    ring: Ring,
    /// The last event's revision, or that of the scan.
    revision: Revision,
}

/// Objects in key order, true at one revision.
pub struct View {
    pub revision: Revision,
    pub objects: Vec<Arc<Object>>,
}

#[derive(Debug, thiserror::Error)]
pub enum FreshError {
    #[error("the store's revision could not be read")]
    Revision(#[source] ReadError),
    #[error("the window is at {applied:?} and did not reach {wanted:?} in time")]
    Late { wanted: Revision, applied: Revision },
}

impl Windows {
    pub fn window(&self, plural: &str) -> Option<&Arc<Window>> {
        self.by_plural.get(plural)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Window>> {
        self.by_plural.values()
    }

    /// The revision up to which every window is complete.
    pub fn applied(&self) -> Revision {
        Revision(*self.applied.borrow())
    }

    /// Waits until every window has all changes up to `wanted`.
    pub async fn reach(&self, wanted: Revision) -> Result<(), FreshError> {
        let mut applied = self.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= wanted.0);
        match tokio::time::timeout(FRESH_TIMEOUT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(FreshError::Late { wanted, applied: self.applied() }),
        }
    }

    /// Waits until the windows have everything that the store had acknowledged when this was called.
    pub async fn fresh(&self) -> Result<(), FreshError> {
        let revision = self.store.revision().await.map_err(FreshError::Revision)?;
        self.reach(revision).await
    }
}

impl Window {
    fn new(plural: &'static str, applied: watch::Receiver<u64>) -> Window {
        let state = State {
            objects: BTreeMap::new(),
            on_node: HashMap::new(),
            ring: Ring::new(Revision(0)),
            revision: Revision(0),
        };
        Window { plural, state: RwLock::new(state), applied, wakes: AtomicU64::new(0) }
    }

    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().objects.get(key).cloned()
    }

    /// Objects whose key begins with `prefix` and that `keep` wants.
    pub fn list(&self, prefix: &str, keep: impl Fn(&Object) -> bool) -> View {
        // What was applied before the lock is in the state; the state may be newer, and then says so itself.
        let applied = Revision(*self.applied.borrow());
        let state = self.state.read();
        let objects = range(&state.objects, prefix).filter(|object| keep(object)).cloned().collect();
        View { revision: state.revision.max(applied), objects }
    }

    /// Whether any object on this node whose key begins with `prefix` is wanted. Only the node's own are looked at.
    pub fn any_on_node(&self, node: &str, prefix: &str, wanted: impl Fn(&Object) -> bool) -> bool {
        let state = self.state.read();
        let own = state.on_node.get(node).into_iter().flatten().filter(|key| key.starts_with(prefix));
        own.filter_map(|key| state.objects.get(key)).any(|object| wanted(object))
    }

    pub fn count(&self) -> usize {
        self.state.read().objects.len()
    }

    /// How often watchers have been woken: what the index saves can be seen here.
    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }
}

impl State {
    fn put(&mut self, object: &Arc<Object>) {
        let replaced = self.objects.insert(Arc::clone(&object.key), Arc::clone(object));
        let node = node_of(object);
        let before = replaced.as_deref().and_then(node_of);
        if before == node {
            return;
        }
        self.off_node(before, &object.key);
        if let Some(node) = node {
            self.on_node.entry(node.into()).or_default().insert(Arc::clone(&object.key));
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(object) = self.objects.remove(key) {
            self.off_node(node_of(&object), key);
        }
    }

    fn off_node(&mut self, node: Option<&str>, key: &str) {
        let Some(node) = node else { return };
        if let Some(keys) = self.on_node.get_mut(node) {
            keys.remove(key);
            if keys.is_empty() {
                self.on_node.remove(node);
            }
        }
    }
}

fn node_of(object: &Object) -> Option<&str> {
    object.header.field("spec.nodeName").filter(|node| !node.is_empty())
}

fn range<'a>(
    objects: &'a BTreeMap<Arc<str>, Arc<Object>>,
    prefix: &'a str,
) -> impl Iterator<Item = &'a Arc<Object>> {
    objects
        .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
        .map(|(_, object)| object)
}
