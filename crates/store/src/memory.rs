//! The model: the store's contract in as few words as possible, in memory, gone with the process.
//!
//! Durable backends are tested against it, so it shares no code with them. It keeps the changes of the
//! last [`HISTORY_CHANGES_MAX`] revisions for watchers. Serves tests and the simulator.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    Change, Entry, Event, Expect, Page, ReadError, Revision, Store, Watch, WatchError, Write, WriteError,
};

/// Changes kept for watchers: a simulated day of some thousand nodes' leases fits, a leak does not.
pub const HISTORY_CHANGES_MAX: usize = 200_000;

/// Clones share the keys.
#[derive(Clone)]
pub struct MemoryStore {
    model: Arc<Mutex<Model>>,
    newest: watch::Sender<u64>,
    history_max: usize,
}

#[derive(Default)]
struct Model {
    revision: u64,
    entries: BTreeMap<String, Entry>,
    /// The changes of the last revisions; the newest has `revision`, and none is missing between.
    history: VecDeque<Event>,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::with_history(HISTORY_CHANGES_MAX)
    }
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Keeps at most `history_max` changes for watchers.
    pub fn with_history(history_max: usize) -> MemoryStore {
        MemoryStore { model: Arc::default(), newest: watch::Sender::new(0), history_max }
    }
}

impl Model {
    fn apply(&mut self, write: Write, history_max: usize) -> Result<Revision, WriteError> {
        let current = self.entries.get(&write.key);
        let holds = match (write.expect, current, &write.change) {
            (Expect::Anything, None, Change::Delete) => false,
            (Expect::Anything, _, _) => true,
            (Expect::Absent, None, Change::Put(_)) => true,
            (Expect::Absent, _, _) => false,
            (Expect::At(revision), Some(entry), _) => entry.modified == revision,
            (Expect::At(_), None, _) => false,
        };
        if !holds {
            return Err(WriteError::Mismatch { current: current.cloned(), key: write.key });
        }
        self.revision += 1;
        let revision = Revision(self.revision);
        let event = match write.change {
            Change::Put(value) => {
                let created = current.map_or(revision, |entry| entry.created);
                let entry = Entry { key: write.key.clone(), value, created, modified: revision };
                self.entries.insert(write.key, entry.clone());
                Event::Put(entry)
            }
            Change::Delete => {
                self.entries.remove(&write.key);
                Event::Delete { key: write.key, revision }
            }
        };
        self.history.push_back(event);
        while self.history.len() > history_max {
            self.history.pop_front();
        }
        Ok(revision)
    }

    /// Changes greater than this are all kept.
    fn compacted(&self) -> u64 {
        self.revision - self.history.len() as u64
    }

    fn changes(&self, prefix: &str, after: u64) -> Result<Vec<Event>, WatchError> {
        if after < self.compacted() {
            return Err(WatchError::Compacted { asked: Revision(after), oldest: Revision(self.compacted()) });
        }
        let known = (after - self.compacted()) as usize;
        Ok(self.history.iter().skip(known).filter(|event| event.key().starts_with(prefix)).cloned().collect())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn write(&self, write: Write) -> Result<Revision, WriteError> {
        let revision = self.model.lock().apply(write, self.history_max)?;
        // Two writers may get here out of order; the mark only grows.
        self.newest.send_if_modified(|newest| {
            let grows = revision.0 > *newest;
            *newest = revision.0.max(*newest);
            grows
        });
        Ok(revision)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        Ok(self.model.lock().entries.get(key).cloned())
    }

    async fn scan(&self, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Result<Page, ReadError> {
        let model = self.model.lock();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut rest = model
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(prefix));
        let entries = rest.by_ref().take(limit.unwrap_or(usize::MAX)).cloned().collect();
        Ok(Page { entries, revision: Revision(model.revision), more: rest.next().is_some() })
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, WatchError> {
        if after.0 < self.model.lock().compacted() {
            self.model.lock().changes(prefix, after.0)?;
        }
        let cursor = (self.model.clone(), self.newest.subscribe(), prefix.to_owned(), Some(after.0));
        Ok(Box::pin(stream::unfold(cursor, |(model, mut newest, prefix, after)| async move {
            let mut after = after?;
            loop {
                newest.wait_for(|newest| *newest > after).await.ok()?;
                let seen = {
                    let model = model.lock();
                    model.changes(&prefix, after).map(|events| (events, model.revision))
                };
                match seen {
                    Err(compacted) => return Some((Err(compacted), (model, newest, prefix, None))),
                    Ok((events, revision)) if events.is_empty() => after = revision,
                    Ok((events, revision)) => {
                        return Some((Ok(events), (model, newest, prefix, Some(revision))));
                    }
                }
            }
        })))
    }

    async fn revision(&self) -> Result<Revision, ReadError> {
        Ok(Revision(self.model.lock().revision))
    }
}
