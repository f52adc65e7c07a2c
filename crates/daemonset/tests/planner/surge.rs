//! Replacing Pods by creating first: upstream's surge cases, by Node and by reason.

use serde_json::{Value, json};

use crate::world::{World, creates, outdated, surging};

const NONE: [String; 0] = [];

fn beside(nodes: impl IntoIterator<Item = usize>, max: usize) -> Vec<String> {
    let used = 1..;
    let line = |(used, i)| format!("node-{i} create beside p{i}, which is old ({used} of {max} surging)");
    used.zip(nodes).map(line).collect()
}

/// A Node with an old Pod `old` and a new Pod `new`.
fn pair(spec: Value) -> World {
    let mut world = outdated(spec, 1);
    world.settle_history();
    world.patch_pod("p0", json!({"metadata": {"name": "p0"}}));
    world.own_pod("new", "node-0", json!({}));
    world
}

impl World {
    /// The history is written, and nothing else.
    fn settle_history(&mut self) {
        let plan = self.plan();
        let before = |step: &&daemonset::Step| matches!(step, daemonset::Step::CreateRevision(_));
        let steps: Vec<_> = plan.steps.iter().filter(before).cloned().collect();
        for step in &steps {
            let outcome = self.act(step);
            self.view.acted(step, outcome, self.now);
            self.see_step(step);
        }
    }
}

#[test]
fn two_surge_at_a_time_and_the_old_go_when_the_new_are_ready() {
    let mut world = outdated(surging(json!(2)), 5);
    assert_eq!(world.sync(), beside([0, 1], 2));
    assert_eq!(world.sync(), NONE, "not before they are ready");
    for next in [vec![2, 3], vec![4]] {
        world.all_ready();
        let retired = world.sync();
        assert!(retired.iter().all(|step| step.ends_with("is available")), "{retired:?}");
        assert_eq!(world.sync(), beside(next, 2));
        assert_eq!(world.sync(), NONE);
    }
    world.all_ready();
    assert_eq!(world.sync().len(), 1);
    assert_eq!(world.sync(), NONE);
    assert_eq!(world.pods.len(), 5);
    assert!(world.pods.keys().all(|name| name.starts_with("foo-")));
}

#[test]
fn surplus_goes_and_what_is_missing_is_created() {
    let mut world = World::with_nodes(surging(json!(1)), 5);
    world.own_pod("a1", "node-1", json!({}));
    for name in ["b1", "b2"] {
        world.own_pod(name, "node-2", json!({}));
    }
    for name in ["c1", "c2", "c3", "c4", "c5"] {
        world.own_pod(name, "node-3", json!({}));
    }
    assert_eq!(
        world.steps(),
        [
            "node-0 create no pod here",
            "node-2 delete b2: surplus beside b1",
            "node-3 delete c2: surplus beside c1",
            "node-3 delete c3: surplus beside c1",
            "node-3 delete c4: surplus beside c1",
            "node-3 delete c5: surplus beside c1",
            "node-4 create no pod here",
        ]
    );
}

#[test]
fn a_ready_old_pod_stays_until_the_new_one_is() {
    let mut world = pair(surging(json!(1)));
    assert_eq!(world.sync(), NONE);
    assert!(crate::world::normal(&world.explain()).contains("node-0 wait p0 stays until new is available"));
    world.ready("new");
    assert_eq!(world.sync(), ["node-0 delete p0: old template, and new is available"]);
}

#[test]
fn an_old_pod_that_is_not_ready_goes_as_soon_as_there_is_a_new_one() {
    let mut world = pair(surging(json!(1)));
    world.unready("p0");
    assert_eq!(world.sync(), ["node-0 delete p0: old template and not ready, and new is here"]);
}

#[test]
fn the_new_pod_has_to_be_ready_for_the_minimum() {
    let mut spec = surging(json!(1));
    crate::world::merge(&mut spec, json!({"minReadySeconds": 50}));
    let mut world = pair(spec);
    world.ready("new");
    world.pass(50);
    assert_eq!(world.sync(), NONE, "strictly after");
    world.now = world.plan().look_again_at.unwrap();
    assert_eq!(world.sync(), ["node-0 delete p0: old template, and new is available"]);
}

#[test]
fn a_terminating_old_pod_is_replaced_beside_the_surge_budget() {
    let mut world = outdated(surging(json!(1)), 2);
    assert_eq!(world.sync(), beside([0], 1));
    world.terminate("p1");
    assert_eq!(world.sync(), ["node-1 create only terminating pods here"]);
    assert_eq!(world.sync(), NONE);
}

#[test]
fn a_missing_pod_is_created_whatever_the_budget() {
    let mut world = outdated(surging(json!(1)), 2);
    world.sync();
    world.remove_pod("p1");
    assert_eq!(world.sync(), creates([1]));
}

#[test]
fn old_pods_that_are_not_available_surge_all_at_once() {
    let mut world = outdated(surging(json!(3)), 5);
    for i in 0..5 {
        world.unready(&format!("p{i}"));
    }
    let all: Vec<String> =
        (0..5).map(|i| format!("node-{i} create beside p{i}, which is old and not available")).collect();
    assert_eq!(world.sync(), all);
    let gone = world.sync();
    assert_eq!(gone.len(), 5);
    assert!(gone.iter().all(|step| step.contains("old template and not ready")), "{gone:?}");
    assert_eq!(world.sync(), NONE);
}

#[test]
fn one_more_surges_when_another_old_pod_gets_unready() {
    let mut spec = surging(json!(3));
    crate::world::merge(&mut spec, json!({"minReadySeconds": 15}));
    let mut world = outdated(spec, 5);
    assert_eq!(world.sync(), beside([0, 1, 2], 3));
    assert_eq!(world.sync(), NONE);
    world.unready("p4");
    assert_eq!(world.sync(), ["node-4 create beside p4, which is old and not available"]);
    world.sync();
    world.all_ready();
    world.pass(16);
    assert_eq!(world.sync().len(), 3, "the three old ones go");
    assert_eq!(world.sync(), beside([3], 3));
    world.all_ready();
    world.pass(16);
    assert_eq!(world.sync().len(), 1);
    assert_eq!(world.sync(), NONE);
}

#[test]
fn a_failed_pod_in_back_off_is_not_bypassed_by_surging() {
    let mut world = World::with_nodes(surging(json!(1)), 1);
    world.settle();
    let first = world.pods.keys().next().unwrap().clone();
    world.phase(&first, "Failed");
    assert_eq!(world.sync(), [format!("node-0 delete {first}: failed")]);
    assert_eq!(world.sync(), creates([0]));
    let second = world.pods.keys().next().unwrap().clone();
    world.phase(&second, "Failed");
    assert_eq!(world.sync(), NONE);
}

#[test]
fn any_share_of_surge_enables_it() {
    for (share, desired, budget) in [
        (json!("1%"), 3, 1),
        (json!("50%"), 2, 1),
        (json!("100%"), 2, 2),
        (json!("50%"), 0, 0),
        (json!(7), 2, 7),
    ] {
        let world = World::new(surging(share.clone()));
        let strategy = world.view.wanted().strategy;
        assert!(matches!(strategy, daemonset::Strategy::Surge(_)), "{share}");
        assert_eq!(strategy.budget(desired), budget, "{share} of {desired}");
    }
    let world = World::new(surging(json!("0%")));
    assert!(matches!(world.view.wanted().strategy, daemonset::Strategy::Unavailable(_)));
    assert_eq!(world.view.wanted().strategy.budget(4), 1, "both zero: one node");
}

#[test]
fn the_old_pod_goes_in_its_time_where_the_node_has_since_got_a_taint() {
    let mut world =
        pair(json!({"minReadySeconds": 10, "updateStrategy": surging(json!(1))["updateStrategy"]}));
    world.ready("new");
    world.taint_node("node-0", "t:NoSchedule");
    assert_eq!(world.sync(), NONE, "not available yet");
    let again = world.plan().look_again_at.expect("a moment");
    assert!(again > world.now && again <= world.now + jiff::SignedDuration::from_secs(11), "{again}");
    world.pass(11);
    assert_eq!(world.steps(), ["node-0 delete p0: old template, and new is available"]);
}
