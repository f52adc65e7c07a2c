//! The node's own word on a Pod before its first start: refusals, places taken from others, and what is never asked.

#[path = "support/fake_node.rs"]
mod fake_node;
#[path = "support/small_api.rs"]
mod small_api;
#[path = "support/waiting.rs"]
mod waiting;

use agent::{Agent, Config};
use fake_node::FakeNode as Node;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use process::{Shutdown, Tasks};
use serde_json::{Value, json};
use small_api::SmallApi;
use waiting::{DEADLINE, eventually};

const VICTIM: &str = "/api/v1/namespaces/default/pods/victim";

struct Running {
    agent: Agent,
    tasks: Tasks,
}

impl Node {
    fn labelled(&self, label: &str) -> Config {
        let mut config = self.config();
        config.node_labels = vec![("disk".to_owned(), label.to_owned())];
        config
    }

    /// Writes a manifest whose one container `c` and Pod have these fields more.
    fn write(&self, name: &str, metadata: Value, spec: Value, container: Value) {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "web:1"}]}});
        add(&mut pod["metadata"], metadata);
        add(&mut pod["spec"], spec);
        add(&mut pod["spec"]["containers"][0], container);
        self.write_text(name, &pod.to_string());
    }

    fn write_text(&self, name: &str, text: &str) {
        let manifests = self.manifests();
        std::fs::write(manifests.join(".next"), text).unwrap();
        std::fs::rename(manifests.join(".next"), manifests.join(format!("{name}.yaml"))).unwrap();
    }

    fn containers(&self) -> Vec<String> {
        self.runtime.running("c").into_iter().map(|id| id.0).collect()
    }
}

impl Running {
    async fn start(config: Config) -> Running {
        let tasks = Tasks::new(Shutdown::new());
        let agent = Agent::start(config, &tasks).await.unwrap();
        Running { agent, tasks }
    }

    async fn stop(self) {
        assert!(self.tasks.shutdown(DEADLINE).await.is_empty());
    }

    fn status(&self, name: &str) -> Option<PodStatus> {
        let named = |pod: &Pod| pod.metadata.name.as_deref() == Some(name);
        self.agent.pods().into_iter().find(named)?.status
    }

    async fn phase(&self, name: &str, phase: &str) -> PodStatus {
        let reached = async || self.status(name).filter(|status| status.phase.as_deref() == Some(phase));
        eventually(&format!("{name} {phase}"), reached).await
    }

    async fn refused(&self, name: &str) -> String {
        let status = self.phase(name, "Failed").await;
        let message = status.message.unwrap_or_default();
        assert!(message.starts_with("Pod was rejected: "), "{message}");
        status.reason.unwrap_or_default()
    }
}

fn add(to: &mut Value, fields: Value) {
    for (name, value) in fields.as_object().unwrap() {
        to[name] = value.clone();
    }
}

fn asks(cpu: &str) -> Value {
    json!({"resources": {"requests": {"cpu": cpu}}})
}

#[tokio::test]
async fn pod_that_asks_for_more_than_the_node_has_is_refused_until_its_file_changes() {
    let node = Node::new();
    let running = Running::start(node.config()).await;
    node.write("large", json!({}), json!({}), asks("10000"));
    node.write("fixed", json!({"uid": "fixed-uid"}), json!({}), asks("10000"));
    assert_eq!(running.refused("large-n1").await, "OutOfcpu");
    assert_eq!(running.refused("fixed-n1").await, "OutOfcpu");
    assert!(node.runtime.sandboxes().is_empty());
    node.write("large", json!({}), json!({}), asks("1m"));
    node.write("fixed", json!({"uid": "fixed-uid"}), json!({}), asks("1m"));
    running.phase("large-n1", "Running").await;
    running.phase("fixed-n1", "Running").await;
    running.stop().await;
}

#[tokio::test]
async fn pod_whose_node_selector_does_not_match_is_refused() {
    let node = Node::new();
    let running = Running::start(node.labelled("ssd")).await;
    node.write("other", json!({}), json!({"nodeSelector": {"disk": "hdd"}}), json!({}));
    node.write("own", json!({}), json!({"nodeSelector": {"disk": "ssd"}}), json!({}));
    assert_eq!(running.refused("other-n1").await, "NodeAffinity");
    running.phase("own-n1", "Running").await;
    assert_eq!(node.containers().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn label_that_only_the_node_object_has_is_waited_for() {
    let node = Node::new();
    let api = SmallApi::new();
    api.put(
        "/api/v1/nodes/n1",
        json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "labels": {"disk": "ssd"}}}),
    );
    node.write("own", json!({}), json!({"nodeSelector": {"disk": "ssd"}}), json!({}));
    let mut config = node.config();
    config.client = Some(api.client());
    let running = Running::start(config).await;
    running.phase("own-n1", "Running").await;
    running.stop().await;
}

#[tokio::test]
async fn pod_whose_host_port_is_taken_is_refused() {
    let node = Node::new();
    let running = Running::start(node.config()).await;
    let port = json!({"ports": [{"containerPort": 80, "hostPort": 8080}]});
    node.write("first", json!({}), json!({}), port.clone());
    running.phase("first-n1", "Running").await;
    node.write("second", json!({}), json!({}), port);
    assert_eq!(running.refused("second-n1").await, "NodePorts");
    assert_eq!(node.containers().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn pod_that_runs_is_adopted_even_where_a_new_one_would_be_refused() {
    let node = Node::new();
    let selector = json!({"nodeSelector": {"disk": "ssd"}});
    let first = Running::start(node.labelled("ssd")).await;
    node.write("old", json!({}), selector.clone(), json!({}));
    first.phase("old-n1", "Running").await;
    let before = node.containers();
    first.stop().await;

    let second = Running::start(node.labelled("hdd")).await;
    node.write("new", json!({}), selector, json!({}));
    assert_eq!(second.refused("new-n1").await, "NodeAffinity");
    second.phase("old-n1", "Running").await;
    assert_eq!(node.containers(), before);
    second.stop().await;
}

#[tokio::test]
async fn critical_static_pod_takes_the_place_of_a_pod_of_the_api() {
    let node = Node::new();
    let api = SmallApi::new();
    let mut config = node.config();
    config.client = Some(api.client());
    let running = Running::start(config).await;
    let amount = async || {
        let object = api.get("/api/v1/nodes/n1")?;
        object["status"]["allocatable"]["cpu"].as_str().map(str::to_owned)
    };
    let all = eventually("what the node has", amount).await;
    api.put(VICTIM, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "victim", "namespace": "default"},
        "spec": {"nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "c", "image": "web:1", "resources": {"requests": {"cpu": all}}}]}}));
    running.phase("victim", "Running").await;

    node.write("critical", json!({}), json!({}), asks("500m"));
    running.phase("critical-n1", "Running").await;
    let failed = async || api.get(VICTIM).filter(|pod| pod["status"]["phase"] == "Failed");
    let mut victim = eventually("a victim that failed", failed).await;
    assert_eq!(victim["status"]["reason"], "Preempting");
    let conditions = victim["status"]["conditions"].as_array().unwrap().clone();
    let disrupted = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!(
        (&disrupted["status"], &disrupted["reason"]),
        (&json!("True"), &json!("TerminationByKubelet"))
    );
    assert_eq!(node.containers().len(), 1);
    let events = "/api/v1/namespaces/default/events";
    let told = async || {
        let names = api.names(events);
        let mut found = names.iter().filter_map(|name| api.get(&format!("{events}/{name}")));
        found.find(|event| event["reason"] == "Preempting" && event["involvedObject"]["name"] == "victim")
    };
    assert_eq!(eventually("an event on the victim", told).await["type"], "Warning");

    // An evicted Pod is still deleted like any other.
    victim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    victim["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    api.put(VICTIM, victim);
    eventually("no object of the victim", async || api.get(VICTIM).is_none().then_some(())).await;
    running.phase("critical-n1", "Running").await;
    running.stop().await;
}

#[tokio::test]
async fn victim_that_is_removed_by_force_leaves_nothing_behind() {
    let node = Node::new();
    let api = SmallApi::new();
    let mut config = node.config();
    config.client = Some(api.client());
    config.pods_max = 1;
    let running = Running::start(config).await;
    api.put(VICTIM, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "victim", "namespace": "default"},
        "spec": {"nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "c", "image": "web:1"}]}}));
    running.phase("victim", "Running").await;
    node.write("critical", json!({}), json!({}), json!({}));
    running.phase("victim", "Failed").await;
    api.delete(VICTIM);
    eventually("no row of the victim", async || running.status("victim").is_none().then_some(())).await;
    running.phase("critical-n1", "Running").await;
    assert_eq!(node.runtime.sandboxes().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn manifest_that_is_broken_when_the_agent_restarts_does_not_end_its_pod() {
    let node = Node::new();
    let first = Running::start(node.config()).await;
    node.write("web", json!({}), json!({}), json!({}));
    first.phase("web-n1", "Running").await;
    let before = node.containers();
    first.stop().await;

    node.write_text("web", "kind: [");
    let second = Running::start(node.config()).await;
    assert!(second.agent.ready().await);
    node.write("other", json!({}), json!({}), json!({}));
    second.phase("other-n1", "Running").await;
    second.phase("web-n1", "Running").await;
    assert!(node.containers().contains(&before[0]));
    assert_eq!(second.status("web-n1").unwrap().container_statuses.unwrap()[0].restart_count, 0);
    std::fs::remove_file(node.folder.path().join("manifests/web.yaml")).unwrap();
    eventually("no row of it", async || second.status("web-n1").is_none().then_some(())).await;
    second.stop().await;
}
