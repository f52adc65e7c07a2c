//! Going: deletion, removal of a manifest, eviction, deadlines, hooks, sidecars.

use podmachine::*;
use serde_json::json;

use super::model::*;

fn kills(model: &Model) -> Vec<(String, u64)> {
    let kills = model.actions.iter().filter_map(|action| match action {
        Action::KillContainer { container, grace_seconds, .. } => Some((container.clone(), *grace_seconds)),
        _ => None,
    });
    kills.collect()
}

#[test]
fn a_deleted_pod_is_stopped_cleaned_reported_removed_and_then_deleted() {
    let mut model = Model::simple();
    model.settle();
    model.actions.clear();
    model.delete(30);
    model.settle();
    assert_eq!(model.done(), ["kill", "stop-sandbox", "clean", "remove-sandbox", "delete"]);
    assert_eq!(kills(&model), [("main".to_owned(), 30)]);
    assert_eq!(model.told("Killing"), ["Stopping container main"]);
    assert_eq!((model.machine.state(), model.deleted_from_api), (State::Gone, true));
    assert_eq!(model.phase(), "Failed", "143 is no success");
}

#[test]
fn a_deleted_pod_whose_containers_end_well_has_succeeded() {
    let mut model = Model::simple();
    model.settle();
    model.hold = |action| matches!(action, Action::KillContainer { .. });
    model.delete(30);
    model.settle();
    assert_eq!(model.phase(), "Running", "while it still runs");
    model.crash("main", 0).settle();
    assert_eq!(model.phase(), "Succeeded");
}

#[test]
fn a_pod_deleted_before_anything_ran_is_gone_at_once() {
    let mut model = Model::simple();
    model.images.clear();
    model.settle();
    model.delete(30);
    model.settle();
    assert_eq!((model.machine.state(), model.count("start")), (State::Gone, 0));
    assert_eq!(model.state("main"), "ContainerStatusUnknown 137");
}

#[test]
fn a_start_under_way_is_waited_for_and_its_container_killed() {
    let mut model = Model::simple();
    model.hold = |action| matches!(action, Action::StartContainer(_));
    model.settle();
    model.delete(30);
    model.settle();
    assert_eq!(model.machine.state(), State::Terminating);
    model.release();
    assert_eq!((model.machine.state(), model.living()), (State::Gone, vec![]));
}

#[test]
fn a_force_deleted_pod_still_has_a_second() {
    let mut model = Model::simple();
    model.settle();
    model.delete(0);
    model.settle();
    assert_eq!(kills(&model), [("main".to_owned(), 1)]);
}

#[test]
fn a_pre_stop_hook_uses_up_the_grace() {
    let hooked = json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}});
    let mut model = Model::new(json!({"containers": [main_container(hooked)]}));
    model.settle();
    model.delete(30);
    model.hold = |action| matches!(action, Action::RunPreStop { .. });
    model.pass(12);
    assert_eq!(model.count("kill"), 0);
    assert!(matches!(model.held[0].action, Action::RunPreStop { timeout_seconds: 30, .. }));
    model.release();
    assert_eq!(kills(&model), [("main".to_owned(), 18)]);
}

#[test]
fn a_pre_stop_hook_that_does_not_end_leaves_two_seconds() {
    let hooked = json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}});
    let mut model = Model::new(json!({"containers": [main_container(hooked)]}));
    model.settle();
    model.delete(5);
    model.hold = |action| matches!(action, Action::RunPreStop { .. });
    model.pass(5);
    assert_eq!(kills(&model), [("main".to_owned(), 2)]);
}

#[test]
fn a_failed_pre_stop_hook_is_told_and_the_container_is_stopped() {
    let hooked = json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}});
    let mut model = Model::new(json!({"containers": [main_container(hooked)]}));
    model.settle();
    model.failures.insert("pre-stop", [Failure::Refused("exit 1".to_owned())].into());
    model.delete(30);
    model.settle();
    assert_eq!(model.told("FailedPreStopHook"), ["PreStopHook failed: exit 1"]);
    assert_eq!(model.machine.state(), State::Gone);
}

#[test]
fn a_later_delete_can_only_shorten_the_grace() {
    let mut model = Model::simple();
    model.settle();
    model.hold = |action| matches!(action, Action::KillContainer { .. });
    model.delete(60);
    model.pass(10);
    model.delete(5);
    model.settle();
    assert_eq!(kills(&model), [("main".to_owned(), 60), ("main".to_owned(), 5)]);
    model.delete(300);
    model.settle();
    assert_eq!(kills(&model).len(), 2);
}

#[test]
fn a_container_that_is_still_alive_is_killed_again() {
    let mut model = Model::simple();
    model.settle();
    model.failures.insert("kill", [Failure::Unavailable("away".to_owned())].into());
    model.delete(30);
    model.settle();
    assert_eq!(model.living(), ["main"]);
    model.pass(1);
    assert_eq!((model.count("kill"), model.machine.state()), (2, State::Gone));
}

#[test]
fn sidecars_go_after_the_others_from_last_to_first_within_one_grace() {
    let sidecar = |name: &str| json!({"name": name, "image": "init:1", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always"});
    let mut model = Model::new(json!({
        "initContainers": [sidecar("one"), sidecar("two")],
        "containers": [main_container(json!({}))],
    }));
    model.settle();
    model.hold = |action| matches!(action, Action::KillContainer { container, .. } if container == "main");
    model.delete(30);
    model.pass(10);
    assert_eq!(kills(&model), [("main".to_owned(), 30)]);
    model.release();
    assert_eq!(kills(&model)[1..], [("two".to_owned(), 20), ("one".to_owned(), 20)]);
    assert_eq!(model.machine.state(), State::Gone);
}

#[test]
fn a_removed_static_pod_goes_with_its_own_grace_and_no_api_object_is_deleted() {
    let mut model = Model::new(json!({
        "terminationGracePeriodSeconds": 20,
        "containers": [main_container(json!({}))],
    }));
    model.desired.source = PodSource::Static;
    model.settle();
    model.desired.intent = Intent::Terminate(TerminationCause::Removed);
    model.settle();
    assert_eq!(kills(&model), [("main".to_owned(), 20)]);
    assert_eq!((model.machine.state(), model.count("delete")), (State::Gone, 0));
    assert_eq!(model.phase(), "Running", "taking a static Pod down is neither success nor failure");
}

#[test]
fn an_evicted_pod_fails_with_the_reason_and_stays_as_an_object() {
    let mut model = Model::simple();
    model.settle();
    model.desired.intent = Intent::Terminate(TerminationCause::Evicted {
        reason: "Evicted".to_owned(),
        message: "The node was low on resource: memory.".to_owned(),
        grace_seconds: 0,
    });
    model.settle();
    assert_eq!(kills(&model), [("main".to_owned(), 1)]);
    assert_eq!((model.phase(), model.status.reason.as_deref()), ("Failed", Some("Evicted")));
    assert_eq!(model.condition("DisruptionTarget"), "True TerminationByKubelet");
    assert_eq!((model.machine.state(), model.count("delete")), (State::Finished, 0));
    model.delete(0);
    model.settle();
    assert_eq!((model.machine.state(), model.deleted_from_api), (State::Gone, true));
}

#[test]
fn a_pod_that_is_active_for_too_long_fails() {
    let mut model =
        Model::new(json!({"activeDeadlineSeconds": 60, "containers": [main_container(json!({}))]}));
    model.pass(59);
    assert_eq!(model.phase(), "Running");
    model.pass(1);
    assert_eq!((model.phase(), model.status.reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
    assert_eq!((model.living(), model.machine.state()), (vec![], State::Finished));
}

#[test]
fn cleaning_that_fails_is_tried_again_and_the_object_waits() {
    let mut model = Model::simple();
    model.settle();
    model.failures.insert("clean", [Failure::Refused("target is busy".to_owned())].into());
    model.delete(30);
    model.settle();
    assert_eq!((model.machine.state(), model.deleted_from_api), (State::CleaningUp, false));
    model.pass(1);
    assert_eq!((model.machine.state(), model.deleted_from_api), (State::Gone, true));
}

#[test]
fn a_restarted_agent_goes_on_taking_down() {
    let mut model = Model::simple();
    model.settle();
    model.delete(30);
    model.hold = |action| matches!(action, Action::KillContainer { .. });
    model.settle();
    model.restart_agent();
    model.hold = |_| false;
    model.settle();
    assert_eq!((model.machine.state(), model.deleted_from_api), (State::Gone, true));
}

#[test]
fn the_same_static_pod_put_back_starts_again_with_the_next_count() {
    let mut model = Model::simple();
    model.desired.source = PodSource::Static;
    model.settle();
    model.desired.intent = Intent::Terminate(TerminationCause::Removed);
    model.settle();
    assert_eq!(model.machine.state(), State::Gone);
    model.restart_agent();
    model.desired.intent = Intent::Run;
    model.settle();
    assert_eq!((model.container("main").restart_count, model.state("main").as_str()), (1, "running"));
}
