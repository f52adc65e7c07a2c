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

fn check(snapshot: &mut Snapshot, spec: Value) -> String {
    told(decide(&pod("incoming", spec), snapshot, &Circumstances::default()))
}

fn told(decision: Decision) -> String {
    match decision {
        Decision::Bind { node } => format!("bind {node}"),
        Decision::Wait { failure, .. } => failure.message(),
        Decision::Preempt { node, victims, .. } => {
            let names: Vec<&str> = victims.iter().map(|victim| victim.name()).collect();
            format!("{node} instead of {}", names.join(" "))
        }
    }
}

#[test]
fn a_pinned_pod_looks_at_its_node_only_and_says_why_not_out_of_all() {
    let mut snapshot =
        snapshot(&[node("a", 110, None), node("b", 110, Some("dedicated")), node("c", 110, None)]);
    assert_eq!(check(&mut snapshot, pinned_to("a")), "bind a");
    assert_eq!(
        check(&mut snapshot, pinned_to("b")),
        "0/3 nodes are available: 1 node(s) had untolerated taint {dedicated: v}. \
         preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn reasons_are_counted_over_the_nodes_and_sorted() {
    let mut snapshot = snapshot(&[node("a", 110, None), node("b", 0, None), node("c", 110, Some("gpu"))]);
    assert_eq!(
        check(&mut snapshot, cpu("3")),
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
        check(&mut snapshot, cpu("1")),
        "0/1 nodes are available: 1 Insufficient cpu. \
         preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
    );
}

#[test]
fn without_nodes_it_says_so() {
    assert_eq!(check(&mut Snapshot::default(), json!({})), "no nodes available to schedule pods");
}

#[test]
fn equal_nodes_are_told_apart_by_name_and_the_emptier_one_wins() {
    let mut snapshot = snapshot(&[node("b", 110, None), node("a", 110, None)]);
    assert_eq!(check(&mut snapshot, cpu("100m")), "bind a");
    snapshot.assume(&pod("first", cpu("100m")), "a");
    assert_eq!(check(&mut snapshot, cpu("100m")), "bind b");
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
    let text = check(&mut snapshot, json!({}));
    assert!(text.contains("1 node(s) didn't satisfy existing pods anti-affinity rules"), "{text}");
}

#[test]
fn a_pinned_pod_waits_for_its_node_alone_known_or_not() {
    let mut snapshot = snapshot(&[node("a", 1, None)]);
    snapshot.assume(&pod("first", json!({})), "a");
    for name in ["a", "nowhere"] {
        match decide(&pod("p", pinned_to(name)), &mut snapshot, &Circumstances::default()) {
            Decision::Wait { until, .. } => assert_eq!(until.nodes, Where::Only([name.to_owned()].into())),
            other => panic!("{}", told(other)),
        }
    }
}

#[test]
fn a_pod_of_which_no_node_is_known_says_how_many_others_there_are() {
    let mut snapshot = snapshot(&[node("a", 110, None), node("b", 110, None)]);
    assert_eq!(
        check(&mut snapshot, pinned_to("nowhere")),
        "0/2 nodes are available: preemption: 0/2 nodes are available: \
         2 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn names_that_exclude_each_other_are_said_to() {
    let mut snapshot = snapshot(&[node("a", 110, None)]);
    let mut both = pinned_to("a");
    let fields = &mut both["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        [0]["matchFields"];
    let other = json!({"key": "metadata.name", "operator": "In", "values": ["b"]});
    fields.as_array_mut().unwrap().push(other);
    assert_eq!(
        check(&mut snapshot, both),
        "0/1 nodes are available: pod affinity terms conflict. preemption: 0/1 nodes are available: \
         1 Preemption is not helpful for scheduling.",
    );
}

fn keeping_off(labels: Value, key: &str) -> Value {
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": key, "labelSelector": {"matchLabels": labels}}]}})
}

#[test]
fn a_pinned_pod_that_asks_for_others_sees_their_domain_and_no_more() {
    let zoned = |name: &str, zone: &str| {
        let mut zoned = Node::clone(&node(name, 110, None));
        zoned.metadata.labels.get_or_insert_default().insert("zone".into(), zone.into());
        Arc::new(zoned)
    };
    let mut snapshot = snapshot(&[zoned("a", "z1"), zoned("b", "z1"), zoned("c", "z2")]);
    let there = |snapshot: &mut Snapshot, node: &str, name: &str| {
        snapshot.set_pod(&pod(name, json!({"nodeName": node})));
    };
    let wants = |node: &str, kind: &str| {
        let mut spec = pinned_to(node);
        spec["affinity"][kind] = keeping_off(json!({"app": "x"}), "zone")["podAntiAffinity"].clone();
        spec
    };
    // Pods of the tests all have app=x: the first of a group may go anywhere.
    assert_eq!(check(&mut snapshot, wants("b", "podAffinity")), "bind b");
    there(&mut snapshot, "c", "1");
    let lonely = check(&mut snapshot, wants("b", "podAffinity"));
    assert!(
        lonely.starts_with("0/3 nodes are available: 1 node(s) didn't match pod affinity rules."),
        "{lonely}"
    );
    assert_eq!(check(&mut snapshot, wants("b", "podAntiAffinity")), "bind b");
    there(&mut snapshot, "a", "2");
    assert_eq!(check(&mut snapshot, wants("b", "podAffinity")), "bind b");
    let near = check(&mut snapshot, wants("b", "podAntiAffinity"));
    assert!(near.contains("1 node(s) didn't match pod anti-affinity rules"), "{near}");
    // A Node that changes its zone changes sides.
    snapshot.set_node(zoned("a", "z2"));
    assert_eq!(check(&mut snapshot, wants("b", "podAntiAffinity")), "bind b");
    let spec = json!({"nodeName": "c", "affinity": keeping_off(json!({"app": "x"}), "zone")});
    snapshot.set_pod(&pod("shy", spec));
    let unwanted = check(&mut snapshot, pinned_to("a"));
    assert!(unwanted.contains("1 node(s) didn't satisfy existing pods anti-affinity rules"), "{unwanted}");
    assert_eq!(check(&mut snapshot, pinned_to("b")), "bind b");
}

fn important(priority: i32, cpu_amount: &str) -> Value {
    let mut spec = cpu(cpu_amount);
    spec["priority"] = json!(priority);
    spec
}

fn running(snapshot: &mut Snapshot, node: &str, name: &str, priority: i32, cpu_amount: &str) {
    let mut spec = important(priority, cpu_amount);
    spec["nodeName"] = json!(node);
    snapshot.set_pod(&pod(name, spec));
}

#[test]
fn a_more_important_pod_takes_the_place_where_the_least_is_lost() {
    let mut snapshot = snapshot(&[node("a", 110, None), node("b", 110, None)]);
    running(&mut snapshot, "a", "low", 1, "2");
    running(&mut snapshot, "b", "middle", 5, "2");
    assert_eq!(check(&mut snapshot, important(10, "1")), "a instead of low");
    let mut pinned = important(10, "1");
    pinned["affinity"] = pinned_to("b")["affinity"].clone();
    assert_eq!(check(&mut snapshot, pinned), "b instead of middle", "a pinned Pod looks at its Node only");
    let mut patient = important(10, "1");
    patient["preemptionPolicy"] = json!("Never");
    assert_eq!(
        check(&mut snapshot, patient),
        "0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
    );
    assert_eq!(
        check(&mut snapshot, important(1, "1")),
        "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: \
         2 No preemption victims found for incoming pod.",
    );
    running(&mut snapshot, "a", "critical", 20, "0");
    let mut port = important(10, "1");
    port["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
    let mut serving = port.clone();
    (serving["nodeName"], serving["priority"]) = (json!("a"), json!(20));
    serving["containers"][0]["resources"] = json!({});
    snapshot.set_pod(&pod("serving", serving));
    assert_eq!(check(&mut snapshot, port), "b instead of middle", "on a the port would still be taken");
}

#[test]
fn a_promised_place_is_kept_from_weaker_pods_and_waited_for() {
    let mut snapshot = snapshot(&[node("a", 110, None)]);
    running(&mut snapshot, "a", "victim", 1, "2");
    let strong = pod("strong", important(10, "2"));
    assert_eq!(told(decide(&strong, &mut snapshot, &Circumstances::default())), "a instead of victim");
    snapshot.promises.make(&strong, "a");
    let mut leaving = Pod::clone(snapshot.pod(&ObjectKey::namespaced("ns", "victim")).unwrap());
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    leaving.status = serde_json::from_value(json!({"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}))
    .unwrap();
    snapshot.set_pod(&Arc::new(leaving));
    assert_eq!(
        told(decide(&strong, &mut snapshot, &Circumstances::default())),
        "0/1 nodes are available: 1 Insufficient cpu. \
         preemption: not eligible due to a terminating pod on the nominated node.",
    );
    snapshot.remove_pod(&ObjectKey::namespaced("ns", "victim"));
    let weak = check(&mut snapshot, important(5, "1"));
    assert!(weak.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{weak}");
    assert_eq!(check(&mut snapshot, important(11, "1")), "bind a", "a stronger one may have it");
    assert_eq!(told(decide(&strong, &mut snapshot, &Circumstances::default())), "bind a");
}

#[test]
fn a_promise_is_withdrawn_where_nothing_helps_any_more() {
    let mut snapshot = snapshot(&[node("a", 110, None)]);
    running(&mut snapshot, "a", "strongest", 20, "2");
    let strong = pod("strong", important(10, "2"));
    snapshot.promises.make(&strong, "a");
    match decide(&strong, &mut snapshot, &Circumstances::default()) {
        Decision::Wait { promise, .. } => assert_eq!(promise, Promise::Withdrawn),
        other => panic!("{}", told(other)),
    }
}

#[test]
fn pods_of_a_service_go_to_different_nodes() {
    let mut snapshot = snapshot(&[node("a", 110, None), node("b", 110, None)]);
    running(&mut snapshot, "a", "one", 0, "0");
    // Without the Service the fuller b would lose.
    let other = json!({"nodeName": "b", "containers": [
        {"name": "c", "resources": {"requests": {"cpu": "200m", "memory": "300Mi"}}}]});
    let mut other = Pod::clone(&pod("other", other));
    other.metadata.labels = None;
    snapshot.set_pod(&Arc::new(other));
    assert_eq!(check(&mut snapshot, json!({})), "bind a");
    let mut circumstances = Circumstances::default();
    let selector: Labels = [("app".to_owned(), "x".to_owned())].into();
    circumstances.services.insert("ns".into(), [("web".to_owned(), selector)].into());
    assert_eq!(told(decide(&pod("incoming", json!({})), &mut snapshot, &circumstances)), "bind b");
}
