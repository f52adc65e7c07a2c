//! Whether a cache shows one's own last writes: what upstream's "expectations" are for, by looking instead
//! of counting.
//!
//! A controller notes each write under a scope of its choosing (a DaemonSet's key); before it plans for that
//! scope again it asks [`OwnWrites::caught_up`]. It does not know what was written, only to which version.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::{Cache, Cached};
use crate::key::ObjectKey;

/// A write that no watch shows after this long is taken to be lost on the cache's side; planning goes on
/// with what is seen. Upstream's expectations time out after the same five minutes.
pub const OWN_WRITE_SECONDS_MAX: i64 = 300;

/// The writes of one controller to the objects of one cache, by scope. Clones do not share; keep it in an `Arc`.
pub struct OwnWrites<S> {
    by_scope: Mutex<BTreeMap<S, BTreeMap<ObjectKey, Note>>>,
}

struct Note {
    kind: Kind,
    noted: Timestamp,
}

enum Kind {
    /// Created or updated to this version.
    Written { resource_version: String },
    /// Deletion asked for of the object with this uid.
    Deleted { uid: String },
}

impl<S: Ord + Clone> Default for OwnWrites<S> {
    fn default() -> Self {
        OwnWrites { by_scope: Mutex::new(BTreeMap::new()) }
    }
}

impl<S: Ord + Clone> OwnWrites<S> {
    pub fn new() -> OwnWrites<S> {
        OwnWrites::default()
    }

    /// Notes that `key` was created or updated; `resource_version` is the answer's.
    pub fn wrote(&self, scope: &S, key: ObjectKey, resource_version: impl Into<String>, now: Timestamp) {
        self.note(scope, key, Kind::Written { resource_version: resource_version.into() }, now);
    }

    /// Notes that the deletion of `key` with this uid was accepted.
    pub fn deleted(&self, scope: &S, key: ObjectKey, uid: impl Into<String>, now: Timestamp) {
        self.note(scope, key, Kind::Deleted { uid: uid.into() }, now);
    }

    /// Drops what is noted for a scope, when its object is gone.
    pub fn forget(&self, scope: &S) {
        self.by_scope.lock().remove(scope);
    }

    /// Whether `cache` shows every write noted under `scope`, or one newer. Notes that are shown are dropped.
    pub fn caught_up<K: Cached>(&self, scope: &S, cache: &Cache<K>, now: Timestamp) -> bool {
        let mut by_scope = self.by_scope.lock();
        let Some(notes) = by_scope.get_mut(scope) else { return true };
        notes.retain(|key, note| {
            let age_seconds = now.duration_since(note.noted).as_secs();
            age_seconds < OWN_WRITE_SECONDS_MAX && !note.kind.is_shown(key, cache)
        });
        if notes.is_empty() {
            by_scope.remove(scope);
            return true;
        }
        false
    }

    /// How soon to look again when not caught up: watches are normally milliseconds behind.
    pub fn look_again(&self) -> Duration {
        Duration::from_millis(20)
    }

    fn note(&self, scope: &S, key: ObjectKey, kind: Kind, now: Timestamp) {
        let mut by_scope = self.by_scope.lock();
        by_scope.entry(scope.clone()).or_default().insert(key, Note { kind, noted: now });
    }
}

impl Kind {
    fn is_shown<K: Cached>(&self, key: &ObjectKey, cache: &Cache<K>) -> bool {
        let object = cache.get(key);
        match self {
            Kind::Written { resource_version } => {
                let shown = object.and_then(|object| object.meta().resource_version.clone());
                cache.seen(resource_version) || shown.is_some_and(|shown| at_least(&shown, resource_version))
            }
            Kind::Deleted { uid } => object.is_none_or(|object| {
                let meta = object.meta();
                meta.uid.as_deref() != Some(uid.as_str()) || meta.deletion_timestamp.is_some()
            }),
        }
    }
}

fn at_least(shown: &str, wanted: &str) -> bool {
    match (shown.parse::<u64>(), wanted.parse::<u64>()) {
        (Ok(shown), Ok(wanted)) => shown >= wanted,
        _ => shown == wanted,
    }
}
