//! The agent was restarted: the machine knows nothing, and what runs goes on.

use podmachine::labels::*;
use podmachine::*;
use serde_json::json;

use super::model::*;

#[test]
fn what_runs_is_adopted_and_nothing_is_started_or_stopped() {
    let mut model = Model::new(json!({
        "initContainers": [
            {"name": "one", "image": "init:1", "imagePullPolicy": "IfNotPresent"},
            {"name": "side", "image": "init:1", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always"},
        ],
        "containers": [main_container(json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}))],
    }));
    model.settle().crash("main", 1).settle();
    let before = serde_json::to_value(&model.status).unwrap();
    model.actions.clear();
    model.restart_agent();
    model.pass(100);
    assert_eq!(model.done(), ["volumes"], "volumes are made sure of, nothing else happens");
    assert_eq!(serde_json::to_value(&model.status).unwrap(), before);
    assert_eq!(model.container("main").restart_count, 1);
}

#[test]
fn without_any_last_status_the_containers_suffice() {
    let mut model = Model::simple();
    model.desired.source = PodSource::Static;
    model.settle().crash("main", 1).settle();
    model.actions.clear();
    model.restart_agent();
    model.desired.pod.status = None;
    model.settle();
    assert_eq!((model.done(), model.container("main").restart_count), (vec!["volumes"], 1));
    assert_eq!((model.phase(), model.state("main").as_str()), ("Running", "running"));
}

#[test]
fn what_ended_while_the_agent_was_away_is_taken_as_it_is() {
    for (policy, phase, starts) in
        [("Never", "Succeeded", 0), ("OnFailure", "Succeeded", 0), ("Always", "Running", 1)]
    {
        let mut model =
            Model::new(json!({"restartPolicy": policy, "containers": [main_container(json!({}))]}));
        model.settle();
        model.crash("main", 0);
        model.actions.clear();
        model.restart_agent();
        model.settle();
        assert_eq!((model.phase(), model.count("start")), (phase, starts), "{policy}");
    }
}

#[test]
fn after_a_power_cut_everything_starts_again_with_the_next_count() {
    let mut model = Model::simple();
    model.settle();
    model.kill_sandbox();
    model.restart_agent();
    model.settle();
    assert_eq!((model.living(), model.container("main").restart_count), (vec!["main".to_owned()], 1));
}

#[test]
fn a_refusal_does_not_touch_a_pod_that_runs() {
    let mut model = Model::simple();
    model.settle();
    model.restart_agent();
    model.desired.admission =
        Admission::Refused { reason: "NodeAffinity".to_owned(), message: "no longer matches".to_owned() };
    model.settle();
    assert_eq!((model.phase(), model.living()), ("Running", vec!["main".to_owned()]));
}

#[test]
fn a_second_instance_of_a_container_is_killed_and_the_newest_stays() {
    let mut model = Model::simple();
    model.settle();
    let mut twin = model.containers[0].clone();
    twin.id = "main-twin".to_owned();
    twin.labels.restart_count = 1;
    model.containers.push(twin);
    model.settle();
    assert_eq!(model.running("main").map(|container| container.id.as_str()), Some("main-twin"));
    assert_eq!(model.living().len(), 1);
}

#[test]
fn a_container_that_the_spec_does_not_name_is_killed() {
    let mut model = Model::simple();
    model.settle();
    let mut stranger = model.containers[0].clone();
    stranger.id = "stranger-1".to_owned();
    stranger.labels.container_name = "stranger".to_owned();
    model.containers.push(stranger);
    model.settle();
    assert_eq!(model.living(), ["main"]);
}

#[test]
fn labels_and_annotations_carry_all_that_adoption_needs() {
    let pod = pod(json!({"terminationGracePeriodSeconds": 12, "containers": [main_container(json!({}))]}));
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let labels = container_labels(&pod, container);
    let hash = container_hash(container);
    let annotations = container_annotations(&pod, container, 3, &hash);
    assert_eq!(labels.get("io.kubernetes.pod.uid").map(String::as_str), Some(UID));
    assert_eq!(annotations.get("io.kubernetes.container.restartCount").map(String::as_str), Some("3"));
    let read = ContainerLabels::parse(&labels, &annotations).unwrap();
    assert_eq!((read.container_name.as_str(), read.restart_count, read.hash), ("main", 3, hash));
    assert_eq!((read.pod_name.as_str(), read.grace_period_seconds), ("web", Some(12)));
    assert_eq!(ContainerLabels::parse(&annotations, &labels), None, "not one of ours");
}

#[test]
fn the_hash_is_the_same_for_the_same_container() {
    let hash = |more| {
        container_hash(&pod(json!({"containers": [main_container(more)]})).spec.unwrap().containers[0])
    };
    assert_eq!(hash(json!({})), hash(json!({})));
    assert_eq!(hash(json!({})), hash(json!({"resources": {"limits": {"cpu": "1"}}})));
    assert_ne!(hash(json!({})), hash(json!({"image": "app:2"})));
    assert_ne!(hash(json!({})), hash(json!({"env": [{"name": "A", "value": "1"}]})));
}
