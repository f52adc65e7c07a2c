//! A node that is short of something: conditions, refusals, evictions, and images that go. On the fake runtime; the
//! figures are this machine's, the thresholds such that they are always met.

#[path = "support/fake_node.rs"]
mod fake_node;
#[path = "support/small_api.rs"]
mod small_api;
#[path = "support/waiting.rs"]
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, Config};
use async_trait::async_trait;
use cri::Runtime;
use fake_node::FakeNode;
use jiff::Timestamp;
use podmachine::image_gc::Policy;
use podmachine::pressure::{Limits, Written};
use process::{Clock, Shutdown, Tasks};
use serde_json::{Value, json};
use small_api::SmallApi;
use waiting::{DEADLINE, eventually};

const PODS: &str = "/api/v1/namespaces/default/pods";
/// Waits are this much shorter than they say.
const HASTE: u32 = 100;

/// The machine's clock for whoever asks the time, a hasty one for whoever waits.
struct Hasty;

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration / HASTE).await;
    }
}

struct World {
    node: FakeNode,
    api: SmallApi,
    tasks: Tasks,
}

impl World {
    fn prepared() -> World {
        World { node: FakeNode::new(), api: SmallApi::new(), tasks: Tasks::new(Shutdown::new()) }
    }

    /// A node that is short of one thing for ever, or of nothing.
    fn config(&self, signal: Option<&str>) -> Config {
        let mut config = self.node.config();
        // Soft, for a hard one is kept from what Pods may ask for.
        let table = |text: &str| signal.map(|name| (name.to_owned(), text.to_owned())).into_iter().collect();
        let written = Written {
            hard: Some([].into()),
            soft: table("4Ei"),
            soft_grace_period: table("0s"),
            ..Written::default()
        };
        config.eviction = Limits::parse(&written).unwrap();
        config.client = Some(self.api.client());
        config.clock = Arc::new(Hasty);
        config
    }

    async fn start(&self, config: Config) {
        let agent = Agent::start(config, &self.tasks).await.unwrap();
        assert!(tokio::time::timeout(DEADLINE, agent.ready()).await.expect("ready in time"));
    }

    fn bind(&self, name: &str, resources: Value) {
        self.api.put(
            &format!("{PODS}/{name}"),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
                "spec": {"nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "c", "image": "web:1", "resources": resources}]}}),
        );
    }

    async fn phase(&self, name: &str, phase: &str) -> Value {
        let path = format!("{PODS}/{name}");
        let reached = async || self.api.get(&path).filter(|pod| pod["status"]["phase"] == phase);
        eventually(&format!("{name} {phase}"), reached).await
    }

    async fn node_condition(&self, type_: &str, status: &str) -> Value {
        let found = async || {
            let node = self.api.get("/api/v1/nodes/n1")?;
            let all = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|condition| condition["type"] == type_ && condition["status"] == status)
        };
        eventually(&format!("{type_} {status}"), found).await
    }

    async fn node_event(&self, reason: &str) -> String {
        let events = "/api/v1/namespaces/default/events";
        let told = async || {
            let names = self.api.names(events);
            let mut events = names.iter().filter_map(|name| self.api.get(&format!("{events}/{name}")));
            events.find(|event| event["reason"] == reason && event["involvedObject"]["kind"] == "Node")
        };
        let event = eventually(&format!("event {reason}"), told).await;
        event["message"].as_str().unwrap_or_default().to_owned()
    }

    async fn images(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .node
            .runtime
            .list_images()
            .await
            .unwrap()
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .collect();
        names.sort();
        names
    }

    async fn stop(self) {
        assert!(self.tasks.shutdown(DEADLINE).await.is_empty());
    }
}

#[tokio::test]
async fn node_short_of_memory_evicts_who_may_go_refuses_who_asks_for_nothing_and_keeps_static_pods() {
    let world = World::prepared();
    let fixed = "apiVersion: v1\nkind: Pod\nmetadata: {name: fixed}\nspec:\n  containers:\n  - {name: c, image: 'web:1'}\n";
    std::fs::write(world.node.manifests().join("fixed.yaml"), fixed).unwrap();
    world.start(world.config(Some("memory.available"))).await;
    world.node_condition("MemoryPressure", "True").await;
    world.node_condition("DiskPressure", "False").await;
    world.phase("fixed-n1", "Running").await;

    world.bind("nothing-asked", json!({}));
    let refused = world.phase("nothing-asked", "Failed").await;
    assert_eq!(refused["status"]["reason"], "Evicted");
    assert_eq!(refused["status"]["message"], "Pod was rejected: The node had condition: [MemoryPressure]. ");

    world.bind("greedy", json!({"requests": {"memory": "1Ki"}}));
    let gone = world.phase("greedy", "Failed").await;
    assert_eq!(gone["status"]["reason"], "Evicted");
    let message = gone["status"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("The node was low on resource: memory. Threshold quantity: 4Ei, available: "),
        "{message}"
    );
    let conditions = gone["status"]["conditions"].as_array().unwrap();
    let target = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!(target["reason"], "TerminationByKubelet");
    assert_eq!(world.node_event("EvictionThresholdMet").await, "Attempting to reclaim memory");
    world.phase("fixed-n1", "Running").await;
    assert_eq!(world.node.runtime.running("c").len(), 1, "only the static Pod's");
    world.stop().await;
}

#[tokio::test]
async fn node_short_of_disk_removes_images_that_nobody_needs_first_and_refuses_all_but_critical_pods() {
    let world = World::prepared();
    world.node.runtime.add_image("unused:1");
    world.bind("critical", json!({}));
    let path = format!("{PODS}/critical");
    let mut critical = world.api.get(&path).unwrap();
    critical["spec"]["priority"] = json!(2_000_001_000);
    world.api.put(&path, critical);
    world.start(world.config(Some("nodefs.available"))).await;
    world.node_condition("DiskPressure", "True").await;
    world.phase("critical", "Running").await;
    let only_needed = async || (world.images().await.len() == 1).then_some(());
    eventually("the unused image is gone", only_needed).await;
    assert!(world.images().await[0].contains("web:1"), "{:?}", world.images().await);
    world.bind("late", json!({"requests": {"memory": "1Mi"}}));
    let refused = world.phase("late", "Failed").await;
    assert_eq!(refused["status"]["message"], "Pod was rejected: The node had condition: [DiskPressure]. ");
    assert_eq!(world.node_event("EvictionThresholdMet").await, "Attempting to reclaim ephemeral-storage");
    world.phase("critical", "Running").await;
    world.stop().await;
}

#[tokio::test]
async fn full_image_disk_loses_images_that_nobody_needs_and_says_when_that_is_not_enough() {
    let world = World::prepared();
    world.node.runtime.add_image("unused:1");
    world.bind("web", json!({}));
    let mut config = world.config(None);
    // Any disk is this full.
    config.image_gc = Policy { high_percent: 1, low_percent: 0, ..Policy::default() };
    world.start(config).await;
    let only_needed = async || (world.images().await.len() == 1).then_some(());
    eventually("the unused image is gone", only_needed).await;
    world.phase("web", "Running").await;
    let told = world.node_event("FreeDiskSpaceFailed").await;
    assert!(
        told.starts_with("Failed to garbage collect required amount of images. Attempted to free "),
        "{told}"
    );
    assert_eq!(world.node_event("ImageGCFailed").await[..30], told[..30]);
    world.node_condition("DiskPressure", "False").await;
    world.stop().await;
}
