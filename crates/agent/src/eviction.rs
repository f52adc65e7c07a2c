//! Pods that use more of the node's disk than they may: an emptyDir beyond its sizeLimit ends its Pod.
//!
//! Upstream: pkg/kubelet/eviction, localStorageEviction. Looked at every [`LOOK_SECONDS`], and only where a Pod has such a
//! limit. A volume in memory is limited by the kernel. What is measured here is decided here; how a Pod ends is the
//! machine's business.
//! It does not know: pressure of the node as a whole ([`crate::pressure`]).

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::Pod;
use podmachine::State;
use podmachine::pressure::ranking::HARD_GRACE_SECONDS;
use process::Shutdown;
use tokio::sync::mpsc;

use crate::context::NodeContext;

/// Upstream's monitoring interval.
const LOOK_SECONDS: u64 = 10;
/// Files of one volume that are counted; more than this is more than enough to say that it is too much.
const FILES_MAX: u64 = 1_000_000;
/// Evictions under way to the list of Pods.
pub const EVICTIONS_QUEUED_MAX: usize = 16;
const BLOCK_BYTES: u64 = 512;

/// One Pod is to end, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    pub uid: String,
    pub message: String,
    pub grace_seconds: u64,
}

/// What files take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub bytes: u64,
    pub inodes: u64,
}

/// Until the shutdown.
pub async fn run(context: Arc<NodeContext>, evictions: mpsc::Sender<Eviction>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            // A look that is left out is the next one's.
            () = shutdown.cancelled() => return,
            () = context.clock.sleep(Duration::from_secs(LOOK_SECONDS)) => {}
        }
        for row in context.board.all().into_iter().filter(|row| row.state == State::Syncing) {
            let limits = limits(&row.pod);
            if limits.is_empty() {
                continue;
            }
            let uid = row.pod.metadata.uid.clone().unwrap_or_default();
            let volumes = context.volumes.clone();
            let measured = tokio::task::spawn_blocking(move || {
                let over = limits
                    .iter()
                    .find(|limit| used(&volumes.empty_dir(&uid, &limit.volume)).bytes > limit.bytes);
                over.map(|limit| Eviction {
                    uid: uid.clone(),
                    message: message(limit),
                    grace_seconds: HARD_GRACE_SECONDS,
                })
            });
            if let Ok(Some(eviction)) = measured.await
                && evictions.send(eviction).await.is_err()
            {
                return;
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    volume: String,
    /// As it is written.
    text: String,
    bytes: u64,
}

fn limits(pod: &Pod) -> Vec<Limit> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let of = |volume: &k8s_openapi::api::core::v1::Volume| {
        let source = volume.empty_dir.as_ref()?;
        if source.medium.as_deref().is_some_and(|medium| !medium.is_empty()) {
            return None;
        }
        let text = source.size_limit.as_ref()?.0.clone();
        let bytes = u64::try_from(Quantity::parse(&text).ok()?.bytes()).ok().filter(|bytes| *bytes > 0)?;
        Some(Limit { volume: volume.name.clone(), text, bytes })
    };
    volumes.filter_map(of).collect()
}

fn message(limit: &Limit) -> String {
    format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", limit.volume, limit.text)
}

/// What a folder and all below it take on the disk. Links are not followed, what cannot be read counts nothing.
pub fn used(folder: &Path) -> Used {
    let mut open = vec![folder.to_path_buf()];
    let mut used = Used::default();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            // The entry's own metadata: a link is a link.
            let Ok(found) = entry.metadata() else { continue };
            used.bytes = used.bytes.saturating_add(found.blocks().saturating_mul(BLOCK_BYTES));
            if found.is_dir() {
                open.push(entry.path());
            }
            used.inodes += 1;
            if used.inodes > FILES_MAX {
                return used;
            }
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_those_of_volumes_on_disk() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [], "volumes": [
            {"name": "a", "emptyDir": {"sizeLimit": "1Mi"}},
            {"name": "b", "emptyDir": {"sizeLimit": "1Mi", "medium": "Memory"}},
            {"name": "c", "emptyDir": {}},
            {"name": "d", "hostPath": {"path": "/"}}]}}))
            .unwrap();
        let found = limits(&pod);
        assert_eq!(found, [Limit { volume: "a".to_owned(), text: "1Mi".to_owned(), bytes: 1 << 20 }]);
        assert_eq!(message(&found[0]), "Usage of EmptyDir volume \"a\" exceeds the limit \"1Mi\". ");
    }

    #[test]
    fn what_lies_behind_a_link_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("volume");
        std::fs::create_dir_all(inside.join("below")).unwrap();
        let outside = folder.path().join("large");
        std::fs::write(&outside, vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(folder.path(), inside.join("up")).unwrap();
        std::fs::write(inside.join("below/file"), vec![1; 64 << 10]).unwrap();
        let used = used(&inside);
        assert!((64 << 10..1 << 20).contains(&used.bytes), "{used:?}");
        assert_eq!(used.inodes, 4);
    }
}
