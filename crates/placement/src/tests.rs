//! Claims about filters, in upstream's words.

mod between_pods;
mod scores;
mod spread;
mod victims;
mod waiting;
mod world;

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
    let namespaces = NamespaceLabels::new();
    let refused = Incoming::of(pod, &namespaces).fits(node, load).err().unwrap_or_default();
    refused.iter().map(ToString::to_string).collect()
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
    let too_big = load.lacking(&Demand::of(&asks("3", "0")));
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
fn requests_are_those_of_the_larger_half_of_a_pods_life_and_of_its_overhead() {
    let node = plain("n1");
    let load = NodeLoad::empty(&node);
    let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
    let asks = |init: &str, sidecar: &str, main: &str, overhead: &str| {
        pod(json!({
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": cpu(sidecar)},
                {"name": "i", "resources": cpu(init)}],
            "containers": [{"name": "c", "resources": cpu(main)}],
            "overhead": {"cpu": overhead}}))
    };
    let cases = [
        (asks("1", "500m", "1500m", "0"), true),
        (asks("1", "501m", "1500m", "0"), false),
        (asks("1500m", "500m", "1", "0"), true),
        (asks("1501m", "500m", "1", "0"), false),
        (asks("1", "500m", "1", "500m"), true),
        (asks("1", "500m", "1", "501m"), false),
    ];
    for (pod, fits) in cases {
        assert_eq!(reasons(&pod, &node, &load).is_empty(), fits, "{:?}", pod.spec);
    }
}

#[test]
fn extended_resources_that_the_node_does_not_list_are_none() {
    let asks = pod(json!({"containers": [{"name": "c",
        "resources": {"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}}}]}));
    let mut with = plain("n1");
    assert_eq!(reasons(&asks, &with, &NodeLoad::empty(&with)), ["Insufficient example.com/gpu"]);
    let listed = with.status.as_mut().unwrap().allocatable.as_mut().unwrap();
    listed.insert(
        "example.com/gpu".to_owned(),
        k8s_openapi::apimachinery::pkg::api::resource::Quantity("1".into()),
    );
    assert_eq!(reasons(&asks, &with, &NodeLoad::empty(&with)), Vec::<String>::new());
    assert_eq!(reasons(&asks, &with, &NodeLoad::with_pods(&with, [&asks])), ["Insufficient example.com/gpu"]);
}

#[test]
fn failure_counts_are_sorted_as_strings() {
    let lacking = |resource: &str| {
        vec![Unfit::Insufficient { resource: resource.to_owned(), ever: Ever::WhenOthersLeave }]
    };
    let mut nodes = vec![lacking("memory"); 10];
    nodes.extend([lacking("cpu"), lacking("cpu"), vec![Unfit::NodeSelection]]);
    let mut tried = vec![Stuck::NoVictims; 11];
    tried.push(Stuck::StillUnfit(lacking("cpu")));
    let failure = Failure {
        nodes_total: 14,
        looked_at: LookedAt::Nodes(nodes),
        preemption: PreemptionTried::InVain(tried),
    };
    assert_eq!(
        failure.message(),
        "0/14 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 10 Insufficient memory, \
         2 Insufficient cpu. preemption: 0/14 nodes are available: 1 Insufficient cpu, \
         11 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn failure_without_nodes_says_so() {
    let failure = |nodes_total, looked_at| Failure {
        nodes_total,
        looked_at,
        preemption: PreemptionTried::InVain(Vec::new()),
    };
    assert_eq!(failure(0, LookedAt::Nodes(vec![])).message(), "no nodes available to schedule pods");
    assert_eq!(
        failure(2, LookedAt::TermsConflict).message(),
        "0/2 nodes are available: pod affinity terms conflict. preemption: 0/2 nodes are available: \
         2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn failure_says_why_nobody_was_removed_and_nothing_where_somebody_was() {
    let text = |preemption| {
        let looked_at = LookedAt::Nodes(vec![vec![Unfit::HostPorts]]);
        Failure { nodes_total: 1, looked_at, preemption }.message()
    };
    let refused =
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.".to_owned();
    assert_eq!(text(PreemptionTried::Promised), refused);
    assert_eq!(
        text(PreemptionTried::PolicyNever),
        format!("{refused} preemption: not eligible due to preemptionPolicy=Never.")
    );
    assert_eq!(
        text(PreemptionTried::VictimStillThere),
        format!("{refused} preemption: not eligible due to a terminating pod on the nominated node.")
    );
}
