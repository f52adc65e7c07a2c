//! Removes Pods that nobody else will: on Nodes that are gone, terminating without ever having had a Node, on Nodes
//! that are out of service, and ended ones beyond a limit.
//!
//! Every [`PERIOD_SECONDS`]; a pure function ([`doomed`]) chooses, and a Pod on a missing Node is only doomed after
//! the Node has been missing for [`QUARANTINE_SECONDS`] and the API confirms it. Upstream: the podgc controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::meta::Meta;
use api::well_known::{node_condition, pod_condition, taint};
use client::ObjectKey;
use client::write::{self, Class, Deletion, Expect};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use serde_json::json;

use crate::Context;

/// Upstream's gcCheckPeriod.
pub const PERIOD_SECONDS: u64 = 20;
/// Upstream's quarantineTime: how long a Node must be missing before its Pods go.
pub const QUARANTINE_SECONDS: i64 = 40;
/// Upstream's terminated-pod-gc-threshold.
pub const ENDED_PODS_MAX: usize = 12_500;

/// Why a Pod is removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its Node is gone.
    Orphaned { node: String },
    /// It was deleted before it had a Node.
    Unscheduled,
    /// It is terminating on a Node that is not ready and marked as out of service.
    OutOfService { node: String },
    /// It has ended, and too many have.
    Ended,
}

/// Since when each Node that Pods name has been missing.
#[derive(Debug, Default)]
pub struct Missing(BTreeMap<String, Timestamp>);

impl Missing {
    /// Notes which Nodes are missing now, and returns those that have been for the quarantine.
    fn note(
        &mut self,
        pods: &[Arc<Pod>],
        nodes: &BTreeMap<String, Arc<Node>>,
        now: Timestamp,
    ) -> BTreeSet<String> {
        let named: BTreeSet<&str> = pods.iter().filter_map(|pod| api::pod::node_name(pod)).collect();
        self.0.retain(|node, _| named.contains(node.as_str()) && !nodes.contains_key(node));
        for node in named.into_iter().filter(|node| !nodes.contains_key(*node)) {
            self.0.entry(node.to_owned()).or_insert(now);
        }
        let long = |since: &Timestamp| now.duration_since(*since).as_secs() >= QUARANTINE_SECONDS;
        self.0.iter().filter(|(_, since)| long(since)).map(|(node, _)| node.clone()).collect()
    }
}

/// The Pods to remove, each with its cause, in the order of the causes' urgency and then by key. `gone` are the Nodes
/// that are confirmed to be gone.
pub fn doomed(
    pods: &[Arc<Pod>],
    nodes: &BTreeMap<String, Arc<Node>>,
    gone: &BTreeSet<String>,
    ended_max: usize,
) -> Vec<(Arc<Pod>, Cause)> {
    let mut doomed = Vec::new();
    let mut ended = Vec::new();
    for pod in pods {
        let cause = match api::pod::node_name(pod) {
            None if pod.is_deleting() => Some(Cause::Unscheduled),
            Some(node) if gone.contains(node) => Some(Cause::Orphaned { node: node.to_owned() }),
            Some(node)
                if pod.is_deleting() && nodes.get(node).is_some_and(|node| is_out_of_service(node)) =>
            {
                Some(Cause::OutOfService { node: node.to_owned() })
            }
            _ => None,
        };
        match cause {
            Some(cause) => doomed.push((Arc::clone(pod), cause)),
            None if api::pod::is_terminal(pod) && !pod.is_deleting() => ended.push(pod),
            None => {}
        }
    }
    // The oldest go first; evicted Pods of a full disk are the usual crowd.
    ended.sort_by_key(|pod| (pod.creation_timestamp(), ObjectKey::of(&pod.metadata)));
    let too_many = ended.len().saturating_sub(ended_max);
    doomed.extend(ended.into_iter().take(too_many).map(|pod| (Arc::clone(pod), Cause::Ended)));
    doomed
}

pub async fn run(context: Context) {
    let shutdown = context.shutdown().clone();
    let mut missing = Missing::default();
    loop {
        tokio::select! {
            // Between two rounds there is nothing in hand.
            () = shutdown.cancelled() => return,
            () = context.clock.sleep(Duration::from_secs(PERIOD_SECONDS)) => {}
        }
        if context.pods.has_synced() && context.nodes.has_synced() {
            round(&context, &mut missing).await;
        }
    }
}

async fn round(context: &Context, missing: &mut Missing) {
    let pods = context.pods.list();
    let nodes = context.nodes.list().into_iter().map(|node| (node.name().to_owned(), node)).collect();
    let mut gone = BTreeSet::new();
    for node in missing.note(&pods, &nodes, context.clock.now()) {
        match Api::<Node>::all(context.client.clone()).get_opt(&node).await {
            Ok(None) => {
                gone.insert(node);
            }
            Ok(Some(_)) => {}
            Err(error) => tracing::warn!(node, error = %error, "cannot confirm that the node is gone"),
        }
    }
    for (pod, cause) in doomed(&pods, &nodes, &gone, ENDED_PODS_MAX) {
        if context.shutdown().is_cancelled() {
            return;
        }
        tracing::info!(pod = %ObjectKey::of(&pod.metadata), ?cause, "removing pod");
        if let Err(error) = remove(context, &pod, &cause).await {
            // The next round sees it again.
            tracing::warn!(error = %error.cause(), "{error}");
        }
    }
}

async fn remove(context: &Context, pod: &Pod, cause: &Cause) -> Result<(), write::WriteError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), pod.namespace());
    let expect = Expect::uid(pod.uid());
    let left_running = !api::pod::is_terminal(pod) && *cause != Cause::Unscheduled;
    if left_running {
        let message = match cause {
            Cause::Orphaned { .. } => "PodGC: node no longer exists",
            Cause::OutOfService { .. } => "PodGC: node is out of service",
            Cause::Unscheduled | Cause::Ended => "PodGC: pod is removed",
        };
        let status = json!({"phase": "Failed", "conditions": [{
            "type": pod_condition::DISRUPTION_TARGET,
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": message,
            "lastTransitionTime": Time(context.clock.now()),
        }]});
        match write::status(&api, pod.name(), status, &expect).await {
            Ok(_) => {}
            Err(error) if matches!(error.class(), Class::Missing | Class::Stale) => {}
            Err(error) => return Err(error),
        }
    }
    let deletion = Deletion { expect, grace_seconds: Some(0), propagation: None };
    match write::delete(&api, pod.name(), deletion).await {
        Ok(_) => Ok(()),
        Err(error) if *error.class() == Class::Stale => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_out_of_service(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|c| c.type_ == node_condition::READY && c.status == "True");
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    !ready && taints.any(|t| t.key == taint::OUT_OF_SERVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn pod(name: &str, node: Option<&str>, phase: &str, deleting: bool, created: i64) -> Arc<Pod> {
        let at = |seconds| Time(Timestamp::from_second(seconds).unwrap());
        let pod = json!({
            "metadata": {"namespace": "ns", "name": name, "uid": name, "creationTimestamp": at(created),
                "deletionTimestamp": if deleting { json!(at(1)) } else { Value::Null }},
            "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn node(name: &str, ready: &str, taint: Option<&str>) -> (String, Arc<Node>) {
        let taints: Vec<Value> = taint.iter().map(|key| json!({"key": key, "effect": "NoExecute"})).collect();
        let node = json!({"metadata": {"name": name}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        (name.to_owned(), Arc::new(serde_json::from_value(node).unwrap()))
    }

    fn chosen(doomed: &[(Arc<Pod>, Cause)]) -> Vec<(&str, &Cause)> {
        doomed.iter().map(|(pod, cause)| (pod.name(), cause)).collect()
    }

    #[test]
    fn each_cause_dooms_its_pods_and_no_others() {
        let nodes = [
            node("up", "True", None),
            node("down", "Unknown", Some("node.kubernetes.io/out-of-service")),
            node("lying", "True", Some("node.kubernetes.io/out-of-service")),
        ];
        let pods = [
            pod("fine", Some("up"), "Running", false, 0),
            pod("terminating", Some("up"), "Running", true, 0),
            pod("never-placed", None, "Pending", true, 0),
            pod("waiting", None, "Pending", false, 0),
            pod("orphan", Some("gone"), "Running", false, 0),
            pod("young-orphan", Some("just-gone"), "Running", false, 0),
            pod("stuck", Some("down"), "Running", true, 0),
            pod("not-deleted", Some("down"), "Running", false, 0),
            pod("node-answers", Some("lying"), "Running", true, 0),
        ];
        let gone = ["gone".to_owned()].into();
        assert_eq!(
            chosen(&doomed(&pods, &nodes.into(), &gone, 10)),
            [
                ("never-placed", &Cause::Unscheduled),
                ("orphan", &Cause::Orphaned { node: "gone".into() }),
                ("stuck", &Cause::OutOfService { node: "down".into() }),
            ]
        );
    }

    #[test]
    fn the_oldest_ended_pods_beyond_the_limit_go() {
        let pods = [
            pod("young", Some("up"), "Failed", false, 30),
            pod("old", Some("up"), "Succeeded", false, 10),
            pod("middle", Some("up"), "Failed", false, 20),
            pod("running", Some("up"), "Running", false, 1),
        ];
        let nodes = [node("up", "True", None)].into();
        assert_eq!(
            chosen(&doomed(&pods, &nodes, &BTreeSet::new(), 1)),
            [("old", &Cause::Ended), ("middle", &Cause::Ended)]
        );
    }

    #[test]
    fn a_node_is_missing_for_good_only_after_the_quarantine_without_a_break() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let pods = [pod("a", Some("n"), "Running", false, 0)];
        let mut missing = Missing::default();
        assert!(missing.note(&pods, &BTreeMap::new(), at(0)).is_empty());
        assert!(missing.note(&pods, &BTreeMap::new(), at(39)).is_empty());
        assert!(missing.note(&pods, &[node("n", "True", None)].into(), at(39)).is_empty());
        assert!(missing.note(&pods, &BTreeMap::new(), at(41)).is_empty());
        assert_eq!(missing.note(&pods, &BTreeMap::new(), at(81)), ["n".to_owned()].into());
    }
}
