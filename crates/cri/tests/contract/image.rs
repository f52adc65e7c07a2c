//! A test image out of one static binary: busybox with links, as an OCI layout in a tar.

use std::path::Path;

use sha2::{Digest, Sha256};

/// The commands that the claims use.
const COMMANDS: [&str; 9] = ["sh", "sleep", "echo", "true", "false", "cat", "ls", "touch", "tail"];

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entry(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, data: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    tar.append_data(&mut header, path, data).unwrap();
}

fn directory(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(mode);
    header.set_mtime(0);
    tar.append_data(&mut header, path, std::io::empty()).unwrap();
}

fn layer(busybox: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    directory(&mut tar, "bin/", 0o755);
    directory(&mut tar, "tmp/", 0o1777);
    directory(&mut tar, "etc/", 0o755);
    entry(&mut tar, "bin/busybox", 0o755, busybox);
    for command in COMMANDS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_mtime(0);
        tar.append_link(&mut header, format!("bin/{command}"), "busybox").unwrap();
    }
    entry(&mut tar, "etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n");
    tar.into_inner().unwrap()
}

/// Writes `to`: an archive for `ctr images import` under this name.
pub fn write(name: &str, busybox: &Path, to: &Path) {
    let layer = layer(&std::fs::read(busybox).unwrap());
    let config = format!(
        r#"{{"architecture":"{}","os":"linux","config":{{"Entrypoint":["/bin/tail","-f","/dev/null"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#,
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        hex(&layer),
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{}","size":{}}}]}}"#,
        hex(config.as_bytes()),
        config.len(),
        hex(&layer),
        layer.len(),
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":{},"annotations":{{"io.containerd.image.name":"{name}","org.opencontainers.image.ref.name":"1"}}}}]}}"#,
        hex(manifest.as_bytes()),
        manifest.len(),
    );
    let mut archive = tar::Builder::new(Vec::new());
    entry(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    entry(&mut archive, "index.json", 0o644, index.as_bytes());
    for blob in [config.as_bytes(), manifest.as_bytes(), &layer] {
        entry(&mut archive, &format!("blobs/sha256/{}", hex(blob)), 0o644, blob);
    }
    std::fs::write(to, archive.into_inner().unwrap()).unwrap();
}
