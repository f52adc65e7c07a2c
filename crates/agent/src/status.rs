//! Pods' statuses on their way to the API server.
//!
//! Rows that changed on the board are written soon, together, and again until it worked; a status that the API has
//! already is not written. Where another has written over ours, as the node lifecycle controller does for a Node that it
//! does not hear of, ours is written again. A static Pod's goes to its mirror. Upstream: pkg/kubelet/status.
//! It does not decide what a status is, and nothing waits for it: containers run whether or not it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::well_known::pod_annotation;
use client::write::{self, Class, Deletion, Expect};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use podmachine::PodSource;
use process::{Clock, Shutdown};
use serde_json::Value;

use crate::board::Board;
use crate::mirror::Mirrors;

/// How long changes are gathered: a start makes several within milliseconds.
const GATHER_MS: u64 = 50;
/// A write that failed is tried again after this; upstream's status manager syncs all every 10 s.
const RETRY_MS: u64 = 2_000;
/// How many statuses are written at once.
const WRITES_AT_ONCE_MAX: usize = 8;

/// Fields of a Pod's status that are the agent's alone.
const OWN_FIELDS: &[&str] = &[
    "message",
    "reason",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
];

/// Writes statuses; a handle without a client does nothing.
#[derive(Clone)]
pub struct Writer {
    client: Option<kube::Client>,
    board: Arc<Board>,
    mirrors: Mirrors,
    clock: Arc<dyn Clock>,
}

/// What was written last of one Pod.
struct Written {
    /// The uid of the API's Pod.
    to: String,
    status: PodStatus,
    /// The version that this made of it.
    version: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("write the final status of {pod}")]
    Final {
        pod: String,
        #[source]
        source: write::WriteError,
    },
    #[error("delete {pod} from the API")]
    Delete {
        pod: String,
        #[source]
        source: write::WriteError,
    },
}

impl Writer {
    pub fn new(
        client: Option<kube::Client>,
        board: Arc<Board>,
        mirrors: Mirrors,
        clock: Arc<dyn Clock>,
    ) -> Writer {
        Writer { client, board, mirrors, clock }
    }

    /// Until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        let Some(client) = self.client.clone() else { return };
        let mut version = self.board.version();
        let mut due: BTreeSet<String> = BTreeSet::new();
        // What was written last, by uid, so that the same is not written twice.
        let mut written: BTreeMap<String, Written> = BTreeMap::new();
        loop {
            let pause = if due.is_empty() { Duration::MAX } else { Duration::from_millis(RETRY_MS) };
            tokio::select! {
                // The board keeps what changed.
                () = shutdown.cancelled() => return,
                _ = version.changed() => {}
                () = self.mirrors.changed() => {
                    // A mirror made anew knows nothing yet.
                    for row in self.board.all() {
                        let Some(uid) = row.pod.metadata.uid.clone() else { continue };
                        let overwritten = self.is_overwritten(&row.pod, written.get(&uid));
                        if overwritten {
                            written.remove(&uid);
                        }
                        if overwritten || row.source == PodSource::Static {
                            due.insert(uid);
                        }
                    }
                }
                () = sleep(&*self.clock, pause) => {}
            }
            self.clock.sleep(Duration::from_millis(GATHER_MS)).await;
            due.extend(self.board.take_changed());
            let batch: Vec<String> = std::mem::take(&mut due).into_iter().collect();
            for chunk in batch.chunks(WRITES_AT_ONCE_MAX) {
                let writes = chunk.iter().map(|uid| self.write_one(&client, uid, written.get(uid)));
                for (uid, result) in chunk.iter().zip(futures::future::join_all(writes).await) {
                    match result {
                        Ok(Some(entry)) => drop(written.insert(uid.clone(), entry)),
                        Ok(None) => {}
                        Err(()) => drop(due.insert(uid.clone())),
                    }
                }
            }
            written.retain(|uid, _| self.board.get(uid).is_some());
        }
    }

    /// Whether the API shows, later than we wrote, another readiness than ours.
    fn is_overwritten(&self, pod: &Pod, written: Option<&Written>) -> bool {
        let (Some(written), Some(shown)) = (written, self.mirrors.shown(pod)) else { return false };
        let later = version_of(&shown).is_none_or(|version| version > written.version);
        let ready =
            written.status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        later && shown.metadata.uid.as_ref() == Some(&written.to) && api::pod::is_ready(&shown) != ready
    }

    /// What the API has now; `None` when there is nothing to write to.
    async fn write_one(
        &self,
        client: &kube::Client,
        uid: &str,
        before: Option<&Written>,
    ) -> Result<Option<Written>, ()> {
        let Some(row) = self.board.get(uid) else { return Ok(None) };
        let Some(target) = self.target(&row.pod, row.source) else { return Ok(None) };
        if before.is_some_and(|before| before.to == target && before.status == row.status) {
            return Ok(None);
        }
        match patch(client, &row.pod, &target, &row.status).await {
            Ok(patched) => {
                let version = version_of(&patched).unwrap_or_default();
                Ok(Some(Written { to: target, status: row.status, version }))
            }
            Err(error) if matches!(error.class(), Class::Missing | Class::Stale) => Ok(None),
            Err(error) => {
                tracing::warn!(uid, error = %crate::error_chain(&error), "status is not written; tried again");
                Err(())
            }
        }
    }

    /// The uid that the Pod has in the API.
    fn target(&self, pod: &Pod, source: PodSource) -> Option<String> {
        match source {
            PodSource::Api => pod.metadata.uid.clone(),
            PodSource::Static => {
                let hash = pod.metadata.uid.as_deref()?;
                let mirror = self.mirrors.of(pod)?;
                let annotations = mirror.metadata.annotations.as_ref()?;
                let same = annotations.get(pod_annotation::CONFIG_MIRROR).is_some_and(|known| known == hash);
                if same { mirror.metadata.uid.clone() } else { None }
            }
        }
    }

    /// The last word on a Pod of the API: its final status, then its end.
    pub async fn finish(&self, pod: &Pod) -> Result<(), StatusError> {
        let (Some(client), Some(uid)) = (&self.client, pod.metadata.uid.as_deref()) else { return Ok(()) };
        let name = pod.metadata.name.clone().unwrap_or_default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let shown = || format!("{namespace}/{name}");
        if let Some(row) = self.board.get(uid) {
            match patch(client, pod, uid, &row.status).await {
                Ok(_) => {}
                Err(error) if matches!(error.class(), Class::Missing | Class::Stale) => {}
                Err(source) => return Err(StatusError::Final { pod: shown(), source }),
            }
        }
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let deletion = Deletion { expect: Expect::uid(uid), grace_seconds: Some(0), propagation: None };
        match write::delete(&api, &name, deletion).await {
            Ok(_) => Ok(()),
            // Another Pod has the name by now: ours is gone.
            Err(error) if matches!(error.class(), Class::Missing | Class::Stale) => Ok(()),
            Err(source) => Err(StatusError::Delete { pod: shown(), source }),
        }
    }
}

async fn sleep(clock: &dyn Clock, pause: Duration) {
    if pause == Duration::MAX { std::future::pending().await } else { clock.sleep(pause).await }
}

async fn patch(
    client: &kube::Client,
    pod: &Pod,
    uid: &str,
    status: &PodStatus,
) -> Result<Pod, write::WriteError> {
    let api: Api<Pod> =
        Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    write::status(&api, name, patch_body(status), &Expect::uid(uid)).await
}

fn version_of(pod: &Pod) -> Option<u64> {
    pod.metadata.resource_version.as_deref()?.parse().ok()
}

/// A strategic merge patch that leaves nothing behind of what was there before: what is not set is taken away, lists
/// of addresses are replaced. Conditions of others stay, because conditions merge by type.
fn patch_body(status: &PodStatus) -> Value {
    let mut body = serde_json::to_value(status).unwrap_or_default();
    for field in OWN_FIELDS {
        if body.get(field).is_none() {
            body[field] = Value::Null;
        }
    }
    for condition in body.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        for field in ["reason", "message"] {
            if condition.get(field).is_none() {
                condition[field] = Value::Null;
            }
        }
    }
    for field in ["podIPs", "hostIPs"] {
        if let Some(list) = body.get_mut(field).and_then(Value::as_array_mut) {
            list.push(serde_json::json!({"$patch": "replace"}));
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_longer_holds_is_taken_away() {
        let status: PodStatus = serde_json::from_value(serde_json::json!({
            "phase": "Running", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}]}))
        .unwrap();
        let body = patch_body(&status);
        assert_eq!(body["conditions"][0]["reason"], Value::Null);
        assert!(body["conditions"][0].as_object().unwrap().contains_key("message"));
        assert!(body.as_object().unwrap().contains_key("podIP"));
        assert_eq!(body["podIPs"][1]["$patch"], "replace");
    }
}
