//! The store in an etcd cluster, which several API servers may share.
//!
//! A write is one transaction: the precondition as a comparison, the change, and the `head` ([`layout`]). Revisions are
//! etcd's own. A consistent read of the revision is a linearizable read of the head, so that neither other programs'
//! keys in the same etcd nor compaction move it: whoever has seen the head's revision has seen every change. A scan is
//! read page by page at one revision. A watch ([`watching`]) goes on over broken connections and lost members. Old
//! revisions are compacted by whichever server is first ([`compaction`]). Why it is so: docs/adr/0002-etcd-store.md.
//!
//! Every call has a deadline. A write whose answer was lost is reported as unknown and never sent again ([`members`]).

pub mod address;
mod compaction;
mod dial;
mod layout;
mod members;
mod watching;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use process::Metrics;
use tokio::sync::watch;

pub use address::{Address, AddressError};
pub use dial::{TlsError, TlsFiles};
pub use members::Deadlines;

use crate::measures::Measures;
use crate::{BackendError, Change, Entry, Expect, Page, ReadError, Revision, Store, Watch, WatchError};
use crate::{Write, WriteError};
use layout::{Layout, just_after, revision};
use members::{Failed, Members};

/// Entries asked for at once. Of 2 KiB each they are 2 MB, half a second's traffic of a slow network.
const PAGE_ENTRIES_MAX: i64 = 1_000;
/// How often a scan starts over that was overtaken by a compaction.
const SCAN_TRIES_MAX: usize = 3;
/// Changes of the last five minutes and more are kept for watchers: upstream's interval.
pub const COMPACTION_INTERVAL: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub struct Options {
    pub address: Address,
    /// Needed by an `etcds://` address only.
    pub tls: TlsFiles,
    pub compaction_interval: Duration,
    pub deadlines: Deadlines,
    /// Where the store's counts are shown.
    pub metrics: Metrics,
}

impl Options {
    pub fn new(address: Address) -> Options {
        Options {
            address,
            tls: TlsFiles::default(),
            compaction_interval: COMPACTION_INTERVAL,
            deadlines: Deadlines::default(),
            metrics: Metrics::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("TLS files for {address}")]
    Tls {
        address: Address,
        #[source]
        source: TlsError,
    },
    #[error("the address {address} cannot be used")]
    Address {
        address: Address,
        #[source]
        source: BackendError,
    },
    #[error("no member of {address} answers")]
    Unreachable {
        address: Address,
        #[source]
        source: BackendError,
    },
}

/// Ends its watches when dropped, after what they have still to tell.
pub struct EtcdStore {
    inner: Arc<Inner>,
    closed: watch::Sender<bool>,
    compactor: tokio::task::JoinHandle<()>,
}

struct Inner {
    members: Members,
    layout: Layout,
    measures: Measures,
    /// The newest revision that was acknowledged through this store.
    acknowledged: AtomicU64,
    head: Mutex<Head>,
    head_turn: tokio::sync::Mutex<()>,
    closed: watch::Receiver<bool>,
}

/// The last read of the head, which all who asked before it began may share.
#[derive(Debug, Default)]
struct Head {
    /// How many have asked so far.
    asked: u64,
    /// Everyone up to this number may use `found`.
    covers: u64,
    /// Nothing where the read failed.
    found: Option<Revision>,
}

impl EtcdStore {
    /// Connects, and returns when a member has answered.
    pub async fn connect(options: Options) -> Result<EtcdStore, ConnectError> {
        let Options { address, tls, compaction_interval, deadlines, metrics } = options;
        let tls = match address.tls {
            false => None,
            true => Some(
                dial::Tls::read(&tls)
                    .map_err(|source| ConnectError::Tls { address: address.clone(), source })?,
            ),
        };
        let members = Members::new(&address, tls, deadlines)
            .map_err(|source| ConnectError::Address { address: address.clone(), source })?;
        let (closed, closing) = watch::channel(false);
        let inner = Arc::new(Inner {
            members,
            layout: Layout::new(&address.prefix),
            measures: Measures::new(&metrics),
            acknowledged: AtomicU64::new(0),
            head: Mutex::default(),
            head_turn: tokio::sync::Mutex::default(),
            closed: closing,
        });
        inner.head().await.map_err(|source| ConnectError::Unreachable { address, source })?;
        let compactor = tokio::spawn(compaction::run(Arc::clone(&inner), compaction_interval));
        Ok(EtcdStore { inner, closed, compactor })
    }

    /// Forgets the changes before `revision` now, instead of waiting for the next compaction.
    pub async fn compact(&self, revision: Revision) -> Result<(), ReadError> {
        self.inner.compact(revision).await.map_err(ReadError)
    }
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.closed.send_replace(true);
        self.compactor.abort();
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn write(&self, write: Write) -> Result<Revision, WriteError> {
        let begun = Instant::now();
        let outcome = self.inner.write(write).await;
        let measures = &self.inner.measures;
        match &outcome {
            Ok(revision) => {
                self.inner.acknowledged.fetch_max(revision.0, Ordering::Relaxed);
                measures.committed(1, begun.elapsed());
            }
            Err(WriteError::Mismatch { .. }) => measures.refused(1),
            Err(WriteError::Unknown { .. }) => measures.unknown(1),
            Err(WriteError::Refused { .. }) => {}
        }
        outcome
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        let row = wire::RangeRequest { key: self.inner.layout.entry(key), ..Default::default() };
        let found = self.inner.range(row).await.map_err(ReadError)?;
        Ok(found.kvs.first().and_then(|row| self.inner.layout.decode(row)))
    }

    async fn scan(&self, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Result<Page, ReadError> {
        for _ in 1..SCAN_TRIES_MAX {
            match self.inner.scan(prefix, after, limit).await {
                Err(error) if members::is_compacted(&error) => {}
                outcome => return outcome.map_err(ReadError),
            }
        }
        self.inner.scan(prefix, after, limit).await.map_err(ReadError)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, WatchError> {
        watching::open(Arc::clone(&self.inner), prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, ReadError> {
        self.inner.shared_head().await.map_err(ReadError)
    }
}

/// The head as one read found it.
#[derive(Debug, Clone, Copy)]
struct HeadSeen {
    /// Of the newest change; 0 before the first.
    modified: Revision,
    /// Of the whole etcd: between the two nothing of ours has changed.
    etcd: Revision,
}

impl Inner {
    async fn write(&self, write: Write) -> Result<Revision, WriteError> {
        let Write { key, expect, change } = write;
        let Some(condition) = condition(&self.layout.entry(&key), expect, &change) else {
            return self.mismatch(key).await;
        };
        let row = self.layout.entry(&key);
        let change = match change {
            Change::Put(value) => wire::operation::Kind::Put(wire::PutRequest { key: row.clone(), value }),
            Change::Delete => wire::operation::Kind::Delete(wire::DeleteRequest { key: row.clone() }),
        };
        let head = wire::PutRequest { key: self.layout.head.clone(), value: Bytes::new() };
        let current = wire::RangeRequest { key: row, ..Default::default() };
        let transaction = wire::TxnRequest {
            compare: condition.into_iter().collect(),
            success: vec![operation(change), operation(wire::operation::Kind::Put(head))],
            failure: vec![operation(wire::operation::Kind::Range(current))],
        };
        let answer: wire::TxnResponse = match self.members.write(wire::TXN, transaction).await {
            Ok(answer) => answer,
            Err(Failed::NotDone(source)) => return Err(WriteError::Refused { key, source }),
            Err(Failed::Unknown(source)) => return Err(WriteError::Unknown { key, source }),
        };
        if answer.succeeded {
            return Ok(revision(answer.header.unwrap_or_default().revision));
        }
        let current = answer.responses.into_iter().find_map(|outcome| match outcome.kind {
            Some(wire::outcome::Kind::Range(range)) => {
                range.kvs.first().and_then(|row| self.layout.decode(row))
            }
            _ => None,
        });
        Err(WriteError::Mismatch { key, current })
    }

    /// What is there where something is asked that never holds.
    async fn mismatch(&self, key: String) -> Result<Revision, WriteError> {
        let row = wire::RangeRequest { key: self.layout.entry(&key), ..Default::default() };
        match self.range(row).await {
            Ok(found) => {
                let current = found.kvs.first().and_then(|row| self.layout.decode(row));
                Err(WriteError::Mismatch { key, current })
            }
            Err(source) => Err(WriteError::Refused { key, source }),
        }
    }

    async fn range(&self, request: wire::RangeRequest) -> Result<wire::RangeResponse, BackendError> {
        self.members.read(wire::RANGE, request).await
    }

    async fn head(&self) -> Result<HeadSeen, BackendError> {
        let request =
            wire::RangeRequest { key: self.layout.head.clone(), keys_only: true, ..Default::default() };
        let found = self.range(request).await?;
        Ok(HeadSeen {
            modified: found.kvs.first().map_or(Revision(0), |row| revision(row.mod_revision)),
            etcd: revision(found.header.unwrap_or_default().revision),
        })
    }

    /// The head's revision from a read that begins after this call: many who ask at once share one read.
    async fn shared_head(&self) -> Result<Revision, BackendError> {
        let ticket = {
            let mut head = self.head.lock();
            head.asked += 1;
            head.asked
        };
        let _turn = self.head_turn.lock().await;
        let covers = {
            let head = self.head.lock();
            if head.covers >= ticket {
                return head.found.ok_or_else(|| {
                    BackendError::Io(std::io::Error::other("the read that this one shared failed"))
                });
            }
            head.asked
        };
        let found = self.head().await;
        let mut head = self.head.lock();
        head.covers = covers;
        head.found = found.as_ref().ok().map(|seen| seen.modified);
        found.map(|seen| seen.modified)
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page, BackendError> {
        let head = self.head().await?;
        let mut page = Page { entries: Vec::new(), revision: head.modified, more: false };
        let Some((mut begin, end)) = self.layout.range(prefix, after) else { return Ok(page) };
        let mut page_entries = PAGE_ENTRIES_MAX;
        loop {
            let wanted = limit.map(|limit| limit - page.entries.len());
            let ask = wanted.map_or(page_entries, |wanted| {
                // A limit of none still asks whether there is one.
                page_entries.min(i64::try_from(wanted.max(1)).unwrap_or(i64::MAX))
            });
            let request = wire::RangeRequest {
                key: begin.clone(),
                range_end: end.clone(),
                limit: ask,
                revision: i64::try_from(head.etcd.0).unwrap_or_default(),
                keys_only: false,
            };
            let found = match self.range(request).await {
                Err(error) if members::is_too_large_an_answer(&error) && ask > 1 => {
                    page_entries = ask / 2;
                    continue;
                }
                found => found?,
            };
            if wanted == Some(0) {
                page.more = !found.kvs.is_empty();
                return Ok(page);
            }
            for row in &found.kvs {
                page.revision = page.revision.max(revision(row.mod_revision));
                page.entries.extend(self.layout.decode(row));
            }
            let Some(last) = found.kvs.last().filter(|_| found.more) else { return Ok(page) };
            if limit.is_some_and(|limit| page.entries.len() >= limit) {
                page.more = true;
                return Ok(page);
            }
            begin = just_after(&last.key);
        }
    }

    async fn compact(&self, revision: Revision) -> Result<(), BackendError> {
        let request = wire::CompactRequest { revision: i64::try_from(revision.0).unwrap_or_default() };
        match self.members.read::<_, wire::Done>(wire::COMPACT, request).await {
            // Someone else was faster.
            Err(error) if members::is_compacted(&error) => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}

/// What etcd is to compare before the change; `None` where the precondition can never hold.
fn condition(row: &Bytes, expect: Expect, change: &Change) -> Option<Option<wire::Compare>> {
    let compare = |relation: wire::Relation, subject: wire::Subject, with| wire::Compare {
        relation: relation.into(),
        subject: subject.into(),
        key: row.clone(),
        with: Some(with),
    };
    let version = |relation| compare(relation, wire::Subject::Version, wire::compare::With::Version(0));
    match (expect, change) {
        (Expect::Anything, Change::Put(_)) => Some(None),
        (Expect::Anything, Change::Delete) => Some(Some(version(wire::Relation::Greater))),
        (Expect::Absent, Change::Put(_)) => Some(Some(version(wire::Relation::Equal))),
        (Expect::Absent, Change::Delete) => None,
        // To etcd an absent key was modified at 0; nothing of ours ever was.
        (Expect::At(Revision(0)), _) => None,
        (Expect::At(Revision(at)), _) => {
            let at = i64::try_from(at).ok()?;
            Some(Some(compare(
                wire::Relation::Equal,
                wire::Subject::ModRevision,
                wire::compare::With::ModRevision(at),
            )))
        }
    }
}

fn operation(kind: wire::operation::Kind) -> wire::Operation {
    wire::Operation { kind: Some(kind) }
}
