//! Static Pods on an agent that stands alone, with the fake runtime: what runs, what stays, what is replaced.

#[path = "support/fake_node.rs"]
mod fake_node;
#[path = "support/waiting.rs"]
mod waiting;

use std::path::Path;
use std::time::Duration;

use agent::{Agent, Config};
use cri::SandboxState;
use cri::fake::{Ending, Program};
use fake_node::FakeNode as Node;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use process::{Shutdown, Tasks};
use waiting::{DEADLINE, eventually};

struct Running {
    agent: Agent,
    tasks: Tasks,
}

impl Node {
    fn with_two_images() -> Node {
        let node = Node::new();
        node.runtime.add_image("web:2");
        node
    }

    async fn start(&self) -> Running {
        self.start_with(self.config()).await
    }

    async fn start_with(&self, config: Config) -> Running {
        let tasks = Tasks::new(Shutdown::new());
        let agent = Agent::start(config, &tasks).await.unwrap();
        Running { agent, tasks }
    }

    fn write(&self, file: &str, image: &str) {
        put(&self.manifests(), file, &manifest("web", image));
    }

    fn running(&self) -> Vec<String> {
        self.runtime.running("c").into_iter().map(|id| id.0).collect()
    }

    /// Waits for exactly one running container and returns its id.
    async fn one(&self) -> String {
        eventually("one running container", async || match self.running().as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        })
        .await
    }
}

impl Running {
    async fn stop(self) {
        assert!(self.tasks.shutdown(DEADLINE).await.is_empty());
    }

    fn pod(&self) -> Option<Pod> {
        self.agent.pods().into_iter().next()
    }

    fn status(&self) -> Option<ContainerStatus> {
        self.pod()?.status?.container_statuses?.into_iter().next()
    }
}

fn manifest(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - {{name: c, image: '{image}'}}\n"
    )
}

fn put(folder: &Path, file: &str, text: &str) {
    let hidden = folder.join(format!(".{file}"));
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(hidden, folder.join(file)).unwrap();
}

#[tokio::test]
async fn manifest_becomes_a_running_pod_and_its_removal_ends_it() {
    let node = Node::with_two_images();
    let running = node.start().await;
    assert!(running.agent.ready().await);
    node.write("web.yaml", "web:1");
    node.one().await;
    let phase = async || running.pod().and_then(|pod| pod.status?.phase).filter(|phase| phase == "Running");
    eventually("phase Running", phase).await;
    let pod = running.pod().unwrap();
    assert_eq!(pod.metadata.name.as_deref(), Some("web-n1"));
    std::fs::remove_file(node.manifests().join("web.yaml")).unwrap();
    eventually("no Pod", async || running.agent.pods().is_empty().then_some(())).await;
    assert!(node.runtime.sandboxes().is_empty() && node.runtime.containers().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn agent_that_comes_back_adopts_what_runs() {
    let node = Node::with_two_images();
    let first = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    first.stop().await;
    assert_eq!(node.running(), std::slice::from_ref(&before), "stopping the agent stops no container");

    let second = node.start().await;
    let status = eventually("a status", async || second.status().filter(|status| status.ready)).await;
    assert_eq!(status.container_id, Some(format!("containerd://{before}")));
    assert_eq!(status.restart_count, 0);
    assert_eq!(node.running(), [before]);
    second.stop().await;
}

#[tokio::test]
async fn edited_manifest_replaces_its_pod_and_both_never_run_at_once() {
    let node = Node::with_two_images();
    let running = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    let uid = running.pod().unwrap().metadata.uid;
    node.write("web.yaml", "web:2");
    eventually("the new container", async || {
        let now = node.running();
        assert!(now.len() <= 1, "two instances of one static Pod: {now:?}");
        (now.len() == 1 && now[0] != before).then_some(())
    })
    .await;
    let after = eventually("the new Pod", async || running.pod().filter(|pod| pod.metadata.uid != uid)).await;
    assert_eq!(after.spec.unwrap().containers[0].image.as_deref(), Some("web:2"));
    running.stop().await;
}

#[tokio::test]
async fn broken_manifest_leaves_its_pod_and_the_others_alone() {
    let node = Node::with_two_images();
    let running = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    put(&node.manifests(), "web.yaml", "kind: [");
    put(&node.manifests(), "other.yaml", &manifest("other", "web:2"));
    eventually("the other Pod", async || (node.running().len() == 2).then_some(())).await;
    assert!(node.running().contains(&before));
    running.stop().await;
}

#[tokio::test]
async fn container_that_ends_is_started_again() {
    let node = Node::with_two_images();
    let running = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    node.runtime.exit_container(&cri::ContainerId::new(&before), Ending::code(3));
    let restarted = async || running.status().filter(|status| status.restart_count == 1 && status.ready);
    let status = eventually("a restart", restarted).await;
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!(last.exit_code, 3);
    running.stop().await;
}

#[tokio::test]
async fn pod_that_no_source_wants_any_more_ends_at_the_next_start() {
    let node = Node::with_two_images();
    let first = node.start().await;
    node.write("web.yaml", "web:1");
    node.one().await;
    first.stop().await;
    std::fs::remove_file(node.manifests().join("web.yaml")).unwrap();
    let second = node.start().await;
    let gone = async || node.runtime.sandboxes().is_empty().then_some(());
    eventually("nothing left in the runtime", gone).await;
    second.stop().await;
}

#[tokio::test]
async fn nothing_is_taken_down_while_the_api_was_never_heard() {
    let node = Node::with_two_images();
    let first = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    first.stop().await;

    let mut config = node.config();
    // Nobody listens there.
    let nowhere = kube::Config::new("http://127.0.0.1:1/".parse().unwrap());
    config.client = Some(kube::Client::try_from(nowhere).unwrap());
    std::fs::remove_file(node.manifests().join("web.yaml")).unwrap();
    let second = node.start_with(config).await;
    put(&node.manifests(), "other.yaml", &manifest("other", "web:2"));
    eventually("the new Pod beside the old one", async || (node.running().len() == 2).then_some(())).await;
    assert!(node.running().contains(&before));
    second.stop().await;
}

#[tokio::test]
async fn runtime_that_was_away_is_used_again_and_nothing_is_started_twice() {
    let node = Node::with_two_images();
    let running = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    node.runtime.set_down(true);
    std::fs::remove_file(node.manifests().join("web.yaml")).unwrap();
    put(&node.manifests(), "other.yaml", &manifest("other", "web:2"));
    node.runtime.set_down(false);
    eventually("only the new Pod", async || {
        let now = node.running();
        (now.len() == 1 && now[0] != before).then_some(())
    })
    .await;
    let ready =
        node.runtime.sandboxes().into_iter().filter(|sandbox| sandbox.state == SandboxState::Ready).count();
    assert_eq!(ready, 1);
    running.stop().await;
}

#[tokio::test]
async fn pod_that_ignores_its_stop_signal_is_killed_after_its_grace() {
    let node = Node::with_two_images();
    node.runtime.set_program("web:1", Program::ignores_stop());
    let running = node.start().await;
    node.write("web.yaml", "web:1");
    node.one().await;
    std::fs::remove_file(node.manifests().join("web.yaml")).unwrap();
    eventually("no Pod", async || running.agent.pods().is_empty().then_some(())).await;
    running.stop().await;
}

#[tokio::test]
async fn tcp_socket_in_a_hook_does_nothing() {
    let node = Node::with_two_images();
    let running = node.start().await;
    // Nobody listens there: a hook that looked would fail, and its container would not go on.
    let hook = "lifecycle: {postStart: {tcpSocket: {host: 127.0.0.1, port: 1}}}";
    let text = manifest("web", "web:1").replace("image: 'web:1'}", &format!("image: 'web:1', {hook}}}"));
    put(&node.manifests(), "web.yaml", &text);
    let ready = async || running.status().filter(|status| status.ready && status.restart_count == 0);
    eventually("a container that is ready", ready).await;
    running.stop().await;
}

#[tokio::test]
async fn images_of_an_edit_are_pulled_before_the_pod_is_stopped() {
    let node = Node::with_two_images();
    node.runtime.add_to_registry("web:3");
    node.runtime.set_latency(cri::Operation::PullImage, Duration::from_millis(300));
    let running = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    node.write("web.yaml", "web:3");
    eventually("the pull", async || (node.runtime.call_count(cri::Operation::PullImage) > 0).then_some(()))
        .await;
    assert_eq!(node.running(), std::slice::from_ref(&before), "the pull has begun, the Pod still runs");
    eventually("the new container", async || {
        let now = node.running();
        (now.len() == 1 && now[0] != before).then_some(())
    })
    .await;
    assert_eq!(node.runtime.call_count(cri::Operation::PullImage), 1, "it is not pulled twice");
    running.stop().await;
}

#[tokio::test]
async fn edit_whose_image_cannot_be_had_ends_nothing_and_is_reported_until_it_is_mended() {
    let node = Node::with_two_images();
    node.runtime.add_to_registry("web:2");
    let running = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    node.write("web.yaml", "typo:1");
    let report = async || {
        let report = agent::StaticReport::read(&node.folder.path().join("agent")).unwrap()?;
        report.faults().next().cloned()
    };
    let fault = eventually("the fault", report).await;
    assert_eq!(
        (fault.about.as_str(), fault.keeps.as_slice()),
        ("default/web-n1", ["default/web-n1".to_owned()].as_slice())
    );
    assert!(fault.message.contains("Failed to pull image \"typo:1\""), "{}", fault.message);
    assert_eq!(node.running(), std::slice::from_ref(&before));
    // Back to what it was: nothing has happened.
    node.write("web.yaml", "web:1");
    eventually("no fault", async || report().await.is_none().then_some(())).await;
    assert_eq!(node.running(), [before]);
    running.stop().await;
}

#[tokio::test]
async fn edit_made_while_no_agent_ran_replaces_the_pod_and_both_never_run_at_once() {
    let node = Node::with_two_images();
    let first = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    first.stop().await;
    node.write("web.yaml", "web:2");
    // The API is away: what is edited in the folder does not wait for it.
    let mut config = node.config();
    let nowhere = kube::Config::new("http://127.0.0.1:1/".parse().unwrap());
    config.client = Some(kube::Client::try_from(nowhere).unwrap());
    let second = node.start_with(config).await;
    eventually("the new container", async || {
        let now = node.running();
        assert!(now.len() <= 1, "two instances of one static Pod: {now:?}");
        (now.len() == 1 && now[0] != before).then_some(())
    })
    .await;
    second.stop().await;
}

#[tokio::test]
async fn pod_that_was_put_back_while_it_ended_goes_on_counting_its_restarts() {
    let node = Node::with_two_images();
    node.runtime.set_program("web:1", Program::ignores_stop());
    let running = node.start().await;
    node.write("web.yaml", "web:1");
    let before = node.one().await;
    let text = std::fs::read(node.manifests().join("web.yaml")).unwrap();
    std::fs::remove_file(node.manifests().join("web.yaml")).unwrap();
    let ending = async || running.agent.pods().is_empty().then_some(());
    let stopping = async || {
        (node.runtime.call_count(cri::Operation::StopContainer) > 0 || ending().await.is_some()).then_some(())
    };
    eventually("its end begins", stopping).await;
    put(&node.manifests(), "web.yaml", &String::from_utf8(text).unwrap());
    eventually("the new container", async || {
        let now = node.running();
        (now.len() == 1 && now[0] != before).then_some(())
    })
    .await;
    let status = eventually("a status", async || running.status().filter(|status| status.ready)).await;
    assert_eq!(status.restart_count, 1);
    running.stop().await;
}

#[tokio::test]
async fn config_map_of_the_folder_is_in_the_containers_variables_and_follows_the_file() {
    let node = Node::with_two_images();
    let running = node.start().await;
    let pod = manifest("web", "web:1").replace(
        "image: 'web:1'}",
        "image: 'web:1', envFrom: [{configMapRef: {name: settings}}], env: [{name: KEY, valueFrom: {secretKeyRef: {name: keys, key: k}}}]}",
    );
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {MODE: fast}\n---\n\
                   apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {k: hidden}\n";
    put(&node.manifests(), "web.yaml", &pod);
    let report = async || {
        let report = agent::StaticReport::read(&node.folder.path().join("agent")).unwrap()?;
        report.faults().next().cloned()
    };
    let fault = eventually("the fault", report).await;
    assert!(fault.message.contains("no manifest here holds ConfigMap default/settings"), "{}", fault.message);
    put(&node.manifests(), "objects.yaml", objects);
    let id = node.one().await;
    let config = node.runtime.container_config(&cri::ContainerId::new(&id)).unwrap();
    let variable =
        |name: &str| config.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((variable("MODE"), variable("KEY")), (Some("fast"), Some("hidden")));
    running.stop().await;
}

#[tokio::test]
async fn broken_file_is_in_the_report_and_the_metric() {
    let node = Node::with_two_images();
    let config = node.config();
    let metrics = config.metrics.clone();
    let running = node.start_with(config).await;
    node.write("web.yaml", "web:1");
    node.one().await;
    put(&node.manifests(), "web.yaml", "kind: [");
    let counted = async || metrics.encode().contains("agent_static_manifest_faults 1").then_some(());
    eventually("the metric", counted).await;
    let report = agent::StaticReport::read(&node.folder.path().join("agent")).unwrap().unwrap();
    let fault = report.faults().next().unwrap();
    assert!(
        fault.about.ends_with("web.yaml") && fault.text().ends_with("default/web-n1 keeps running as it was")
    );
    assert_eq!(report.pods[0].phase, "Running");
    running.stop().await;
}
