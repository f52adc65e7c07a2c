//! Restart policies, back-off, changed specs, dead sandboxes.

use podmachine::*;
use serde_json::json;

use super::model::*;

fn with_policy(policy: &str) -> Model {
    Model::new(json!({"restartPolicy": policy, "containers": [main_container(json!({}))]}))
}

#[test]
fn the_restart_policy_and_the_exit_code_decide() {
    let cases = [
        ("Always", 0, 1, "Running"),
        ("Always", 1, 1, "Running"),
        ("OnFailure", 0, 0, "Succeeded"),
        ("OnFailure", 1, 1, "Running"),
        ("Never", 0, 0, "Succeeded"),
        ("Never", 1, 0, "Failed"),
    ];
    for (policy, code, restarts, phase) in cases {
        let mut model = with_policy(policy);
        model.settle().crash("main", code).settle();
        let seen = (model.container("main").restart_count, model.phase());
        assert_eq!(seen, (restarts, phase), "{policy} {code}");
    }
}

#[test]
fn the_first_restart_is_immediate_and_the_next_ones_wait_ten_seconds_doubling_to_five_minutes() {
    let mut model = Model::simple();
    model.settle().crash("main", 1).settle();
    assert_eq!(model.container("main").restart_count, 1, "at once");
    let mut restarts = 1;
    for wait in [10, 20, 40, 80, 160, 300, 300] {
        model.crash("main", 1).pass(wait - 1);
        assert_eq!(model.container("main").restart_count, restarts, "within {wait} s");
        assert_eq!((model.state("main").as_str(), model.phase()), ("CrashLoopBackOff", "Running"));
        model.pass(1);
        restarts += 1;
        assert_eq!(model.container("main").restart_count, restarts, "after {wait} s");
    }
}

#[test]
fn a_crash_loop_says_so_in_upstreams_words_and_keeps_the_last_end() {
    let mut model = Model::simple();
    model.settle().crash("main", 1).settle();
    model.crash("main", 3).settle();
    let status = model.container("main").clone();
    let waiting = status.state.unwrap().waiting.unwrap();
    let title = format!("web_default({UID})");
    assert_eq!(waiting.message, Some(format!("back-off 10s restarting failed container=main pod={title}")));
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    assert_eq!(model.told("BackOff"), [format!("Back-off restarting failed container main in pod {title}")]);
    assert_eq!(model.condition("Ready"), "False ContainersNotReady");
    model.pass(5);
    assert_eq!(model.told("BackOff").len(), 1, "told once a wait");
}

#[test]
fn ten_good_minutes_make_the_next_restart_immediate() {
    let mut model = Model::simple();
    model.settle().crash("main", 1).settle();
    model.crash("main", 1).pass(10);
    model.pass(601);
    model.crash("main", 1).settle();
    assert_eq!((model.container("main").restart_count, model.state("main").as_str()), (3, "running"));
}

#[test]
fn a_kill_for_memory_keeps_its_reason() {
    let mut model = Model::simple();
    model.settle();
    let id = model.running("main").unwrap().id.clone();
    model.end(&id, 137, "OOMKilled");
    model.settle();
    let last = model.container("main").last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("OOMKilled")));
}

#[test]
fn only_one_dead_instance_is_kept() {
    let mut model = Model::simple();
    model.settle();
    for _ in 0..4 {
        model.crash("main", 1).pass(600);
    }
    assert_eq!(model.containers.len(), 2, "the running one and the one before it");
}

#[test]
fn a_changed_image_replaces_the_container_without_back_off() {
    let mut model = Model::simple();
    model.settle().crash("main", 1).settle();
    model.desired.pod.spec.as_mut().unwrap().containers[0].image = Some("app:2".to_owned());
    model.settle();
    assert_eq!(model.told("Killing"), ["Container main definition changed, will be restarted"]);
    assert_eq!((model.container("main").restart_count, model.state("main").as_str()), (2, "running"));
    assert_eq!(model.count("sandbox"), 1, "in the same sandbox");
}

#[test]
fn changed_resources_or_metadata_replace_nothing() {
    let mut model = Model::simple();
    model.settle();
    let spec = model.desired.pod.spec.as_mut().unwrap();
    spec.containers[0].resources = Some(serde_json::from_value(json!({"limits": {"cpu": "2"}})).unwrap());
    model.desired.pod.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    model.pass(100);
    assert_eq!(model.done(), ["volumes", "sandbox", "start"]);
}

#[test]
fn a_dead_sandbox_is_replaced_and_all_containers_start_again() {
    let init = json!({"name": "one", "image": "init:1", "imagePullPolicy": "IfNotPresent"});
    let mut model = Model::new(json!({"initContainers": [init], "containers": [main_container(json!({}))]}));
    model.settle().kill_sandbox();
    model.settle();
    assert_eq!(model.told("SandboxChanged"), ["Pod sandbox changed, it will be killed and re-created."]);
    assert_eq!((model.count("sandbox"), model.living()), (2, vec!["main".to_owned()]));
    assert_eq!((model.container("one").restart_count, model.container("main").restart_count), (1, 1));
    assert_ne!(model.status.pod_ip.as_deref(), Some("10.0.0.1"), "the address is a new one");
}

#[test]
fn a_dead_sandbox_of_a_pod_that_never_restarts_is_its_end() {
    let mut model = with_policy("Never");
    model.settle().kill_sandbox();
    model.settle();
    assert_eq!((model.phase(), model.count("sandbox")), ("Failed", 1));
}

#[test]
fn a_container_that_vanished_is_started_again_with_the_next_count() {
    let mut model = Model::simple();
    model.settle();
    model.containers.clear();
    model.settle();
    assert_eq!((model.container("main").restart_count, model.state("main").as_str()), (1, "running"));
}

#[test]
fn a_vanished_container_of_a_pod_that_never_restarts_has_failed() {
    let mut model = with_policy("Never");
    model.settle();
    model.containers.clear();
    model.settle();
    assert_eq!((model.phase(), model.state("main").as_str()), ("Failed", "ContainerStatusUnknown 137"));
}

#[test]
fn a_created_container_that_never_started_is_removed_and_made_anew() {
    let mut model = Model::simple();
    model.hold = |action| matches!(action, Action::StartContainer(_));
    model.settle();
    let Some(Action::StartContainer(start)) = model.held.first().map(|job| job.action.clone()) else {
        panic!()
    };
    model.release();
    // The agent died between create and start.
    model.containers[0].state = ContainerState::Created;
    model.restart_agent();
    model.settle();
    assert_eq!((model.count("remove"), model.living().len()), (1, 1));
    assert_eq!(start.restart_count, 0);
    assert_eq!(model.state("main"), "running");
}

#[test]
fn a_runtime_that_is_away_is_asked_again_soon() {
    let mut model = Model::simple();
    model.failures.insert("start", [Failure::Unavailable("connection refused".to_owned())].into());
    model.settle();
    assert_eq!(model.count("start"), 1);
    model.pass(1);
    assert_eq!(model.state("main"), "running");
}
