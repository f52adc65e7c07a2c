//! One process a data folder: a lock that ends with the process, and a pid file for people and `down`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Held as long as the process lives; the pid file is removed at an orderly end.
pub struct Hold {
    pid_file: PathBuf,
    _lock: File,
}

impl Hold {
    /// Takes the folder; an error that names the holder when there is one.
    pub fn take(pid_file: &Path) -> Result<Hold> {
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(pid_file.with_extension("lock"))
            .with_context(|| format!("open the lock beside {}", pid_file.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            lock.read_to_string(&mut holder)?;
            bail!(
                "process {} runs on this data folder already ({}); end it first, or use another --data-dir",
                holder.trim(),
                pid_file.display()
            );
        }
        lock.set_len(0)?;
        write!(lock, "{}", std::process::id())?;
        Ok(Hold { pid_file: pid_file.to_path_buf(), _lock: lock })
    }

    /// Writes the pid file; whoever sees it finds everything else in place.
    pub fn announce(&self) -> Result<()> {
        write_whole(&self.pid_file, std::process::id().to_string().as_bytes(), 0o644)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // An orderly end; after a crash the file stays and its lock is free.
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

/// The process that holds the folder, if one does.
pub fn holder(pid_file: &Path) -> Option<i32> {
    let lock = OpenOptions::new().read(true).write(true).open(pid_file.with_extension("lock")).ok()?;
    if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut text = String::new();
    let mut lock = lock;
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// A file that is whole whenever it is seen.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(mode)
        .open(&draft)
        .with_context(|| format!("write {}", draft.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once_and_free_after_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("everynode.pid");
        assert_eq!(holder(&pid_file), None);
        let hold = Hold::take(&pid_file).unwrap();
        hold.announce().unwrap();
        assert_eq!(holder(&pid_file), Some(std::process::id() as i32));
        let refused = Hold::take(&pid_file).err().unwrap().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(hold);
        assert_eq!(holder(&pid_file), None);
        assert!(!pid_file.exists());
    }
}
