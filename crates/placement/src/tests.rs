//! Claims about filters, in upstream's words.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use serde_json::{Value, json};

use super::*;

fn node(name: &str, labels: Value, spec: Value) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}},
    }))
    .unwrap()
}

fn plain(name: &str) -> Node {
    node(name, json!({}), json!({}))
}

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "default"}, "spec": spec})).unwrap()
}

fn selecting(expressions: Value, fields: Value) -> PodSpec {
    let spec = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": expressions, "matchFields": fields}]}}}});
    pod(spec).spec.unwrap()
}

fn reasons(pod: &Pod, node: &Node, load: &NodeLoad) -> Vec<String> {
    fits(pod, node, load).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn every_operator_of_node_affinity() {
    let node = node("n1", json!({"disk": "ssd", "cores": "8", "odd": "x"}), json!({}));
    let cases = [
        (json!({"key": "disk", "operator": "In", "values": ["hdd", "ssd"]}), true),
        (json!({"key": "disk", "operator": "In", "values": ["hdd"]}), false),
        (json!({"key": "gone", "operator": "In", "values": ["ssd"]}), false),
        (json!({"key": "disk", "operator": "In", "values": []}), false),
        (json!({"key": "disk", "operator": "NotIn", "values": ["hdd"]}), true),
        (json!({"key": "disk", "operator": "NotIn", "values": ["ssd"]}), false),
        (json!({"key": "gone", "operator": "NotIn", "values": ["ssd"]}), true),
        (json!({"key": "disk", "operator": "Exists"}), true),
        (json!({"key": "gone", "operator": "Exists"}), false),
        (json!({"key": "disk", "operator": "Exists", "values": ["ssd"]}), false),
        (json!({"key": "gone", "operator": "DoesNotExist"}), true),
        (json!({"key": "disk", "operator": "DoesNotExist"}), false),
        (json!({"key": "cores", "operator": "Gt", "values": ["7"]}), true),
        (json!({"key": "cores", "operator": "Gt", "values": ["8"]}), false),
        (json!({"key": "cores", "operator": "Lt", "values": ["9"]}), true),
        (json!({"key": "odd", "operator": "Lt", "values": ["9"]}), false),
        (json!({"key": "gone", "operator": "Gt", "values": ["1"]}), false),
        (json!({"key": "disk", "operator": "Like", "values": ["s"]}), false),
    ];
    for (expression, expected) in cases {
        let spec = selecting(json!([expression]), json!([]));
        assert_eq!(matches_node_selection(&spec, &node), expected, "{expression}");
    }
}

#[test]
fn match_fields_knows_the_name_alone_and_one_value() {
    let fields = |operator: &str, key: &str, values: &[&str]| {
        selecting(json!([]), json!([{"key": key, "operator": operator, "values": values}]))
    };
    assert!(matches_node_selection(&fields("In", "metadata.name", &["n1"]), &plain("n1")));
    assert!(!matches_node_selection(&fields("In", "metadata.name", &["n1"]), &plain("n2")));
    assert!(matches_node_selection(&fields("NotIn", "metadata.name", &["n1"]), &plain("n2")));
    assert!(!matches_node_selection(&fields("In", "metadata.name", &["n1", "n2"]), &plain("n1")));
    assert!(!matches_node_selection(&fields("In", "metadata.uid", &["n1"]), &plain("n1")));
}

#[test]
fn empty_terms_match_nothing_and_terms_are_ored() {
    assert!(!matches_node_selection(&selecting(json!([]), json!([])), &plain("n1")));
    let mut spec =
        selecting(json!([]), json!([{"key": "metadata.name", "operator": "In", "values": ["n1"]}]));
    let required = spec
        .affinity
        .as_mut()
        .and_then(|a| a.node_affinity.as_mut())
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_mut())
        .unwrap();
    required.node_selector_terms.insert(0, Default::default());
    assert!(matches_node_selection(&spec, &plain("n1")));
    spec.node_selector = Some(BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]));
    assert!(!matches_node_selection(&spec, &plain("n1")), "nodeSelector is ANDed with the affinity");
}

#[test]
fn terms_that_name_nodes_narrow_the_search() {
    let named = |names: &[&str]| {
        let fields: Vec<Value> =
            names.iter().map(|n| json!({"key": "metadata.name", "operator": "In", "values": [n]})).collect();
        selecting(json!([]), json!(fields))
    };
    assert_eq!(required_node_names(&named(&["a"])), Narrowed::Only(BTreeSet::from(["a".to_owned()])));
    assert_eq!(required_node_names(&named(&["a", "b"])), Narrowed::Conflict);
    assert_eq!(required_node_names(&named(&[])), Narrowed::AllNodes);
    assert_eq!(required_node_names(&PodSpec::default()), Narrowed::AllNodes);
}

#[test]
fn tolerations_cover_by_key_value_and_effect() {
    let tainted = node(
        "n1",
        json!({}),
        json!({"taints": [
        {"key": "soft", "effect": "PreferNoSchedule"},
        {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]}),
    );
    let with = |toleration: Value| pod(json!({"tolerations": [toleration]}));
    let load = NodeLoad::empty(&tainted);
    let refused = ["node(s) had untolerated taint {dedicated: gpu}"];
    assert_eq!(reasons(&pod(json!({})), &tainted, &load), refused);
    for good in [
        json!({"operator": "Exists"}),
        json!({"key": "dedicated", "operator": "Exists"}),
        json!({"key": "dedicated", "value": "gpu"}),
        json!({"key": "dedicated", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}),
    ] {
        assert_eq!(reasons(&with(good.clone()), &tainted, &load), Vec::<String>::new(), "{good}");
    }
    for bad in [
        json!({"key": "dedicated", "value": "cpu"}),
        json!({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}),
        json!({"key": "other", "operator": "Exists"}),
        json!({"key": "dedicated", "operator": "Gt", "value": "1"}),
    ] {
        assert_eq!(reasons(&with(bad.clone()), &tainted, &load), refused, "{bad}");
    }
}

#[test]
fn cordoned_node_needs_the_unschedulable_toleration() {
    let cordoned = node("n1", json!({}), json!({"unschedulable": true}));
    let load = NodeLoad::empty(&cordoned);
    assert_eq!(reasons(&pod(json!({})), &cordoned, &load), ["node(s) were unschedulable"]);
    let tolerant = json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists",
        "effect": "NoSchedule"}]});
    assert_eq!(reasons(&pod(tolerant), &cordoned, &load), Vec::<String>::new());
    let elsewhere = pod(json!({"nodeName": "n2"}));
    assert_eq!(
        reasons(&elsewhere, &plain("n1"), &NodeLoad::empty(&plain("n1"))),
        ["node(s) didn't match the requested node name"]
    );
}

#[test]
fn requests_are_held_against_what_is_left_and_all_lacks_are_named() {
    let asks = |cpu: &str, memory: &str| {
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}))
    };
    let node = plain("n1");
    let running = asks("1500m", "600Mi");
    let mut load = NodeLoad::with_pods(&node, [&running]);
    assert_eq!(reasons(&asks("500m", "100Mi"), &node, &load), Vec::<String>::new());
    assert_eq!(reasons(&asks("501m", "500Mi"), &node, &load), ["Insufficient cpu", "Insufficient memory"]);
    let too_big = fits(&asks("3", "0"), &node, &load).unwrap_err();
    assert_eq!(too_big[0].preemption(), Preemption::NotHelpful);
    load.remove(&Demand::of(&running));
    assert_eq!(load, NodeLoad::empty(&node));
    let small = pod(json!({}));
    let full = NodeLoad::with_pods(&node, [&small, &small, &small]);
    assert_eq!(reasons(&small, &node, &full), ["Too many pods"]);
}

#[test]
fn host_ports_conflict_on_any_address() {
    let serving = |ip: &str| {
        pod(json!({"containers": [{"name": "c",
            "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip}]}]}))
    };
    let node = plain("n1");
    let load = NodeLoad::with_pods(&node, [&serving("10.0.0.1")]);
    assert_eq!(reasons(&serving("10.0.0.2"), &node, &load), Vec::<String>::new());
    for clash in ["10.0.0.1", "0.0.0.0", ""] {
        assert_eq!(
            reasons(&serving(clash), &node, &load),
            ["node(s) didn't have free ports for the requested pod ports"]
        );
    }
}

#[test]
fn failure_counts_are_sorted_as_strings() {
    let lacking = |resource: &str| {
        vec![Unfit::Insufficient { resource: resource.to_owned(), ever: Ever::WhenOthersLeave }]
    };
    let mut nodes = vec![lacking("memory"); 10];
    nodes.extend([lacking("cpu"), lacking("cpu"), vec![Unfit::NodeSelection]]);
    let failure = Failure {
        nodes_total: 14,
        looked_at: LookedAt::Nodes(nodes),
        preemption: PreemptionTried::NoVictims,
    };
    assert_eq!(
        failure.message(),
        "0/14 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 10 Insufficient memory, \
         2 Insufficient cpu. preemption: 0/14 nodes are available: 12 No preemption victims found for incoming pod, \
         2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn failure_without_nodes_says_so() {
    let failure =
        |nodes_total, looked_at| Failure { nodes_total, looked_at, preemption: PreemptionTried::NoVictims };
    assert_eq!(failure(0, LookedAt::Nodes(vec![])).message(), "no nodes available to schedule pods");
    assert_eq!(
        failure(2, LookedAt::TermsConflict).message(),
        "0/2 nodes are available: pod affinity terms conflict. preemption: 0/2 nodes are available: \
         2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn the_emptier_node_is_best_and_the_name_decides_among_equals() {
    let (a, b) = (plain("a"), plain("b"));
    let running = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}));
    let (free, used) = (NodeLoad::empty(&a), NodeLoad::with_pods(&a, [&running]));
    let choose = |load_a, load_b| {
        let candidates = [Candidate { node: &b, load: load_b }, Candidate { node: &a, load: load_a }];
        best(&running, &candidates).unwrap().node.metadata.name.clone().unwrap()
    };
    assert_eq!(choose(&used, &free), "b");
    assert_eq!(choose(&free, &free), "a");
}

fn labelled(labels: Value, affinity: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "c"}], "affinity": affinity},
    }))
    .unwrap()
}

fn apart_or_together(kind: &str, labels: Value) -> Value {
    json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": labels}, "topologyKey": "zone"}]}})
}

#[test]
fn pod_affinity_follows_the_zone_and_the_first_of_its_kind_goes_anywhere() {
    let zones = ["z1", "z2"].map(|zone| node(zone, json!({"zone": zone}), json!({})));
    let bare = plain("bare");
    let incoming =
        labelled(json!({"app": "web"}), apart_or_together("podAffinity", json!({"security": "S1"})));
    let target = labelled(json!({"security": "S1"}), json!({}));
    let none = BTreeMap::new();
    let near = Neighbours::of(&incoming, [(&target, &zones[0])], &none);
    assert_eq!(near.allow(&zones[0]), Ok(()));
    assert_eq!(near.allow(&zones[1]), Err(Unfit::PodAffinity));
    assert_eq!(near.allow(&bare), Err(Unfit::PodAffinity), "a Node without the key");
    assert_eq!(Neighbours::of(&incoming, [], &none).allow(&zones[0]), Err(Unfit::PodAffinity));
    let itself = labelled(json!({"app": "web"}), apart_or_together("podAffinity", json!({"app": "web"})));
    let first = Neighbours::of(&itself, [], &none);
    assert_eq!((first.allow(&zones[1]), first.allow(&bare)), (Ok(()), Err(Unfit::PodAffinity)));
}

#[test]
fn anti_affinity_is_symmetric() {
    let zones = ["z1", "z2"].map(|zone| node(zone, json!({"zone": zone}), json!({})));
    let loner = labelled(json!({"app": "a"}), apart_or_together("podAntiAffinity", json!({"app": "b"})));
    let other = labelled(json!({"app": "b"}), json!({}));
    let none = BTreeMap::new();
    let coming = Neighbours::of(&loner, [(&other, &zones[0])], &none);
    assert_eq!(coming.allow(&zones[0]), Err(Unfit::PodAntiAffinity));
    assert_eq!(coming.allow(&zones[1]), Ok(()));
    let there = Neighbours::of(&other, [(&loner, &zones[0])], &none);
    assert_eq!(there.allow(&zones[0]), Err(Unfit::ExistingPodsAntiAffinity));
    assert_eq!(there.allow(&plain("bare")), Ok(()), "without the key there is no conflict");
}
