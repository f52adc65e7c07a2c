//! The claims. Each takes any runtime and knows nothing of which it is.

use std::time::{Duration, Instant};

use cri::{
    ContainerId, ContainerState, ContainerStatus, Error, Filter, NamespaceMode, Resources, Runtime,
    RuntimeEventKind, SandboxConfig, SandboxId, SandboxState, Streams,
};
use futures::StreamExt;

use super::fixture::{Behaviour, Fixture};

/// Long enough for a busy machine; a claim that is true ends at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until the container has ended. containerd's own status lags behind the process by a moment.
async fn ended(runtime: &dyn Runtime, id: &ContainerId) -> ContainerStatus {
    let start = Instant::now();
    loop {
        let status = runtime.container_status(id).await.unwrap();
        if status.state == ContainerState::Exited {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "still {:?}", status.state);
        tokio::task::yield_now().await;
    }
}

async fn run(runtime: &dyn Runtime, config: &SandboxConfig) -> SandboxId {
    runtime.run_sandbox(config).await.unwrap()
}

/// A sandbox of this name with one started container of this behaviour.
async fn start(fixture: &impl Fixture, name: &str, behaviour: Behaviour) -> (SandboxId, ContainerId) {
    let runtime = fixture.runtime();
    let config = fixture.sandbox(name);
    let sandbox = run(runtime, &config).await;
    let container = fixture.container("main", behaviour);
    let id = runtime.create_container(&sandbox, &container, &config).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    (sandbox, id)
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

pub async fn a_runtime_tells_its_name_and_that_it_is_ready(fixture: &mut impl Fixture) {
    let version = fixture.runtime().version().await.unwrap();
    assert!(!version.name.is_empty() && !version.version.is_empty(), "{version:?}");
    assert_eq!(version.api_version, "v1");
    let status = fixture.runtime().status().await.unwrap();
    assert!(status.is_ready(), "{status:?}");
}

pub async fn a_sandbox_is_run_listed_stopped_and_removed_and_each_end_may_be_repeated(
    fixture: &mut impl Fixture,
) {
    let runtime = fixture.runtime();
    let config = fixture.sandbox("web");
    let id = run(runtime, &config).await;

    let listed = runtime.list_sandboxes(&Filter::label("io.kubernetes.pod.name", "web")).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, listed[0].state), (&id, SandboxState::Ready));
    assert_eq!((listed[0].uid.as_str(), listed[0].attempt), ("uid-web", 0));
    assert_eq!(listed[0].annotations.get("note").map(String::as_str), Some("kept as it is"));
    assert!(listed[0].created_at.is_some());
    assert!(
        runtime.list_sandboxes(&Filter::label("io.kubernetes.pod.name", "other")).await.unwrap().is_empty()
    );

    let status = runtime.sandbox_status(&id).await.unwrap();
    assert_eq!(status.network, NamespaceMode::Node);
    assert_eq!(status.ips, Vec::<String>::new(), "the host's network has no address of the Pod's own");

    runtime.stop_sandbox(&id).await.unwrap();
    runtime.stop_sandbox(&id).await.unwrap();
    assert_eq!(runtime.sandbox_status(&id).await.unwrap().sandbox.state, SandboxState::NotReady);
    runtime.remove_sandbox(&id).await.unwrap();
    runtime.remove_sandbox(&id).await.unwrap();
    runtime.stop_sandbox(&id).await.unwrap();
    assert!(runtime.sandbox_status(&id).await.unwrap_err().is_not_found());
    assert!(runtime.list_sandboxes(&Filter::default()).await.unwrap().is_empty());
}

pub async fn the_same_attempt_is_refused_as_already_existing_and_the_next_one_is_not(
    fixture: &mut impl Fixture,
) {
    let runtime = fixture.runtime();
    let mut config = fixture.sandbox("twin");
    let first = run(runtime, &config).await;
    let again = runtime.run_sandbox(&config).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again:?}");
    config.attempt = 1;
    assert_ne!(run(runtime, &config).await, first);

    let sandbox_config = fixture.sandbox("twin");
    let mut container = fixture.container("main", Behaviour::Sleeps);
    runtime.create_container(&first, &container, &sandbox_config).await.unwrap();
    let again = runtime.create_container(&first, &container, &sandbox_config).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again:?}");
    container.attempt = 1;
    runtime.create_container(&first, &container, &sandbox_config).await.unwrap();
}

pub async fn a_sandbox_on_the_hosts_network_has_the_hosts_name(fixture: &mut impl Fixture) {
    let mut config = fixture.sandbox("named");
    config.hostname = "named".to_owned();
    let error = fixture.runtime().run_sandbox(&config).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

pub async fn a_container_goes_from_created_to_running_to_exited_and_keeps_its_labels(
    fixture: &mut impl Fixture,
) {
    let runtime = fixture.runtime();
    let config = fixture.sandbox("life");
    let sandbox = run(runtime, &config).await;
    let container = fixture.container("main", Behaviour::Sleeps);
    let id = runtime.create_container(&sandbox, &container, &config).await.unwrap();
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!((status.state, status.started_at, status.finished_at), (ContainerState::Created, None, None));

    runtime.start_container(&id).await.unwrap();
    let status = runtime.container_status(&id).await.unwrap();
    assert_eq!(status.state, ContainerState::Running);
    assert!(status.started_at.is_some() && status.finished_at.is_none());
    assert_eq!(status.annotations, container.annotations);
    assert!(!status.image_ref.is_empty() && !status.image.is_empty());
    assert_eq!(status.log_path, format!("{}/life/main/0.log", fixture.log_directory()));
    assert!(runtime.start_container(&id).await.is_err(), "a container starts once");

    let listed = runtime.list_containers(&Filter::label("app", "main")).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0].id, &listed[0].sandbox, listed[0].state),
        (&id, &sandbox, ContainerState::Running)
    );
    assert_eq!(listed[0].labels, container.labels);
    assert!(runtime.list_containers(&Filter::label("app", "other")).await.unwrap().is_empty());

    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(ended(runtime, &id).await.exit_code, 137);
    runtime.remove_container(&id).await.unwrap();
    runtime.remove_container(&id).await.unwrap();
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    assert!(runtime.container_status(&id).await.unwrap_err().is_not_found());
}

pub async fn an_exit_code_and_its_time_are_kept(fixture: &mut impl Fixture) {
    let (_, id) = start(fixture, "failing", Behaviour::Exits(7)).await;
    let status = ended(fixture.runtime(), &id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (7, "Error"));
    // containerd stamps the start when the call returns: a container that ends at once has ended before that.
    assert!(status.finished_at >= status.created_at && status.created_at.is_some());
    assert!(status.started_at >= status.created_at);

    let (_, id) = start(fixture, "finishing", Behaviour::Exits(0)).await;
    let status = ended(fixture.runtime(), &id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (0, "Completed"));
}

pub async fn a_container_that_heeds_the_stop_signal_keeps_its_own_exit_code(fixture: &mut impl Fixture) {
    let (_, id) = start(fixture, "polite", Behaviour::HeedsStop).await;
    let runtime = fixture.runtime();
    heeding(runtime, &id).await;
    let before = Instant::now();
    runtime.stop_container(&id, Duration::from_secs(60)).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(60));
    assert_eq!(ended(runtime, &id).await.exit_code, 3);
}

/// A shell has its trap a moment after its start; the test's container says so in a file.
async fn heeding(runtime: &dyn Runtime, id: &ContainerId) {
    let start = Instant::now();
    let command = words(&["/bin/echo", "-n"]);
    runtime.exec_sync(id, &command, PATIENCE).await.unwrap();
    loop {
        match runtime.exec_sync(id, &words(&["/bin/ls", "/tmp/heeding"]), PATIENCE).await {
            Ok(output) if output.exit_code != 0 => {
                assert!(start.elapsed() < PATIENCE, "the trap was never set");
            }
            // There, or a runtime that runs no real process.
            Ok(_) | Err(_) => return,
        }
    }
}

pub async fn a_container_that_ignores_the_stop_signal_is_killed_after_its_grace(fixture: &mut impl Fixture) {
    let (_, id) = start(fixture, "stubborn", Behaviour::IgnoresStop).await;
    let runtime = fixture.runtime();
    heeding(runtime, &id).await;
    let before = Instant::now();
    runtime.stop_container(&id, Duration::from_secs(1)).await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(1), "killed after {:?}", before.elapsed());
    assert_eq!(ended(runtime, &id).await.exit_code, 137);
}

pub async fn a_command_that_does_not_exist_fails_on_start_and_leaves_a_start_error(
    fixture: &mut impl Fixture,
) {
    let runtime = fixture.runtime();
    let config = fixture.sandbox("typo");
    let sandbox = run(runtime, &config).await;
    let container = fixture.container("main", Behaviour::DoesNotExist);
    let id = runtime.create_container(&sandbox, &container, &config).await.unwrap();
    let error = runtime.start_container(&id).await.unwrap_err();
    assert!(error.message().contains("no such file"), "{error:?}");
    let status = ended(runtime, &id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
    assert!(status.message.contains("no such file"), "{status:?}");
}

pub async fn exec_answers_output_and_exit_code_and_ends_in_time(fixture: &mut impl Fixture) {
    let (_, id) = start(fixture, "exec", Behaviour::Sleeps).await;
    let runtime = fixture.runtime();
    let output = runtime.exec_sync(&id, &words(&["/bin/echo", "hello"]), PATIENCE).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.exit_code), (b"hello\n".as_slice(), 0));
    let output = runtime.exec_sync(&id, &words(&["/bin/false"]), PATIENCE).await.unwrap();
    assert_eq!(output.exit_code, 1, "a command that fails is a call that succeeds");
    let error =
        runtime.exec_sync(&id, &words(&["/bin/sleep", "60"]), Duration::from_secs(1)).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!(runtime.exec_sync(&id, &words(&["/bin/nothing"]), PATIENCE).await.is_err());

    let streams = Streams { stdout: true, ..Streams::default() };
    assert!(
        runtime
            .exec_url(&id, &words(&["/bin/echo"]), streams)
            .await
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    assert!(runtime.attach_url(&id, streams).await.unwrap().starts_with("http://127.0.0.1:"));

    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    ended(runtime, &id).await;
    assert!(runtime.exec_sync(&id, &words(&["/bin/echo"]), PATIENCE).await.is_err());
}

pub async fn an_absent_image_is_none_and_cannot_be_used_or_pulled(fixture: &mut impl Fixture) {
    let runtime = fixture.runtime();
    let here = runtime.image_status(&fixture.image()).await.unwrap().expect("the test's image");
    assert!(here.size_bytes > 0 && !here.id.is_empty());
    assert!(runtime.list_images().await.unwrap().iter().any(|image| image.id == here.id));

    let absent = "127.0.0.1:1/nobody/nothing:1";
    assert_eq!(runtime.image_status(absent).await.unwrap(), None);
    assert!(runtime.pull_image(absent, None, None).await.is_err());
    runtime.remove_image(absent).await.unwrap();

    let config = fixture.sandbox("absent");
    let sandbox = run(runtime, &config).await;
    let mut container = fixture.container("main", Behaviour::Sleeps);
    container.image = absent.to_owned();
    let error = runtime.create_container(&sandbox, &container, &config).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
}

pub async fn a_stopped_sandbox_ends_its_containers_and_takes_no_new_one(fixture: &mut impl Fixture) {
    let (sandbox, id) = start(fixture, "stopped", Behaviour::Sleeps).await;
    let runtime = fixture.runtime();
    runtime.stop_sandbox(&sandbox).await.unwrap();
    assert_eq!(ended(runtime, &id).await.exit_code, 137);
    let mut container = fixture.container("main", Behaviour::Sleeps);
    container.attempt = 1;
    assert!(runtime.create_container(&sandbox, &container, &fixture.sandbox("stopped")).await.is_err());
}

pub async fn a_removed_sandbox_takes_its_containers_along(fixture: &mut impl Fixture) {
    let (sandbox, id) = start(fixture, "removed", Behaviour::Sleeps).await;
    let runtime = fixture.runtime();
    runtime.remove_sandbox(&sandbox).await.unwrap();
    assert!(runtime.container_status(&id).await.unwrap_err().is_not_found());
    assert!(runtime.list_containers(&Filter::default()).await.unwrap().is_empty());
}

pub async fn starts_and_ends_are_told_as_events(fixture: &mut impl Fixture) {
    let runtime = fixture.runtime();
    let mut events = runtime.events().await.unwrap().expect("this runtime can tell");
    let config = fixture.sandbox("told");
    let sandbox = run(runtime, &config).await;
    let container = fixture.container("main", Behaviour::Sleeps);
    let id = runtime.create_container(&sandbox, &container, &config).await.unwrap();

    let mut seen = Vec::new();
    let watched = async {
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            if event.id == id.0 {
                seen.push(event.kind);
            }
            if seen.len() == 2 {
                return;
            }
        }
    };
    let done = async {
        // The subscription begins when first polled, a moment before the start below.
        while runtime.container_status(&id).await.unwrap().state == ContainerState::Created {
            runtime.version().await.unwrap();
            runtime.start_container(&id).await.unwrap();
        }
        let output = runtime.exec_sync(&id, &words(&["/bin/echo", "hello"]), PATIENCE).await.unwrap();
        assert_eq!(output.exit_code, 0, "and the end of an exec is no event");
        runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    };
    tokio::time::timeout(PATIENCE, futures::future::join(watched, done)).await.expect("both events");
    assert_eq!(seen, [RuntimeEventKind::Started, RuntimeEventKind::Exited { exit_code: 137 }]);
}

pub async fn what_runs_goes_on_while_the_runtime_restarts(fixture: &mut impl Fixture) {
    let (sandbox, id) = start(fixture, "lasting", Behaviour::Sleeps).await;
    let before = fixture.runtime().container_status(&id).await.unwrap();
    fixture.restart().await;
    let runtime = fixture.runtime();
    let after = runtime.container_status(&id).await.unwrap();
    assert_eq!((after.state, after.started_at), (ContainerState::Running, before.started_at));
    assert_eq!(after.annotations, before.annotations);
    assert_eq!(runtime.sandbox_status(&sandbox).await.unwrap().sandbox.state, SandboxState::Ready);
}

pub async fn resources_can_be_changed_and_use_is_told(fixture: &mut impl Fixture) {
    let (_, id) = start(fixture, "sized", Behaviour::Sleeps).await;
    let runtime = fixture.runtime();
    let resources = Resources { memory_limit_bytes: 64 << 20, ..Resources::default() };
    runtime.update_resources(&id, &resources).await.unwrap();
    let stats = runtime.container_stats(&id).await.unwrap();
    assert_eq!(stats.id.as_ref(), Some(&id));
    assert!(stats.cpu_core_nanoseconds.is_some() && stats.memory_working_set_bytes.is_some(), "{stats:?}");
    let all = runtime.list_container_stats(&Filter::default()).await.unwrap();
    assert_eq!(all.len(), 1);
    assert!(!runtime.image_filesystem().await.unwrap().is_empty());
}

pub async fn a_log_is_reopened_only_while_the_container_runs(fixture: &mut impl Fixture) {
    let (_, id) = start(fixture, "logging", Behaviour::Sleeps).await;
    let runtime = fixture.runtime();
    runtime.reopen_log(&id).await.unwrap();
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    ended(runtime, &id).await;
    assert!(runtime.reopen_log(&id).await.is_err());
}

pub async fn a_sandbox_on_the_pod_network_has_an_address_and_a_namespace(fixture: &mut impl Fixture) {
    let runtime = fixture.runtime();
    let mut config = fixture.sandbox("networked");
    config.security.namespaces.network = NamespaceMode::Pod;
    config.hostname = "networked".to_owned();
    let id = run(runtime, &config).await;
    let status = runtime.sandbox_status(&id).await.unwrap();
    assert_eq!(status.network, NamespaceMode::Pod);
    assert_eq!(status.ips.len(), 1, "{status:?}");
    assert!(status.ips[0].starts_with("10."), "{status:?}");
    let netns = runtime.sandbox_netns(&id).await.unwrap().expect("a network namespace");
    assert!(netns.starts_with('/'), "{netns}");
    runtime.stop_sandbox(&id).await.unwrap();
    assert_eq!(runtime.sandbox_status(&id).await.unwrap().sandbox.state, SandboxState::NotReady);
}
