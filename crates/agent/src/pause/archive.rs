//! Packs one executable as an OCI image archive: one layer, no compression, no times.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Architecture, IMAGE, program};

const TAR_BLOCK_BYTES: usize = 512;

/// The pause image as an OCI layout in a tar file, for `ctr images import`.
pub fn archive(architecture: Architecture) -> Vec<u8> {
    let mut layer = Vec::new();
    append(&mut layer, "pause", 0o755, &program(architecture));
    finish(&mut layer);

    let config = json!({
        "architecture": architecture.image_name(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = json!({"architecture": architecture.image_name(), "os": "linux"});
    entry["annotations"] = json!({
        "io.containerd.image.name": IMAGE,
        "org.opencontainers.image.ref.name": IMAGE.rsplit_once(':').map_or("1", |(_, tag)| tag),
    });
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();

    let mut archive = Vec::new();
    append(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    append(&mut archive, "index.json", 0o644, index.as_bytes());
    for blob in [&config, &layer, &manifest] {
        let name = format!("blobs/sha256/{}", hex(&Sha256::digest(blob)));
        append(&mut archive, &name, 0o644, blob);
    }
    finish(&mut archive);
    archive
}

fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(blob)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One regular file of user 0 with no modification time (POSIX ustar). Names here are shorter than 100 bytes.
fn append(tar: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let mut header = [0_u8; TAR_BLOCK_BYTES];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", content.len()).as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(TAR_BLOCK_BYTES), 0);
}

fn finish(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 2 * TAR_BLOCK_BYTES, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_is_the_same_bytes_each_time() {
        assert_eq!(archive(Architecture::X86_64), archive(Architecture::X86_64));
        assert_ne!(archive(Architecture::X86_64), archive(Architecture::Aarch64));
    }

    #[test]
    fn header_checksum_is_the_sum_with_blanks_in_its_place() {
        let mut tar = Vec::new();
        append(&mut tar, "a", 0o644, b"xyz");
        let written = u32::from_str_radix(std::str::from_utf8(&tar[148..154]).unwrap(), 8).unwrap();
        tar[148..156].copy_from_slice(b"        ");
        let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(written, sum);
        assert_eq!(tar.len(), 1024);
    }
}
