//! subPath: a part of a volume, bound to a place of its own.
//!
//! A container that shares the volume may swap folders for links while we look. So the path is opened with the
//! kernel's own guarantee that it stays beneath the volume, and what was opened is what is bound.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2};
use rustix::io::Errno;
use rustix::mount::mount_bind_recursive;

use crate::containerd::mount_table;

/// Binds `<volume>/<sub_path>` to `target`; a part that is missing is made as a folder.
pub fn bind(volume: &Path, sub_path: &str, target: &Path) -> io::Result<()> {
    let relative = Path::new(sub_path);
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "must be relative and must not contain '..'",
        ));
    }
    if mount_table()?.iter().any(|row| row.mount_point == target) {
        return Ok(());
    }
    let source = open_beneath(volume, relative)?;
    let kind = fs::metadata(format!("/proc/self/fd/{}", source.as_raw_fd()))?;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if kind.is_dir() {
        fs::create_dir_all(target)?;
    } else {
        fs::OpenOptions::new().create(true).append(true).open(target)?;
    }
    Ok(mount_bind_recursive(format!("/proc/self/fd/{}", source.as_raw_fd()), target)?)
}

fn open_beneath(volume: &Path, relative: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let root = open(volume, flags | OFlags::DIRECTORY, Mode::empty())?;
    match openat2(&root, relative, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT) => {}
        other => return Ok(other?),
    }
    let mut at = root.try_clone()?;
    for part in relative.components() {
        let Component::Normal(part) = part else { continue };
        match mkdirat(&at, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = openat2(
            &at,
            part,
            flags | OFlags::DIRECTORY,
            Mode::empty(),
            resolve | ResolveFlags::NO_SYMLINKS,
        )?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_out_are_refused_and_missing_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        std::os::unix::fs::symlink("../outside", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("absolute")).unwrap();
        assert!(open_beneath(&volume, Path::new("out")).is_err());
        assert!(open_beneath(&volume, Path::new("absolute/passwd")).is_err());
        assert!(open_beneath(&volume, Path::new("out/made")).is_err());
        open_beneath(&volume, Path::new("a/b")).unwrap();
        assert!(volume.join("a/b").is_dir());
        assert!(bind(&volume, "../outside", &folder.path().join("t")).is_err());
        assert!(bind(&volume, "/etc", &folder.path().join("t")).is_err());
    }
}
