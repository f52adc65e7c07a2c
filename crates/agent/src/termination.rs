//! The message that a container leaves when it ends: its own file, or the end of its log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use podmachine::labels::ContainerLabels;

use crate::logs;

/// Upstream's limits for a message from a file, and for one from the log.
const FILE_BYTES_MAX: usize = 4096;
const LOG_BYTES_MAX: usize = 2048;
const LOG_LINES_MAX: usize = 80;

/// The file's place on the node for one life of a container.
pub fn host_path(pod_folder: &Path, container: &str, restart_count: u32) -> PathBuf {
    pod_folder.join("containers").join(container).join(restart_count.to_string())
}

/// Makes the empty file that the container writes to.
pub fn prepare(pod_folder: &Path, container: &str, restart_count: u32) -> io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = host_path(pod_folder, container, restart_count);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(&path)?;
    // Whatever user the container runs as.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    Ok(path)
}

/// What an ended container left; the runtime's own message when it never ran.
pub fn message(pod_folder: &Path, labels: &ContainerLabels, status: &cri::ContainerStatus) -> String {
    if labels.termination_message_path.as_deref().is_some_and(|path| !path.is_empty()) {
        let path = host_path(pod_folder, &labels.container_name, labels.restart_count);
        let found = fs::read(path).unwrap_or_default();
        if !found.is_empty() {
            return text(&found[..found.len().min(FILE_BYTES_MAX)]);
        }
    }
    let from_log = labels.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if from_log && status.exit_code != 0 {
        let tail = logs::tail_text(Path::new(&status.log_path), LOG_LINES_MAX, LOG_BYTES_MAX);
        if !tail.is_empty() {
            return tail;
        }
    }
    status.message.clone()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
