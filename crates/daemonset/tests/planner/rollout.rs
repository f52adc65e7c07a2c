//! Replacing Pods by deleting first: upstream's update_test.go, by Node and by reason.

use serde_json::json;

use crate::world::{World, creates, normal, on_delete, outdated, rolling};

const NONE: [String; 0] = [];

fn deletes(pods: impl IntoIterator<Item = usize>, max: usize) -> Vec<String> {
    let used = 1..;
    let line = |(used, i)| format!("node-{i} delete p{i}: old template ({used} of {max} unavailable)");
    used.zip(pods).map(line).collect()
}

#[test]
fn two_at_a_time_and_the_next_when_they_are_ready() {
    let mut world = outdated(rolling(json!(2)), 5);
    for pair in [vec![0, 1], vec![2, 3], vec![4]] {
        assert_eq!(world.sync(), deletes(pair.clone(), 2));
        assert_eq!(world.sync(), creates(pair));
        assert_eq!(world.sync(), NONE, "not before they are ready");
        world.all_ready();
    }
    assert_eq!(world.sync(), NONE);
    assert_eq!(world.view.status().updated_number_scheduled, Some(5));
}

#[test]
fn new_pods_that_never_get_ready_stop_the_rollout() {
    let mut world = outdated(rolling(json!(3)), 5);
    assert_eq!(world.sync(), deletes([0, 1, 2], 3));
    assert_eq!(world.sync(), creates([0, 1, 2]));
    assert_eq!(world.sync(), NONE);
    world.pass(3600);
    assert_eq!(world.sync(), NONE);
    let text = normal(&world.explain());
    assert!(text.contains("node-3 wait budget spent: 3 of 3 unavailable (node-0, node-1, node-2)"), "{text}");
}

#[test]
fn old_pods_that_are_not_available_are_replaced_all_at_once() {
    let mut world = outdated(rolling(json!(3)), 5);
    for i in 0..5 {
        world.unready(&format!("p{i}"));
    }
    let all: Vec<String> =
        (0..5).map(|i| format!("node-{i} delete p{i}: old template, and not available anyway")).collect();
    assert_eq!(world.sync(), all);
    assert_eq!(world.sync(), creates(0..5));
}

#[test]
fn a_changed_strategy_alone_touches_no_pod() {
    let mut world = World::with_nodes(rolling(json!(3)), 5);
    world.settle();
    world.all_ready();
    world.edit(rolling(json!(2)));
    assert_eq!(world.sync(), NONE);
    assert_eq!(world.view.status().observed_generation, Some(2));
}

#[test]
fn on_delete_waits_for_someone_to_delete() {
    let mut world = outdated(on_delete(), 2);
    let hash = world.view.hash().to_owned();
    assert_eq!(world.sync(), NONE);
    assert_eq!(world.view.status().updated_number_scheduled, Some(0));
    assert_eq!(world.revisions.len(), 2, "the revision is written all the same");
    world.remove_pod("p1");
    let plan = world.plan();
    let labels = plan.creates().next().unwrap().1.metadata.labels.clone().unwrap();
    assert_eq!(labels["controller-revision-hash"], hash);
    assert_eq!(world.sync(), creates([1]));
    assert_eq!(world.view.status().updated_number_scheduled, Some(1));
}

#[test]
fn a_second_update_replaces_the_broken_and_spares_the_healthy() {
    let mut world = outdated(rolling(json!(2)), 5);
    world.sync();
    world.sync();
    let broken: Vec<String> = world.pods.keys().filter(|name| !name.starts_with('p')).cloned().collect();
    assert_eq!(broken.len(), 2);
    for image in ["image:3", "image:4", "image:5"] {
        world.image(image);
        let steps = world.sync();
        assert_eq!(steps.len(), 2, "{steps:?}");
        assert!(
            steps.iter().all(|step| step.ends_with("old template, and not available anyway")),
            "{steps:?}"
        );
        assert_eq!(world.sync(), creates([0, 1]));
        assert_eq!(world.sync(), NONE);
    }
    assert!(["p2", "p3", "p4"].iter().all(|healthy| world.pods.contains_key(*healthy)));
}

#[test]
fn ten_broken_updates_never_touch_the_ten_healthy_and_more_budget_takes_exactly_one() {
    let mut world = outdated(rolling(json!(10)), 20);
    world.settle();
    for i in 3..13 {
        world.image(&format!("image:{i}"));
        world.settle();
        assert_eq!(world.pods.keys().filter(|name| name.starts_with('p')).count(), 10);
    }
    world.edit(rolling(json!(11)));
    let steps = world.sync();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0].ends_with("old template (11 of 11 unavailable)"), "{steps:?}");
}

#[test]
fn unavailable_new_pods_use_the_budget_and_old_ones_go_beside_it() {
    let mut world = outdated(rolling(json!(10)), 100);
    // 88 new and unavailable, 2 old and unavailable, 10 old and healthy.
    for i in 0..88 {
        world.remove_pod(&format!("p{i}"));
        world.own_pod(&format!("n{i}"), &format!("node-{i}"), json!({}));
    }
    world.unready("p98");
    world.unready("p99");
    assert_eq!(
        world.steps(),
        [
            "node-98 delete p98: old template, and not available anyway",
            "node-99 delete p99: old template, and not available anyway",
        ]
    );
}

#[test]
fn going_back_spares_the_pods_that_were_not_reached() {
    let mut world = outdated(rolling(json!(1)), 3);
    world.sync();
    world.sync();
    world.image("image:1");
    let steps = world.sync();
    assert_eq!(steps.len(), 1);
    assert!(steps[0].starts_with("node-0 delete foo-"), "{steps:?}");
    world.settle();
    assert!(world.pods.contains_key("p1") && world.pods.contains_key("p2"));
    let mut numbers: Vec<i64> = world.revisions.values().map(|revision| revision.revision).collect();
    numbers.sort();
    assert_eq!(numbers, [2, 3], "the old revision moved to the end, none was made");
}

#[test]
fn budgets_are_shares_of_the_desired_nodes_rounded_up() {
    let cases = [
        (json!("50%"), 2, 1),
        (json!("50%"), 3, 2),
        (json!("1%"), 100, 1),
        (json!("10%"), 11, 2),
        (json!("100%"), 2, 2),
        (json!(0), 5, 1),
        (json!("0%"), 5, 1),
        (json!(150), 3, 150),
    ];
    for (share, desired, budget) in cases {
        let world = World::new(rolling(share.clone()));
        assert_eq!(world.view.wanted().strategy.budget(desired), budget, "{share} of {desired}");
    }
    assert_eq!(World::new(rolling(json!("50%"))).view.wanted().strategy.budget(0), 0);
}

#[test]
fn a_terminating_pod_and_a_missing_one_are_unavailable() {
    let mut world = outdated(rolling(json!(3)), 5);
    world.terminate("p0");
    world.remove_pod("p1");
    assert_eq!(world.sync(), creates([1]), "upkeep goes first");
    let expected = "node-2 delete p2: old template (3 of 3 unavailable)";
    assert_eq!(world.sync(), [expected]);
}

#[test]
fn old_pods_on_nodes_that_may_only_keep_them_are_not_rolled() {
    let mut world = outdated(rolling(json!(5)), 2);
    world.taint_node("node-0", "dedicated:NoSchedule");
    let steps = world.sync();
    assert_eq!(steps, ["node-1 delete p1: old template (1 of 5 unavailable)"]);
}

#[test]
fn a_pod_with_the_template_generation_counts_as_updated() {
    let mut world = outdated(rolling(json!(1)), 1);
    world.patch_pod("p0", json!({"metadata": {"labels": {"pod-template-generation": "2"}}}));
    assert_eq!(world.sync(), NONE);
    assert_eq!(world.view.status().updated_number_scheduled, Some(1));
}

#[test]
fn not_available_long_enough_counts_as_unavailable_until_it_is() {
    let mut spec = rolling(json!(1));
    crate::world::merge(&mut spec, json!({"minReadySeconds": 30}));
    let mut world = outdated(spec, 2);
    assert_eq!(world.sync(), deletes([0], 1));
    assert_eq!(world.sync(), creates([0]));
    world.all_ready();
    assert_eq!(world.sync(), NONE);
    world.now = world.plan().look_again_at.unwrap();
    assert_eq!(world.sync(), deletes([1], 1));
}
