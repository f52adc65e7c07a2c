//! The status: phases by table, conditions and their times, order, messages.

use podmachine::*;
use serde_json::json;

use super::model::*;

fn two(policy: &str) -> Model {
    Model::new(json!({
        "restartPolicy": policy,
        "containers": [
            {"name": "b", "image": "app:1", "imagePullPolicy": "IfNotPresent"},
            {"name": "a", "image": "app:1", "imagePullPolicy": "IfNotPresent"},
        ],
    }))
}

/// Exit code, or `None` for a container that still runs.
#[test]
fn the_phase_follows_from_how_the_containers_stand() {
    let cases: [(&str, Option<i32>, Option<i32>, &str); 11] = [
        ("Always", None, None, "Running"),
        ("Always", Some(0), None, "Running"),
        ("Always", Some(0), Some(0), "Running"),
        ("OnFailure", Some(0), None, "Running"),
        ("OnFailure", Some(0), Some(0), "Succeeded"),
        ("OnFailure", Some(1), Some(0), "Running"),
        ("Never", Some(0), None, "Running"),
        ("Never", Some(1), None, "Running"),
        ("Never", Some(0), Some(0), "Succeeded"),
        ("Never", Some(1), Some(0), "Failed"),
        ("Never", Some(1), Some(1), "Failed"),
    ];
    for (policy, a, b, phase) in cases {
        let mut model = two(policy);
        model.settle();
        for (name, code) in [("a", a), ("b", b)] {
            if let Some(code) = code {
                model.crash(name, code);
            }
        }
        model.settle();
        assert_eq!(model.phase(), phase, "{policy} {a:?} {b:?}");
    }
}

#[test]
fn a_pod_of_which_one_container_still_waits_is_pending() {
    let mut model = two("Always");
    model.hold = |action| matches!(action, Action::StartContainer(start) if start.name == "a");
    model.settle();
    assert_eq!((model.living(), model.phase()), (vec!["b".to_owned()], "Pending"));
}

#[test]
fn containers_are_listed_by_name_and_init_containers_by_order() {
    let mut model = Model::new(json!({
        "initContainers": [{"name": "z", "image": "init:1"}, {"name": "y", "image": "init:1"}],
        "containers": [{"name": "b", "image": "app:1"}, {"name": "a", "image": "app:1"}],
    }));
    model.settle();
    let names = |list: &Option<Vec<k8s_openapi::api::core::v1::ContainerStatus>>| -> Vec<String> {
        list.iter().flatten().map(|status| status.name.clone()).collect()
    };
    assert_eq!(names(&model.status.container_statuses), ["a", "b"]);
    assert_eq!(names(&model.status.init_container_statuses), ["z", "y"]);
}

#[test]
fn a_conditions_time_changes_with_its_status_only() {
    let mut model = Model::simple();
    model.settle();
    let time = |model: &Model, kind: &str| {
        let condition = model.status.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap();
        condition.last_transition_time.as_ref().unwrap().0
    };
    let born = model.now;
    model.pass(50);
    assert_eq!((time(&model, "Ready"), time(&model, "Initialized")), (born, born));
    model.crash("main", 1).settle();
    model.pass(5);
    model.crash("main", 1).settle();
    let crashed = model.now;
    assert_eq!((time(&model, "Ready"), time(&model, "Initialized")), (crashed, born));
    model.pass(3);
    assert_eq!(time(&model, "Ready"), crashed);
}

#[test]
fn unready_containers_are_named() {
    let mut model = two("Always");
    model.hold = |action| matches!(action, Action::StartContainer(_));
    model.settle();
    let ready = model.status.conditions.iter().flatten().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [a b]"));
}

#[test]
fn a_readiness_gate_needs_its_condition_from_outside() {
    let mut model = Model::new(json!({
        "readinessGates": [{"conditionType": "example.com/up"}],
        "containers": [main_container(json!({}))],
    }));
    model.settle();
    assert_eq!(model.condition("Ready"), "False ReadinessGatesNotReady");
    assert_eq!(model.condition("ContainersReady"), "True");
    let mut status = model.status.clone();
    let up = json!({"type": "example.com/up", "status": "True"});
    status.conditions.as_mut().unwrap().push(serde_json::from_value(up).unwrap());
    model.desired.pod.status = Some(status);
    model.settle();
    assert_eq!(
        (model.condition("Ready").as_str(), model.condition("example.com/up").as_str()),
        ("True", "True")
    );
}

#[test]
fn a_terminal_phase_of_the_last_status_stays_and_nothing_is_started() {
    let mut model = Model::simple();
    model.desired.pod.status =
        Some(serde_json::from_value(json!({"phase": "Failed", "reason": "Evicted"})).unwrap());
    model.status = model.desired.pod.status.clone().unwrap();
    model.settle();
    assert_eq!((model.phase(), model.status.reason.as_deref()), ("Failed", Some("Evicted")));
    assert_eq!((model.count("start"), model.machine.state()), (0, State::Finished));
}

#[test]
fn the_observed_generation_is_the_pods() {
    let mut model = Model::simple();
    model.desired.pod.metadata.generation = Some(4);
    model.settle();
    assert_eq!(model.status.observed_generation, Some(4));
}

#[test]
fn the_same_state_is_the_same_status() {
    let mut model = two("Always");
    model.settle();
    let before = serde_json::to_string(&model.status).unwrap();
    model.pass(3600);
    assert_eq!(serde_json::to_string(&model.status).unwrap(), before);
}
