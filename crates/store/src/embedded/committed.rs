//! What is durable, in memory: all entries, the newest revision and the window of recent changes, under
//! one lock, so that a page, a revision and a watch always agree. Only the writer changes it, after a commit.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::WindowLimits;
use super::window::Window;
use crate::{BackendError, Entry, Event, Page, Revision, WatchError};

/// What was found on disk.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub revision: Revision,
    pub entries: BTreeMap<String, Entry>,
}

/// What watchers wait for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Newest {
    pub revision: Revision,
    pub closed: bool,
}

#[derive(Debug)]
pub(super) struct Committed {
    state: RwLock<State>,
    newest: watch::Sender<Newest>,
    trouble: RwLock<Option<Trouble>>,
}

/// Why no writes are taken for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    DiskFull,
    Io(io::ErrorKind),
    /// Another failure, which the log tells.
    Other,
}

impl Trouble {
    pub fn of(error: &BackendError) -> Trouble {
        match error {
            BackendError::DiskFull(_) => Trouble::DiskFull,
            BackendError::Io(source) => Trouble::Io(source.kind()),
            BackendError::Damaged(_)
            | BackendError::TooLarge
            | BackendError::Closed
            | BackendError::Halted
            | BackendError::Library { .. } => Trouble::Other,
        }
    }

    /// One failure for everyone whom it met; the log has its causes.
    pub fn error(self) -> BackendError {
        match self {
            Trouble::DiskFull => BackendError::DiskFull(io::ErrorKind::StorageFull.into()),
            Trouble::Io(kind) => BackendError::Io(kind.into()),
            Trouble::Other => BackendError::Halted,
        }
    }
}

#[derive(Debug)]
struct State {
    revision: Revision,
    entries: BTreeMap<String, Entry>,
    window: Window,
}

impl Committed {
    pub fn new(loaded: Loaded, limits: WindowLimits) -> Committed {
        let Loaded { revision, entries } = loaded;
        Committed {
            state: RwLock::new(State { revision, entries, window: Window::new(revision, limits) }),
            newest: watch::Sender::new(Newest { revision, closed: false }),
            trouble: RwLock::new(None),
        }
    }

    pub fn get(&self, key: &str) -> Option<Entry> {
        self.state.read().entries.get(key).cloned()
    }

    pub fn revision(&self) -> Revision {
        self.state.read().revision
    }

    pub fn scan(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let state = self.state.read();
        let mut entries = Vec::new();
        for (key, entry) in state.entries.range::<str, _>((start, Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            if entries.len() == limit {
                return Page { entries, revision: state.revision, more: true };
            }
            entries.push(entry.clone());
        }
        Page { entries, revision: state.revision, more: false }
    }

    pub fn check_watchable(&self, after: Revision) -> Result<(), WatchError> {
        self.state.read().window.check(after)
    }

    /// Changes under `prefix` after `after`, at most `max`, and the revision up to which this is all.
    pub fn changes(
        &self,
        prefix: &str,
        after: Revision,
        max: usize,
    ) -> Result<(Vec<Event>, Revision), WatchError> {
        self.state.read().window.changes(prefix, after, max)
    }

    pub fn newest(&self) -> watch::Receiver<Newest> {
        self.newest.subscribe()
    }

    /// Takes in changes that are durable, in revision order, and wakes the watchers.
    pub fn apply(&self, events: Vec<Event>) {
        let Some(revision) = events.last().map(Event::revision) else { return };
        {
            let mut state = self.state.write();
            for event in events {
                match &event {
                    Event::Put(entry) => {
                        state.entries.insert(entry.key.clone(), entry.clone());
                    }
                    Event::Delete { key, .. } => {
                        state.entries.remove(key);
                    }
                }
                state.window.push(event);
            }
            state.revision = revision;
        }
        self.newest.send_modify(|newest| newest.revision = revision);
    }

    /// All of it, for a copy. Readers go on meanwhile.
    pub fn whole<R>(&self, read: impl FnOnce(&BTreeMap<String, Entry>, Revision) -> R) -> R {
        let state = self.state.read();
        read(&state.entries, state.revision)
    }

    /// Whether writes are taken, and if not, why.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.write() = trouble;
    }

    pub fn trouble(&self) -> Option<Trouble> {
        *self.trouble.read()
    }

    /// Ends every watch after what it has still to tell.
    pub fn close(&self) {
        self.newest.send_modify(|newest| newest.closed = true);
    }
}
