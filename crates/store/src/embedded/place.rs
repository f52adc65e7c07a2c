//! Where the file lies, and how another is put into its place.
//!
//! After a failed sync the operating system may show what is not on the disk, and forgets that it is not: the file is
//! no longer to be believed, however well it reads. Whether a sync has failed is noted here, below the library. What
//! has to be on disk is then written into a file of its own (the draft), which takes the name of the first once it
//! is durable. A test's place is a disk that fails when it is told to (`faults`).

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{BackendError, StorageBackend};

const FILE: &str = "store.redb";
const DRAFT: &str = "store.redb.draft";

/// Where the store's file is.
pub(super) trait Place: Debug + Send {
    /// The file, made where there is none.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;
    /// An empty file beside it.
    fn draft(&self) -> io::Result<Box<dyn StorageBackend>>;
    /// Puts the draft, which is durable, into the file's place; durably, too, when this returns.
    fn adopt(&self) -> io::Result<()>;
}

/// A folder of 0700 with files of 0600.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// Makes the folder ready; it is on disk before this returns.
    pub fn new(dir: &Path) -> io::Result<Folder> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Folder { dir: dir.to_owned() })
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// The bytes of the file; none where there is no file.
    pub fn length(&self) -> u64 {
        self.path().metadata().map(|metadata| metadata.len()).unwrap_or_default()
    }

    /// Gives back what a stop in the middle of a recovery has left.
    pub fn clear(&self) {
        let _ = std::fs::remove_file(self.dir.join(DRAFT));
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.dir.join(name))?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    }

    /// A file's name must survive a power loss as what is in the file does.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

impl Place for Folder {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = self.file(FILE)?;
        self.sync()?;
        backend(file)
    }

    fn draft(&self) -> io::Result<Box<dyn StorageBackend>> {
        match std::fs::remove_file(self.dir.join(DRAFT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        backend(self.file(DRAFT)?)
    }

    fn adopt(&self) -> io::Result<()> {
        std::fs::rename(self.dir.join(DRAFT), self.path())?;
        self.sync()
    }
}

fn backend(file: File) -> io::Result<Box<dyn StorageBackend>> {
    let backend = redb::backends::FileBackend::new(file).map_err(io::Error::other)?;
    Ok(Box::new(backend))
}

/// A file that notes whether a sync of it has failed.
#[derive(Debug)]
pub(super) struct Noted {
    storage: Box<dyn StorageBackend>,
    sync_failed: Arc<AtomicBool>,
}

impl Noted {
    pub fn new(storage: Box<dyn StorageBackend>, sync_failed: Arc<AtomicBool>) -> Noted {
        Noted { storage, sync_failed }
    }
}

impl StorageBackend for Noted {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.storage.sync_data().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.storage.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.storage.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.query_lock_range(start, end)
    }
}
