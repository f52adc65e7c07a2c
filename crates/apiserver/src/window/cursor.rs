//! A watcher's place in a window.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use store::Revision;
use tokio::sync::Notify;

use super::{Event, Lane, View, Window, range};
use crate::object::Object;

/// Reads a window's events one batch at a time; holds nothing but its place.
pub struct Cursor {
    window: Arc<Window>,
    lane: Lane,
    id: u64,
    next: u64,
    /// Events up to this revision are skipped: the client named a revision that had not been reached.
    after: Revision,
    wake: Arc<Notify>,
}

/// The events that the cursor has not read yet are no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallen {
    /// The oldest revision after which events are kept.
    pub oldest: Revision,
}

impl Window {
    /// Events after `revision`.
    pub fn watch_after(self: &Arc<Self>, lane: Lane, revision: Revision) -> Result<Cursor, Fallen> {
        let mut state = self.state.write();
        let next = state.ring.after(revision).ok_or(Fallen { oldest: state.ring.forgotten })?;
        let (id, wake) = state.ring.join(&lane, next);
        Ok(Cursor { window: Arc::clone(self), lane, id, next, after: revision, wake })
    }

    /// The objects now, and every event after them.
    pub fn watch_from_now(
        self: &Arc<Self>,
        lane: Lane,
        prefix: &str,
        keep: impl Fn(&Object) -> bool,
    ) -> (View, Cursor) {
        let applied = Revision(*self.applied.borrow());
        let mut state = self.state.write();
        let objects = range(&state.objects, prefix).filter(|object| keep(object)).cloned().collect();
        let revision = state.revision.max(applied);
        let next = state.ring.next();
        let (id, wake) = state.ring.join(&lane, next);
        let cursor = Cursor { window: Arc::clone(self), lane, id, next, after: Revision(0), wake };
        (View { revision, objects }, cursor)
    }
}

impl Cursor {
    /// The next events, none if there are none yet.
    pub fn read(&mut self, limit: usize) -> Result<Vec<Arc<Event>>, Fallen> {
        let state = self.window.state.read();
        let Some((mut events, next)) = state.ring.read(&self.lane, self.next, limit) else {
            return Err(Fallen { oldest: state.ring.forgotten });
        };
        drop(state);
        self.next = next;
        events.retain(|event| event.revision > self.after);
        Ok(events)
    }

    /// Waits until there may be events. Dropping the future loses no wake-up: the permit is kept.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// A revision up to which this cursor has read everything; nothing while events are waiting.
    pub fn revision_if_idle(&self) -> Option<Revision> {
        let applied = Revision(*self.window.applied.borrow());
        let state = self.window.state.read();
        let (events, _) = state.ring.read(&self.lane, self.next, 1)?;
        events.is_empty().then(|| state.revision.max(applied))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.window.state.write().ring.leave(&self.lane, self.id);
    }
}

impl Window {
    pub(super) fn count_wakes(&self, woken: u64) {
        self.wakes.fetch_add(woken, Ordering::Relaxed);
    }
}
