//! One contract, two runtimes: every claim runs on the fake in memory and on a containerd that the test starts
//! itself, in a directory of its own.
//!
//! The containerd half needs root, containerd with runc, and a static busybox (`busybox-static`). Where they are
//! missing it fails and says so; `EVERYNODE_SKIP_RUNTIME=1` is the one way to leave it out.

mod claims;
mod containerd;
mod fixture;
mod image;

use fixture::Fake;

macro_rules! contract {
    ($($claim:ident),+ $(,)?) => {
        mod on_the_fake {
            use super::*;
            $(
                #[tokio::test]
                async fn $claim() {
                    let mut fixture = Fake::new();
                    claims::$claim(&mut fixture).await;
                }
            )+
        }

        mod on_containerd {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let Some(mut fixture) = containerd::Containerd::start(stringify!($claim)).await else { return };
                    claims::$claim(&mut fixture).await;
                }
            )+
        }
    };
}

contract!(
    a_runtime_tells_its_name_and_that_it_is_ready,
    a_sandbox_is_run_listed_stopped_and_removed_and_each_end_may_be_repeated,
    the_same_attempt_is_refused_as_already_existing_and_the_next_one_is_not,
    a_sandbox_on_the_hosts_network_has_the_hosts_name,
    a_container_goes_from_created_to_running_to_exited_and_keeps_its_labels,
    an_exit_code_and_its_time_are_kept,
    a_container_that_heeds_the_stop_signal_keeps_its_own_exit_code,
    a_container_that_ignores_the_stop_signal_is_killed_after_its_grace,
    a_command_that_does_not_exist_fails_on_start_and_leaves_a_start_error,
    exec_answers_output_and_exit_code_and_ends_in_time,
    an_absent_image_is_none_and_cannot_be_used_or_pulled,
    a_stopped_sandbox_ends_its_containers_and_takes_no_new_one,
    a_removed_sandbox_takes_its_containers_along,
    starts_and_ends_are_told_as_events,
    what_runs_goes_on_while_the_runtime_restarts,
    resources_can_be_changed_and_use_is_told,
    a_log_is_reopened_only_while_the_container_runs,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_on_the_pod_network_has_an_address_and_a_namespace_on_containerd() {
    let Some(mut fixture) = containerd::Containerd::start("pod_network").await else { return };
    claims::a_sandbox_on_the_pod_network_has_an_address_and_a_namespace(&mut fixture).await;
}

#[tokio::test]
async fn a_sandbox_on_the_pod_network_has_an_address_and_a_namespace_on_the_fake() {
    claims::a_sandbox_on_the_pod_network_has_an_address_and_a_namespace(&mut Fake::new()).await;
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_unavailable() {
    use cri::Runtime;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let runtime = cri::RemoteRuntime::connect(socket.to_str().unwrap()).unwrap();
    let error = runtime.version().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(cri::RemoteRuntime::connect("containerd.sock").is_err(), "a relative path is refused");
}
