//! Keeping logs small: a log above its size is set aside and begun anew; old ones are compressed, then removed.
//!
//! Upstream: pkg/kubelet/logs (10 MiB, 5 files, looked at every 10 s). The newest rotated file stays uncompressed, since
//! a reader may still be in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri::{ContainerId, ContainerState, Filter};
use flate2::Compression;
use flate2::write::GzEncoder;
use process::Shutdown;

use crate::context::NodeContext;

/// Upstream's containerLogMaxSize.
pub const LOG_BYTES_MAX: u64 = 10 << 20;
/// Upstream's containerLogMaxFiles, the current one included.
pub const LOG_FILES_MAX: usize = 5;
const CHECK_MS: u64 = 10_000;

/// Until the shutdown.
pub async fn run(context: Arc<NodeContext>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            // A timer and a flag.
            () = shutdown.cancelled() => return,
            () = context.clock.sleep(Duration::from_millis(CHECK_MS)) => {}
        }
        let Ok(containers) = context.runtime.list_containers(&Filter::default()).await else { continue };
        for container in containers.into_iter().filter(|container| container.state == ContainerState::Running)
        {
            rotate_if_due(&context, &container.id).await;
        }
    }
}

async fn rotate_if_due(context: &NodeContext, id: &ContainerId) {
    if !context.watchers.knows(id.as_str()) {
        return;
    }
    let Some(path) = log_of(context, id).await else { return };
    if fs::metadata(&path).map_or(0, |file| file.len()) < LOG_BYTES_MAX {
        return;
    }
    let now = context.clock.now();
    let aside = aside(&path, now);
    if let Err(error) = fs::rename(&path, &aside) {
        tracing::warn!(path = %path.display(), %error, "log cannot be rotated");
        return;
    }
    if let Err(error) = context.runtime.reopen_log(id).await {
        tracing::warn!(path = %path.display(), %error, "log is not opened anew; it goes back");
        let _ = fs::rename(&aside, &path);
        return;
    }
    let tidied = tokio::task::spawn_blocking(move || tidy(&path)).await;
    if let Ok(Err(error)) = tidied {
        tracing::warn!(%error, "old logs are not tidied");
    }
}

/// A file is only stat'ed when its place can be known without asking the runtime.
async fn log_of(context: &NodeContext, id: &ContainerId) -> Option<PathBuf> {
    let status = context.runtime.container_status(id).await.ok()?;
    let path = PathBuf::from(status.log_path);
    path.starts_with(&context.log_root).then_some(path)
}

fn aside(path: &Path, now: jiff::Timestamp) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", now.strftime("%Y%m%d-%H%M%S")));
    PathBuf::from(name)
}

/// Compresses all set-aside files but the newest, and removes the oldest above the limit.
fn tidy(path: &Path) -> io::Result<()> {
    let mut old = set_aside(path)?;
    let newest = old.pop();
    let keep = LOG_FILES_MAX.saturating_sub(2);
    let excess = old.len().saturating_sub(keep);
    for file in old.drain(..excess) {
        fs::remove_file(file)?;
    }
    for file in old.iter().filter(|file| file.extension().is_none_or(|extension| extension != "gz")) {
        compress(file)?;
    }
    drop(newest);
    Ok(())
}

/// Oldest first: names carry the time.
fn set_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{}.", path.file_name().and_then(|name| name.to_str()).unwrap_or_default());
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".tmp") {
            // A compression that was cut off.
            fs::remove_file(entry.path())?;
        } else if name.starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn compress(file: &Path) -> io::Result<()> {
    let half = PathBuf::from(format!("{}.tmp", file.display()));
    let whole = PathBuf::from(format!("{}.gz", file.display()));
    let mut encoder = GzEncoder::new(fs::File::create(&half)?, Compression::default());
    io::copy(&mut fs::File::open(file)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&half, &whole)?;
    fs::remove_file(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_stays_plain_older_are_compressed_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        for day in 1..=6 {
            fs::write(folder.path().join(format!("0.log.2026010{day}-000000")), "text").unwrap();
        }
        fs::write(folder.path().join("0.log.x.tmp"), "half").unwrap();
        tidy(&path).unwrap();
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "0.log.20260103-000000.gz",
                "0.log.20260104-000000.gz",
                "0.log.20260105-000000.gz",
                "0.log.20260106-000000"
            ]
        );
    }
}
