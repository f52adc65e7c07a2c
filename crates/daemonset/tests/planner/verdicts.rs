//! Should a Pod be on a Node: upstream's TestNodeShouldRunDaemonPod and the taint cases.

use serde_json::{Value, json};

use crate::world::{World, on_delete};
use daemonset::{Unwanted, Verdict, verdict};
use k8s_openapi::api::core::v1::Node;

fn judge(template: Value, node: Value) -> Verdict {
    let mut world = World::new(on_delete());
    world.edit(json!({"template": {"spec": template}}));
    let mut whole = json!({"metadata": {"name": "n", "labels": {"color": "blue"}}});
    crate::world::merge(&mut whole, node);
    let node: Node = serde_json::from_value(whole).unwrap();
    verdict(world.view.wanted(), &node)
}

fn tainted(key: &str, effect: &str) -> Value {
    json!({"spec": {"taints": [{"key": key, "effect": effect}]}})
}

fn taint(text: &str) -> Unwanted {
    Unwanted::Taint { text: text.to_owned() }
}

#[test]
fn name_selector_and_affinity_decide() {
    let affinity = |operator: &str| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [
                {"key": "color", "operator": operator, "values": ["blue"]}]}]}}}})
    };
    let cases = [
        (json!({}), Verdict::Run),
        (json!({"nodeName": "n"}), Verdict::Run),
        (json!({"nodeName": "m"}), Verdict::Leave(Unwanted::NodeName { asked: "m".to_owned() })),
        (json!({"nodeSelector": {"color": "blue"}}), Verdict::Run),
        (
            json!({"nodeSelector": {"color": "green"}}),
            Verdict::Leave(Unwanted::Selector { label: "color=green".to_owned() }),
        ),
        (affinity("In"), Verdict::Run),
        (affinity("NotIn"), Verdict::Leave(Unwanted::Affinity { terms: "color NotIn [blue]".to_owned() })),
        (json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1000"}}}]}), Verdict::Run),
        (
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 1}]}]}),
            Verdict::Run,
        ),
    ];
    for (template, expected) in cases {
        assert_eq!(judge(template.clone(), json!({})), expected, "{template}");
    }
}

#[test]
fn two_terms_are_ored_and_one_may_name_the_node() {
    let either = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "color", "operator": "In", "values": ["green"]}]},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}}}});
    assert_eq!(judge(either.clone(), json!({})), Verdict::Run);
    let other = json!({"metadata": {"name": "m"}});
    let terms = "color In [green], or metadata.name In [n]".to_owned();
    assert_eq!(judge(either, other), Verdict::Leave(Unwanted::Affinity { terms }));
}

#[test]
fn what_a_daemon_tolerates_by_itself() {
    let cases = [
        ("node.kubernetes.io/not-ready", "NoExecute", Verdict::Run),
        ("node.kubernetes.io/unreachable", "NoExecute", Verdict::Run),
        ("node.kubernetes.io/disk-pressure", "NoSchedule", Verdict::Run),
        ("node.kubernetes.io/memory-pressure", "NoSchedule", Verdict::Run),
        ("node.kubernetes.io/pid-pressure", "NoSchedule", Verdict::Run),
        ("node.kubernetes.io/unschedulable", "NoSchedule", Verdict::Run),
        ("anything", "PreferNoSchedule", Verdict::Run),
        (
            "node.kubernetes.io/not-ready",
            "NoSchedule",
            Verdict::KeepOnly(taint("node.kubernetes.io/not-ready:NoSchedule")),
        ),
        (
            "node-role.kubernetes.io/control-plane",
            "NoSchedule",
            Verdict::KeepOnly(taint("node-role.kubernetes.io/control-plane:NoSchedule")),
        ),
        ("dedicated", "NoExecute", Verdict::Leave(taint("dedicated:NoExecute"))),
    ];
    for (key, effect, expected) in cases {
        assert_eq!(judge(json!({}), tainted(key, effect)), expected, "{key}:{effect}");
    }
    let network = tainted("node.kubernetes.io/network-unavailable", "NoSchedule");
    assert!(matches!(judge(json!({}), network.clone()), Verdict::KeepOnly(_)));
    assert_eq!(judge(json!({"hostNetwork": true}), network), Verdict::Run);
    let tolerant = json!({"tolerations": [{"key": "dedicated", "operator": "Exists"}]});
    assert_eq!(judge(tolerant, tainted("dedicated", "NoSchedule")), Verdict::Run);
}
