//! The API as a source of Pods: all that are bound to this node, except mirrors of our own static Pods.
//!
//! DIFFERS(offline): while the API was not heard [`OFFLINE_AFTER_MS`] after the start, what was wanted last is taken from the
//! disk. It starts Pods and ends none; what the API says when it comes replaces it, and whatever is the same goes on.

use std::sync::Arc;
use std::time::Duration;

use client::Cache;
use k8s_openapi::api::core::v1::Pod;
use process::{Clock, Shutdown};
use tokio::sync::{mpsc, watch};

use super::{SourceKind, SourceSet};
use crate::offline::Kept;

/// An API server that is there answers sooner, so that a boot starts nothing that was deleted meanwhile.
const OFFLINE_AFTER_MS: u64 = 3_000;

/// Sends the complete set after the first sync and after every change. `mirrors` rises with each change as well.
pub async fn run(
    pods: Cache<Pod>,
    sets: mpsc::Sender<SourceSet>,
    mirrors: watch::Sender<u64>,
    kept: Arc<Kept>,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
) {
    let mut changes = pods.subscribe();
    let mut from_disk = Some(kept.pods()).filter(|pods| !pods.is_empty());
    loop {
        let patience = Duration::from_millis(OFFLINE_AFTER_MS);
        tokio::select! {
            // A cache that never syncs says nothing; the disk is asked once.
            () = shutdown.cancelled() => return,
            () = pods.synced() => break,
            () = clock.sleep(patience), if from_disk.is_some() => {}
        }
        let Some(pods) = from_disk.take() else { continue };
        tracing::warn!(pods = pods.len(), "the API server was not heard: Pods are started as they were");
        if sets.send(SourceSet { kind: SourceKind::Api, pods, heard: false }).await.is_err() {
            return;
        }
    }
    loop {
        let wanted = pods.list().into_iter().filter(|pod| !api::pod::is_mirror(pod) && has_safe_uid(pod));
        let pods_now = wanted.map(|pod| (*pod).clone()).collect();
        mirrors.send_modify(|version| *version += 1);
        if sets.send(SourceSet { kind: SourceKind::Api, pods: pods_now, heard: true }).await.is_err() {
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
