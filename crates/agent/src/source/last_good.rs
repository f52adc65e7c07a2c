//! The last good text of each manifest, kept on disk over restarts of the agent.
//!
//! One file per manifest, named after a hash of its path, readable by the agent's user alone (a manifest may hold
//! secrets), written whole or not at all. What cannot be kept is only logged: it costs nothing before the manifest
//! breaks and the agent restarts.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Hexadecimal digits of a file's name: enough that no two paths share one.
const NAME_DIGITS: usize = 32;
/// A text on its way; no hash looks like it.
const NEXT: &str = "next";

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

    /// What this manifest held when it was last good.
    pub fn get(&self, manifest: &Path) -> Option<Vec<u8>> {
        let file = self.folder.join(name_of(manifest));
        match fs::read(&file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "last good manifest cannot be read");
                None
            }
        }
    }

    /// Keeps a text; the same again writes nothing.
    pub fn keep(&self, manifest: &Path, text: &[u8]) {
        let file = self.folder.join(name_of(manifest));
        if fs::read(&file).is_ok_and(|kept| kept == text) {
            return;
        }
        if let Err(error) = self.write(&file, text) {
            tracing::warn!(manifest = %manifest.display(), %error, "last good manifest is not kept");
        }
    }

    /// Removes what is kept of manifests that are not among these.
    pub fn retain(&self, manifests: &BTreeSet<PathBuf>) {
        let kept: BTreeSet<String> = manifests.iter().map(|manifest| name_of(manifest)).collect();
        // No folder: nothing was ever kept.
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let known = entry.file_name().to_str().is_some_and(|name| kept.contains(name));
            if !known && let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(file = %entry.path().display(), %error, "last good manifest is not removed");
            }
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

fn name_of(manifest: &Path) -> String {
    let digest = Sha256::digest(manifest.as_os_str().as_encoded_bytes());
    let hex = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    hex[..NAME_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn text_is_for_its_owner_alone_and_goes_with_its_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let kept = LastGood::in_folder(folder.path().join("static"));
        let (a, b) = (PathBuf::from("/m/a"), PathBuf::from("/m/b"));
        assert_eq!(kept.get(&a), None);
        kept.keep(&a, b"one");
        kept.keep(&a, b"two");
        kept.keep(&b, b"three");
        assert_eq!(kept.get(&a).as_deref(), Some(b"two".as_slice()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&kept.folder), 0o700);
        assert_eq!(mode(&kept.folder.join(name_of(&a))), 0o600);
        // A text whose write was cut off is nobody's.
        fs::write(kept.folder.join(NEXT), b"hal").unwrap();
        kept.retain(&BTreeSet::from([b.clone()]));
        assert_eq!((kept.get(&a), kept.get(&b).as_deref()), (None, Some(b"three".as_slice())));
        assert_eq!(fs::read_dir(&kept.folder).unwrap().count(), 1);
    }
}
