//! The durable store inside the process: every entry in memory, every change on disk before it is acknowledged.
//!
//! One thread, the writer, owns the database file (redb). It takes what is queued, up to a limit, decides each
//! precondition against what is committed and what goes before it in the same batch, makes the batch durable
//! with one commit, shows it to readers and watchers, and only then answers. Writes that arrive while a commit
//! is on its way form the next batch, so the commit's price is shared by all who wait. Reads never
//! touch the disk: they, and watches, see committed changes only. Why redb, and why entries stay in memory:
//! docs/adr/0001-embedded-store.md.
//!
//! A commit that fails or panics acknowledges nothing; reads of what was acknowledged go on, and the writer recovers by
//! itself (`writer`, `Database::recover`). Until it has, writes are refused with the reason.

mod committed;
mod database;
mod place;
mod window;
mod writer;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod faulty_disk;
#[cfg(test)]
mod power_loss;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use process::Metrics;
use tokio::sync::{mpsc, oneshot};

use crate::measures::Measures;
use crate::{BackendError, Entry, Page, ReadError, Revision, Store, Watch, WatchError, Write, WriteError};
use committed::{Committed, Trouble};
use database::Database;
use writer::{Pending, Writer};

/// Writes that may wait for the writer: as many as two batches; whoever comes then waits for a place.
pub const QUEUE_WRITES_MAX: usize = 512;

/// Changes that one turn of a watcher takes at most, so that a late one does not copy the whole window at once.
pub const WATCH_BATCH_CHANGES_MAX: usize = 1_024;

/// How many recent changes are kept for watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    pub changes_max: usize,
    pub bytes_max: usize,
}

impl Default for WindowLimits {
    /// The only watcher is the API server in this process, which keeps windows of its own: this one need
    /// only outlast its hiccups, at a bounded price in memory.
    fn default() -> WindowLimits {
        WindowLimits { changes_max: 16_384, bytes_max: 8 << 20 }
    }
}

/// Pauses after commits that failed, during which writes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDelays {
    /// After the first failure; each further one in a row doubles it.
    pub first: Duration,
    pub longest: Duration,
}

impl Default for RetryDelays {
    /// A moment's trouble passes in a moment; a look at a full disk every few seconds costs nothing, and whoever freed
    /// space does not wait long.
    fn default() -> RetryDelays {
        RetryDelays { first: Duration::from_millis(100), longest: Duration::from_secs(5) }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub window: WindowLimits,
    pub retry: RetryDelays,
    /// Where the store's counts are shown.
    pub metrics: Metrics,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store's folder {} cannot be made ready", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the store in {} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("the store's file {} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: BackendError,
    },
    #[error("the store's writer cannot be started")]
    Writer(#[source] std::io::Error),
}

/// Closed when dropped, after the writes that were begun.
#[derive(Debug)]
pub struct EmbeddedStore {
    committed: Arc<Committed>,
    queue: Option<mpsc::Sender<Pending>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, which is made (0700) when absent. Blocks: it reads all that is stored.
    pub fn open(dir: impl AsRef<Path>) -> Result<EmbeddedStore, OpenError> {
        EmbeddedStore::open_with(dir, Options::default())
    }

    pub fn open_with(dir: impl AsRef<Path>, options: Options) -> Result<EmbeddedStore, OpenError> {
        let (database, path) = Database::open(dir.as_ref())?;
        EmbeddedStore::start(database, path, options)
    }

    fn start(database: Database, path: PathBuf, options: Options) -> Result<EmbeddedStore, OpenError> {
        let loaded = database.load().map_err(|source| OpenError::Read { path, source })?;
        let measures = Measures::new(&options.metrics);
        let committed = Arc::new(Committed::new(loaded, options.window));
        let (queue, pending) = mpsc::channel(QUEUE_WRITES_MAX);
        let writer = Writer::new(database, committed.clone(), pending, measures, options.retry);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(OpenError::Writer)?;
        Ok(EmbeddedStore { committed, queue: Some(queue), writer: Some(writer) })
    }

    fn refusal(&self) -> BackendError {
        self.committed.trouble().map_or(BackendError::Closed, Trouble::error)
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        // The writer ends when the queue is empty and nobody can add to it.
        self.queue = None;
        self.committed.close();
        let Some(writer) = self.writer.take() else { return };
        // It may be pausing after a failure.
        writer.thread().unpark();
        if writer.join().is_err() {
            tracing::error!("the store's writer panicked while it was closing");
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn write(&self, write: Write) -> Result<Revision, WriteError> {
        let refused = |key: String| WriteError::Refused { key, source: self.refusal() };
        let key = write.key.clone();
        let Some(queue) = self.queue.as_ref().filter(|_| self.committed.trouble().is_none()) else {
            return Err(refused(key));
        };
        let (answer, answered) = oneshot::channel();
        if queue.send(Pending { write, answer }).await.is_err() {
            return Err(refused(key));
        }
        // No answer: the writer died with the write in its hands.
        answered.await.unwrap_or_else(|_| Err(WriteError::Unknown { key, source: BackendError::Halted }))
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        Ok(self.committed.get(key))
    }

    async fn scan(&self, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Result<Page, ReadError> {
        Ok(self.committed.scan(prefix, after, limit.unwrap_or(usize::MAX)))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, WatchError> {
        self.committed.check_watchable(after)?;
        // The stream holds the committed state, not the store: it does not keep the file open.
        let cursor =
            (self.committed.clone(), self.committed.newest(), prefix.to_owned(), after, Turn::Running);
        Ok(Box::pin(stream::unfold(cursor, |(committed, mut newest, prefix, mut after, turn)| async move {
            if turn == Turn::Over {
                return None;
            }
            loop {
                // Dropping this wait loses nothing: the cursor has not moved.
                newest.wait_for(|newest| newest.closed || newest.revision > after).await.ok()?;
                match committed.changes(&prefix, after, WATCH_BATCH_CHANGES_MAX) {
                    Err(compacted) => {
                        return Some((Err(compacted), (committed, newest, prefix, after, Turn::Over)));
                    }
                    Ok((events, seen)) if !events.is_empty() => {
                        return Some((Ok(events), (committed, newest, prefix, seen, Turn::Running)));
                    }
                    Ok((_, seen)) if seen > after => after = seen,
                    // Nothing came, so what woke us is the end.
                    Ok(_) => return None,
                }
            }
        })))
    }

    async fn revision(&self) -> Result<Revision, ReadError> {
        Ok(self.committed.revision())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Running,
    Over,
}
