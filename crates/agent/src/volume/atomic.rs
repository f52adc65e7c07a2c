//! Writes a set of files so that a reader sees the old set or the new one, never half of each.
//!
//! Upstream's layout, which programs watch for: files lie in a folder with a time in its name, `..data` points to it,
//! and each first path element is a link through `..data`. Replacing `..data` is one rename.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

/// Relative path → file.
pub type Files = BTreeMap<String, File>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub content: Vec<u8>,
    pub mode: u32,
    /// The user that it belongs to; `None`: the agent's.
    pub owner: Option<u32>,
}

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// Brings `folder` to hold exactly `files`. Nothing is touched when it does already.
pub fn write(folder: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    let data = folder.join(DATA);
    let current = fs::read_link(&data).ok();
    if let Some(current) = &current
        && holds(&folder.join(current), files)?
    {
        return Ok(());
    }
    let name = free_name(folder)?;
    let next = folder.join(&name);
    fs::create_dir(&next)?;
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755))?;
    if let Err(error) = fill(&next, files, group) {
        let _ = fs::remove_dir_all(&next);
        return Err(error);
    }
    let link = folder.join(DATA_NEXT);
    remove_if_there(&link)?;
    symlink(&name, &link)?;
    fs::rename(&link, &data)?;

    let wanted: BTreeSet<&str> =
        files.keys().map(|path| path.split_once('/').map_or(path.as_str(), |(first, _)| first)).collect();
    for first in &wanted {
        let visible = folder.join(first);
        if fs::symlink_metadata(&visible).is_err() {
            symlink(Path::new(DATA).join(first), &visible)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.file_name();
        let found = found.to_string_lossy();
        let stale = !found.starts_with("..") && !wanted.contains(&*found);
        if stale && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(current) = current {
        fs::remove_dir_all(folder.join(current))?;
    }
    Ok(())
}

/// `..2026_11_23_22_26_04.0`, the number being the first that is free.
fn free_name(folder: &Path) -> io::Result<String> {
    let now = jiff::Timestamp::now();
    let stamp = now.strftime("%Y_%m_%d_%H_%M_%S").to_string();
    (0..u32::MAX)
        .map(|number| format!("..{stamp}.{number}"))
        .find(|name| !folder.join(name).exists())
        .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

fn fill(folder: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    for (path, file) in files {
        let at = folder.join(path);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&at, &file.content)?;
        // COMPAT(fsGroup): the group may read what its members are meant to use.
        let mode = if group.is_some() { file.mode | (file.mode & 0o400) >> 3 | 0o040 } else { file.mode };
        fs::set_permissions(&at, fs::Permissions::from_mode(mode))?;
        if group.is_some() || file.owner.is_some() {
            chown(&at, file.owner, group)?;
        }
    }
    Ok(())
}

/// Whether the folder has these files and no others.
fn holds(folder: &Path, files: &Files) -> io::Result<bool> {
    for (path, file) in files {
        match fs::read(folder.join(path)) {
            Ok(content) if content == file.content => {}
            Ok(_) => return Ok(false),
            Err(_) => return Ok(false),
        }
    }
    Ok(count_files(folder)? == files.len())
}

fn count_files(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        pairs
            .iter()
            .map(|(path, text)| {
                ((*path).to_owned(), File { content: text.as_bytes().to_vec(), mode: 0o640, owner: None })
            })
            .collect()
    }

    #[test]
    fn the_group_may_read_what_its_members_are_meant_to_use() {
        let folder = tempfile::tempdir().unwrap();
        let private =
            Files::from([("a".to_owned(), File { content: b"1".to_vec(), mode: 0o400, owner: None })]);
        let own = fs::metadata(folder.path()).unwrap();
        let group = std::os::unix::fs::MetadataExt::gid(&own);
        write(folder.path(), &private, Some(group)).unwrap();
        assert_eq!(fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777, 0o440);
    }

    #[test]
    fn set_is_replaced_as_a_whole_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(folder.path(), &files(&[("a", "1"), ("deep/b", "2")]), None).unwrap();
        assert_eq!(fs::read_to_string(at("deep/b")).unwrap(), "2");
        assert_eq!(fs::metadata(at("a")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_link(at("a")).unwrap(), Path::new("..data/a"));
        let before = fs::read_link(at("..data")).unwrap();

        write(folder.path(), &files(&[("a", "1"), ("deep/b", "2")]), None).unwrap();
        assert_eq!(fs::read_link(at("..data")).unwrap(), before, "the same set is not written again");

        write(folder.path(), &files(&[("a", "3"), ("c", "4")]), None).unwrap();
        assert_eq!(fs::read_to_string(at("a")).unwrap(), "3");
        assert_eq!(fs::read_to_string(at("c")).unwrap(), "4");
        assert!(fs::symlink_metadata(at("deep")).is_err());
        assert!(!folder.path().join(before).exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "a, c, ..data and its folder");
    }
}
