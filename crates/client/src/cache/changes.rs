//! A subscriber's inbox: at most one pending change a key, in the order in which the keys first changed.
//!
//! What is pending is bounded by the number of objects: a key that changes again while pending keeps its place
//! and its first `before`, and takes the latest `after`. An object that appeared and went while pending was
//! never told of, and its change is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::key::ObjectKey;

/// What became of one key since this subscriber last heard of it.
#[derive(Debug)]
pub struct Change<K> {
    pub key: ObjectKey,
    /// As this subscriber last saw it; `None` if it had not, or as deleted.
    pub before: Option<Arc<K>>,
    /// As it is now; `None` if it is gone. If both are there, their uids may differ (deleted and made again).
    pub after: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The latest object there is: the one after, else the one before.
    pub fn latest(&self) -> Option<&Arc<K>> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// A subscription. Dropping it ends it.
pub struct Changes<K> {
    inbox: Arc<Inbox<K>>,
}

pub(super) struct Inbox<K> {
    pending: Mutex<Pending<K>>,
    filled: Notify,
}

type Ends<K> = (Option<Arc<K>>, Option<Arc<K>>);

struct Pending<K> {
    order: VecDeque<ObjectKey>,
    by_key: BTreeMap<ObjectKey, Ends<K>>,
}

impl<K> Changes<K> {
    pub(super) fn new(inbox: Arc<Inbox<K>>) -> Changes<K> {
        Changes { inbox }
    }

    /// The next change; waits for one. Cancel safe: a dropped wait takes nothing out.
    pub async fn next(&mut self) -> Change<K> {
        loop {
            if let Some(change) = self.try_next() {
                return change;
            }
            // A change put in between has left a permit.
            self.inbox.filled.notified().await;
        }
    }

    /// The next change, if one is pending.
    pub fn try_next(&mut self) -> Option<Change<K>> {
        let mut pending = self.inbox.pending.lock();
        while let Some(key) = pending.order.pop_front() {
            if let Some((before, after)) = pending.by_key.remove(&key) {
                return Some(Change { key, before, after });
            }
        }
        None
    }

    /// Waits for one change and takes up to `limit` that are there.
    pub async fn next_batch(&mut self, limit: usize) -> Vec<Change<K>> {
        let mut batch = vec![self.next().await];
        while batch.len() < limit.max(1) {
            let Some(change) = self.try_next() else { break };
            batch.push(change);
        }
        batch
    }
}

impl<K> Inbox<K> {
    pub fn new() -> Inbox<K> {
        let pending = Pending { order: VecDeque::new(), by_key: BTreeMap::new() };
        Inbox { pending: Mutex::new(pending), filled: Notify::new() }
    }

    pub fn put(&self, key: &ObjectKey, before: Option<Arc<K>>, after: Option<Arc<K>>) {
        let mut pending = self.pending.lock();
        match pending.by_key.get_mut(key) {
            Some(ends) => {
                ends.1 = after;
                if ends.0.is_none() && ends.1.is_none() {
                    pending.by_key.remove(key);
                    pending.order.retain(|queued| queued != key);
                }
            }
            None => {
                pending.by_key.insert(key.clone(), (before, after));
                pending.order.push_back(key.clone());
            }
        }
        drop(pending);
        // Stores one permit if nobody waits, so a wake-up between a look and a wait is not lost.
        self.filled.notify_one();
    }
}
