//! The file: one redb database with the entries and the newest revision, changed in one transaction.
//!
//! A row is a key and, as its value, the revisions that created and last wrote it (big endian) and the
//! entry's value. A commit is durable when it returns: redb writes to free pages, syncs, then switches the root,
//! whose checksum tells after a power loss whether the switch had happened.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::OpenError;
use super::committed::Loaded;
use crate::{BackendError, Entry, Event, Revision};

const FILE: &str = "store.redb";
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

#[derive(Debug)]
pub(super) struct Database {
    redb: redb::Database,
}

impl Database {
    /// Opens or makes the file in `dir`: 0600 in a folder of 0700, both on disk before this returns.
    pub fn open(dir: &Path) -> Result<(Database, PathBuf), OpenError> {
        let path = dir.join(FILE);
        let file =
            make_ready(dir, &path).map_err(|source| OpenError::Directory { path: dir.to_owned(), source })?;
        let length = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let opened = redb::backends::FileBackend::new(file).and_then(build);
        let mut database = match opened {
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
    #[cfg(test)]
    pub fn on(backend: impl StorageBackend) -> Result<Database, BackendError> {
        build(backend).map_err(failure)
    }

    /// Everything that is stored.
    pub fn load(&self) -> Result<Loaded, BackendError> {
        let transaction = self.redb.begin_write().map_err(failure)?;
        {
            let mut numbers = transaction.open_table(NUMBERS).map_err(failure)?;
            let format = numbers.get(FORMAT).map_err(failure)?.map(|number| number.value());
            match format {
                Some(FORMAT_NUMBER) => {}
                Some(other) => {
                    return Err(BackendError::Damaged(format!("its format is {other}, not {FORMAT_NUMBER}")));
                }
                None => {
                    numbers.insert(FORMAT, FORMAT_NUMBER).map_err(failure)?;
                }
            }
            transaction.open_table(ENTRIES).map_err(failure)?;
        }
        transaction.commit().map_err(failure)?;

        let transaction = self.redb.begin_read().map_err(failure)?;
        let numbers = transaction.open_table(NUMBERS).map_err(failure)?;
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

    /// Makes the changes and the revision durable, all or none.
    pub fn commit(&mut self, events: &[Event], revision: Revision) -> Result<(), BackendError> {
        let transaction = self.redb.begin_write().map_err(failure)?;
        {
            let mut entries = transaction.open_table(ENTRIES).map_err(failure)?;
            for event in events {
                match event {
                    Event::Put(entry) => {
                        let bytes = HEAD_BYTES + entry.value.len();
                        let mut row = entries.insert_reserve(entry.key.as_str(), bytes).map_err(failure)?;
                        encode(entry, row.as_mut());
                    }
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
        let held = self.redb.begin_read().map_err(failure).and_then(|transaction| {
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
                if let Err(error) = self.redb.compact() {
                    tracing::warn!(%error, "the store's file could not be made smaller");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the size of the store's content is unknown"),
        }
    }
}

fn build(backend: impl StorageBackend) -> Result<Database, redb::DatabaseError> {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    Ok(Database { redb: builder.create_with_backend(backend)? })
}

fn make_ready(dir: &Path, path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    // The file's name and the folder's must survive a power loss as what is in the file does.
    File::open(dir)?.sync_all()?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(file)
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

fn failure(error: impl Into<redb::Error>) -> BackendError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => BackendError::DiskFull(error),
        redb::Error::Io(error) => BackendError::Io(error),
        redb::Error::Corrupted(what) => BackendError::Damaged(what),
        redb::Error::DatabaseClosed => BackendError::Closed,
        redb::Error::PreviousIo => BackendError::Halted,
        error => BackendError::Library { backend: "redb", source: Box::new(error) },
    }
}
