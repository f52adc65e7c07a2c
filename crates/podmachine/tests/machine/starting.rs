//! From nothing to running: order, images, init containers, sidecars, hooks, volumes.

use k8s_openapi::api::core::v1::Pod;
use podmachine::*;
use serde_json::json;

use super::model::*;

fn with_inits(policy: &str, inits: serde_json::Value) -> Model {
    Model::new(json!({
        "restartPolicy": policy,
        "initContainers": inits,
        "containers": [main_container(json!({}))],
    }))
}

fn init(name: &str) -> serde_json::Value {
    json!({"name": name, "image": "init:1", "imagePullPolicy": "IfNotPresent"})
}

fn sidecar(name: &str) -> serde_json::Value {
    json!({"name": name, "image": "init:1", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always"})
}

#[test]
fn a_new_pod_gets_volumes_a_sandbox_and_its_container() {
    let mut model = Model::simple();
    model.settle();
    assert_eq!(model.done(), ["volumes", "sandbox", "start"]);
    assert_eq!((model.phase(), model.state("main").as_str()), ("Running", "running"));
    for condition in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    {
        assert_eq!(model.condition(condition), "True", "{condition}");
    }
    let reasons: Vec<&str> = model.events.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(reasons, ["Pulled", "Created", "Started"]);
    assert_eq!(model.events[2].field_path.as_deref(), Some("spec.containers{main}"));
    assert_eq!(model.told("Pulled"), ["Container image \"app:1\" already present on machine"]);
    assert_eq!(model.status.pod_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(model.status.host_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(model.status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(model.status.start_time.as_ref().map(|time| time.0), Some(model.now));
    assert!(model.container("main").container_id.as_deref().unwrap().starts_with("containerd://"));
}

#[test]
fn a_look_older_than_an_own_action_starts_nothing() {
    let mut model = Model::simple();
    for job in model.step() {
        model.carry_out(job);
    }
    let before = model.look();
    for job in model.step() {
        model.carry_out(job);
    }
    assert_eq!(model.living(), ["main"]);
    let step = model.machine.step(&model.desired, &before, model.now);
    assert_eq!(step.jobs, [], "the old look does not show the container that was just started");
    assert_eq!(step.wake_at, Some(model.now), "and a new look is asked for");
    model.settle();
    assert_eq!((model.containers.len(), model.state("main").as_str()), (1, "running"));
}

#[test]
fn pull_policies_decide_what_is_pulled() {
    let cases = [
        ("Always", true, 1, "running"),
        ("Always", false, 1, "running"),
        ("IfNotPresent", true, 0, "running"),
        ("IfNotPresent", false, 1, "running"),
        ("Never", true, 0, "running"),
        ("Never", false, 0, "ErrImageNeverPull"),
    ];
    for (policy, present, pulls, state) in cases {
        let mut model =
            Model::new(json!({"containers": [main_container(json!({"imagePullPolicy": policy}))]}));
        if !present {
            model.images.insert("app:1".to_owned(), ImageState::Absent);
        }
        model.settle();
        assert_eq!((model.count("pull"), model.state("main").as_str()), (pulls, state), "{policy} {present}");
    }
}

#[test]
fn a_pulled_image_is_told_with_time_and_size() {
    let mut model = Model::new(json!({"containers": [main_container(json!({"imagePullPolicy": "Always"}))]}));
    model.settle();
    assert_eq!(model.told("Pulling"), ["Pulling image \"app:1\""]);
    assert_eq!(
        model.told("Pulled"),
        ["Successfully pulled image \"app:1\" in 1.200s (1.200s including waiting). Image size: 10 bytes."]
    );
}

#[test]
fn a_failed_pull_shows_the_error_then_backs_off_from_ten_seconds() {
    let mut model = Model::simple();
    model.images.insert("app:1".to_owned(), ImageState::Absent);
    let error = || Failure::Pull("no such host".to_owned());
    model.failures.insert("pull", [error(), error()].into());
    model.settle();
    assert_eq!((model.state("main").as_str(), model.phase()), ("ErrImagePull", "Pending"));
    model.pass(2);
    assert_eq!(model.state("main"), "ImagePullBackOff");
    let waiting = model.container("main").state.clone().unwrap().waiting.unwrap();
    assert_eq!(
        waiting.message.as_deref(),
        Some("Back-off pulling image \"app:1\": ErrImagePull: no such host")
    );
    assert_eq!(
        model.told("Failed")[..2],
        ["Failed to pull image \"app:1\": no such host", "Error: ErrImagePull"]
    );
    assert_eq!(model.told("BackOff"), ["Back-off pulling image \"app:1\""]);
    model.pass(8);
    assert_eq!(model.count("pull"), 2, "after ten seconds");
    model.pass(19);
    assert_eq!(model.count("pull"), 2);
    model.pass(1);
    assert_eq!((model.count("pull"), model.state("main").as_str()), (3, "running"), "after twenty more");
}

#[test]
fn an_image_name_that_is_none_waits_as_invalid() {
    let mut model = Model::simple();
    model
        .images
        .insert("app:1".to_owned(), ImageState::InvalidName { message: "invalid reference".to_owned() });
    model.settle();
    assert_eq!((model.state("main").as_str(), model.count("start")), ("InvalidImageName", 0));
}

#[test]
fn an_image_of_which_nothing_is_known_yet_starts_nothing() {
    let mut model = Model::simple();
    model.images.clear();
    model.settle();
    assert_eq!(
        (model.count("pull"), model.count("start"), model.state("main").as_str()),
        (0, 0, "ContainerCreating")
    );
}

#[test]
fn volumes_that_fail_keep_the_container_creating_and_are_tried_again() {
    let mut model = Model::simple();
    let error =
        Failure::Refused("MountVolume.SetUp failed for volume \"c\" : configmap \"c\" not found".to_owned());
    model.failures.insert("volumes", [error].into());
    model.settle();
    assert_eq!((model.state("main").as_str(), model.count("start")), ("ContainerCreating", 0));
    assert_eq!(model.told("FailedMount").len(), 1);
    model.pass(1);
    assert_eq!(model.state("main"), "running");
}

#[test]
fn a_sandbox_that_cannot_be_created_is_tried_again() {
    let mut model = Model::simple();
    model.failures.insert("sandbox", [Failure::Refused("no network".to_owned())].into());
    model.settle();
    assert_eq!(model.told("FailedCreatePodSandBox"), ["Failed to create pod sandbox: no network"]);
    assert_eq!(model.condition("PodReadyToStartContainers"), "False");
    model.pass(1);
    assert_eq!(model.state("main"), "running");
    assert_eq!(model.told("SandboxChanged"), Vec::<&str>::new(), "there was none to change");
}

#[test]
fn start_failures_have_their_own_reasons_and_are_tried_again_after_ten_seconds() {
    let cases = [
        (Failure::Config("configmap \"c\" not found".to_owned()), "CreateContainerConfigError"),
        (Failure::Create("no space".to_owned()), "CreateContainerError"),
        (Failure::Start("exec: no such file".to_owned()), "RunContainerError"),
    ];
    for (failure, reason) in cases {
        let mut model = Model::simple();
        let message = failure.to_string();
        model.failures.insert("start", [failure].into());
        model.settle();
        assert_eq!((model.state("main").as_str(), model.phase()), (reason, "Pending"));
        assert_eq!(model.told("Failed"), [format!("Error: {message}")]);
        model.pass(9);
        assert_eq!(model.count("start"), 1);
        model.pass(1);
        assert_eq!(model.state("main"), "running", "{reason}");
    }
}

#[test]
fn init_containers_run_one_after_the_other_and_before_the_others() {
    let mut model = with_inits("Always", json!([init("one"), init("two")]));
    model.hold = |action| matches!(action, Action::StartContainer(start) if start.name == "two");
    model.settle();
    assert_eq!(model.state("one"), "Completed 0");
    assert_eq!(
        (model.state("two").as_str(), model.state("main").as_str()),
        ("PodInitializing", "PodInitializing")
    );
    assert_eq!(model.condition("Initialized"), "False ContainersNotInitialized");
    assert_eq!(model.phase(), "Pending");
    model.release();
    let starts: Vec<&str> = model
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::StartContainer(start) => Some(start.name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(starts, ["one", "two", "main"]);
    assert_eq!((model.condition("Initialized").as_str(), model.phase()), ("True", "Running"));
}

#[test]
fn a_failed_init_container_is_run_again_unless_the_policy_is_never() {
    for policy in ["Always", "OnFailure"] {
        let mut model = with_inits(policy, json!([init("one")]));
        model.exits.insert("one".to_owned(), [1, 1].into());
        model.settle();
        assert_eq!((model.state("one").as_str(), model.phase()), ("CrashLoopBackOff", "Pending"), "{policy}");
        model.pass(10);
        assert_eq!((model.container("one").restart_count, model.phase()), (2, "Running"));
    }
    let mut model = with_inits("Never", json!([init("one")]));
    model.exits.insert("one".to_owned(), [1].into());
    model.settle();
    assert_eq!((model.phase(), model.count("start")), ("Failed", 1));
}

#[test]
fn a_finished_init_container_is_not_run_again_while_the_sandbox_lives() {
    let mut model = with_inits("Always", json!([init("one")]));
    model.settle().crash("main", 1).pass(30);
    assert_eq!((model.count("start"), model.container("main").restart_count), (3, 1));
}

#[test]
fn a_sidecar_lets_the_next_one_go_when_its_startup_probe_has_passed() {
    let mut side = sidecar("side");
    side["startupProbe"] = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 30});
    let mut model = with_inits("Always", json!([side, init("two")]));
    model.unhealthy.insert(("side".to_owned(), ProbeKind::Startup), true);
    model.pass(3);
    assert_eq!((model.living(), model.container("side").started), (vec!["side".to_owned()], Some(false)));
    model.unhealthy.clear();
    model.pass(1);
    assert_eq!(model.living(), ["main", "side"]);
    assert_eq!(model.phase(), "Running");
}

#[test]
fn a_sidecar_is_restarted_even_when_the_policy_is_never() {
    let mut model = with_inits("Never", json!([sidecar("side")]));
    model.settle().crash("side", 1).settle();
    assert_eq!(
        (model.living(), model.container("side").restart_count),
        (vec!["main".into(), "side".into()], 1)
    );
}

#[test]
fn a_pod_whose_work_is_done_stops_its_sidecars_and_succeeds() {
    let mut model = with_inits("Never", json!([sidecar("one"), sidecar("two")]));
    model.settle().crash("main", 0);
    model.settle();
    let killed: Vec<&str> = model
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::KillContainer { container, .. } => Some(container.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(killed, ["two", "one"], "from the last to the first");
    assert_eq!((model.phase(), model.machine.state()), ("Succeeded", State::Finished));
    assert_eq!(model.condition("Ready"), "False PodCompleted");
    assert!(!model.containers.is_empty(), "dead containers stay for their logs");
}

#[test]
fn a_container_waits_for_the_post_start_hook_of_the_one_before_it() {
    let hooked = json!({"name": "first", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}});
    let mut model = Model::new(json!({"containers": [main_container(hooked), main_container(json!({}))]}));
    model.hold = |action| matches!(action, Action::RunPostStart { .. });
    model.settle();
    assert_eq!(model.living(), ["first"]);
    assert_eq!(model.state("first"), "ContainerCreating");
    model.release();
    assert_eq!(
        (model.living(), model.state("first").as_str()),
        (vec!["first".into(), "main".into()], "running")
    );
}

#[test]
fn a_failed_post_start_hook_kills_the_container_which_is_then_restarted() {
    let hooked = json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}});
    let mut model = Model::new(json!({"containers": [main_container(hooked)]}));
    model.failures.insert("post-start", [Failure::Refused("exit 1".to_owned())].into());
    model.settle();
    assert_eq!(model.told("FailedPostStartHook"), ["PostStartHook failed: exit 1"]);
    assert_eq!(model.told("Killing"), ["FailedPostStartHook"]);
    assert_eq!((model.container("main").restart_count, model.state("main").as_str()), (1, "running"));
}

#[test]
fn a_host_network_pod_has_the_hosts_addresses() {
    let mut model = Model::new(json!({"hostNetwork": true, "containers": [main_container(json!({}))]}));
    model.settle();
    assert_eq!(model.status.pod_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(model.condition("PodReadyToStartContainers"), "True");
}

#[test]
fn a_pod_that_the_node_refuses_fails_with_the_reason_and_nothing_is_started() {
    let mut model = Model::simple();
    model.desired.admission = Admission::Refused {
        reason: "OutOfcpu".to_owned(),
        message: "Node didn't have enough resource: cpu".to_owned(),
    };
    model.settle();
    assert_eq!((model.phase(), model.status.reason.as_deref()), ("Failed", Some("OutOfcpu")));
    assert_eq!(
        model.status.message.as_deref(),
        Some("Pod was rejected: Node didn't have enough resource: cpu")
    );
    assert_eq!((model.count("sandbox"), model.count("start"), model.told("OutOfcpu").len()), (0, 0, 1));
    assert_eq!(model.machine.state(), State::Finished);
}

fn debugger(name: &str) -> serde_json::Value {
    json!({"name": name, "image": "init:1", "imagePullPolicy": "IfNotPresent"})
}

/// As `kubectl debug` adds one.
fn debug(model: &mut Model, name: &str) {
    let mut spec = serde_json::to_value(model.desired.pod.spec.as_ref().unwrap()).unwrap();
    let mut all = spec["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    all.push(debugger(name));
    spec["ephemeralContainers"] = all.into();
    let pod = Pod { spec: Some(serde_json::from_value(spec).unwrap()), ..model.desired.pod.clone() };
    model.desired = model.desired.of(pod);
}

#[test]
fn an_ephemeral_container_is_started_once_and_never_again() {
    let mut model = Model::simple();
    model.settle();
    debug(&mut model, "shell");
    model.settle();
    assert_eq!(model.living(), ["main", "shell"]);
    assert_eq!((model.state("shell").as_str(), model.container("shell").ready), ("running", false));
    assert_eq!(model.container("shell").started, None);
    assert_eq!(model.condition("Ready"), "True");
    model.crash("shell", 1).settle();
    model.restart_agent();
    model.pass(1000);
    assert_eq!((model.living(), model.state("shell").as_str()), (vec!["main".to_owned()], "Error 1"));
    assert_eq!((model.phase(), model.condition("Ready")), ("Running", "True".to_owned()));
    // Nor when the machine was off, or its container was taken away.
    model.kill_sandbox();
    model.settle();
    assert_eq!(model.living(), ["main"]);
    assert_eq!(
        model
            .actions
            .iter()
            .filter(|action| matches!(action, Action::StartContainer(start) if start.name == "shell"))
            .count(),
        1
    );
}

#[test]
fn a_pod_that_does_not_get_on_can_be_looked_at() {
    let mut model = Model::new(json!({
        "initContainers": [{"name": "one", "image": "init:1", "imagePullPolicy": "IfNotPresent"}],
        "containers": [main_container(json!({}))],
    }));
    model.exits.insert("one".to_owned(), [1, 1, 1, 1].into());
    model.settle();
    debug(&mut model, "shell");
    model.settle();
    assert_eq!(model.living(), ["shell"]);
    assert_eq!(model.phase(), "Pending");
}

#[test]
fn an_ephemeral_container_ends_with_its_pod() {
    let mut model = Model::simple();
    debug(&mut model, "shell");
    model.settle();
    model.delete(30);
    model.settle();
    assert_eq!(model.machine.state(), State::Gone);
    let mut done = Model::new(json!({"restartPolicy": "Never", "containers": [main_container(json!({}))]}));
    debug(&mut done, "shell");
    done.settle();
    done.crash("main", 0).settle();
    assert_eq!((done.phase(), done.living()), ("Succeeded", vec![]));
}
