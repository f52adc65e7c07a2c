//! Private files: in a folder of 0700, each 0600, and written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::PkiError;

pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn open(path: &Path) -> Result<Folder, PkiError> {
        let ready = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            std::fs::set_permissions(path, Permissions::from_mode(0o700))
        };
        ready().map_err(|source| PkiError::Folder { path: path.to_owned(), source })?;
        Ok(Folder(path.to_owned()))
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    pub fn read(&self, file: &str) -> Result<Option<String>, PkiError> {
        let path = self.path(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PkiError::Read { path, source }),
        }
    }

    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<(), PkiError> {
        let path = self.path(file);
        write_private(&path, bytes).map_err(|source| PkiError::Write { path, source })
    }
}

/// Replaces `path` with a file (0600) of these bytes; after a crash either the old or the new one is there.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // One process owns the folder; what an earlier one left half written is overwritten.
    let draft = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}
