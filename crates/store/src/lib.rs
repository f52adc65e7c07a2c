//! Ordered keys, revisions, watch.
//!
//! The store has never heard of a Pod: it keeps byte strings under ordered keys, numbers every change with
//! one growing revision, and tells watchers of each change once and in order. A write that was acknowledged
//! survives kill -9 and power loss in every durable backend.
//!
//! Invariants, each a claim of the contract suite (`tests/suite/contract.rs`) that every backend passes:
//! - a write happens whole or not at all, and only if its precondition holds at that moment;
//! - who was told of a revision finds it in every later read, scan and watch;
//! - a watch after revision N yields every later change under its prefix exactly once, in order, or ends
//!   with [`WatchError::Compacted`];
//! - a page is true at one revision, so a scan followed by a watch after [`Page::revision`] misses nothing.

pub mod embedded;
pub mod etcd;
mod measures;
pub mod memory;

use std::pin::Pin;

pub use embedded::EmbeddedStore;
pub use etcd::EtcdStore;
pub use memory::MemoryStore;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

/// The number of a change; grows by at least one with each. `Revision(0)` is before every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A key with its value as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    /// The change that created the key.
    pub created: Revision,
    /// The change that last wrote it.
    pub modified: Revision,
}

/// What must be true of a key for a write to it to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    Absent,
    /// The key exists and was last written at this revision.
    At(Revision),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Put(Bytes),
    Delete,
}

/// One key's change with its precondition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub key: String,
    pub expect: Expect,
    pub change: Change,
}

/// A page of keys in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The store's revision at which the page is true.
    pub revision: Revision,
    /// More keys with the prefix follow the last one.
    pub more: bool,
}

/// One change as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Put(Entry),
    Delete { key: String, revision: Revision },
}

impl Event {
    pub fn key(&self) -> &str {
        match self {
            Event::Put(entry) => &entry.key,
            Event::Delete { key, .. } => key,
        }
    }

    /// The change that this event tells of.
    pub fn revision(&self) -> Revision {
        match self {
            Event::Put(entry) => entry.modified,
            Event::Delete { revision, .. } => *revision,
        }
    }
}

/// Batches of changes in revision order, none of them empty; ends after an error, when the watcher must start
/// over, or when the store is closed. Dropping the stream, or a pending `next()`, loses nothing.
pub type Watch = Pin<Box<dyn Stream<Item = Result<Vec<Event>, WatchError>> + Send>>;

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The precondition does not hold; `current` is what is there instead.
    #[error("precondition on {key} does not hold")]
    Mismatch { key: String, current: Option<Entry> },
    /// The write may or may not have happened: the caller must read before it tries again.
    #[error("outcome of the write to {key} is unknown")]
    Unknown {
        key: String,
        #[source]
        source: BackendError,
    },
    /// The write has not happened.
    #[error("write to {key} was refused")]
    Refused {
        key: String,
        #[source]
        source: BackendError,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("read failed")]
pub struct ReadError(#[source] pub BackendError);

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Some changes after the asked revision are no longer kept: list again. Watching after `oldest` would
    /// still have been possible.
    #[error("changes after revision {} are compacted, those after {} are kept", asked.0, oldest.0)]
    Compacted { asked: Revision, oldest: Revision },
    #[error("watch failed")]
    Backend(#[source] BackendError),
}

/// Why a backend could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("the disk is full")]
    DiskFull(#[source] std::io::Error),
    #[error("input or output failed")]
    Io(#[source] std::io::Error),
    #[error("the stored data is damaged: {0}")]
    Damaged(String),
    #[error("it is larger than what the store takes")]
    TooLarge,
    #[error("the store is closed")]
    Closed,
    /// An earlier write failed on its way to the disk: reads go on, writes are refused until the store has recovered.
    #[error("the store recovers from a write that failed")]
    Halted,
    #[error("backend {backend} failed")]
    Library {
        backend: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The store. Every backend passes the contract suite in `tests/suite/contract.rs`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies one write; returns the revision of the change after it is durable.
    /// Deleting an absent key with [`Expect::Anything`] is a `Mismatch` with no current entry.
    async fn write(&self, write: Write) -> Result<Revision, WriteError>;

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError>;

    /// Keys that begin with `prefix`, in order, strictly after `after`, at most `limit` (no limit: all).
    async fn scan(&self, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Result<Page, ReadError>;

    /// All changes to keys that begin with `prefix` and have a revision greater than `after`, in order.
    /// A revision that the store has not reached yet is waited for.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, WatchError>;

    /// The revision of the newest acknowledged change.
    async fn revision(&self) -> Result<Revision, ReadError>;
}
