//! What is done whatever the update strategy: upstream's daemon_controller_test.go, by Node and by reason.

use serde_json::json;

use crate::world::{World, both, creates, normal, on_delete, rolling};

const NONE: [String; 0] = [];

#[test]
fn one_pod_on_every_node_pinned_by_name() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 5);
        let plan = world.plan();
        let pins: Vec<_> = plan.creates().map(|(node, pod, _)| (node.to_string(), pod.clone())).collect();
        for (node, pod) in &pins {
            assert_eq!(api::pod::target_node_name(pod), Some(node.as_str()));
            assert_eq!(api::pod::node_name(pod), None, "the scheduler binds it");
        }
        assert_eq!(world.sync(), creates(0..5));
        assert_eq!(world.sync(), NONE);
        let status = world.daemon_set.status.clone().unwrap();
        assert_eq!((status.desired_number_scheduled, status.current_number_scheduled), (5, 5));
        assert_eq!((status.updated_number_scheduled, status.observed_generation), (Some(5), Some(1)));
    }
}

#[test]
fn no_nodes_no_pods() {
    for strategy in both() {
        assert_eq!(World::new(strategy).sync(), NONE);
    }
}

#[test]
fn what_the_scheduler_cares_about_does_not_matter_here() {
    let nodes = [
        json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
        json!({"status": {"conditions": [{"type": "NetworkUnavailable", "status": "True"}]}}),
        json!({"status": {"allocatable": {"cpu": "0", "memory": "0", "pods": "0"}}}),
        json!({"spec": {"unschedulable": true}}),
        json!({"spec": {"unschedulable": true,
            "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}}),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    ];
    for strategy in both() {
        let mut world = World::new(strategy);
        for (i, node) in nodes.iter().enumerate() {
            world.node(&format!("node-{i}"), node.clone());
            world.pod(
                &format!("other-{i}"),
                &format!("node-{i}"),
                json!({"spec": {"containers": [
                {"name": "c", "ports": [{"containerPort": 666, "hostPort": 666}]}]}}),
            );
        }
        assert_eq!(world.sync(), creates(0..nodes.len()));
    }
}

#[test]
fn nothing_is_done_for_a_daemon_set_that_is_being_deleted() {
    for strategy in both() {
        let world = World::with_nodes(strategy, 2);
        let mut deleting = world.daemon_set.clone();
        deleting.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert!(world.view.needs_rebuild(&deleting));
        let mut world = World::of(deleting);
        world.node("node-0", json!({}));
        world.pod("orphan", "node-0", json!({"metadata": {"labels": {"app": "foo"}}}));
        assert_eq!(world.plan().steps, []);
    }
}

#[test]
fn a_selector_that_selects_everything_stops_all_but_the_event() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 1);
        let mut object = world.daemon_set.clone();
        object.spec.as_mut().unwrap().selector = Default::default();
        world = World::of(object);
        world.node("node-0", json!({}));
        world.own_pod("mine", "node-0", json!({}));
        let plan = world.plan();
        assert_eq!(plan.steps, []);
        assert_eq!(
            plan.to_string(),
            "event   SelectingAll: This daemon set is selecting all pods. A non-empty selector is required.\n"
        );
    }
}

#[test]
fn surplus_goes_and_what_is_missing_is_created() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 5);
        world.own_pod("a1", "node-1", json!({}));
        for name in ["b1", "b2"] {
            world.own_pod(name, "node-2", json!({}));
        }
        for name in ["c1", "c2", "c3", "c4", "c5"] {
            world.own_pod(name, "node-3", json!({}));
        }
        for name in ["x1", "x2"] {
            world.pod(name, "node-4", json!({"metadata": {"labels": {"app": "bar"}}}));
        }
        assert_eq!(
            world.sync(),
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
}

#[test]
fn of_several_pods_the_bound_one_stays_then_the_older_then_by_name() {
    for strategy in both() {
        let pinned = json!({"spec": {"nodeName": null, "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]}]}}}}});
        let mut world = World::with_nodes(strategy, 1);
        world.own_pod("a-unbound", "", pinned);
        world.pass(10);
        world.own_pod(
            "d-older",
            "node-0",
            json!({"metadata": {"labels": {"controller-revision-hash": "old"}}}),
        );
        world.pass(10);
        world.own_pod("b-newer", "node-0", json!({}));
        world.own_pod("c-newer", "node-0", json!({}));
        assert_eq!(
            world.steps(),
            [
                "node-0 delete b-newer: surplus beside d-older",
                "node-0 delete c-newer: surplus beside d-older",
                "node-0 delete a-unbound: surplus beside d-older",
            ]
        );
    }
}

#[test]
fn pods_leave_nodes_that_the_selector_does_not_match() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 0);
        world.edit(json!({"template": {"spec": {"nodeSelector": {"color": "blue"}}}}));
        for i in 0..2 {
            world.node(&format!("node-{i}"), json!({}));
        }
        for i in 2..4 {
            world.label_node(&format!("node-{i}"), json!({"color": "blue"}));
        }
        world.own_pod("p0", "node-0", json!({}));
        world.own_pod("p2", "node-2", json!({}));
        world.pod("foreign", "node-1", json!({"metadata": {"labels": {"app": "bar"}}}));
        assert_eq!(
            world.sync(),
            ["node-0 delete p0: node selector color=blue does not match", "node-3 create no pod here",]
        );
        world.label_node("node-3", json!({"color": "green"}));
        let steps = world.steps();
        assert!(steps[0].ends_with("node selector color=blue does not match"), "{steps:?}");
    }
}

#[test]
fn the_template_may_name_a_node() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 3);
        world.edit(json!({"template": {"spec": {"nodeName": "node-1"}}}));
        let plan = world.plan();
        let bound: Vec<_> = plan.creates().map(|(_, pod, _)| api::pod::node_name(pod)).collect();
        assert_eq!(bound, [Some("node-1")], "it goes past the scheduler");
        world.edit(json!({"template": {"spec": {"nodeName": "node-9"}}}));
        assert_eq!(world.steps(), NONE);
    }
}

#[test]
fn a_no_schedule_taint_keeps_what_runs_and_counts_it_misscheduled() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 2);
        world.own_pod("p0", "node-0", json!({}));
        world.ready("p0");
        world.taint_node("node-0", "dedicated:NoSchedule");
        world.taint_node("node-1", "dedicated:NoSchedule");
        assert_eq!(world.sync(), NONE);
        assert_eq!(world.status(), (0, 0, 0, 1));
        let text = normal(&world.explain());
        assert!(
            text.contains("node-0 keep p0: no new pod here, taint dedicated:NoSchedule not tolerated"),
            "{text}"
        );
        assert!(text.contains("node-1 leave taint dedicated:NoSchedule not tolerated"), "{text}");
    }
}

#[test]
fn a_no_execute_taint_sends_the_pod_away() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 1);
        world.own_pod("p0", "node-0", json!({}));
        world.node(
            "node-0",
            json!({"spec": {"taints": [
            {"key": "a", "effect": "NoSchedule"},
            {"key": "dedicated", "value": "gpu", "effect": "NoExecute"}]}}),
        );
        assert_eq!(world.sync(), ["node-0 delete p0: taint dedicated=gpu:NoExecute not tolerated"]);
        world.node("node-0", json!({}));
        assert_eq!(world.sync(), creates([0]));
    }
}

#[test]
fn failed_pods_are_killed_and_the_surplus_with_them() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy.clone(), 1);
        assert_eq!(world.steps(), creates([0]));
        world.own_pod("failed", "node-0", json!({"status": {"phase": "Failed"}}));
        let plan = world.plan();
        assert_eq!(crate::world::pod_steps(&plan), ["node-0 delete failed: failed"]);
        assert_eq!(
            plan.notes[0].message,
            "Found failed daemon pod ns/failed on node node-0, will try to kill it"
        );
        for name in ["n1", "n2", "n3"] {
            world.own_pod(name, "node-0", json!({}));
        }
        assert_eq!(
            world.sync(),
            [
                "node-0 delete failed: failed",
                "node-0 delete n2: surplus beside n1",
                "node-0 delete n3: surplus beside n1",
            ]
        );
    }
}

#[test]
fn a_failing_pod_is_replaced_with_a_growing_pause() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 1);
        world.settle();
        let mut name = world.pods.keys().next().unwrap().clone();
        world.phase(&name, "Failed");
        for pause in [1, 2, 4] {
            assert_eq!(world.sync(), [format!("node-0 delete {name}: failed")]);
            assert_eq!(world.sync(), creates([0]));
            let next = world.pods.keys().next().unwrap().clone();
            assert_ne!(next, name, "a replacement has its own name");
            name = next;
            world.phase(&name, "Failed");
            assert_eq!(world.steps(), NONE, "still in back-off");
            assert_eq!(world.steps(), NONE, "asking again changes nothing");
            let until = world.plan().look_again_at.unwrap();
            assert_eq!(until.duration_since(world.now).as_secs(), pause);
            world.now = until;
        }
    }
}

#[test]
fn a_processed_spec_change_resets_the_back_off() {
    let mut world = World::with_nodes(on_delete(), 1);
    world.settle();
    let first = world.pods.keys().next().unwrap().clone();
    world.phase(&first, "Failed");
    world.settle();
    let second = world.pods.keys().next().unwrap().clone();
    world.phase(&second, "Failed");
    assert_eq!(world.steps(), NONE);
    world.edit(json!({"minReadySeconds": 1}));
    world.sync();
    assert_eq!(world.steps(), [format!("node-0 delete {second}: failed")]);
}

#[test]
fn succeeded_pods_go_at_once_every_time() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    for _ in 0..3 {
        world.settle();
        let name = world.pods.keys().next().unwrap().clone();
        world.phase(&name, "Succeeded");
        let plan = world.plan();
        assert_eq!(
            plan.notes[0].message,
            format!("Found succeeded daemon pod ns/{name} on node node-0, will try to delete it")
        );
        assert_eq!(world.sync(), [format!("node-0 delete {name}: succeeded, but a daemon has to run")]);
    }
}

#[test]
fn a_terminating_pod_holds_its_node_until_it_is_gone_or_ended() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 1);
        world.own_pod("p0", "node-0", json!({"metadata": {"finalizers": ["x/y"]}}));
        world.terminate("p0");
        assert_eq!(world.steps(), NONE);
        assert!(normal(&world.explain()).contains("node-0 wait p0 is terminating"));
        for phase in ["Failed", "Succeeded"] {
            let mut ended = world.clone();
            ended.phase("p0", phase);
            assert_eq!(ended.steps(), creates([0]), "held by a finalizer only");
        }
        world.remove_pod("p0");
        assert_eq!(world.steps(), creates([0]));
    }
}

#[test]
fn an_unbound_pod_of_a_missing_node_goes_and_a_bound_one_is_left() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 1);
        world.sync();
        let pinned = world.pods.keys().next().unwrap().clone();
        world.own_pod("bound", "node-7", json!({}));
        world.remove_node("node-0");
        assert_eq!(world.sync(), [format!("node-0 delete {pinned}: its node does not exist")]);
        assert_eq!(world.status(), (0, 0, 0, 0));
    }
}

#[test]
fn orphans_are_adopted_and_strangers_released() {
    for strategy in both() {
        let mut world = World::with_nodes(strategy, 2);
        world.pod("orphan", "node-0", json!({"metadata": {"labels": {"app": "foo"}}}));
        world.own_pod("stray", "node-1", json!({"metadata": {"labels": {"app": "bar"}}}));
        let text = normal(&world.plan().to_string());
        assert!(text.contains("pod adopt orphan: orphan that the selector matches"), "{text}");
        assert!(text.contains("pod release stray: the selector no longer matches"), "{text}");
        assert_eq!(world.steps(), creates([1]), "the stray's node is free for a new pod");
        world.settle();
        assert!(world.pods.contains_key("stray"), "released pods run on");
        assert_eq!(world.pods["stray"].metadata.owner_references, None);
    }
}

#[test]
fn an_adopted_pod_is_old_and_is_replaced() {
    let mut world = World::with_nodes(rolling(json!(1)), 1);
    world.pod("orphan", "node-0", json!({"metadata": {"labels": {"app": "foo"}}}));
    world.ready("orphan");
    assert_eq!(world.sync(), NONE);
    assert_eq!(world.sync(), ["node-0 delete orphan: old template (1 of 1 unavailable)"]);
    assert_eq!(world.sync(), creates([0]));
}

#[test]
fn at_most_250_pods_in_one_plan() {
    let mut world = World::with_nodes(rolling(json!(1)), 600);
    assert_eq!(
        [world.sync().len(), world.sync().len(), world.sync().len(), world.sync().len()],
        [250, 250, 100, 0]
    );
    world.edit(json!({"template": {"spec": {"nodeSelector": {"color": "blue"}}}}));
    assert_eq!(
        [world.sync().len(), world.sync().len(), world.sync().len(), world.sync().len()],
        [250, 250, 100, 0]
    );
}

#[test]
fn ready_follows_the_condition_and_available_the_minimum() {
    let mut world = World::with_nodes(json!({"minReadySeconds": 15}), 2);
    world.settle();
    assert_eq!(world.status(), (2, 2, 0, 0));
    world.all_ready();
    let available = |world: &mut World| {
        world.plan();
        let status = world.view.status();
        (status.number_ready, status.number_available, status.number_unavailable)
    };
    assert_eq!(available(&mut world), (2, Some(0), Some(2)));
    world.pass(15);
    assert_eq!(available(&mut world), (2, Some(0), Some(2)), "strictly after");
    world.now = world.plan().look_again_at.unwrap();
    assert_eq!(available(&mut world), (2, Some(2), Some(0)));
}

#[test]
fn a_plan_explains_itself() {
    let mut world = World::with_nodes(rolling(json!(1)), 5);
    for (i, name) in ["p0", "p1", "p2", "p3"].iter().enumerate() {
        world.own_pod(name, &format!("node-{i}"), json!({}));
        world.ready(name);
    }
    world.settle();
    world.image("image:2");
    world.taint_node("node-3", "dedicated:NoExecute");
    let p4 = world.pods.keys().find(|name| name.starts_with("foo-")).unwrap().clone();
    world.remove_pod(&p4);
    let text = world.explain();
    let lines: Vec<String> = text.lines().map(normal).collect();
    assert!(
        lines[0].starts_with("history create foo-") && lines[0].ends_with("revision 2, the template is new")
    );
    assert_eq!(
        lines[1..],
        [
            "node-0 wait budget spent: 1 of 1 unavailable (node-4)",
            "node-1 wait budget spent: 1 of 1 unavailable (node-4)",
            "node-2 wait budget spent: 1 of 1 unavailable (node-4)",
            "node-3 delete p3: taint dedicated:NoExecute not tolerated",
            "node-4 create no pod here",
            "status desired=4 current=3 ready=3 updated=0 available=3 unavailable=1 misscheduled=1 generation=2",
        ]
    );
}
