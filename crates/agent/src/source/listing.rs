//! What lies in the manifest folder: the files that may be manifests, each with a stamp that changes with it.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::left_alone::is_left_alone;

/// Files of one folder that are read: ten times what a node runs. Those that were read before come first.
pub const MANIFESTS_MAX: usize = 1_000;

/// Changes whenever the file does, but for writes within one tick of the kernel's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: (i64, i64),
    changed_ns: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Stamp {
        Stamp {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified_ns: (file.mtime(), file.mtime_nsec()),
            changed_ns: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Old enough that a later write has another stamp.
    pub fn is_settled(&self, now_seconds: i64) -> bool {
        const TICK_SECONDS: i64 = 2;
        self.changed_ns.0 + TICK_SECONDS < now_seconds
    }
}

/// One look.
#[derive(Debug)]
pub enum Listing {
    Files {
        files: BTreeMap<PathBuf, Stamp>,
        /// Files beyond [`MANIFESTS_MAX`].
        over: usize,
    },
    Missing,
    Unreadable(io::Error),
}

/// Lists a folder, or the one file that the path names.
pub fn list(path: &Path, known: impl Fn(&Path) -> bool) -> Listing {
    match try_list(path) {
        Ok(files) if files.len() > MANIFESTS_MAX => {
            let over = files.len() - MANIFESTS_MAX;
            let (old, new): (Vec<_>, Vec<_>) = files.into_iter().partition(|(path, _)| known(path));
            Listing::Files { files: old.into_iter().chain(new).take(MANIFESTS_MAX).collect(), over }
        }
        Ok(files) => Listing::Files { files, over: 0 },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Listing::Missing,
        Err(error) => Listing::Unreadable(error),
    }
}

fn try_list(path: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let itself = std::fs::metadata(path)?;
    if !itself.is_dir() {
        return Ok(BTreeMap::from([(path.to_path_buf(), Stamp::of(&itself))]));
    }
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        // A name that is no text cannot be named in a fault either.
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if is_left_alone(name) {
            continue;
        }
        // Follows symbolic links; a dangling one is as good as absent.
        if let Ok(file) = std::fs::metadata(&path)
            && file.is_file()
        {
            files.insert(path, Stamp::of(&file));
        }
    }
    Ok(files)
}

/// Whether something is mounted exactly here.
pub fn is_mount(path: &Path) -> bool {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS);
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_files_are_cut_and_those_that_were_read_before_come_first() {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..=MANIFESTS_MAX {
            std::fs::write(folder.path().join(format!("{index:05}")), "").unwrap();
        }
        let last = folder.path().join(format!("{MANIFESTS_MAX:05}"));
        let Listing::Files { files, over } = list(folder.path(), |path| path == last) else {
            panic!("it can be listed")
        };
        assert_eq!((files.len(), over), (MANIFESTS_MAX, 1));
        assert!(files.contains_key(&last), "it was read before");
    }

    #[test]
    fn a_mount_is_told_from_a_folder() {
        assert!(is_mount(Path::new("/proc")));
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_mount(folder.path()));
    }
}
