//! Decisions as tables, in the words that users read.

use super::*;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use std::sync::Arc;

fn node(name: &str, pods: u32, taint: Option<&str>) -> Arc<Node> {
    let taints: Vec<Value> =
        taint.iter().map(|key| json!({"key": key, "value": "v", "effect": "NoSchedule"})).collect();
    let node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": taints},
        "status": {"allocatable": {"pods": pods.to_string(), "cpu": "2", "memory": "4Gi"}},
    });
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(name: &str, spec: Value) -> Arc<Pod> {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "x"}},
        "spec": spec});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn pinned_to(node: &str) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [node]}]}]}}}})
}

fn cpu(amount: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]})
}

fn snapshot(nodes: &[Arc<Node>]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    nodes.iter().for_each(|node| snapshot.set_node(Arc::clone(node)));
    snapshot
}

fn check(snapshot: &Snapshot, spec: Value) -> String {
    match decide(&pod("incoming", spec), snapshot, &NamespaceLabels::new()) {
        Decision::Bind { node } => format!("bind {node}"),
        Decision::Wait { failure, .. } => failure.message(),
    }
}

#[test]
fn a_pinned_pod_looks_at_its_node_only_and_says_why_not_out_of_all() {
    let snapshot = snapshot(&[node("a", 110, None), node("b", 110, Some("dedicated")), node("c", 110, None)]);
    assert_eq!(check(&snapshot, pinned_to("a")), "bind a");
    assert_eq!(
        check(&snapshot, pinned_to("b")),
        "0/3 nodes are available: 1 node(s) had untolerated taint {dedicated: v}. \
         preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn reasons_are_counted_over_the_nodes_and_sorted() {
    let snapshot = snapshot(&[node("a", 110, None), node("b", 0, None), node("c", 110, Some("gpu"))]);
    assert_eq!(
        check(&snapshot, cpu("3")),
        "0/3 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint {gpu: v}, 2 Insufficient cpu. \
         preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn a_full_node_says_that_nobody_could_be_removed() {
    let mut snapshot = snapshot(&[node("a", 110, None)]);
    let mut big = cpu("1500m");
    big["nodeName"] = json!("a");
    snapshot.set_pod(&pod("big", big));
    assert_eq!(
        check(&snapshot, cpu("1")),
        "0/1 nodes are available: 1 Insufficient cpu. \
         preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
}

#[test]
fn without_nodes_it_says_so() {
    assert_eq!(check(&Snapshot::default(), json!({})), "no nodes available to schedule pods");
}

#[test]
fn equal_nodes_are_told_apart_by_name_and_the_emptier_one_wins() {
    let mut snapshot = snapshot(&[node("b", 110, None), node("a", 110, None)]);
    assert_eq!(check(&snapshot, cpu("100m")), "bind a");
    snapshot.assume(&pod("first", cpu("100m")), "a");
    assert_eq!(check(&snapshot, cpu("100m")), "bind b");
}

#[test]
fn a_pod_there_that_keeps_its_distance_refuses_a_newcomer_that_asks_for_nothing() {
    let mut snapshot = snapshot(&[node("a", 110, None)]);
    snapshot.set_pod(&pod(
        "loner",
        json!({"nodeName": "a", "affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "x"}}}]}}}),
    ));
    let text = check(&snapshot, json!({}));
    assert!(text.contains("1 node(s) didn't satisfy existing pods anti-affinity rules"), "{text}");
}

#[test]
fn what_a_pod_waits_for_follows_from_why_it_did_not_fit() {
    let mut snapshot = snapshot(&[node("a", 1, None), node("b", 110, Some("t"))]);
    snapshot.assume(&pod("first", json!({})), "a");
    let until = |spec| match decide(&pod("p", spec), &snapshot, &NamespaceLabels::new()) {
        Decision::Wait { until, .. } => until,
        Decision::Bind { node } => panic!("bound to {node}"),
    };
    let full = until(pinned_to("a"));
    assert_eq!(full.nodes, Where::Only(["a".to_owned()].into()));
    assert!(full.node_changes && full.pod_leaves && !full.pod_comes);
    let tainted = until(pinned_to("b"));
    assert!(tainted.node_changes && !tainted.pod_leaves);
    let missing = until(pinned_to("nowhere"));
    assert_eq!(missing.nodes, Where::Only(["nowhere".to_owned()].into()));
}
