//! What the view believes: its own writes until they are seen, and events that concern it.

use serde_json::json;

use crate::world::{World, creates, normal, on_delete, outdated, rolling};

const NONE: [String; 0] = [];

#[test]
fn a_created_pod_is_not_created_twice_before_it_is_seen() {
    let mut world = World::with_nodes(rolling(json!(1)), 2);
    let plan = world.plan();
    for step in &plan.steps {
        let outcome = world.act(step);
        world.view.acted(step, outcome, world.now);
    }
    assert!(world.view.is_waiting());
    assert_eq!(world.steps(), NONE);
    assert_eq!(world.view.status().observed_generation, Some(1), "written in the first plan");
    world.edit(json!({"minReadySeconds": 3}));
    assert_eq!(world.view.status().observed_generation, Some(1), "not raised while waiting");
    world.see(&plan);
    assert!(!world.view.is_waiting());
    assert_eq!(world.view.status().observed_generation, Some(2));
    assert_eq!(world.steps(), NONE);
}

#[test]
fn an_effect_that_is_never_seen_is_given_up_after_five_minutes() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    let plan = world.plan();
    for step in &plan.steps {
        let outcome = world.act(step);
        world.view.acted(step, outcome, world.now);
    }
    world.pods.clear();
    assert_eq!(world.steps(), NONE);
    world.pass(daemonset::view::FLIGHT_SECONDS_MAX);
    assert_eq!(world.steps(), creates([0]));
}

#[test]
fn a_taken_name_leads_to_another_name() {
    let mut world = World::with_nodes(on_delete(), 1);
    let plan = world.plan();
    let taken = plan.creates().next().unwrap().1.metadata.name.clone().unwrap();
    world.pod(&taken, "elsewhere", json!({"metadata": {"labels": {"app": "bar"}}}));
    world.sync();
    world.sync();
    let ours = world.pods.keys().find(|name| **name != taken).unwrap();
    assert!(ours.starts_with("foo-"));
    assert_eq!(world.steps(), NONE);
}

#[test]
fn a_deletion_is_seen_when_its_timestamp_appears() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.own_pod("p0", "node-0", json!({}));
    world.own_pod("p1", "node-0", json!({}));
    let plan = world.plan();
    for step in plan.steps.iter().filter(|step| matches!(step, daemonset::Step::DeletePod { .. })) {
        world.view.acted(step, daemonset::Outcome::Done, world.now);
    }
    assert!(world.view.is_waiting());
    world.terminate("p1");
    assert!(!world.view.is_waiting(), "the timestamp is enough, the pod need not be gone");
    assert_eq!(world.steps(), NONE);
}

#[test]
fn a_deletion_that_fails_is_asked_for_again() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.own_pod("p0", "node-0", json!({}));
    world.own_pod("p1", "node-0", json!({}));
    let steps = world.steps();
    let plan = world.plan();
    for step in &plan.steps {
        world.view.acted(step, daemonset::Outcome::Failed, world.now);
    }
    assert!(!world.view.is_waiting());
    assert_eq!(world.steps(), steps);
}

#[test]
fn only_labels_and_taints_of_a_node_can_change_a_plan() {
    let mut world = World::with_nodes(on_delete(), 0);
    world.edit(json!({"template": {"spec": {"nodeSelector": {"color": "blue"}}}}));
    let mut effect = |patch: serde_json::Value| {
        let mut node = json!({"metadata": {"name": "node-0"}});
        crate::world::merge(&mut node, patch);
        let node = serde_json::from_value(node).unwrap();
        world.view.apply(daemonset::Event::Node(std::sync::Arc::new(node)), world.now).unwrap()
    };
    use daemonset::Effect::{Changed, Nothing};
    assert_eq!(effect(json!({})), Changed, "a new node");
    assert_eq!(effect(json!({})), Nothing);
    assert_eq!(effect(json!({"status": {"allocatable": {"cpu": "9"}}})), Nothing);
    assert_eq!(effect(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})), Nothing);
    assert_eq!(effect(json!({"metadata": {"labels": {"other": "x"}}})), Nothing);
    let blue = json!({"metadata": {"labels": {"color": "blue"}}});
    assert_eq!(effect(blue.clone()), Changed);
    let mut tainted = blue;
    tainted["spec"] = json!({"taints": [{"key": "t", "effect": "NoExecute"}]});
    assert_eq!(effect(tainted), Changed);
}

#[test]
fn pods_of_others_and_unrelated_ones_are_nobodys_business_here() {
    let mut world = World::with_nodes(on_delete(), 1);
    world.own_pod("p0", "node-0", json!({}));
    let other = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "foo", "uid": "earlier-uid",
        "controller": true}]);
    world.pod("theirs", "node-0", json!({"metadata": {"labels": {"app": "foo"}, "ownerReferences": other}}));
    world.pod("naked", "node-0", json!({}));
    assert_eq!(world.steps(), NONE);
    assert!(!world.view.knows_pod("theirs") && !world.view.knows_pod("naked"));
    // Its owner lets go of it: now it is an orphan that the selector matches.
    world.patch_pod("theirs", json!({"metadata": {"ownerReferences": null}}));
    assert!(normal(&world.plan().to_string()).contains("pod adopt theirs"));
}

/// Nodes with an old, available Pod each, and the steps of the plan that begins the update.
fn updating(count: usize) -> (World, Vec<daemonset::Step>) {
    let mut world = outdated(rolling(json!(1)), count);
    let steps = world.plan().steps;
    (world, steps)
}

#[test]
fn an_accepted_deletion_stands_whatever_a_late_event_or_the_limit_says() {
    let (mut world, steps) = updating(3);
    for step in &steps {
        world.view.acted(step, daemonset::Outcome::Done, world.now);
        if matches!(step, daemonset::Step::CreateRevision(_)) {
            world.act(step);
            world.see_step(step);
        }
    }
    // The cache shows the Pod as it was, again and again, until the wait for it is given up.
    world.ready("p0");
    world.pass(daemonset::view::FLIGHT_SECONDS_MAX);
    world.ready("p0");
    assert_eq!(world.steps(), NONE, "p0 is on its way out; no other may go");
    let text = normal(&world.explain());
    assert!(text.contains("node-0 wait p0 is terminating"), "{text}");
    world.remove_pod("p0");
    assert_eq!(world.steps(), creates([0]));
}

#[test]
fn a_deletion_without_an_answer_uses_the_budget_and_is_asked_for_again() {
    let (mut world, steps) = updating(3);
    for step in &steps {
        let outcome = match step {
            daemonset::Step::DeletePod { .. } => daemonset::Outcome::Unknown,
            _ => world.act(step),
        };
        world.view.acted(step, outcome, world.now);
        if !matches!(step, daemonset::Step::DeletePod { .. }) {
            world.see_step(step);
        }
    }
    // A node that comes before all others would be the next victim, if there were room.
    world.own_pod("a", "a-node", json!({"metadata": {"labels": {"controller-revision-hash": "old"}}}));
    world.ready("a");
    world.node("a-node", json!({}));
    assert_eq!(world.steps(), ["node-0 delete p0: old template, and its deletion got no answer"]);
    // However long nothing is heard: only an answer ends the doubt.
    world.pass(daemonset::view::FLIGHT_SECONDS_MAX);
    assert_eq!(world.steps(), ["node-0 delete p0: old template, and its deletion got no answer"]);
}

#[test]
fn a_deletion_without_an_answer_that_is_not_asked_for_again_ends_with_a_look_at_the_api() {
    use daemonset::{Outcome, Step};
    let (mut world, steps) = updating(3);
    for step in &steps {
        let outcome = match step {
            Step::DeletePod { .. } => Outcome::Unknown,
            _ => world.act(step),
        };
        world.view.acted(step, outcome, world.now);
        world.see_step(step);
    }
    // Taken back: all three are what is wanted again, if they are there.
    world.image("image:1");
    world.settle();
    assert_eq!(world.view.sums().available, 2, "p0 is not counted on");
    world.pass(daemonset::view::FLIGHT_SECONDS_MAX);
    let looks = |world: &mut World| -> Vec<Step> {
        let plan = world.plan();
        assert!(plan.look_again_at.is_none_or(|at| at > world.now), "{plan}");
        plan.steps.into_iter().filter(|step| matches!(step, Step::LookAtPod(_))).collect()
    };
    let look = looks(&mut world).remove(0);
    world.view.acted(&look, Outcome::Failed, world.now);
    assert_eq!(looks(&mut world), [], "not at once");
    world.pass(10);
    assert_eq!(looks(&mut world), std::slice::from_ref(&look));
    let there = world.act(&look);
    world.view.acted(&look, there, world.now);
    assert_eq!(world.view.sums().available, 3);
    assert_eq!(looks(&mut world), []);
}

#[test]
fn a_pod_taken_because_it_was_not_available_is_taken_as_it_was_seen() {
    let (mut world, _) = updating(2);
    world.patch_pod("p1", json!({"metadata": {"resourceVersion": "7"}}));
    world.unready("p1");
    let versions = |world: &mut World| -> Vec<(String, Option<String>)> {
        let plan = world.plan();
        let version = |step: &daemonset::Step| match step {
            daemonset::Step::DeletePod { pod, version, .. } => {
                Some((pod.name.clone(), version.as_deref().map(str::to_owned)))
            }
            _ => None,
        };
        plan.steps.iter().filter_map(version).collect()
    };
    assert_eq!(versions(&mut world), [("p1".to_owned(), Some("7".to_owned()))]);
    world.patch_pod("p1", json!({"metadata": {"resourceVersion": "8"}}));
    assert_eq!(versions(&mut world), [("p1".to_owned(), Some("8".to_owned()))], "the latest that was seen");
}

#[test]
fn a_pod_that_is_gone_does_not_come_back_by_a_late_word() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.settle();
    let name = world.pods.keys().next().unwrap().clone();
    let late = world.pods[&name].clone();
    world.remove_pod(&name);
    world.apply(daemonset::Event::Pod(std::sync::Arc::new(late)));
    assert!(!world.view.knows_pod(&name));
    assert_eq!(world.steps(), creates([0]));
}

#[test]
fn a_selector_of_everything_is_told_once_for_each_edit() {
    let mut object = World::new(on_delete()).daemon_set;
    object.spec.as_mut().unwrap().selector = Default::default();
    let mut world = World::of(object.clone());
    assert_eq!(world.plan().notes.len(), 1);
    assert_eq!(world.plan().notes.len(), 0, "a plan that only speaks would be made for ever");
    object.metadata.generation = Some(2);
    world.put_daemon_set(object);
    assert_eq!(world.plan().notes.len(), 1);
}
