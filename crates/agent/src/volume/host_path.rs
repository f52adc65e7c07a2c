//! hostPath: what its type promises is checked, and made where the type says so.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

/// Checks or makes the path. The text of a refusal is upstream's.
pub fn check(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let found = fs::metadata(path);
    let type_ = source.type_.as_deref().unwrap_or_default();
    let mismatch = |what: &str| Err(format!("hostPath type check failed: {} is not {what}", source.path));
    match (type_, &found) {
        ("", _) => Ok(()),
        ("DirectoryOrCreate", Err(_)) => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|error| format!("make directory {}: {error}", source.path)),
        ("FileOrCreate", Err(_)) => fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o644)
            .open(path)
            .map(drop)
            .map_err(|error| format!("make file {}: {error}", source.path)),
        ("Directory" | "DirectoryOrCreate", Ok(found)) if found.is_dir() => Ok(()),
        ("File" | "FileOrCreate", Ok(found)) if found.is_file() => Ok(()),
        ("Socket", Ok(found)) if found.file_type().is_socket() => Ok(()),
        ("CharDevice", Ok(found)) if found.file_type().is_char_device() => Ok(()),
        ("BlockDevice", Ok(found)) if found.file_type().is_block_device() => Ok(()),
        ("Directory" | "DirectoryOrCreate", _) => mismatch("a directory"),
        ("File" | "FileOrCreate", _) => mismatch("a file"),
        ("Socket", _) => mismatch("a socket file"),
        ("CharDevice", _) => mismatch("a character device"),
        ("BlockDevice", _) => mismatch("a block device"),
        (other, _) => Err(format!("{other} is an invalid volume type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_accepts_its_own_and_makes_what_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, type_: &str| HostPathVolumeSource {
            path: folder.path().join(name).display().to_string(),
            type_: Some(type_.to_owned()),
        };
        check(&at("made/below", "DirectoryOrCreate")).unwrap();
        check(&at("made", "Directory")).unwrap();
        check(&at("file", "FileOrCreate")).unwrap();
        check(&at("file", "File")).unwrap();
        check(&at("none", "")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        check(&at("socket", "Socket")).unwrap();
        let device = |type_: &str| HostPathVolumeSource {
            path: "/dev/null".to_owned(),
            type_: Some(type_.to_owned()),
        };
        check(&device("CharDevice")).unwrap();
        for (name, type_) in [
            ("none", "Directory"),
            ("none", "File"),
            ("file", "Directory"),
            ("made", "File"),
            ("file", "Socket"),
            ("no/parent", "FileOrCreate"),
            ("file", "Nonsense"),
        ] {
            check(&at(name, type_)).unwrap_err();
        }
        check(&device("BlockDevice")).unwrap_err();
    }
}
