//! Claims about the order of Pods and what wakes them.

use super::*;
use k8s_openapi::api::core::v1::Node;
use placement::{Incoming, Unfit, Waiting};
use serde_json::{Value, json};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn pod_with(name: &str, spec: Value) -> Arc<Pod> {
    let mut spec = spec;
    spec["containers"] = json!([]);
    let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn pod(name: &str) -> Arc<Pod> {
    pod_with(name, json!({}))
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::namespaced("ns", name)
}

fn pops(queue: &mut PodQueue, now: i64) -> Vec<String> {
    std::iter::from_fn(|| queue.pop(at(now))).map(|pod| pod.metadata.name.clone().unwrap()).collect()
}

fn until(nodes: Where, reason: Unfit) -> Until {
    let (pod, namespaces) = (pod("p"), NamespaceLabels::new());
    Until { nodes, waiting: Waiting::after(&Incoming::of(&pod, &namespaces), [&reason]) }
}

/// Waits for a place on this Node, which has as many Pods as it can.
fn pinned(node: &str) -> Until {
    until(Where::Only([node.to_owned()].into()), Unfit::TooManyPods)
}

fn node(name: &str) -> Node {
    let node = json!({"metadata": {"name": name}, "status": {"allocatable": {"pods": "10"}}});
    serde_json::from_value(node).unwrap()
}

/// A Node comes.
fn node_came(queue: &mut PodQueue, name: &str, now: i64) {
    queue.wake(&News::NodeCame(&node(name)), Some(name), &NamespaceLabels::new(), at(now));
}

/// A Pod comes to this Node, or leaves it.
fn pod_news(queue: &mut PodQueue, node: &str, comes: bool, now: i64) {
    let other = pod("other");
    let news = if comes { News::PodCame(&other) } else { News::PodLeft(&other) };
    queue.wake(&news, Some(node), &NamespaceLabels::new(), at(now));
}

#[test]
fn pods_come_by_priority_then_in_the_order_in_which_they_came() {
    let mut queue = PodQueue::default();
    queue.set(pod("zebra"), at(0));
    queue.set(pod("ape"), at(0));
    queue.set(pod_with("critical", json!({"priority": 2_000_001_000})), at(1));
    assert_eq!(pops(&mut queue, 1), ["critical", "zebra", "ape"]);
}

#[test]
fn a_gated_pod_comes_only_when_its_last_gate_is_gone() {
    let mut queue = PodQueue::default();
    queue.set(pod_with("a", json!({"schedulingGates": [{"name": "g"}]})), at(0));
    node_came(&mut queue, "n", 1);
    assert!(pops(&mut queue, 1_000).is_empty());
    queue.set(pod("a"), at(2));
    assert_eq!(pops(&mut queue, 2), ["a"]);
}

#[test]
fn a_pod_that_waits_for_its_node_is_woken_by_that_node_only() {
    let mut queue = PodQueue::default();
    for name in ["a", "b"] {
        queue.set(pod(name), at(0));
        queue.pop(at(0)).unwrap();
        queue.wait(&key(name), pinned(&format!("node-{name}")), at(0));
    }
    node_came(&mut queue, "node-b", 10);
    pod_news(&mut queue, "node-a", true, 10);
    assert_eq!(pops(&mut queue, 10), ["b"]);
    pod_news(&mut queue, "node-a", false, 11);
    assert_eq!(pops(&mut queue, 11), ["a"]);
}

#[test]
fn a_wake_up_that_the_pod_does_not_wait_for_leaves_it_alone() {
    let mut queue = PodQueue::default();
    queue.set(pod("a"), at(0));
    queue.pop(at(0)).unwrap();
    queue.wait(&key("a"), until(Where::Anywhere, Unfit::NodeSelection), at(0));
    pod_news(&mut queue, "n", false, 20);
    pod_news(&mut queue, "n", true, 20);
    assert!(pops(&mut queue, 20).is_empty());
    node_came(&mut queue, "n", 21);
    assert_eq!(pops(&mut queue, 21), ["a"]);
}

#[test]
fn back_off_doubles_from_one_to_ten_seconds() {
    let mut queue = PodQueue::default();
    queue.set(pod("a"), at(0));
    let mut now = 0;
    for pause in [1, 2, 4, 8, 10, 10] {
        assert_eq!(pops(&mut queue, now), ["a"], "at {now}");
        queue.wait(&key("a"), pinned("n"), at(now));
        node_came(&mut queue, "n", now);
        assert_eq!(queue.next_due(), Some(at(now + pause)));
        assert!(pops(&mut queue, now + pause - 1).is_empty());
        now += pause;
    }
}

#[test]
fn a_waiting_pod_is_tried_again_after_five_minutes_whatever_happens() {
    let mut queue = PodQueue::default();
    queue.set(pod("a"), at(0));
    queue.pop(at(0)).unwrap();
    queue.wait(&key("a"), pinned("n"), at(0));
    assert!(pops(&mut queue, 299).is_empty());
    assert_eq!(pops(&mut queue, 300), ["a"]);
}

#[test]
fn a_failed_binding_is_retried_after_its_back_off_and_a_bound_pod_is_not() {
    let mut queue = PodQueue::default();
    queue.set(pod("a"), at(0));
    queue.pop(at(0)).unwrap();
    queue.set(pod("a"), at(0));
    assert!(pops(&mut queue, 5).is_empty(), "its binding is under way");
    queue.retry(&key("a"), at(0));
    assert_eq!(pops(&mut queue, 1), ["a"]);
    queue.remove(&key("a"));
    queue.retry(&key("a"), at(1));
    assert!(pops(&mut queue, 1_000).is_empty() && queue.is_empty() && queue.next_due().is_none());
}

#[test]
fn a_changed_request_makes_a_waiting_pod_active_and_a_changed_status_does_not() {
    let mut queue = PodQueue::default();
    queue.set(pod("a"), at(0));
    queue.pop(at(0)).unwrap();
    queue.wait(&key("a"), pinned("n"), at(0));
    let mut reported = Pod::clone(&pod("a"));
    reported.status.get_or_insert_default().phase = Some("Pending".into());
    queue.set(Arc::new(reported), at(5));
    assert!(pops(&mut queue, 5).is_empty());
    queue.set(pod_with("a", json!({"tolerations": [{"operator": "Exists"}]})), at(6));
    assert_eq!(pops(&mut queue, 6), ["a"]);
}

#[test]
fn a_pod_that_waits_for_other_pods_hears_of_them_from_beyond_its_node() {
    let mut queue = PodQueue::default();
    queue.set(pod("near"), at(0));
    queue.pop(at(0)).unwrap();
    let affinity = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {}, "topologyKey": "zone"}]}}});
    let (wants, namespaces) = (pod_with("near", affinity), NamespaceLabels::new());
    let waiting = Waiting::after(&Incoming::of(&wants, &namespaces), [&Unfit::PodAffinity]);
    queue.wait(&key("near"), Until { nodes: Where::Only(["n".to_owned()].into()), waiting }, at(0));
    pod_news(&mut queue, "elsewhere", true, 10);
    assert_eq!(pops(&mut queue, 10), ["near"]);
}
