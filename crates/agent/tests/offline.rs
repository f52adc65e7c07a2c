//! A machine that boots while the API server is away, and what happens when it returns. On the fake runtime.

#[path = "support/fake_node.rs"]
mod fake_node;
#[path = "support/small_api.rs"]
mod small_api;
#[path = "support/waiting.rs"]
mod waiting;

use std::path::Path;

use agent::Agent;
use agent::joining::Rotating;
use fake_node::FakeNode;
use process::{Shutdown, Tasks};
use serde_json::{Value, json};
use small_api::SmallApi;
use waiting::{DEADLINE, eventually};

const POD: &str = "/api/v1/namespaces/default/pods/daemon";

struct World {
    node: FakeNode,
    api: SmallApi,
}

struct Running {
    agent: Agent,
    tasks: Tasks,
    client: Rotating,
}

impl World {
    /// With a daemon that has a variable from a ConfigMap.
    fn new() -> World {
        let world = World { node: FakeNode::new(), api: SmallApi::new() };
        world.api.put(
            "/api/v1/namespaces/default/configmaps/settings",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"},
                "data": {"MODE": "fast"}}),
        );
        world.api.put(
            POD,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "daemon", "namespace": "default"},
                "spec": {"nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 1,
                    "nodeSelector": {"only": "the-node-object-knows"},
                    "containers": [{"name": "c", "image": "web:1", "imagePullPolicy": "IfNotPresent",
                        "envFrom": [{"configMapRef": {"name": "settings"}}]}]}}),
        );
        world.api.put(
            "/api/v1/nodes/n1",
            json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n1", "labels": {"only": "the-node-object-knows"}}}),
        );
        world
    }

    async fn start(&self, client: kube::Client) -> Running {
        let client = Rotating::new(client);
        let mut config = self.node.config();
        config.manifest = None;
        config.client = Some(client.client());
        let tasks = Tasks::new(Shutdown::new());
        let agent = Agent::start(config, &tasks).await.unwrap();
        Running { agent, tasks, client }
    }

    /// The daemon runs, is kept on the disk, and the agent ends.
    async fn run_once(&self) {
        let first = self.start(self.api.client()).await;
        let running = async || self.api.get(POD).filter(|pod| pod["status"]["phase"] == "Running");
        let pod = eventually("the daemon runs", running).await;
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let file = self.node.folder.path().join("agent/offline").join(format!("{uid}.json"));
        eventually("it is on the disk", async || {
            let kept: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            let runs = kept["pod"]["status"]["phase"] == "Running";
            (runs && kept["needs"]["config_maps"]["settings"]["data"]["MODE"] == "fast").then_some(())
        })
        .await;
        assert_eq!(mode(&file), 0o600);
        first.stop().await;
    }

    fn containers(&self) -> Vec<String> {
        self.node.runtime.running("c").into_iter().map(|id| id.0).collect()
    }

    async fn one(&self) -> String {
        eventually("one running container", async || match self.containers().as_slice() {
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

    fn restarts(&self) -> Option<i32> {
        Some(self.agent.pods().first()?.status.as_ref()?.container_statuses.as_ref()?.first()?.restart_count)
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Nobody listens there.
fn nowhere() -> kube::Client {
    kube::Client::try_from(kube::Config::new("http://127.0.0.1:1/".parse().unwrap())).unwrap()
}

#[tokio::test]
async fn machine_that_boots_while_the_api_is_away_starts_its_daemons_and_nothing_restarts_when_it_returns() {
    let world = World::new();
    world.run_once().await;
    world.node.runtime.reboot();
    assert!(world.containers().is_empty());

    let second = world.start(nowhere()).await;
    let started = world.one().await;
    let config = world.node.runtime.container_config(&cri::ContainerId::new(&started)).unwrap();
    assert!(config.env.contains(&("MODE".to_owned(), "fast".to_owned())), "its ConfigMap is from the disk");
    eventually("its status", async || second.restarts().filter(|count| *count == 1)).await;

    second.client.replace(world.api.client());
    let reported = async || {
        let pod = world.api.get(POD)?;
        (pod["status"]["containerStatuses"][0]["restartCount"] == 1).then_some(())
    };
    eventually("the API hears what has happened", reported).await;
    assert!(second.agent.ready().await);
    assert_eq!(world.containers(), [started], "nothing restarted for it");
    assert_eq!(world.api.names("/api/v1/namespaces/default/pods"), ["daemon"]);
    second.stop().await;
}

#[tokio::test]
async fn daemon_that_was_deleted_while_its_machine_was_off_ends_when_the_api_returns() {
    let world = World::new();
    world.run_once().await;
    world.node.runtime.reboot();
    let second = world.start(nowhere()).await;
    world.one().await;
    world.api.delete(POD);
    second.client.replace(world.api.client());
    eventually("nothing runs", async || second.agent.pods().is_empty().then_some(())).await;
    assert!(world.containers().is_empty() && world.node.runtime.sandboxes().is_empty());
    let left = async || {
        let files = std::fs::read_dir(world.node.folder.path().join("agent/offline")).unwrap();
        (files.count() == 0).then_some(())
    };
    eventually("nothing is kept of it", left).await;
    second.stop().await;
}

#[tokio::test]
async fn agent_that_restarts_while_the_api_is_away_adopts_what_runs_and_keeps_it_running() {
    let world = World::new();
    world.run_once().await;
    let before = world.one().await;
    let second = world.start(nowhere()).await;
    eventually("it is adopted", async || second.restarts().filter(|count| *count == 0)).await;
    assert_eq!(world.containers(), std::slice::from_ref(&before));
    world.node.runtime.exit_container(&cri::ContainerId::new(&before), cri::fake::Ending::code(1));
    eventually("it is started again", async || second.restarts().filter(|count| *count == 1)).await;
    second.stop().await;
}
