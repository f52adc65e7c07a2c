//! An agent with an API server: its Node, mirrors of static Pods, and Pods that are bound to it. On the fake runtime.

#[path = "support/fake_node.rs"]
mod fake_node;
#[path = "support/small_api.rs"]
mod small_api;
#[path = "support/waiting.rs"]
mod waiting;

use agent::{Agent, Config};
use fake_node::FakeNode;
use process::{Shutdown, Tasks};
use serde_json::{Value, json};
use small_api::SmallApi;
use waiting::{DEADLINE, eventually};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MIRROR: &str = "/api/v1/namespaces/default/pods/web-n1";

struct World {
    node: FakeNode,
    api: SmallApi,
    tasks: Tasks,
}

impl World {
    async fn start() -> World {
        let world = World::prepared();
        let agent = Agent::start(world.config(), &world.tasks).await.unwrap();
        assert!(tokio::time::timeout(DEADLINE, agent.ready()).await.expect("ready in time"));
        world
    }

    fn prepared() -> World {
        World { node: FakeNode::new(), api: SmallApi::new(), tasks: Tasks::new(Shutdown::new()) }
    }

    fn config(&self) -> Config {
        let mut config = self.node.config();
        config.client = Some(self.api.client());
        config
    }

    fn write(&self) {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\nspec:\n  \
                    terminationGracePeriodSeconds: 1\n  containers:\n  - {name: c, image: 'web:1'}\n";
        let manifests = self.node.manifests();
        std::fs::write(manifests.join(".web"), text).unwrap();
        std::fs::rename(manifests.join(".web"), manifests.join("web.yaml")).unwrap();
    }

    async fn running_mirror(&self) -> Value {
        let running = async || self.api.get(MIRROR).filter(|mirror| mirror["status"]["phase"] == "Running");
        eventually("a mirror that runs", running).await
    }

    fn containers(&self) -> Vec<String> {
        self.node.runtime.running("c").into_iter().map(|id| id.0).collect()
    }

    async fn stop(self) {
        assert!(self.tasks.shutdown(DEADLINE).await.is_empty());
    }
}

#[tokio::test]
async fn node_is_registered_with_its_labels_ready_and_with_a_lease() {
    let world = World::start().await;
    let is_ready = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    let node = eventually("a ready node", async || world.api.get("/api/v1/nodes/n1").filter(is_ready)).await;
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");
    assert_eq!(node["status"]["allocatable"]["pods"], "110");
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1";
    eventually("a lease", async || world.api.get(lease)).await;
    world.stop().await;
}

#[tokio::test]
async fn nodes_own_events_carry_its_name_as_uid() {
    let world = World::start().await;
    let events = "/api/v1/namespaces/default/events";
    let of_node = async || {
        let names = world.api.names(events);
        let mut events = names.iter().filter_map(|name| world.api.get(&format!("{events}/{name}")));
        events.find(|event| event["involvedObject"]["kind"] == "Node")
    };
    let event = eventually("an event about the node", of_node).await;
    assert_eq!(
        (&event["involvedObject"]["name"], &event["involvedObject"]["uid"]),
        (&json!("n1"), &json!("n1"))
    );
    world.stop().await;
}

#[tokio::test]
async fn fault_of_a_manifest_is_a_condition_and_an_event_of_the_node() {
    let world = World::start().await;
    let condition = |node: &Value| {
        let all = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|condition| condition["type"] == "StaticPodManifestFault")
    };
    let says = async |status: &str| {
        let now = world.api.get("/api/v1/nodes/n1").and_then(|node| condition(&node));
        now.filter(|condition| condition["status"] == status)
    };
    eventually("no fault", async || says("False").await).await;
    std::fs::write(world.node.manifests().join("web.yaml"), "kind: [").unwrap();
    let fault = eventually("the condition", async || says("True").await).await;
    assert!(fault["message"].as_str().unwrap().contains("web.yaml: neither YAML nor JSON"), "{fault}");
    let events = "/api/v1/namespaces/default/events";
    let told = async || {
        let names = world.api.names(events);
        let mut events = names.iter().filter_map(|name| world.api.get(&format!("{events}/{name}")));
        events.find(|event| event["reason"] == "StaticPodManifestFault" && event["type"] == "Warning")
    };
    eventually("the event", told).await;
    std::fs::remove_file(world.node.manifests().join("web.yaml")).unwrap();
    eventually("no fault any more", async || says("False").await).await;
    world.stop().await;
}

#[tokio::test]
async fn static_pod_has_a_mirror_with_its_hash_its_owner_and_its_status() {
    let world = World::start().await;
    world.write();
    let mirror = world.running_mirror().await;
    let meta = &mirror["metadata"];
    let annotations = &meta["annotations"];
    assert_eq!(annotations["kubernetes.io/config.mirror"], annotations["kubernetes.io/config.hash"]);
    assert_ne!(meta["uid"], annotations["kubernetes.io/config.hash"]);
    assert_eq!(meta["labels"]["app"], "web");
    assert_eq!(meta["ownerReferences"][0]["kind"], "Node");
    assert_eq!(
        meta["ownerReferences"][0]["uid"],
        world.api.get("/api/v1/nodes/n1").unwrap()["metadata"]["uid"]
    );
    let id = mirror["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().to_owned();
    assert_eq!(id, format!("containerd://{}", world.containers()[0]));
    world.stop().await;
}

#[tokio::test]
async fn deleted_mirror_comes_back_and_the_container_is_left_alone() {
    let world = World::start().await;
    world.write();
    let before = world.running_mirror().await;
    let containers = world.containers();
    world.api.delete(MIRROR);
    let again = async || {
        let mirror =
            world.api.get(MIRROR).filter(|mirror| mirror["metadata"]["uid"] != before["metadata"]["uid"]);
        mirror.filter(|mirror| mirror["status"]["phase"] == "Running")
    };
    eventually("another mirror with the status", again).await;
    assert_eq!(world.containers(), containers);
    world.stop().await;
}

#[tokio::test]
async fn mirror_that_is_being_deleted_is_replaced() {
    let world = World::start().await;
    world.write();
    let mut mirror = world.running_mirror().await;
    let containers = world.containers();
    mirror["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    mirror["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    world.api.put(MIRROR, mirror.clone());
    let again =
        async || world.api.get(MIRROR).filter(|now| now["metadata"]["uid"] != mirror["metadata"]["uid"]);
    eventually("another mirror", again).await;
    assert_eq!(world.containers(), containers);
    world.stop().await;
}

#[tokio::test]
async fn readiness_that_another_wrote_over_ours_is_put_right() {
    let world = World::start().await;
    world.write();
    world.running_mirror().await;
    let position = |mirror: &Value| {
        mirror["status"]["conditions"].as_array()?.iter().position(|condition| condition["type"] == "Ready")
    };
    let with = async |status: &str| {
        let mirror = world.api.get(MIRROR)?;
        let at = position(&mirror)?;
        (mirror["status"]["conditions"][at]["status"] == status).then_some((mirror, at))
    };
    let (mut mirror, at) = eventually("ready", async || with("True").await).await;
    // As the node lifecycle controller does while the Node is not heard of.
    mirror["status"]["conditions"][at]["status"] = json!("False");
    world.api.put(MIRROR, mirror);
    eventually("ready again, and nothing happened to the Pod", async || with("True").await).await;
    world.stop().await;
}

#[tokio::test]
async fn removed_manifest_takes_its_mirror_along() {
    let world = World::start().await;
    world.write();
    world.running_mirror().await;
    std::fs::remove_file(world.node.manifests().join("web.yaml")).unwrap();
    eventually("no mirror", async || world.api.get(MIRROR).is_none().then_some(())).await;
    assert!(world.containers().is_empty(), "the mirror outlives its containers");
    world.stop().await;
}

#[tokio::test]
async fn forged_mirror_is_removed_and_starts_nothing() {
    let world = World::start().await;
    let forged = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "forged", "namespace": "default", "annotations": {"kubernetes.io/config.mirror": "x"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "web:1"}]}});
    let path = format!("{PODS}/forged");
    world.api.put(&path, forged);
    eventually("no forged mirror", async || world.api.get(&path).is_none().then_some(())).await;
    assert!(world.node.runtime.sandboxes().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn bound_pod_runs_and_its_deletion_ends_it_and_then_the_object() {
    let world = World::start().await;
    let path = format!("{PODS}/bound");
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bound", "namespace": "default"},
        "spec": {"nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "web:1"}]}});
    world.api.put(&path, pod);
    let running = async || world.api.get(&path).filter(|pod| pod["status"]["phase"] == "Running");
    pod = eventually("a Pod that runs", running).await;
    assert_eq!(world.containers().len(), 1);
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(1);
    world.api.put(&path, pod);
    eventually("no object", async || world.api.get(&path).is_none().then_some(())).await;
    assert!(world.node.runtime.containers().is_empty() && world.node.runtime.sandboxes().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn agent_that_comes_back_keeps_mirror_and_container() {
    let first = World::start().await;
    first.write();
    let before = first.running_mirror().await;
    let containers = first.containers();
    assert!(first.tasks.shutdown(DEADLINE).await.is_empty());

    let tasks = Tasks::new(Shutdown::new());
    let agent = Agent::start(first.config(), &tasks).await.unwrap();
    assert!(agent.ready().await);
    let adopted = async || {
        agent
            .pods()
            .into_iter()
            .find(|pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running")))
    };
    eventually("the Pod adopted", adopted).await;
    assert_eq!(first.containers(), containers);
    assert_eq!(first.api.get(MIRROR).unwrap()["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(first.api.names(PODS), ["web-n1"]);
    assert!(tasks.shutdown(DEADLINE).await.is_empty());
}

#[tokio::test]
async fn pod_that_fills_its_empty_dir_beyond_the_limit_is_evicted() {
    let world = World::start().await;
    let path = format!("{PODS}/greedy");
    world.api.put(
        &path,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy", "namespace": "default"},
            "spec": {"nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "c", "image": "web:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "64Ki"}}]}}),
    );
    let running = async || world.api.get(&path).filter(|pod| pod["status"]["phase"] == "Running");
    let pod = eventually("it runs", running).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let volume = world.node.folder.path().join(format!("agent/pods/{uid}/volumes/kubernetes.io~empty-dir/v"));
    std::fs::write(volume.join("much"), vec![1; 128 << 10]).unwrap();
    let failed = async || world.api.get(&path).filter(|pod| pod["status"]["phase"] == "Failed");
    let pod = eventually("it has failed", failed).await;
    assert_eq!(pod["status"]["reason"], "Evicted");
    assert_eq!(pod["status"]["message"], "Usage of EmptyDir volume \"v\" exceeds the limit \"64Ki\". ");
    assert!(world.containers().is_empty());
    world.stop().await;
}
