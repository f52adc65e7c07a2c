//! Filling the windows: one scan, then one watch on the store for all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::scheme::RESOURCES;
use futures::StreamExt;
use process::Shutdown;
use store::{Entry, ReadError, Revision, Store, WatchError};
use tokio::sync::watch;

use super::{Event, PREFIX, Window, Windows};
use crate::limits::RING_TIDY_INTERVAL;
use crate::object::{Happened, Object};

/// Wait before a broken store watch is opened again.
const REOPEN_DELAY: Duration = Duration::from_millis(100);

impl Windows {
    /// Windows with everything that is stored now.
    pub async fn load(store: Arc<dyn Store>) -> Result<Windows, ReadError> {
        let (applied, receiver) = watch::channel(0);
        let by_plural = RESOURCES
            .iter()
            .filter(|resource| resource.stored_as.is_none() && resource.verbs.contains(&"get"))
            .map(|resource| (resource.plural, Arc::new(Window::new(resource.plural, receiver.clone()))))
            .collect();
        let windows = Windows { store, by_plural, applied };
        windows.refill().await?;
        Ok(windows)
    }

    async fn refill(&self) -> Result<(), ReadError> {
        let page = self.store.scan(PREFIX, None, None).await?;
        for window in self.by_plural.values() {
            let prefix = format!("{PREFIX}{}/", window.plural);
            let entries = page.entries.iter().filter(|entry| entry.key.starts_with(&prefix));
            window.fill(entries, prefix.len(), page.revision);
        }
        self.applied.send_replace(page.revision.0);
        Ok(())
    }

    /// Applies the store's changes until `shutdown`; starts over where the store can no longer tell them all.
    pub async fn follow(self: Arc<Self>, shutdown: Shutdown) {
        while !shutdown.is_cancelled() {
            let broken = tokio::select! {
                broken = self.follow_once() => broken,
                // Dropping the watch loses nothing: nobody reads the windows of a server that has stopped.
                () = shutdown.cancelled() => return,
            };
            match broken {
                Ok(()) => tracing::warn!("the store's watch ended, opening it again"),
                Err(WatchError::Compacted { .. }) => {
                    tracing::warn!(
                        "the store no longer has the changes after the windows, reading all of it"
                    );
                    if let Err(error) = self.refill().await {
                        tracing::warn!(%error, "the stored objects could not be read");
                    }
                }
                Err(error) => tracing::warn!(%error, "the store's watch failed, opening it again"),
            }
            tokio::time::sleep(REOPEN_DELAY).await;
        }
    }

    async fn follow_once(&self) -> Result<(), WatchError> {
        let mut changes = self.store.watch(PREFIX, self.applied()).await?;
        let mut tidied = tokio::time::interval(RING_TIDY_INTERVAL);
        tidied.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Neither loses anything: a change that has not come yet stays with the store.
            let batch = tokio::select! {
                batch = changes.next() => batch,
                _ = tidied.tick() => {
                    self.by_plural.values().for_each(|window| window.tidy());
                    continue;
                }
            };
            let Some(batch) = batch else { return Ok(()) };
            let mut newest = self.applied();
            for event in batch? {
                newest = newest.max(self.apply(event));
            }
            self.applied.send_replace(newest.0);
        }
    }

    fn apply(&self, event: store::Event) -> Revision {
        let (key, revision, entry) = match event {
            store::Event::Put(entry) => (entry.key.clone(), entry.modified, Some(entry)),
            store::Event::Delete { key, revision } => (key, revision, None),
        };
        let parts = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/'));
        if let Some((plural, name)) = parts
            && let Some(window) = self.by_plural.get(plural)
        {
            window.apply(name, revision, entry);
        }
        revision
    }
}

impl Window {
    fn fill<'a>(&self, entries: impl Iterator<Item = &'a Entry>, prefix_len: usize, revision: Revision) {
        let mut state = self.state.write();
        state.objects.clear();
        state.on_node.clear();
        for entry in entries {
            let key: Arc<str> = Arc::from(&entry.key[prefix_len..]);
            match Object::from_stored(key, entry.modified, entry.value.clone()) {
                Ok(object) => state.put(&Arc::new(object)),
                Err(error) => tracing::error!(%error, resource = self.plural, "left out"),
            }
        }
        state.ring.reset(revision);
        state.revision = revision;
    }

    fn tidy(&self) {
        self.state.write().ring.tidy(Instant::now());
    }

    fn apply(&self, name: &str, revision: Revision, entry: Option<Entry>) {
        let mut state = self.state.write();
        if revision <= state.revision {
            return;
        }
        let previous = state.objects.get(name).cloned();
        let (happened, object) = match (entry, &previous) {
            (Some(entry), previous) => {
                let happened = if previous.is_some() { Happened::Modified } else { Happened::Added };
                let key = previous.as_ref().map_or_else(|| Arc::from(name), |old| Arc::clone(&old.key));
                (happened, Object::from_stored(key, revision, entry.value))
            }
            (None, Some(previous)) => (Happened::Deleted, Ok(previous.tombstone(revision))),
            (None, None) => return,
        };
        let object = match object {
            Ok(object) => Arc::new(object),
            Err(error) => {
                tracing::error!(%error, resource = self.plural, "left out");
                return;
            }
        };
        if happened == Happened::Deleted {
            state.remove(name);
        } else {
            state.put(&object);
        }
        state.revision = revision;
        let woken = state.ring.push(Event::new(happened, object, previous));
        drop(state);
        self.count_wakes(woken);
    }
}
