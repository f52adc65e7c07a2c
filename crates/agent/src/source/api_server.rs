//! The API as a source of Pods: all that are bound to this node, except mirrors of our own static Pods.

use client::Cache;
use k8s_openapi::api::core::v1::Pod;
use process::Shutdown;
use tokio::sync::{mpsc, watch};

use super::{SourceKind, SourceSet};

/// Sends the complete set after the first sync and after every change. `mirrors` rises with each change as well.
pub async fn run(
    pods: Cache<Pod>,
    sets: mpsc::Sender<SourceSet>,
    mirrors: watch::Sender<u64>,
    shutdown: Shutdown,
) {
    let mut changes = pods.subscribe();
    tokio::select! {
        // A cache that never syncs says nothing, and that is what nobody hears.
        () = shutdown.cancelled() => return,
        () = pods.synced() => {}
    }
    loop {
        let wanted = pods.list().into_iter().filter(|pod| !api::pod::is_mirror(pod) && has_safe_uid(pod));
        let pods_now = wanted.map(|pod| (*pod).clone()).collect();
        mirrors.send_modify(|version| *version += 1);
        if sets.send(SourceSet { kind: SourceKind::Api, pods: pods_now }).await.is_err() {
            return;
        }
        tokio::select! {
            // The inbox keeps what changed.
            () = shutdown.cancelled() => return,
            _ = changes.next() => {}
        }
        // What else has changed by now is in the next set already.
        while changes.try_next().is_some() {}
    }
}

/// A uid names folders on this node.
fn has_safe_uid(pod: &Pod) -> bool {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
