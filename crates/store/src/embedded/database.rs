//! The file: one redb database with the entries and the newest revision, changed in one transaction.
//!
//! A row is a key and, as its value, the revisions that created and last wrote it (big endian) and the
//! entry's value. A commit is durable when it returns: redb writes to free pages, syncs, then switches the root,
//! whose checksum tells after a power loss whether the switch had happened.
//!
//! The library takes nothing more after a failure, and [`Database::recover`] begins anew: on the same file, where that can
//! be believed, as a process that was killed at that moment would; after a failed sync with a copy of what is
//! committed, which memory has whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError};

use super::OpenError;
use super::committed::{Committed, Loaded};
use super::place::{Folder, Noted, Place};
use crate::{BackendError, Entry, Event, Revision};

const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const FORMAT: &str = "format";
const REVISION: &str = "revision";
/// What this code reads and writes.
const FORMAT_NUMBER: u64 = 1;
const HEAD_BYTES: usize = 16;

/// Pages kept by the library: only the inner pages that writes pass through matter, as reads do not come here.
const CACHE_BYTES: usize = 4 << 20;
/// A file is rewritten at start when it has at least this size …
const COMPACT_FILE_BYTES_MIN: u64 = 64 << 20;
/// … and is this many times larger than what it holds.
const COMPACT_SLACK: u64 = 4;

type Entries<'transaction> = redb::Table<'transaction, &'static str, &'static [u8]>;

#[derive(Debug)]
pub(super) struct Database {
    /// Absent from a failure until the store has recovered from it.
    redb: Option<redb::Database>,
    place: Box<dyn Place>,
    /// What the file says is not to be believed.
    distrusted: Arc<AtomicBool>,
}

impl Database {
    /// Opens or makes the file in `dir`: 0600 in a folder of 0700, both on disk before this returns.
    pub fn open(dir: &Path) -> Result<(Database, PathBuf), OpenError> {
        let folder =
            Folder::new(dir).map_err(|source| OpenError::Directory { path: dir.to_owned(), source })?;
        let (path, length) = (folder.path(), folder.length());
        folder.clear();
        let mut database = match Database::on(Box::new(folder)) {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::InUse { path }),
            Err(error) => return Err(OpenError::Read { path, source: failure(error) }),
        };
        if length >= COMPACT_FILE_BYTES_MIN {
            database.shrink(length);
        }
        Ok((database, path))
    }

    /// On any storage; tests take the power away from theirs.
    pub fn on(place: Box<dyn Place>) -> Result<Database, redb::DatabaseError> {
        let distrusted = Arc::<AtomicBool>::default();
        let storage = place.open().map_err(redb::StorageError::from)?;
        let redb = build(storage, &distrusted)?;
        Ok(Database { redb: Some(redb), place, distrusted })
    }

    fn redb(&self) -> Result<&redb::Database, BackendError> {
        self.redb.as_ref().ok_or(BackendError::Halted)
    }

    pub fn is_open(&self) -> bool {
        self.redb.is_some()
    }

    /// Everything that is stored. Writes only to a file that is new, so that a full disk can be read.
    pub fn load(&self) -> Result<Loaded, BackendError> {
        let redb = self.redb()?;
        let transaction = redb.begin_read().map_err(failure)?;
        let numbers = match transaction.open_table(NUMBERS) {
            Ok(numbers) => numbers,
            Err(TableError::TableDoesNotExist(_)) => {
                initialize(redb, |_| Ok(()), Revision(0))?;
                return Ok(Loaded::default());
            }
            Err(error) => return Err(failure(error)),
        };
        match numbers.get(FORMAT).map_err(failure)?.map(|number| number.value()) {
            Some(FORMAT_NUMBER) => {}
            other => {
                let other = other.unwrap_or_default();
                return Err(BackendError::Damaged(format!("its format is {other}, not {FORMAT_NUMBER}")));
            }
        }
        let revision = numbers.get(REVISION).map_err(failure)?.map_or(0, |number| number.value());
        let table = transaction.open_table(ENTRIES).map_err(failure)?;
        let mut entries = BTreeMap::new();
        for row in table.iter().map_err(failure)? {
            let (key, value) = row.map_err(failure)?;
            let entry = decode(key.value(), value.value())?;
            if entry.modified.0 > revision {
                return Err(BackendError::Damaged(format!("{} is newer than the store", entry.key)));
            }
            entries.insert(entry.key.clone(), entry);
        }
        Ok(Loaded { revision: Revision(revision), entries })
    }

    /// After a failure: makes the store ready for commits again, and answers with the revision that it is at. That is
    /// the one of what is committed, or that of the batch whose commit failed where it came about all the same.
    pub fn recover(&mut self, committed: &Committed) -> Result<Revision, BackendError> {
        // What the library had not written yet goes with it.
        self.redb = None;
        if !self.distrusted.load(Ordering::Acquire) {
            let begun = self.begin_anew();
            if !matches!(begun, Ok(_) | Err(BackendError::DiskFull(_))) {
                self.distrust();
            }
            return begun;
        }
        let distrusted = Arc::<AtomicBool>::default();
        let draft = build(self.place.draft().map_err(io_failure)?, &distrusted).map_err(failure)?;
        let revision = committed.whole(|entries, revision| {
            initialize(&draft, |table| entries.values().try_for_each(|entry| put(table, entry)), revision)
                .map(|()| revision)
        })?;
        self.place.adopt().map_err(io_failure)?;
        self.redb = Some(draft);
        self.distrusted = distrusted;
        Ok(revision)
    }

    /// On the same file, as after a kill.
    fn begin_anew(&mut self) -> Result<Revision, BackendError> {
        let storage = Noted::new(self.place.open().map_err(io_failure)?, Arc::clone(&self.distrusted));
        // Whether the batch is seen or not, from here on it is so on the disk too.
        storage.sync_data().map_err(io_failure)?;
        let redb = build(Box::new(storage), &self.distrusted).map_err(failure)?;
        let transaction = redb.begin_read().map_err(failure)?;
        let numbers = transaction.open_table(NUMBERS).map_err(failure)?;
        let revision = numbers.get(REVISION).map_err(failure)?.map_or(0, |number| number.value());
        drop((numbers, transaction));
        self.redb = Some(redb);
        Ok(Revision(revision))
    }

    /// Nothing that the file or the library says counts any more. The library may have been interrupted by a panic:
    /// it is left as it is, at the price of what it holds.
    pub fn distrust(&mut self) {
        if let Some(redb) = self.redb.take() {
            std::mem::forget(redb);
        }
        self.distrusted.store(true, Ordering::Release);
    }

    /// Makes the changes and the revision durable, all or none.
    pub fn commit(&mut self, events: &[Event], revision: Revision) -> Result<(), BackendError> {
        let transaction = self.redb()?.begin_write().map_err(failure)?;
        {
            let mut entries = transaction.open_table(ENTRIES).map_err(failure)?;
            for event in events {
                match event {
                    Event::Put(entry) => put(&mut entries, entry)?,
                    Event::Delete { key, .. } => {
                        entries.remove(key.as_str()).map_err(failure)?;
                    }
                }
            }
            let mut numbers = transaction.open_table(NUMBERS).map_err(failure)?;
            numbers.insert(REVISION, revision.0).map_err(failure)?;
        }
        transaction.commit().map_err(failure)
    }

    /// Gives space back that deleted entries have left. A failure costs only the space.
    fn shrink(&mut self, length: u64) {
        let Some(redb) = &mut self.redb else { return };
        let held = redb.begin_read().map_err(failure).and_then(|transaction| {
            match transaction.open_table(ENTRIES) {
                Ok(table) => {
                    use redb::ReadableTableMetadata;
                    Ok(table.stats().map_err(failure)?.stored_bytes())
                }
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
                Err(error) => Err(failure(error)),
            }
        });
        match held {
            Ok(held) if held.saturating_mul(COMPACT_SLACK) < length => {
                if let Err(error) = redb.compact() {
                    tracing::warn!(%error, "the store's file could not be made smaller");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the size of the store's content is unknown"),
        }
    }
}

fn build(
    storage: Box<dyn StorageBackend>,
    sync_failed: &Arc<AtomicBool>,
) -> Result<redb::Database, redb::DatabaseError> {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.create_with_backend(Noted::new(storage, Arc::clone(sync_failed)))
}

/// The first commit of a new file.
fn initialize(
    redb: &redb::Database,
    fill: impl FnOnce(&mut Entries<'_>) -> Result<(), BackendError>,
    revision: Revision,
) -> Result<(), BackendError> {
    let transaction = redb.begin_write().map_err(failure)?;
    {
        let mut numbers = transaction.open_table(NUMBERS).map_err(failure)?;
        numbers.insert(FORMAT, FORMAT_NUMBER).map_err(failure)?;
        numbers.insert(REVISION, revision.0).map_err(failure)?;
        fill(&mut transaction.open_table(ENTRIES).map_err(failure)?)?;
    }
    transaction.commit().map_err(failure)
}

fn put(entries: &mut Entries<'_>, entry: &Entry) -> Result<(), BackendError> {
    let bytes = HEAD_BYTES + entry.value.len();
    let mut row = entries.insert_reserve(entry.key.as_str(), bytes).map_err(failure)?;
    encode(entry, row.as_mut());
    Ok(())
}

fn encode(entry: &Entry, row: &mut [u8]) {
    row[..8].copy_from_slice(&entry.created.0.to_be_bytes());
    row[8..HEAD_BYTES].copy_from_slice(&entry.modified.0.to_be_bytes());
    row[HEAD_BYTES..].copy_from_slice(&entry.value);
}

fn decode(key: &str, row: &[u8]) -> Result<Entry, BackendError> {
    let short = || BackendError::Damaged(format!("the row of {key} is too short"));
    let (created, rest) = row.split_first_chunk().ok_or_else(short)?;
    let (modified, value) = rest.split_first_chunk().ok_or_else(short)?;
    Ok(Entry {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value),
        created: Revision(u64::from_be_bytes(*created)),
        modified: Revision(u64::from_be_bytes(*modified)),
    })
}

fn io_failure(error: io::Error) -> BackendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackendError::DiskFull(error),
        _ => BackendError::Io(error),
    }
}

fn failure(error: impl Into<redb::Error>) -> BackendError {
    match error.into() {
        redb::Error::Io(error) => io_failure(error),
        redb::Error::Corrupted(what) => BackendError::Damaged(what),
        redb::Error::DatabaseClosed => BackendError::Closed,
        redb::Error::PreviousIo => BackendError::Halted,
        error => BackendError::Library { backend: "redb", source: Box::new(error) },
    }
}
