//! The last accepted text of each manifest, kept on disk over restarts of the agent.
//!
//! One file per manifest, named after a hash of its path, with the path as its first line, readable by the agent's user
//! alone (a manifest may hold secrets), written whole or not at all. What cannot be kept is only logged: it costs
//! nothing before the manifest breaks and the agent restarts.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Hexadecimal digits of a file's name: enough that no two paths share one.
const NAME_DIGITS: usize = 32;
/// A text on its way; no hash looks like it.
const NEXT: &str = "next";
/// There when the manifests were on a mount of their own.
const MOUNT: &str = "on-a-mount";

/// The folder of last good texts.
#[derive(Debug, Clone)]
pub struct LastGood {
    folder: PathBuf,
}

impl LastGood {
    /// The folder is made when there is something to keep.
    pub fn in_folder(folder: impl Into<PathBuf>) -> LastGood {
        LastGood { folder: folder.into() }
    }

    /// Everything that is kept: path and text.
    pub fn load(&self) -> Vec<(String, Vec<u8>)> {
        // No folder: nothing was ever kept.
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut kept = Vec::new();
        for entry in entries.flatten().filter(|entry| is_kept(&entry.file_name())) {
            let content = match fs::read(entry.path()) {
                Ok(content) => content,
                Err(error) => {
                    tracing::warn!(file = %entry.path().display(), %error, "last good manifest cannot be read");
                    continue;
                }
            };
            let Some(end) = content.iter().position(|byte| *byte == b'\n') else { continue };
            let Ok(path) = std::str::from_utf8(&content[..end]) else { continue };
            if name_of(path) == entry.file_name().to_string_lossy() {
                kept.push((path.to_owned(), content[end + 1..].to_vec()));
            }
        }
        kept.sort();
        kept
    }

    /// Keeps a text; the same again writes nothing.
    pub fn keep(&self, manifest: &str, text: &[u8]) {
        // The path is one line.
        if manifest.contains('\n') {
            return;
        }
        let file = self.folder.join(name_of(manifest));
        let content = [manifest.as_bytes(), b"\n", text].concat();
        if fs::read(&file).is_ok_and(|kept| kept == content) {
            return;
        }
        if let Err(error) = self.write(&file, &content) {
            tracing::warn!(manifest, %error, "last good manifest is not kept");
        }
    }

    /// Removes what is kept of manifests that are not among these.
    pub fn retain(&self, manifests: &BTreeSet<String>) {
        let kept: BTreeSet<String> = manifests.iter().map(|manifest| name_of(manifest)).collect();
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_stale = name == NEXT || is_kept(&entry.file_name()) && !kept.contains(&name);
            if is_stale && let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(file = %entry.path().display(), %error, "last good manifest is not removed");
            }
        }
    }

    /// Whether the folder of manifests was the root of a mount when it was last read.
    pub fn was_mount(&self) -> bool {
        self.folder.join(MOUNT).exists()
    }

    pub fn set_was_mount(&self, mounted: bool) {
        if mounted == self.was_mount() {
            return;
        }
        let file = self.folder.join(MOUNT);
        let result = if mounted { self.write(&file, b"") } else { fs::remove_file(&file) };
        if let Err(error) = result {
            tracing::warn!(file = %file.display(), %error, "it is not noted whether the manifests are on a mount");
        }
    }

    fn write(&self, file: &Path, text: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let next = self.folder.join(NEXT);
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        open.write_all(text)?;
        // The name must not be on disk before the text is.
        open.sync_all()?;
        fs::rename(&next, file)
    }
}

fn name_of(manifest: &str) -> String {
    crate::pause::hex(&Sha256::digest(manifest.as_bytes()))[..NAME_DIGITS].to_owned()
}

fn is_kept(name: &OsStr) -> bool {
    name.len() == NAME_DIGITS && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn text_is_for_its_owner_alone_and_goes_with_its_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let kept = LastGood::in_folder(folder.path().join("static"));
        assert_eq!(kept.load(), []);
        kept.keep("/m/a", b"one");
        kept.keep("/m/a", b"two\nlines");
        kept.keep("/m/b", b"three");
        let entry = |path: &str, text: &[u8]| (path.to_owned(), text.to_vec());
        assert_eq!(kept.load(), [entry("/m/a", b"two\nlines"), entry("/m/b", b"three")]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&kept.folder), 0o700);
        assert_eq!(mode(&kept.folder.join(name_of("/m/a"))), 0o600);
        // A text whose write was cut off is nobody's.
        fs::write(kept.folder.join(NEXT), b"hal").unwrap();
        kept.set_was_mount(true);
        kept.retain(&BTreeSet::from(["/m/b".to_owned()]));
        assert_eq!(kept.load(), [entry("/m/b", b"three")]);
        assert!(kept.was_mount() && !kept.folder.join(NEXT).exists());
        kept.set_was_mount(false);
        assert_eq!(fs::read_dir(&kept.folder).unwrap().count(), 1);
    }
}
