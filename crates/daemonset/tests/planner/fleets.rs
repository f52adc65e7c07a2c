//! Mixed fleets: upstream's cases with several kinds of nodes and pods at once, by Node and by reason.

use std::sync::Arc;

use daemonset::{Event, Outcome, Step, View};
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};

use crate::world::{World, both, creates, rolling};

const NONE: [String; 0] = [];

fn blue() -> Value {
    json!({"template": {"spec": {"nodeSelector": {"color": "blue"}}}})
}

/// Nodes `node-0` …, blue from `first_blue` on.
fn painted(strategy: Value, count: usize, first_blue: usize) -> World {
    let mut world = World::new(strategy);
    for i in 0..count {
        let labels = if i < first_blue { json!({}) } else { json!({"color": "blue"}) };
        world.label_node(&format!("node-{i}"), labels);
    }
    world
}

fn own(world: &mut World, node: usize, names: &[&str]) {
    for name in names {
        world.own_pod(name, &format!("node-{node}"), json!({}));
    }
}

fn foreign(world: &mut World, node: usize, name: &str) {
    world.pod(name, &format!("node-{node}"), json!({"metadata": {"labels": {"app": "bar"}}}));
}

#[test]
fn unselected_pods_go_and_selected_nodes_get_theirs() {
    for strategy in both() {
        let mut world = painted(strategy, 10, 5);
        world.edit(blue());
        own(&mut world, 0, &["a1", "a2"]);
        own(&mut world, 1, &["b1"]);
        own(&mut world, 4, &["e1"]);
        foreign(&mut world, 0, "x0");
        foreign(&mut world, 6, "x6");
        let not_here = "node selector color=blue does not match";
        assert_eq!(
            world.sync(),
            [
                format!("node-0 delete a1: {not_here}"),
                format!("node-0 delete a2: {not_here}"),
                format!("node-1 delete b1: {not_here}"),
                format!("node-4 delete e1: {not_here}"),
            ]
            .into_iter()
            .chain(creates(5..10))
            .collect::<Vec<_>>()
        );
        assert_eq!(world.sync(), NONE);
    }
}

#[test]
fn surplus_unselected_and_foreign_pods_side_by_side() {
    for strategy in both() {
        let mut world = painted(strategy, 10, 5);
        world.edit(blue());
        own(&mut world, 0, &["a1"]);
        own(&mut world, 1, &["b1", "b2", "b3"]);
        foreign(&mut world, 1, "x1");
        own(&mut world, 5, &["f1"]);
        own(&mut world, 6, &["g1", "g2", "g3"]);
        foreign(&mut world, 7, "x7");
        let steps = world.sync();
        let deleted: Vec<&str> = steps
            .iter()
            .filter_map(|step| step.split(' ').nth(2).filter(|_| step.contains("delete")))
            .collect();
        assert_eq!(deleted, ["a1:", "b1:", "b2:", "b3:", "g2:", "g3:"]);
        let created: Vec<String> = steps.into_iter().filter(|step| step.contains("create")).collect();
        assert_eq!(created, creates(7..10), "node-5 and node-6 have theirs");
        assert!(world.pods.contains_key("x1") && world.pods.contains_key("x7"));
    }
}

#[test]
fn a_node_selector_that_matches_nothing_makes_nothing() {
    for strategy in both() {
        let mut world = painted(strategy, 3, 0);
        world.edit(json!({"template": {"spec": {"nodeSelector": {"color": "green"}}}}));
        assert_eq!(world.sync(), NONE);
        assert_eq!(world.status(), (0, 0, 0, 0));
    }
}

#[test]
fn a_node_name_and_a_selector_have_to_agree() {
    for strategy in both() {
        let named =
            |node: &str| json!({"template": {"spec": {"nodeName": node, "nodeSelector": {"color": "blue"}}}});
        let mut world = painted(strategy.clone(), 4, 2);
        world.edit(named("node-3"));
        assert_eq!(world.steps(), creates([3]));
        world.edit(named("node-0"));
        assert_eq!(world.steps(), NONE, "node-0 is not blue");
    }
}

#[test]
fn required_node_affinity_takes_three_of_seven() {
    for strategy in both() {
        let mut world = painted(strategy, 7, 4);
        world.edit(json!({"template": {"spec": {"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "color", "operator": "In", "values": ["blue"]}]}]}}}}}}));
        assert_eq!(world.sync(), creates(4..7));
        assert_eq!(world.status(), (3, 3, 0, 0));
    }
}

#[test]
fn a_node_with_the_label_gets_its_pod_however_small_it_is() {
    let mut world = World::new(rolling(json!(1)));
    world.edit(blue());
    let nothing = json!({"allocatable": {"cpu": "0", "memory": "0", "pods": "0"}});
    world.node("node-0", json!({"status": nothing}));
    world.node("node-1", json!({"status": nothing, "metadata": {"labels": {"color": "blue"}}}));
    assert_eq!(world.sync(), creates([1]));
}

#[test]
fn readiness_and_the_observed_generation_follow() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 2);
        world.settle();
        assert_eq!(world.status(), (2, 2, 0, 0));
        world.all_ready();
        world.settle();
        assert_eq!(world.status(), (2, 2, 2, 0));
        world.edit(json!({"revisionHistoryLimit": 3}));
        world.settle();
        assert_eq!(world.daemon_set.status.unwrap().observed_generation, Some(2));
    }
}

#[test]
fn creates_that_failed_are_asked_for_again_at_once() {
    let mut world = World::with_nodes(rolling(json!(1)), 4);
    let plan = world.plan();
    for (i, step) in plan.steps.iter().enumerate() {
        let fails = matches!(step, Step::CreatePod { .. }) && i % 2 == 0;
        let outcome = if fails { Outcome::Failed } else { world.act(step) };
        world.view.acted(step, outcome, world.now);
    }
    world.see(&plan);
    assert_eq!(world.steps().len(), 2, "what failed is not waited for");
}

#[test]
fn a_set_made_anew_waits_for_nothing_of_the_old_one() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    let plan = world.plan();
    for step in &plan.steps {
        world.view.acted(step, Outcome::Done, world.now);
    }
    assert!(world.view.is_waiting());
    let mut anew: DaemonSet = world.daemon_set.clone();
    anew.metadata.uid = Some("another-uid".to_owned());
    assert!(world.view.needs_rebuild(&anew));
    let mut view = View::new(Arc::new(anew)).unwrap();
    for node in world.nodes.values() {
        view.apply(Event::Node(Arc::new(node.clone())), world.now).unwrap();
    }
    let names = |plan: &daemonset::Plan| {
        plan.creates().map(|(_, pod, _)| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>()
    };
    let again = view.plan(world.now);
    assert_eq!(names(&again).len(), 1);
    assert_ne!(names(&again), names(&plan), "another set's pod has another name");
}

#[test]
fn nothing_happens_on_nodes_without_a_change_of_template() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 3);
        world.settle();
        world.all_ready();
        world.settle();
        // A toleration for a taint that no node has, in the status only a heartbeat.
        for i in 0..3 {
            world.node(
                &format!("node-{i}"),
                json!({"status": {"conditions": [{"type": "Ready", "status": "True",
                    "lastHeartbeatTime": "2026-01-01T00:05:00Z"}]}}),
            );
        }
        assert_eq!(world.plan().steps, []);
    }
}
