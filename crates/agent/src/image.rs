//! Images of this node: load an archive, list what is there. For the CLI and for our own sandbox image.
//!
//! Loading goes through `ctr`, because CRI can only pull.

use std::path::Path;

use tokio::process::Command;

use crate::containerd::{ContainerdError, Layout, Programs};

/// containerd's namespace of everything that CRI sees.
const CRI_NAMESPACE: &str = "k8s.io";

/// Puts the images of an OCI or docker archive into the containerd that belongs to an agent's folder; returns their
/// names.
pub async fn load(root_dir: &Path, archive: &Path) -> Result<Vec<String>, ContainerdError> {
    let programs = Programs::find()?;
    import(&programs.ctr, &Layout::of(root_dir).socket(), archive).await
}

/// Like [`load`], into the containerd behind a socket.
pub async fn import(ctr: &Path, socket: &Path, archive: &Path) -> Result<Vec<String>, ContainerdError> {
    let mut command = Command::new(ctr);
    command.arg("--address").arg(socket).args(["--namespace", CRI_NAMESPACE, "images", "import"]).arg(archive);
    let output = crate::containerd::run("ctr", command).await?;
    Ok(imported_names(&output))
}

/// `ctr` prints `unpacking NAME (sha256:…)...done` for each image, newer ones the name and then more.
fn imported_names(output: &str) -> Vec<String> {
    output
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let name = line.strip_prefix("unpacking ").unwrap_or(line).split_whitespace().next()?;
            name.contains(['/', ':']).then(|| name.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_what_ctr_prints() {
        let old = "unpacking docker.io/library/a:1 (sha256:00)...done\nunpacking b.local/c:2 (sha256:11)...done\n";
        assert_eq!(imported_names(old), ["docker.io/library/a:1", "b.local/c:2"]);
        assert!(imported_names("").is_empty());
    }
}
