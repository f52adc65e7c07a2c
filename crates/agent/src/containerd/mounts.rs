//! The mount namespace of our containerd.
//!
//! Where `/` is a shared mount (systemd makes it so) containerd lives beside us. Where it is private, volumes with
//! mountPropagation could not work; then containerd gets a namespace of its own in which everything is shared, pinned
//! to a file so that a restarted containerd finds its mounts again. The folder of the Pods' volumes is a shared mount
//! on both sides, so that a tmpfs that we mount for a Pod is seen there.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use tokio::process::Command;

use super::ContainerdError;
use super::layout::{Layout, find};

/// A mount point is mounted on at most this often: once by us, once more by each copy that comes back shared.
const MOUNT_LAYERS_MAX: usize = 8;

/// How to start a program where containerd lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In our own mount namespace.
    Beside,
    /// In the namespace that is pinned to this file.
    Pinned(PathBuf),
}

/// One row of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRow {
    pub mount_point: PathBuf,
    pub filesystem: String,
    pub shared: bool,
}

/// The mounts of this process, in the order in which they were made.
pub fn mount_table() -> io::Result<Vec<MountRow>> {
    Ok(parse_mount_table(&std::fs::read_to_string("/proc/self/mountinfo")?))
}

pub fn parse_mount_table(text: &str) -> Vec<MountRow> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut fields = left.split(' ').skip(4);
            let mount_point = PathBuf::from(unescape(fields.next()?));
            let shared = fields.skip(1).any(|field| field.starts_with("shared:"));
            let filesystem = right.split(' ').next()?.to_owned();
            Some(MountRow { mount_point, filesystem, shared })
        })
        .collect()
}

/// Blanks, tabs, newlines and backslashes stand as three octal digits.
fn unescape(text: &str) -> String {
    let mut plain = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = (bytes[at] == b'\\')
            .then(|| text.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()))
            .flatten();
        match octal {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn last<'a>(table: &'a [MountRow], mount_point: &Path) -> Option<&'a MountRow> {
    table.iter().rev().find(|row| row.mount_point == mount_point)
}

/// Makes what containerd needs, and says where to start it. Repeating it changes nothing.
pub async fn prepare(layout: &Layout) -> Result<Place, ContainerdError> {
    let failed = |step: &str| {
        let step = step.to_owned();
        move |source: io::Error| ContainerdError::Mounts { step, source }
    };
    std::fs::create_dir_all(layout.pods()).map_err(failed("make the Pods' folder"))?;
    let table = mount_table().map_err(failed("read /proc/self/mountinfo"))?;
    if last(&table, Path::new("/")).is_some_and(|root| root.shared) {
        return Ok(Place::Beside);
    }
    if last(&table, &layout.pods()).is_none() {
        mount_bind(layout.pods(), layout.pods())
            .map_err(io::Error::from)
            .map_err(failed("bind the Pods' folder"))?;
    }
    mount_change(layout.pods(), MountPropagationFlags::SHARED)
        .map_err(io::Error::from)
        .map_err(failed("share the Pods' folder"))?;

    let (folder, pin) = (layout.namespace_folder(), layout.namespace_pin());
    if last(&table, &pin).is_some_and(|row| row.filesystem == "nsfs") {
        return Ok(Place::Pinned(pin));
    }
    std::fs::create_dir_all(&folder).map_err(failed("make the namespace's folder"))?;
    if last(&table, &folder).is_none() {
        mount_bind(&folder, &folder)
            .map_err(io::Error::from)
            .map_err(failed("bind the namespace's folder"))?;
    }
    // The kernel refuses to pin a namespace on a mount that would be copied into it as shared.
    mount_change(&folder, MountPropagationFlags::PRIVATE)
        .map_err(io::Error::from)
        .map_err(failed("make the namespace's folder private"))?;
    std::fs::write(&pin, b"").map_err(failed("make the namespace's pin"))?;
    let mut command = Command::new(find("unshare")?);
    command.arg(format!("--mount={}", pin.display())).args(["--propagation", "shared", "true"]);
    run("unshare", command).await?;
    Ok(Place::Pinned(pin))
}

/// Unmounts everything under the node's folder: ours, and what Pods' volumes left. An error names what is still
/// mounted: then nothing may be removed there, since it might be the node's own data.
pub fn release(layout: &Layout) -> Result<(), String> {
    // Mounts may lie upon each other; each pass takes one layer.
    for _ in 0..MOUNT_LAYERS_MAX {
        let table = mount_table().map_err(|error| format!("read /proc/self/mountinfo: {error}"))?;
        let mut left =
            table.iter().rev().filter(|row| row.mount_point.starts_with(&layout.root_dir)).peekable();
        if left.peek().is_none() {
            return Ok(());
        }
        // Innermost first.
        for row in left {
            unmount(&row.mount_point, UnmountFlags::DETACH)
                .map_err(|error| format!("unmount {}: {error}", row.mount_point.display()))?;
        }
    }
    Err(format!("something mounts under {} again and again", layout.root_dir.display()))
}

pub async fn run(program: &str, mut command: Command) -> Result<String, ContainerdError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|source| ContainerdError::Run { program: program.to_owned(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ContainerdError::Failed { program: program.to_owned(), output: text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_table_knows_shared_mounts_and_blanks_in_paths() {
        let text = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                    30 22 254:0 /a /data/my\\040pods rw shared:7 master:3 - tmpfs none rw\n";
        let table = parse_mount_table(text);
        assert!(!table[0].shared);
        assert_eq!(table[1].mount_point, Path::new("/data/my pods"));
        assert!(table[1].shared);
        assert_eq!(table[1].filesystem, "tmpfs");
    }
}
