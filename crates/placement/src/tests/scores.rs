//! Claims about which of several Nodes is best: one part of the score at a time, all else equal.

use api::label::Selector;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::world::{World, pod};
use crate::score::totals;
use crate::{Candidate, ImageSpread, Incoming, NodeLoad, Preferences, best};

/// The totals of all Nodes, in their order.
fn points(world: &World, pod: &Pod, group: Option<Selector>) -> (Vec<i64>, String) {
    let loads: Vec<NodeLoad> = (0..world.nodes.len()).map(|index| world.load(index)).collect();
    let candidates: Vec<Candidate<'_>> =
        world.nodes.iter().zip(&loads).map(|(node, load)| Candidate { node, load }).collect();
    let incoming = Incoming::of(pod, &world.namespaces);
    let mut preferences = Preferences::of(&incoming, &candidates, group);
    let mut images = ImageSpread::default();
    for (index, node) in world.nodes.iter().enumerate() {
        preferences.see(&incoming, node, world.residents(index));
        images.add(node);
    }
    let best = best(&incoming, &candidates, &preferences, &images).unwrap();
    (totals(&incoming, &candidates, &preferences, &images), best.node.metadata.name.clone().unwrap())
}

/// How many points each Node has more than the last one.
fn lead(world: &World, pod: &Pod) -> Vec<i64> {
    let (points, _) = points(world, pod, None);
    points.iter().map(|total| total - points.last().unwrap()).collect()
}

fn plain() -> Pod {
    pod("p", json!({"app": "x"}), json!({}))
}

#[test]
fn equal_nodes_are_told_apart_by_name() {
    assert_eq!(points(&World::of(&["b", "a", "c"]), &plain(), None).1, "a");
}

#[test]
fn tolerated_taints_cost_nothing_and_each_untolerated_preference_its_share_of_three_hundred() {
    let mut world = World::of(&["two", "one", "none"]);
    let soft = |key: &str| json!({"key": key, "effect": "PreferNoSchedule"});
    for (node, taints) in [(0, json!([soft("k"), soft("l")])), (1, json!([soft("k")]))] {
        world.nodes[node].spec.as_mut().unwrap().taints = serde_json::from_value(taints).unwrap();
    }
    assert_eq!(lead(&world, &plain()), [-300, -150, 0]);
    let tolerant = pod("p", json!({}), json!({"tolerations": [{"key": "k", "operator": "Exists"}]}));
    assert_eq!(lead(&world, &tolerant), [-300, 0, 0]);
}

#[test]
fn preferred_node_terms_add_up_and_the_best_node_has_two_hundred() {
    let world = World::of(&["a/z1", "b/z1", "c/z2"]);
    let term = |weight: u32, key: &str, value: &str| {
        json!({"weight": weight, "preference": {"matchExpressions": [
            {"key": key, "operator": "In", "values": [value]}]}})
    };
    let spec = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        term(30, "zone", "z1"), term(10, "kubernetes.io/hostname", "a"), {"weight": 50, "preference": {}}]}}});
    assert_eq!(lead(&world, &pod("p", json!({}), spec)), [200, 150, 0], "an empty preference counts nowhere");
}

fn preferring(kind: &str, weight: u32) -> Value {
    json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight,
        "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "zone"}}]}}})
}

#[test]
fn preferred_company_draws_and_repels_both_ways() {
    let there = |spec: Value| {
        let mut world = World::of(&["a/z1", "b/z1", "c/z2"]);
        world.put("b", pod("t", json!({"app": "x"}), spec));
        world
    };
    // b holds a Pod more than c: what that costs is taken off.
    let base = lead(&there(json!({})), &plain());
    let gain = |world: &World, pod: &Pod| -> Vec<i64> {
        lead(world, pod).iter().zip(&base).map(|(with, without)| with - without).collect()
    };
    let wants = pod("p", json!({}), preferring("podAffinity", 5));
    assert_eq!(gain(&there(json!({})), &wants), [200, 200, 0]);
    let avoids = pod("p", json!({}), preferring("podAntiAffinity", 5));
    assert_eq!(gain(&there(json!({})), &avoids), [-200, -200, 0]);
    assert_eq!(gain(&there(preferring("podAffinity", 1)), &plain()), [200, 200, 0]);
    assert_eq!(gain(&there(preferring("podAntiAffinity", 1)), &plain()), [-200, -200, 0]);
    let requires = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "zone"}]}}});
    assert_eq!(gain(&there(requires), &plain()), [200, 200, 0], "whoever requires the newcomer draws it");
}

#[test]
fn soft_spread_prefers_the_emptier_domain_and_gives_nothing_to_nodes_without_its_keys() {
    let soft = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "x"}}}]});
    let mut world = World::of(&["a/z1", "b/z2", "bare"]);
    let spread = |world: &World| -> Vec<i64> {
        let with = lead(world, &pod("p", json!({"app": "x"}), soft.clone()));
        let without = lead(world, &plain());
        with.iter().zip(&without).map(|(with, without)| with - without).collect()
    };
    assert_eq!(spread(&world), [200, 200, 0]);
    world.put("a", pod("1", json!({"app": "x"}), json!({})));
    world.put("a", pod("2", json!({"app": "x"}), json!({})));
    assert_eq!(spread(&world), [0, 200, 0]);
    world.put("b", pod("3", json!({"app": "x"}), json!({})));
    assert_eq!(spread(&world), [66, 200, 0]);
}

#[test]
fn pods_of_a_service_are_spread_without_asking_for_it() {
    let mut world = World::of(&["a", "b"]);
    world.put("a", pod("1", json!({"app": "x"}), json!({})));
    let group = || Some(Selector::from_set(&[("app".to_owned(), "x".to_owned())].into()));
    let (with, without) = (points(&world, &plain(), group()).0, points(&world, &plain(), None).0);
    let gain: Vec<i64> = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    assert!(gain[1] > gain[0], "{gain:?}");
    let has_own = pod(
        "p",
        json!({"app": "x"}),
        json!({"topologySpreadConstraints": [{"maxSkew": 1,
        "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}),
    );
    assert_eq!(points(&world, &has_own, group()).0, points(&world, &has_own, None).0);
}

#[test]
fn free_and_evenly_used_nodes_score_more() {
    let asks = |cpu: &str, memory: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]});
    let mut world = World::of(&["even", "uneven", "free"]);
    world.put("even", pod("1", json!({}), asks("1", "512Mi")));
    world.put("uneven", pod("2", json!({}), asks("2", "0")));
    // Least allocated: 25, 37 and 75; balanced: 100, 62 and 100.
    assert_eq!(lead(&world, &pod("p", json!({}), asks("500m", "256Mi"))), [-50, -76, 0]);
}

#[test]
fn containers_that_request_nothing_are_presumed_to_need_some() {
    let mut world = World::of(&["busy", "free"]);
    for name in ["1", "2", "3", "4"] {
        world.put("busy", pod(name, json!({}), json!({})));
    }
    assert_eq!(points(&world, &plain(), None).1, "free");
}

#[test]
fn a_large_image_that_is_there_draws_the_pod() {
    let mut world = World::of(&["has", "not"]);
    let images = json!([{"names": ["reg/big:latest"], "sizeBytes": 1_000_000_000}]);
    world.nodes[0].status.as_mut().unwrap().images = serde_json::from_value(images).unwrap();
    let of = |image: &str| pod("p", json!({}), json!({"containers": [{"name": "c", "image": image}]}));
    // Half of the Nodes have it: half of its size counts.
    assert_eq!(lead(&world, &of("reg/big")), [46, 0]);
    assert_eq!(lead(&world, &of("reg/big:v2")), [0, 0]);
}
