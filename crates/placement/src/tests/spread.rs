//! Claims about topology spread constraints.

use serde_json::{Value, json};

use super::world::{World, pod};

const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
const UNLABELLED: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

fn constraint(key: &str, more: Value) -> Value {
    let mut constraint = json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}}});
    for (field, value) in more.as_object().unwrap() {
        constraint[field] = value.clone();
    }
    constraint
}

fn spreading(constraints: Value) -> Value {
    json!({"topologySpreadConstraints": constraints})
}

/// One of the group that is spread.
fn one(name: &str) -> k8s_openapi::api::core::v1::Pod {
    pod(name, json!({"app": "x"}), json!({}))
}

fn incoming(more: Value) -> k8s_openapi::api::core::v1::Pod {
    pod("p", json!({"app": "x"}), spreading(json!([constraint("zone", more)])))
}

/// Three Pods in z1, one in z2, none in z3; a Node without a zone.
fn uneven() -> World {
    let mut world = World::of(&["a/z1", "b/z2", "c/z3", "bare"]);
    for (node, name) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "4")] {
        world.put(node, one(name));
    }
    world
}

#[test]
fn a_domain_may_be_max_skew_ahead_of_the_emptiest() {
    let world = uneven();
    let lines = |skew: u32| world.verdicts(&incoming(json!({"maxSkew": skew})));
    let bad = |node: &str| format!("{node} {UNEVEN}");
    let bare = format!("bare {UNLABELLED}");
    assert_eq!(lines(1), [bad("a"), bad("b"), "c fits".into(), bare.clone()]);
    assert_eq!(lines(2), [bad("a"), "b fits".into(), "c fits".into(), bare.clone()]);
    assert_eq!(lines(4), ["a fits".into(), "b fits".into(), "c fits".to_owned(), bare]);
}

#[test]
fn a_pod_that_its_own_constraint_does_not_select_adds_nothing() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    world.put("a", one("1"));
    let alien = pod("p", json!({"app": "y"}), spreading(json!([constraint("zone", json!({}))])));
    assert_eq!(world.verdicts(&alien), ["a fits", "b fits"]);
    assert_eq!(world.verdicts(&incoming(json!({}))), [&format!("a {UNEVEN}"), "b fits"]);
}

#[test]
fn too_few_domains_count_as_if_the_missing_ones_were_empty() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    world.put("a", one("1"));
    world.put("b", one("2"));
    assert_eq!(world.verdicts(&incoming(json!({"minDomains": 2}))), ["a fits", "b fits"]);
    assert_eq!(
        world.verdicts(&incoming(json!({"minDomains": 3}))),
        [format!("a {UNEVEN}"), format!("b {UNEVEN}")]
    );
}

#[test]
fn nodes_that_the_pod_does_not_select_count_only_where_the_policy_ignores_that() {
    let mut world = World::of(&["a/z1", "b/z2", "c/z3"]);
    world.put("a", one("1"));
    world.put("b", one("2"));
    let selecting = |policy: &str| {
        let mut asks = incoming(json!({"nodeAffinityPolicy": policy}));
        let not_c = json!([{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["c"]}]);
        asks.spec.as_mut().unwrap().affinity = serde_json::from_value(json!({"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": not_c}]}}}))
        .unwrap();
        asks
    };
    let not_selected = "c node(s) didn't match Pod's node affinity/selector";
    assert_eq!(world.verdicts(&selecting("Honor")), ["a fits", "b fits", not_selected]);
    assert_eq!(
        world.verdicts(&selecting("Ignore")),
        [format!("a {UNEVEN}"), format!("b {UNEVEN}"), not_selected.to_owned()],
        "z3 is the emptiest"
    );
}

#[test]
fn tainted_nodes_count_unless_the_policy_honors_taints() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    world.put("a", one("1"));
    world.nodes[1].spec.as_mut().unwrap().taints =
        serde_json::from_value(json!([{"key": "gone", "effect": "NoExecute"}])).unwrap();
    let tainted = "b node(s) had untolerated taint {gone: }";
    assert_eq!(world.verdicts(&incoming(json!({}))), [&format!("a {UNEVEN}"), tainted]);
    assert_eq!(world.verdicts(&incoming(json!({"nodeTaintsPolicy": "Honor"}))), ["a fits", tainted]);
}

#[test]
fn match_label_keys_spread_each_version_by_itself() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    world.put("a", pod("old", json!({"app": "x", "version": "1"}), json!({})));
    let spec = |more| spreading(json!([constraint("zone", more)]));
    let labels = || json!({"app": "x", "version": "2"});
    let by_version = pod("p", labels(), spec(json!({"matchLabelKeys": ["version"]})));
    assert_eq!(world.verdicts(&by_version), ["a fits", "b fits"]);
    assert_eq!(world.verdicts(&pod("p", labels(), spec(json!({}))))[0], format!("a {UNEVEN}"));
}

#[test]
fn pods_that_are_leaving_or_in_another_namespace_do_not_count() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    let mut leaving = one("leaving");
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let mut elsewhere = one("elsewhere");
    elsewhere.metadata.namespace = Some("other".into());
    world.put("a", leaving);
    world.put("a", elsewhere);
    assert_eq!(world.verdicts(&incoming(json!({}))), ["a fits", "b fits"]);
}

#[test]
fn no_selector_counts_nobody_and_so_does_an_empty_one() {
    let mut world = World::of(&["a/z1", "b/z2"]);
    world.put("a", one("1"));
    world.put("a", one("2"));
    for selector in [Value::Null, json!({})] {
        assert_eq!(world.verdicts(&incoming(json!({"labelSelector": selector}))), ["a fits", "b fits"]);
    }
}

#[test]
fn all_constraints_must_hold_and_a_node_without_one_of_the_keys_counts_in_none() {
    let mut world = World::of(&["a/z1", "b/z1", "c/z2", "bare"]);
    world.put("a", one("1"));
    let both = pod(
        "p",
        json!({"app": "x"}),
        spreading(json!([
            constraint("zone", json!({"maxSkew": 2})),
            constraint("kubernetes.io/hostname", json!({}))
        ])),
    );
    let lines = [format!("a {UNEVEN}"), "b fits".into(), "c fits".into(), format!("bare {UNLABELLED}")];
    assert_eq!(world.verdicts(&both), lines);
    world.put("bare", one("2"));
    assert_eq!(world.verdicts(&both), lines);
}

#[test]
fn soft_constraints_refuse_nothing() {
    let world = uneven();
    let soft = incoming(json!({"whenUnsatisfiable": "ScheduleAnyway"}));
    assert_eq!(world.verdicts(&soft), ["a fits", "b fits", "c fits", "bare fits"]);
}
