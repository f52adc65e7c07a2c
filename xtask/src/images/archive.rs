//! An OCI image layout in a tar file: one gzip layer, one manifest a reference.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub struct Config<'a> {
    pub references: &'a [&'a str],
    pub entrypoint: &'a [&'a str],
    pub command: &'a [&'a str],
    pub description: &'a str,
}

struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Blob {
        Blob { digest: sha256(&bytes), bytes }
    }

    fn json(value: &Value) -> Result<Blob> {
        Ok(Blob::new(serde_json::to_vec(value)?))
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.bytes.len()})
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The architecture as OCI names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Writes `rootfs` as an image under all its references.
pub fn write(archive: &Path, rootfs: &Path, config: &Config) -> Result<()> {
    let plain = layer(rootfs)?;
    let diff_id = sha256(&plain);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain)?;
    let layer = Blob::new(gzip.finish()?);

    let image = Blob::json(&json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": config.entrypoint,
            "Cmd": config.command,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": {"org.opencontainers.image.description": config.description},
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
    }))?;
    let mut blobs = Vec::new();
    let mut manifests = Vec::new();
    for reference in config.references {
        // The annotation makes each reference an image of its own, so that a rollout from one to the
        // other is a real change.
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": image.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
            "annotations": {"org.opencontainers.image.title": reference},
        }))?;
        let mut descriptor = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
        descriptor["annotations"] = json!({
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference,
        });
        descriptor["platform"] = json!({"architecture": architecture(), "os": "linux"});
        manifests.push(descriptor);
        blobs.push(manifest);
    }
    blobs.push(image);
    blobs.push(layer);
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    }))?;

    let partial = archive.with_extension("tar.partial");
    let mut tar = tar::Builder::new(File::create(&partial)?);
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", &index)?;
    for blob in &blobs {
        append(&mut tar, &format!("blobs/sha256/{}", blob.digest), &blob.bytes)?;
    }
    tar.into_inner()?.sync_all()?;
    fs::rename(&partial, archive).with_context(|| format!("write {}", archive.display()))
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn append(tar: &mut tar::Builder<File>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
    Ok(tar.append_data(&mut header, path, bytes)?)
}

/// The tree as an uncompressed tar with fixed owners and times.
fn layer(rootfs: &Path) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut paths = Vec::new();
    walk(rootfs, &mut paths)?;
    for path in paths {
        let name = path.strip_prefix(rootfs)?;
        let metadata = fs::symlink_metadata(&path)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_symlink() {
            let mut header = header(tar::EntryType::Symlink, 0o777, 0);
            tar.append_link(&mut header, name, fs::read_link(&path)?)?;
        } else if metadata.is_dir() {
            let mut header = header(tar::EntryType::Directory, mode, 0);
            tar.append_data(&mut header, name, std::io::empty())?;
        } else if metadata.is_file() {
            let mut header = header(tar::EntryType::Regular, mode, metadata.size());
            tar.append_data(&mut header, name, File::open(&path)?)?;
        }
    }
    Ok(tar.into_inner()?)
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        let is_folder = fs::symlink_metadata(&path)?.is_dir();
        paths.push(path.clone());
        if is_folder {
            walk(&path, paths)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let rootfs = folder.path().join("rootfs");
        fs::create_dir_all(rootfs.join("bin")).unwrap();
        fs::write(rootfs.join("bin/tool"), b"tool").unwrap();
        let config = Config {
            references: &["a.local/x:1"],
            entrypoint: &["/bin/tool"],
            command: &[],
            description: "d",
        };
        let (one, two) = (folder.path().join("1.tar"), folder.path().join("2.tar"));
        write(&one, &rootfs, &config).unwrap();
        write(&two, &rootfs, &config).unwrap();
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    }
}
