//! Pages of a list, of now or of a revision: the objects of now, with the ring's later events undone.
//!
//! A paged list keeps nothing on the server between its pages. Each page is worked out for the revision of the first,
//! as long as the ring remembers what has changed since; its cost is that of the page and of those changes.
//! Upstream: `etcd3/store.go`, which asks etcd for the revision, and `cacher/store_btree.go`, which keeps snapshots.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use store::Revision;

use super::{Fallen, Window};
use crate::object::Object;

/// Which part of a list is wanted.
pub struct Part<'a> {
    /// The state at this revision; nothing for the newest.
    pub at: Option<Revision>,
    /// The beginning of every key.
    pub prefix: &'a str,
    /// No key before this one.
    pub start: &'a str,
    pub limit: usize,
    /// Whether what follows is to be counted, not only noticed.
    pub count_rest: bool,
}

/// Objects in the order of their keys, at one revision.
pub struct Page {
    pub revision: Revision,
    pub objects: Vec<Arc<Object>>,
    /// Objects that match and follow; one stands for any number where they were not to be counted.
    pub rest: usize,
}

impl Window {
    /// The part of the list that `keep` wants; an error if the ring no longer reaches back to its revision.
    pub fn page(&self, part: &Part<'_>, keep: impl Fn(&Object) -> bool) -> Result<Page, Fallen> {
        // As in `list`: what was applied before the lock is in the state.
        let applied = Revision(*self.applied.borrow());
        let state = self.state.read();
        let mut changed: BTreeMap<&str, Option<&Arc<Object>>> = BTreeMap::new();
        if let Some(revision) = part.at {
            let later = state.ring.later(revision).ok_or(Fallen { oldest: state.ring.forgotten })?;
            // From the newest to the oldest: what an object was before the first of its later events stays.
            for event in later.rev() {
                let key = event.object.key.as_ref();
                if key >= part.start && key.starts_with(part.prefix) {
                    changed.insert(key, event.previous.as_ref());
                }
            }
        }
        let from = part.start.max(part.prefix);
        let mut now = state
            .objects
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(part.prefix))
            .peekable();
        let mut then = changed.into_iter().peekable();
        let mut matching = std::iter::from_fn(|| {
            loop {
                let next = now.peek().map(|(key, _)| key.as_ref());
                let Some((key, _)) = then.peek() else { return now.next().map(|(_, object)| object) };
                if next.is_some_and(|next| next < *key) {
                    return now.next().map(|(_, object)| object);
                }
                if next == Some(*key) {
                    now.next();
                }
                if let Some((_, Some(object))) = then.next() {
                    return Some(object);
                }
            }
        })
        .filter(|object| keep(object));
        let objects = matching.by_ref().take(part.limit).cloned().collect();
        let rest = if part.count_rest { matching.count() } else { usize::from(matching.next().is_some()) };
        Ok(Page { revision: part.at.unwrap_or(state.revision.max(applied)), objects, rest })
    }

    /// Forgets every event, as time does: watches begin anew, pages of older lists have expired.
    pub fn forget(&self) {
        let applied = Revision(*self.applied.borrow());
        let mut state = self.state.write();
        let newest = state.revision.max(applied);
        state.ring.reset(newest);
    }
}
