//! Static Pods on an agent that stands alone, with the fake runtime: what runs, what stays, what is replaced.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, Config, RuntimeChoice};
use cri::fake::{Ending, FakeRuntime, Program};
use cri::{Runtime, SandboxState};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use process::{Shutdown, SystemClock, Tasks};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

struct Node {
    folder: TempDir,
    runtime: Arc<FakeRuntime>,
}

struct Running {
    agent: Agent,
    tasks: Tasks,
}

impl Node {
    fn new() -> Node {
        let runtime = Arc::new(FakeRuntime::new(SystemClock::shared()));
        runtime.add_image("web:1");
        runtime.add_image("web:2");
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        Node { folder, runtime }
    }

    fn config(&self) -> Config {
        let mut config = Config::new("n1", self.folder.path().join("agent"));
        config.manifest = Some(self.manifests());
        config.runtime = RuntimeChoice::Given(Arc::clone(&self.runtime) as Arc<dyn Runtime>);
        config.log_root = self.folder.path().join("logs");
        config
    }

    async fn start(&self) -> Running {
        self.start_with(self.config()).await
    }

    async fn start_with(&self, config: Config) -> Running {
        let tasks = Tasks::new(Shutdown::new());
        let agent = Agent::start(config, &tasks).await.unwrap();
        Running { agent, tasks }
    }

    fn manifests(&self) -> std::path::PathBuf {
        self.folder.path().join("manifests")
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

async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("never: {what}"))
}

#[tokio::test]
async fn manifest_becomes_a_running_pod_and_its_removal_ends_it() {
    let node = Node::new();
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
    let node = Node::new();
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
    let node = Node::new();
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
    let node = Node::new();
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
    let node = Node::new();
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
    let node = Node::new();
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
    let node = Node::new();
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
    let node = Node::new();
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
    let node = Node::new();
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
    let node = Node::new();
    let running = node.start().await;
    // Nobody listens there: a hook that looked would fail, and its container would not go on.
    let hook = "lifecycle: {postStart: {tcpSocket: {host: 127.0.0.1, port: 1}}}";
    let text = manifest("web", "web:1").replace("image: 'web:1'}", &format!("image: 'web:1', {hook}}}"));
    put(&node.manifests(), "web.yaml", &text);
    let ready = async || running.status().filter(|status| status.ready && status.restart_count == 0);
    eventually("a container that is ready", ready).await;
    running.stop().await;
}
