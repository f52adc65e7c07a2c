//! Properties: the incremental view equals the recount from scratch after any sequence of events; plans lead to the one right
//! end; the budget is never exceeded.
//!
//! `PROPTEST_CASES` changes the number of sequences.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use daemonset::facts::Deletion;
use daemonset::recount::{self, Recount};
use daemonset::{Event, NodeName, Outcome, Plan, PodId, Step};
use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

use crate::world::{UID, World, on_delete, rolling, surging};

/// Sequences of "incremental view equals recount".
const SEQUENCES: u32 = 10_000;
/// Clusters of the slower properties, which settle each of theirs many times.
const CLUSTERS: u32 = 1_000;
const NODES: usize = 4;
const PODS: usize = 6;

fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn config(default: u32) -> Config {
    Config { cases: cases(default), failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() }
}

/// Something that happens; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Happening {
    Node {
        node: usize,
        kind: usize,
    },
    NodeGone {
        node: usize,
    },
    Pod {
        pod: usize,
        node: usize,
        kind: usize,
    },
    PodPhase {
        pod: usize,
        kind: usize,
    },
    PodGone {
        pod: usize,
    },
    Edit {
        kind: usize,
    },
    Time {
        seconds: i64,
    },
    /// Plan, carry out, and see some of the effects: all, none, or every other one.
    Act {
        see: usize,
    },
    /// See everything that is not seen yet.
    CatchUp,
    /// Plan, and nothing of it happens.
    Fail,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..NODES, 0..6usize).prop_map(|(node, kind)| Happening::Node { node, kind }),
        1 => (0..NODES).prop_map(|node| Happening::NodeGone { node }),
        4 => (0..PODS, 0..NODES + 1, 0..6usize).prop_map(|(pod, node, kind)| Happening::Pod { pod, node, kind }),
        6 => (0..PODS * 2, 0..7usize).prop_map(|(pod, kind)| Happening::PodPhase { pod, kind }),
        2 => (0..PODS * 2).prop_map(|pod| Happening::PodGone { pod }),
        3 => (0..9usize).prop_map(|kind| Happening::Edit { kind }),
        2 => prop_oneof![Just(1i64), Just(5), Just(20), Just(400)].prop_map(|seconds| Happening::Time { seconds }),
        6 => (0..3usize).prop_map(|see| Happening::Act { see }),
        3 => Just(Happening::CatchUp),
        1 => Just(Happening::Fail),
    ]
}

/// The world, and what of it the view has been told.
struct Stage {
    world: World,
    /// Pods as the view has seen them.
    seen: BTreeMap<String, Pod>,
    /// Steps whose effects the view has not seen.
    unseen: Vec<Step>,
    uids: u32,
}

impl Stage {
    fn new() -> Self {
        static START: OnceLock<World> = OnceLock::new();
        let start = || {
            let mut world = World::with_nodes(rolling(json!(1)), 2);
            world.settle();
            world
        };
        let world = START.get_or_init(start).clone();
        let seen = world.pods.clone();
        Stage { world, seen, unseen: Vec::new(), uids: 0 }
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Node { node, kind } => self.world.node(&format!("node-{node}"), node_of_kind(*kind)),
            Happening::NodeGone { node } => self.world.remove_node(&format!("node-{node}")),
            Happening::Pod { pod, node, kind } => self.put_pod(*pod, *node, *kind),
            Happening::PodPhase { pod, kind } => self.pod_phase(*pod, *kind),
            Happening::PodGone { pod } => {
                if let Some(name) = self.nth_seen(*pod) {
                    self.world.pods.remove(&name);
                    self.see_pod(&name);
                }
            }
            Happening::Edit { kind } => self.world.edit(edit_of_kind(*kind)),
            Happening::Time { seconds } => self.world.pass(*seconds),
            Happening::Act { see } => self.act(*see),
            Happening::CatchUp => self.catch_up(),
            Happening::Fail => {
                let plan = self.world.plan();
                for (i, step) in plan.steps.iter().enumerate() {
                    let outcome = if i % 2 == 0 { Outcome::Failed } else { Outcome::Unknown };
                    self.world.view.acted(step, outcome, self.world.now);
                }
            }
        }
    }

    fn nth_seen(&self, n: usize) -> Option<String> {
        self.seen.keys().nth(n % self.seen.len().max(1)).cloned()
    }

    fn put_pod(&mut self, pod: usize, node: usize, kind: usize) {
        let name = format!("p{pod}");
        if self.world.pods.contains_key(&name) {
            return;
        }
        let owner = |uid: &str| {
            json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "foo", "uid": uid,
            "controller": true}])
        };
        let hash = self.world.view.hash().to_owned();
        let now = self.world.now.to_string();
        self.uids += 1;
        let mut patch = json!({"metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-{}", self.uids),
            "creationTimestamp": now, "labels": {"app": "foo", "controller-revision-hash": hash},
            "ownerReferences": owner(UID)}, "spec": {"nodeName": format!("node-{node}")}});
        match kind {
            0 | 1 => {}
            2 => patch["metadata"]["labels"]["controller-revision-hash"] = json!("old"),
            3 => patch["metadata"]["ownerReferences"] = json!([]),
            4 => patch["metadata"]["labels"]["app"] = json!("bar"),
            _ => {
                patch["spec"] = json!({"affinity": {"nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [
                        {"key": "metadata.name", "operator": "In", "values": [format!("node-{node}")]}]}]}}}});
            }
        }
        patch["spec"]["containers"] = json!([]);
        self.world.pods.insert(name.clone(), serde_json::from_value(patch).unwrap());
        self.see_pod(&name);
    }

    fn pod_phase(&mut self, pod: usize, kind: usize) {
        let Some(name) = self.nth_seen(pod) else { return };
        let Some(there) = self.world.pods.get(&name) else { return };
        let now = self.world.now.to_string();
        let ready = |status: &str| {
            json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": status, "lastTransitionTime": now}]}})
        };
        let patch = match kind {
            0 | 1 => ready("True"),
            2 => ready("False"),
            3 => json!({"status": {"phase": "Failed", "conditions": []}}),
            4 => json!({"status": {"phase": "Succeeded", "conditions": []}}),
            5 => json!({"metadata": {"deletionTimestamp": now}}),
            _ => json!({"metadata": {"labels": {"app": "bar"}}}),
        };
        let mut object = serde_json::to_value(there).unwrap();
        crate::world::merge(&mut object, patch);
        self.world.pods.insert(name.clone(), serde_json::from_value(object).unwrap());
        self.see_pod(&name);
    }

    fn see_pod(&mut self, name: &str) {
        match self.world.pods.get(name).cloned() {
            Some(pod) => {
                self.seen.insert(name.to_owned(), pod.clone());
                self.world.apply(Event::Pod(Arc::new(pod)));
            }
            None => {
                if let Some(pod) = self.seen.remove(name) {
                    let id = PodId { name: name.to_owned(), uid: pod.metadata.uid.unwrap_or_default() };
                    self.world.apply(Event::PodGone(id));
                }
            }
        }
    }

    fn act(&mut self, see: usize) {
        let plan = self.world.plan();
        for step in &plan.steps {
            let outcome = self.world.act(step);
            self.world.view.acted(step, outcome, self.world.now);
        }
        for (i, step) in plan.steps.into_iter().enumerate() {
            if see == 0 || (see == 2 && i % 2 == 0) {
                self.see_step(&step);
            } else {
                self.unseen.push(step);
            }
        }
    }

    fn see_step(&mut self, step: &Step) {
        match step {
            Step::CreatePod { pod, .. } => self.see_pod(&pod.metadata.name.clone().unwrap()),
            Step::DeletePod { pod, .. }
            | Step::AdoptPod(pod)
            | Step::ReleasePod(pod)
            | Step::RelabelPod { pod, .. } => self.see_pod(&pod.name.clone()),
            _ => self.world.see_step(step),
        }
    }

    fn catch_up(&mut self) {
        for step in std::mem::take(&mut self.unseen) {
            self.see_step(&step);
        }
    }

    /// What the recount makes of what the view has been told.
    fn recount(&mut self) -> (Recount, Recount) {
        let plan = self.world.plan();
        let view = &self.world.view;
        let nodes: Vec<Node> = self.world.nodes.values().cloned().collect();
        let pods: Vec<Pod> = self.seen.values().cloned().collect();
        let names = (0..=NODES).map(|i| NodeName::from(format!("node-{i}").as_str()));
        let backoff_until =
            names.filter_map(|name| view.backoff_until(&name).map(|until| (name, until))).collect();
        let from_scratch = recount::recount(&recount::World {
            wanted: view.wanted(),
            nodes: &nodes,
            pods: &pods,
            hash: view.hash(),
            now: self.world.now,
            in_flight: &view.rows_in_flight(),
            waiting: view.is_waiting(),
            accepted: &view.pods_by_deletion(Deletion::Asked),
            doubtful: &view.pods_by_deletion(Deletion::Doubtful),
            backoff_until: &backoff_until,
        });
        (sorted(incremental(&plan, view.sums())), sorted(from_scratch))
    }
}

fn incremental(plan: &Plan, sums: daemonset::row::Counts) -> Recount {
    Recount {
        sums,
        creates: plan.creates().map(|(node, ..)| node.to_string()).collect(),
        deletes: plan.deletes().map(|(node, pod, _)| (node.to_string(), pod.name.clone())).collect(),
    }
}

fn sorted(mut counted: Recount) -> Recount {
    counted.creates.sort();
    counted.deletes.sort();
    counted
}

fn node_of_kind(kind: usize) -> Value {
    match kind {
        0 | 1 => json!({}),
        2 => json!({"metadata": {"labels": {"color": "blue"}}}),
        3 => json!({"spec": {"taints": [{"key": "t", "effect": "NoSchedule"}]}}),
        4 => json!({"spec": {"taints": [{"key": "t", "effect": "NoExecute"}]}}),
        _ => json!({"spec": {"unschedulable": true}}),
    }
}

fn edit_of_kind(kind: usize) -> Value {
    let image = |image: &str| json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}});
    match kind {
        0 => image("image:1"),
        1 => image("image:2"),
        2 => rolling(json!(1)),
        3 => rolling(json!("50%")),
        4 => surging(json!(1)),
        5 => on_delete(),
        6 => json!({"minReadySeconds": 10}),
        7 => json!({"template": {"spec": {"nodeSelector": {"color": "blue"}}}}),
        _ => json!({"template": {"spec": {"nodeSelector": null}}, "minReadySeconds": 0}),
    }
}

proptest! {
    #![proptest_config(config(SEQUENCES))]

    #[test]
    fn incremental_view_equals_recount(happenings in prop::collection::vec(happening(), 1..12)) {
        let mut stage = Stage::new();
        for happening in &happenings {
            stage.happen(happening);
            let (incremental, from_scratch) = stage.recount();
            prop_assert_eq!(incremental, from_scratch, "after {:?}", happening);
        }
    }
}

/// Whatever happened: when it is over, each Node that should has one Pod of the current template, and no other has one
/// that may not stay.
fn assert_settled(world: &World) -> Result<(), TestCaseError> {
    let wanted = world.view.wanted();
    for node in world.nodes.values() {
        let name = node.metadata.name.as_deref().unwrap();
        let facts = world.pods.values().filter_map(|pod| daemonset::PodFacts::of(pod, wanted));
        let here: Vec<_> = facts
            .filter(|pod| pod.place.node().is_some_and(|node| node.as_str() == name) && !pod.is_deleting())
            .collect();
        match daemonset::verdict(wanted, node) {
            daemonset::Verdict::Run => {
                prop_assert_eq!(here.len(), 1, "{}", name);
                let updated = here[0].is_updated(world.view.hash(), wanted.template_generation);
                prop_assert!(updated || wanted.strategy == daemonset::Strategy::OnDelete, "{}", name);
            }
            daemonset::Verdict::KeepOnly(_) => prop_assert!(here.len() <= 1, "{}", name),
            daemonset::Verdict::Leave(_) => prop_assert_eq!(here.len(), 0, "{}", name),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(CLUSTERS))]

    #[test]
    fn plans_lead_to_the_one_right_end_and_stop(happenings in prop::collection::vec(happening(), 1..12)) {
        let mut stage = Stage::new();
        for happening in &happenings {
            stage.happen(happening);
        }
        stage.catch_up();
        let mut world = stage.world;
        let mut rounds = 0;
        loop {
            // The cluster does its part: what terminates goes, what is new gets ready, ended pods stay ended.
            let leaving: Vec<String> =
                world.pods.values().filter(|pod| pod.metadata.deletion_timestamp.is_some())
                    .filter_map(|pod| pod.metadata.name.clone()).collect();
            for name in leaving {
                world.remove_pod(&name);
            }
            let waiting: Vec<String> = world.pods.values()
                .filter(|pod| !api::pod::is_terminal(pod) && !api::pod::is_ready(pod))
                .filter_map(|pod| pod.metadata.name.clone()).collect();
            for name in waiting {
                world.ready(&name);
            }
            world.pass(400);
            let quiet = world.plan().steps.is_empty();
            if quiet {
                break;
            }
            world.sync();
            rounds += 1;
            prop_assert!(rounds < 100, "does not settle:\n{}", world.explain());
        }
        assert_settled(&world)?;
        let status = world.view.status();
        prop_assert_eq!(status.observed_generation, world.daemon_set.metadata.generation);
        prop_assert_eq!(status.number_available.unwrap_or_default(), status.desired_number_scheduled);
    }

    #[test]
    fn the_budget_is_never_exceeded(
        max in 1..5i32, count in 1..8usize, share in prop_oneof![Just(false), Just(true)],
        moves in prop::collection::vec(0..4usize, 1..25),
    ) {
        let budget = if share { json!(format!("{}%", max * 10)) } else { json!(max) };
        let mut world = World::with_nodes(rolling(budget), count);
        world.settle();
        world.all_ready();
        world.settle();
        world.pass(60);
        world.image("image:2");
        let max = world.view.wanted().strategy.budget(u32::try_from(count).unwrap()) as usize;
        for step in moves {
            let ready = |world: &World| world.pods.values().filter(|pod| api::pod::is_ready(pod)).count();
            let before = ready(&world);
            match step {
                0 => { world.sync(); }
                1 => { world.sync(); world.sync(); }
                2 => world.all_ready(),
                _ => world.image("image:3"),
            }
            let after = ready(&world);
            prop_assert!(after >= before || count - after <= max, "{} of {} ready, budget {}", after, count, max);
        }
    }
}
