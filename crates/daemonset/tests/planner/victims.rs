//! Whose Pod is replaced first: the written order, by Node.

use serde_json::json;

use crate::world::{World, creates, outdated_on, pod_steps, rolling, surging};

/// Nodes `node-0` … in these zones, each with an old, available Pod `p0`, …; the current template is another one.
fn outdated(spec: serde_json::Value, zones: &[&str]) -> World {
    let labels = zones.iter().map(|zone| match *zone {
        "-" => json!({}),
        zone => json!({"topology.kubernetes.io/zone": zone}),
    });
    outdated_on(spec, labels)
}

/// The Nodes that the next plan takes, in its order.
fn next(world: &mut World) -> Vec<String> {
    let steps = world.sync();
    steps.iter().map(|step| step.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn victims_spread_over_the_zones_and_go_by_name_within_one() {
    let mut world = outdated(rolling(json!(4)), &["a", "a", "a", "b", "b", "c"]);
    // c would lose all it has with its only Node, so it comes last.
    assert_eq!(next(&mut world), ["node-0", "node-3", "node-1", "node-2"]);
    assert_eq!(world.sync().len(), 4);
    world.all_ready();
    assert_eq!(next(&mut world), ["node-4", "node-5"]);
}

#[test]
fn a_zone_that_has_lost_pods_already_gives_less() {
    let mut world = outdated(rolling(json!(3)), &["a", "a", "a", "b", "b", "b"]);
    world.unready("p0");
    let steps = world.sync();
    assert_eq!(
        steps,
        [
            "node-0 delete p0: old template, and not available anyway",
            "node-3 delete p3: old template (2 of 3 unavailable)",
            "node-1 delete p1: old template (3 of 3 unavailable)",
        ],
        "unavailable first, then the zone that has lost nothing"
    );
}

#[test]
fn surging_follows_the_same_order_and_nodes_without_a_zone_are_one() {
    let mut world = outdated(surging(json!(3)), &["-", "-", "b", "b"]);
    let plan = world.plan();
    let nodes: Vec<String> = plan.creates().map(|(node, ..)| node.to_string()).collect();
    assert_eq!(nodes, ["node-0", "node-2", "node-1"]);
    assert!(pod_steps(&plan)[1].contains("(2 of 3 surging)"), "{plan}");
}

#[test]
fn the_old_zone_label_counts_and_a_node_may_move() {
    let mut world = outdated(rolling(json!(2)), &["a", "a", "b", "b"]);
    world.label_node("node-1", json!({"failure-domain.beta.kubernetes.io/zone": "old"}));
    world.label_node("node-0", json!({"topology.kubernetes.io/zone": "b"}));
    // Now b has three of four.
    assert_eq!(next(&mut world), ["node-0", "node-2"]);
    assert_eq!(world.sync(), creates([0, 2]));
}
