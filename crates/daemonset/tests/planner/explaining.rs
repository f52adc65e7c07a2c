//! `everynode explain`, cause by cause: a line that a person understands.

use daemonset::{Cause, Explanation, NodeName, Surroundings};
use k8s_openapi::api::core::v1::Pod;
use placement::NodeLoad;
use serde_json::{Value, json};

use crate::world::{World, normal, on_delete, rolling, surging};

/// The whole explanation, with what the API knows besides: Pods in full and what Nodes have.
fn explained(world: &mut World) -> Explanation {
    let pods: Vec<Pod> = world.pods.values().cloned().collect();
    let nodes = world.nodes.clone();
    let full = pods.iter().map(|pod| (pod.metadata.name.as_deref().unwrap(), pod));
    let mut around = Surroundings { pods: full.collect(), ..Surroundings::default() };
    for (name, node) in &nodes {
        if node.status.as_ref().is_some_and(|status| status.allocatable.is_some()) {
            let here = pods.iter().filter(|pod| api::pod::node_name(pod) == Some(name.as_str()));
            around.loads.insert(name, NodeLoad::with_pods(node, here));
        }
    }
    world.view.explained(world.now, &around)
}

/// The first line of a Node and its cause.
fn line(world: &mut World, node: &str) -> (Cause, String) {
    let explained = explained(world).only(node).expect("the node");
    let text = explained.to_string();
    let first = text.lines().find(|line| line.starts_with(node)).expect("a line");
    (explained.nodes[0].lines[0].cause, normal(first))
}

fn assert_line(world: &mut World, node: &str, cause: Cause, text: &str) {
    assert_eq!(line(world, node), (cause, text.to_owned()));
}

/// One Node with a Pod `p` of the current template on it, with this status.
fn with_pod(spec: Value, patch: Value) -> World {
    let mut world = World::with_nodes(spec, 1);
    world.own_pod("p", "node-0", patch);
    world
}

fn waiting(reason: &str, message: &str, restarts: i32) -> Value {
    json!({"status": {"phase": "Pending", "containerStatuses": [{"name": "c", "ready": false, "image": "i",
        "imageID": "", "restartCount": restarts, "state": {"waiting": {"reason": reason, "message": message}}}]}})
}

#[test]
fn the_selector_names_the_label_that_is_missing() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.edit(json!({"template": {"spec": {"nodeSelector": {"disktype": "ssd"}}}}));
    assert_line(
        &mut world,
        "node-0",
        Cause::Selector,
        "node-0 leave node selector disktype=ssd does not match",
    );
}

#[test]
fn the_affinity_is_spelled_out() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    let required = json!({"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/e2e-az-name", "operator": "In", "values": ["e2e-az1", "e2e-az2"]},
        {"key": "gpu", "operator": "Exists"}]}]});
    world.edit(json!({"template": {"spec": {"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": required}}}}}));
    assert_line(
        &mut world,
        "node-0",
        Cause::Affinity,
        "node-0 leave node affinity kubernetes.io/e2e-az-name In [e2e-az1, e2e-az2] and gpu Exists does not match",
    );
}

#[test]
fn the_template_names_another_node() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.edit(json!({"template": {"spec": {"nodeName": "node-9"}}}));
    assert_line(&mut world, "node-0", Cause::NodeName, "node-0 leave the template names node node-9");
}

#[test]
fn a_taint_is_named_as_kubectl_writes_it() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.node(
        "node-0",
        json!({"spec": {"taints": [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]}}),
    );
    let text = "node-0 leave taint dedicated=gpu:NoSchedule not tolerated";
    assert_line(&mut world, "node-0", Cause::Taint, text);
    world.own_pod("p", "node-0", json!({}));
    world.ready("p");
    let text = "node-0 keep p: no new pod here, taint dedicated=gpu:NoSchedule not tolerated";
    assert_line(&mut world, "node-0", Cause::Taint, text);
}

#[test]
fn a_spent_budget_says_who_has_spent_it() {
    let mut world = World::with_nodes(rolling(json!(1)), 2);
    world.settle();
    world.all_ready();
    world.settle();
    world.image("image:2");
    world.sync();
    world.sync();
    let text = "node-1 wait budget spent: 1 of 1 unavailable (node-0)";
    assert_line(&mut world, "node-1", Cause::Budget, text);
}

#[test]
fn a_failed_pod_in_back_off_says_until_when() {
    let mut world = with_pod(rolling(json!(1)), json!({"status": {"phase": "Failed"}}));
    assert_line(&mut world, "node-0", Cause::Failed, "node-0 delete p: failed");
    // Deleted three times within a minute, the last time just now, as the Events tell.
    let times = [world.now, world.now, world.now];
    world.view.recall_failures(&NodeName::from("node-0"), &times, world.now);
    let text = "node-0 wait p failed: back-off until 2026-01-01T00:00:04Z";
    assert_line(&mut world, "node-0", Cause::BackOff, text);
}

#[test]
fn no_room_is_told_before_and_after_the_pod_is_made() {
    let mut world = World::new(rolling(json!(1)));
    world.edit(json!({"template": {"spec": {"containers": [
        {"name": "c", "image": "image:1", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}]}}}));
    world.node("node-0", json!({"status": {"allocatable": {"cpu": "1", "memory": "512Mi", "pods": "10"}}}));
    let text = "node-0 create no pod here; it will wait there: Insufficient cpu, Insufficient memory";
    assert_line(&mut world, "node-0", Cause::Resources, text);
    world.sync();
    let name = world.pods.keys().next().unwrap().clone();
    let text =
        format!("node-0 keep {name}: not available yet: pending: Insufficient cpu, Insufficient memory");
    assert_line(&mut world, "node-0", Cause::Resources, &text);
    let told = "0/3 nodes are available: 1 Insufficient cpu. preemption: 0/3 nodes are available: \
        1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.";
    world.patch_pod(
        &name,
        json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": told}]}}),
    );
    let text = format!("node-0 keep {name}: not available yet: pending: {told}");
    assert_line(&mut world, "node-0", Cause::Resources, &text);
}

#[test]
fn a_taken_host_port_is_told() {
    let ports = json!([{"name": "c", "image": "image:1", "ports": [{"containerPort": 80, "hostPort": 80}]}]);
    let mut world = World::new(rolling(json!(1)));
    world.edit(json!({"template": {"spec": {"containers": ports}}}));
    world.node("node-0", json!({"status": {"allocatable": {"cpu": "1", "memory": "512Mi", "pods": "10"}}}));
    world.pod("other", "node-0", json!({"spec": {"containers": ports}}));
    let text = "node-0 create no pod here; it will wait there: node(s) didn't have free ports for the requested pod ports";
    assert_line(&mut world, "node-0", Cause::Ports, text);
}

#[test]
fn what_the_scheduler_says_or_does_not_say_yet() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.sync();
    let name = world.pods.keys().next().unwrap().clone();
    let begin = format!("node-0 keep {name}: not available yet: pending: ");
    let text = format!("{begin}default-scheduler has not looked at it yet");
    assert_line(&mut world, "node-0", Cause::Scheduler, &text);
    for (message, cause) in [
        ("0/1 nodes are available: 1 node(s) didn't match pod affinity rules.", Cause::Scheduler),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.", Cause::Taint),
        ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.", Cause::Affinity),
        ("0/1 nodes are available: 1 Too many pods.", Cause::Resources),
    ] {
        let condition = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]);
        world.patch_pod(&name, json!({"status": {"conditions": condition}}));
        assert_line(&mut world, "node-0", cause, &format!("{begin}{message}"));
    }
    world.patch_pod(&name, json!({"spec": {"schedulingGates": [{"name": "example.com/quota"}]}}));
    assert_line(&mut world, "node-0", Cause::Scheduler, &format!("{begin}held by gates example.com/quota"));
}

#[test]
fn a_container_that_does_not_start_or_crashes_says_why() {
    let begin = "node-0 keep p: not available yet: ";
    let crash = waiting("CrashLoopBackOff", "back-off 40s restarting failed container", 4);
    let ended = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "c", "ready": false,
        "image": "i", "imageID": "", "restartCount": 0,
        "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}});
    let running = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "c", "ready": false,
        "image": "i", "imageID": "", "restartCount": 0, "state": {"running": {}}}]}});
    let cases = [
        (json!({}), Cause::Container, "the node has not begun with it"),
        (waiting("ContainerCreating", "", 0), Cause::Container, "container c is being started"),
        (
            waiting("ImagePullBackOff", "Back-off pulling image \"x\"", 0),
            Cause::Container,
            "container c: ImagePullBackOff: Back-off pulling image \"x\"",
        ),
        (
            crash,
            Cause::Container,
            "container c: CrashLoopBackOff after 4 restarts: back-off 40s restarting failed container",
        ),
        (ended, Cause::Container, "container c: OOMKilled, exit code 137"),
        (running, Cause::NotReady, "container c is not ready"),
        (
            json!({"status": {"phase": "Running", "reason": "NodeLost", "message": "gone"}}),
            Cause::Container,
            "NodeLost: gone",
        ),
    ];
    for (patch, cause, text) in cases {
        let mut world = with_pod(rolling(json!(1)), patch);
        assert_line(&mut world, "node-0", cause, &format!("{begin}{text}"));
    }
}

#[test]
fn ready_but_not_for_long_enough_says_from_when() {
    let mut world = with_pod(json!({"minReadySeconds": 15}), json!({}));
    world.ready("p");
    let text = "node-0 keep p: not available yet: ready, available after 2026-01-01T00:00:15Z";
    assert_line(&mut world, "node-0", Cause::MinReady, text);
}

#[test]
fn surging_says_what_the_old_pod_waits_for() {
    let mut world = World::with_nodes(surging(json!(1)), 1);
    world.own_pod("old", "node-0", json!({"metadata": {"labels": {"controller-revision-hash": "old"}}}));
    world.ready("old");
    world.own_pod("new", "node-0", waiting("ErrImagePull", "not found", 0));
    let text = "node-0 wait old stays until new is available: container c: ErrImagePull: not found";
    assert_line(&mut world, "node-0", Cause::Container, text);
}

#[test]
fn a_terminating_pod_says_which_finalizer_holds_it() {
    let mut world = with_pod(rolling(json!(1)), json!({"metadata": {"finalizers": ["example.com/drain"]}}));
    world.terminate("p");
    let text = "node-0 wait p is terminating, held by example.com/drain";
    assert_line(&mut world, "node-0", Cause::Terminating, text);
}

#[test]
fn an_old_pod_under_on_delete_waits_for_someone() {
    let mut world = World::with_nodes(on_delete(), 1);
    world.own_pod("p", "node-0", json!({}));
    world.ready("p");
    world.settle();
    assert_line(&mut world, "node-0", Cause::Fine, "node-0 keep p");
    world.image("image:2");
    world.settle();
    let text = "node-0 keep p: old template, until someone deletes it";
    assert_line(&mut world, "node-0", Cause::OldTemplate, text);
}

#[test]
fn a_pod_of_a_node_that_is_gone_is_told() {
    let mut world = with_pod(rolling(json!(1)), json!({}));
    world.remove_node("node-0");
    let text = "node-0 leave p: node gone, the pod garbage collector's";
    assert_line(&mut world, "node-0", Cause::NodeGone, text);
}

#[test]
fn the_counts_and_the_json_say_the_same() {
    let mut world = World::with_nodes(rolling(json!("50%")), 4);
    world.taint_node("node-3", "dedicated:NoExecute");
    world.settle();
    let explained = explained(&mut world);
    let counts: Vec<(Cause, usize)> = explained.causes().into_iter().collect();
    assert_eq!(counts, [(Cause::Taint, 1), (Cause::Scheduler, 3)]);
    let json = explained.to_json();
    assert_eq!(json["causes"], json!({"taint": 1, "scheduler": 3}));
    assert_eq!(json["strategy"], "RollingUpdate, 2 of 3 unavailable at a time");
    assert_eq!(json["status"]["desiredNumberScheduled"], 3);
    let last = &json["nodes"][3];
    assert_eq!(last["verdict"], "leave");
    assert_eq!(
        last["lines"],
        json!([{"action": "leave", "pod": null, "cause": "taint", "text": "taint dedicated:NoExecute not tolerated"}])
    );
    assert!(explained.only("node-9").is_none());
}
