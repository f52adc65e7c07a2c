//! Containers' logs on disk: `<root>/<namespace>_<name>_<uid>/<container>/<restarts>.log`, in CRI's line format.
//!
//! The runtime writes them; here they are read ([`read`]), rotated ([`rotate`]), linked where collectors look, and
//! removed with their Pod.

pub mod line;
pub mod read;
pub mod rotate;

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::spec::PodId;
use crate::spec::container::log_path;

/// One life of a container.
pub fn file(log_root: &Path, id: &PodId, container: &str, restart_count: u32) -> PathBuf {
    id.log_folder(log_root).join(log_path(container, restart_count))
}

/// `/var/log/containers` beside `/var/log/pods`: log collectors follow the links there.
fn links(log_root: &Path) -> Option<PathBuf> {
    (log_root.file_name()? == "pods").then(|| log_root.with_file_name("containers"))
}

/// `<name>_<namespace>_<container>-<id>.log`. A link that cannot be made is worth a line in the log, no more.
pub fn link(log_root: &Path, id: &PodId, container: &str, restart_count: u32, container_id: &str) {
    let Some(folder) = links(log_root) else { return };
    let target = file(log_root, id, container, restart_count);
    let path = folder.join(format!("{}_{}_{container}-{container_id}.log", id.name, id.namespace));
    let made = fs::create_dir_all(&folder).and_then(|()| match std::os::unix::fs::symlink(&target, &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    if let Err(error) = made {
        tracing::warn!(path = %path.display(), %error, "log cannot be linked");
    }
}

/// Removes a Pod's logs and the links to them.
pub fn remove_folder(log_root: &Path, id: &PodId) {
    if id.uid.is_empty() {
        return;
    }
    let folder = id.log_folder(log_root);
    if let Some(links) = links(log_root) {
        for entry in fs::read_dir(links).into_iter().flatten().flatten() {
            if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(&folder)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "logs of a Pod stay");
        }
        _ => {}
    }
}

/// The text of a log's last lines, at most so many lines and bytes.
pub fn tail_text(path: &Path, lines_max: usize, bytes_max: usize) -> String {
    // A CRI line carries some forty bytes of its own.
    let window = (bytes_max + lines_max * 64) as u64;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(window)))?;
        let mut bytes = Vec::new();
        file.take(window).read_to_end(&mut bytes)?;
        if length > window {
            let cut = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            bytes.drain(..cut);
        }
        Ok(bytes)
    };
    let Ok(bytes) = read() else { return String::new() };
    let parsed: Vec<line::Line<'_>> =
        bytes.split_inclusive(|byte| *byte == b'\n').filter_map(line::Line::parse).collect();
    let first = parsed.len().saturating_sub(lines_max);
    let mut text = Vec::new();
    for line in &parsed[first..] {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let cut = text.len().saturating_sub(bytes_max);
    String::from_utf8_lossy(&text[cut..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_has_the_last_lines_within_both_limits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let lines: String =
            (0..200).map(|n| format!("2026-11-23T22:00:00.000000001Z stdout F line {n}\n")).collect();
        fs::write(&path, lines).unwrap();
        assert_eq!(tail_text(&path, 2, 2048), "line 198\nline 199\n");
        assert_eq!(tail_text(&path, 80, 5), " 199\n");
        assert_eq!(tail_text(Path::new("/none"), 2, 2), "");
    }

    #[test]
    fn links_go_with_their_pod() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("pods");
        let id = PodId { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let path = file(&root, &id, "c", 0);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        link(&root, &id, "c", 0, "abc");
        let link = folder.path().join("containers/p_n_c-abc.log");
        assert_eq!(fs::read_link(&link).unwrap(), path);
        remove_folder(&root, &id);
        assert!(fs::symlink_metadata(link).is_err() && !path.exists());
    }
}
