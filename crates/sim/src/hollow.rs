//! One hollow node: a Node object, a lease, and the Pods bound to it, over the API like any node's agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::meta::Meta;
use api::well_known::{node_condition, node_label};
use client::backoff::Backoff;
use client::lease::Heartbeat;
use client::queue::Outcome;
use client::write::{self, Class, Deletion, Expect};
use client::{Cache, ObjectKey, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::{Api, Client};
use parking_lot::Mutex;
use process::{Clock, Tasks};
use serde_json::{Value, json};

use crate::latency::{Latencies, Step};
use crate::life::{Known, Next, next};

/// Registration is tried again until the API is there.
const REGISTER_RETRY: Backoff =
    Backoff::new(std::time::Duration::from_millis(200), std::time::Duration::from_secs(7));

#[derive(Clone)]
pub struct HollowNode {
    pub name: String,
    pub number: u32,
    pub seed: u64,
    pub latencies: Latencies,
    pub client: Client,
    pub clock: Arc<dyn Clock>,
}

/// When the node first saw what, by Pod uid; as long as the Pod is there.
type Memory = Mutex<BTreeMap<String, Seen>>;

#[derive(Clone, Copy)]
struct Seen {
    bound: Timestamp,
    deleted: Option<Timestamp>,
    /// Its address is its place on the node.
    place: u8,
}

impl HollowNode {
    /// Starts the node's tasks: registration, then lease and Pods.
    pub fn start(self, tasks: &Tasks) {
        let inner = tasks.clone();
        tasks.spawn(self.name.clone(), async move {
            let shutdown = inner.shutdown_signal().clone();
            let node = tokio::select! {
                // A registration that is cut off is repeated by the next start.
                () = shutdown.cancelled() => return,
                node = self.register() => node,
            };
            let owner = OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: self.name.clone(),
                uid: node.uid().to_owned(),
                ..OwnerReference::default()
            };
            let owner = Box::new(move || Some(owner.clone()));
            let beat = Heartbeat::node(self.client.clone(), &self.name, owner, Arc::clone(&self.clock));
            tokio::join!(beat.keep(shutdown), self.stay_ready(&inner), self.run_pods(&inner));
        });
    }

    async fn register(&self) -> Node {
        let mut failures = 0;
        loop {
            match self.try_register().await {
                Ok(node) => return node,
                Err(error) => {
                    failures += 1;
                    tracing::debug!(node = %self.name, error = %error.cause(), "cannot register yet");
                    self.clock.sleep(REGISTER_RETRY.delay(failures)).await;
                }
            }
        }
    }

    /// Creates the Node, if it is not there from an earlier run, and says that it is ready.
    async fn try_register(&self) -> Result<Node, write::WriteError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        match write::create(&nodes, &self.object()).await {
            Ok(_) => {}
            Err(error) if *error.class() == Class::Exists => {}
            Err(error) => return Err(error),
        }
        write::status(&nodes, &self.name, self.ready_status(), &Expect::default()).await
    }

    fn object(&self) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(self.name.clone());
        node.metadata.labels = Some(
            [
                (node_label::HOSTNAME, self.name.as_str()),
                (node_label::OS, "linux"),
                (node_label::ARCH, "amd64"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        );
        node
    }

    fn ready_status(&self) -> Value {
        let now = Time(self.clock.now());
        let condition = |type_, status, reason| {
            json!({"type": type_, "status": status, "reason": reason,
                "lastHeartbeatTime": now, "lastTransitionTime": now})
        };
        let resources = json!({"cpu": "32", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"});
        let [a, b, c, d] = self.host_ip();
        json!({
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                {"type": "InternalIP", "address": format!("{a}.{b}.{c}.{d}")},
                {"type": "Hostname", "address": self.name},
            ],
            "conditions": [
                condition(node_condition::MEMORY_PRESSURE, "False", "KubeletHasSufficientMemory"),
                condition(node_condition::DISK_PRESSURE, "False", "KubeletHasNoDiskPressure"),
                condition(node_condition::PID_PRESSURE, "False", "KubeletHasSufficientPID"),
                condition(node_condition::READY, "True", "KubeletReady"),
            ],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "hollow",
                "kernelVersion": "0", "containerRuntimeVersion": "hollow://0", "kubeletVersion": "v1.35.0+everynode",
                "kubeProxyVersion": "", "bootID": self.name, "machineID": self.name, "systemUUID": self.name,
            },
        })
    }

    /// Says again that it is ready when somebody has said otherwise: after it was not heard of, as a kubelet does with
    /// its next status. A Node that is deleted stays so.
    async fn stay_ready(&self, tasks: &Tasks) {
        let own = Cache::<Node>::builder(Api::all(self.client.clone()))
            .fields(format!("metadata.name={}", self.name))
            .clock(Arc::clone(&self.clock))
            .start(tasks);
        let queue = WorkQueue::new(Arc::clone(&self.clock));
        let mut changes = own.subscribe();
        let feed = async {
            loop {
                queue.add(changes.next().await.key);
            }
        };
        tokio::select! {
            // `work` returns at shutdown, after the item in hand; the feed holds nothing.
            () = queue.work(tasks.shutdown_signal(), |key| self.say_ready(&own, key)) => {}
            () = feed => {}
        }
    }

    async fn say_ready(&self, own: &Cache<Node>, key: ObjectKey) -> Outcome {
        let Some(node) = own.get(&key) else { return Outcome::Done };
        let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        if conditions.any(|condition| condition.type_ == node_condition::READY && condition.status == "True")
        {
            return Outcome::Done;
        }
        let nodes: Api<Node> = Api::all(self.client.clone());
        match write::status(&nodes, &self.name, self.ready_status(), &Expect::uid(node.uid())).await {
            Ok(_) => Outcome::Done,
            Err(error) => {
                tracing::debug!(node = %self.name, error = %error.cause(), "cannot say that it is ready");
                Outcome::Failed
            }
        }
    }

    async fn run_pods(&self, tasks: &Tasks) {
        let pods = Cache::<Pod>::builder(Api::all(self.client.clone()))
            .fields(format!("spec.nodeName={}", self.name))
            .clock(Arc::clone(&self.clock))
            .start(tasks);
        let queue = WorkQueue::new(Arc::clone(&self.clock));
        let memory = Memory::default();
        let mut changes = pods.subscribe();
        let feed = async {
            loop {
                let change = changes.next().await;
                self.remember(&memory, change.before.as_deref(), change.after.as_deref());
                queue.add(change.key);
            }
        };
        tokio::select! {
            // `work` returns at shutdown, after the item in hand; the feed holds nothing.
            () = queue.work(tasks.shutdown_signal(), |key| self.attend(&pods, &memory, key)) => {}
            () = feed => {}
        }
    }

    fn remember(&self, memory: &Memory, before: Option<&Pod>, after: Option<&Pod>) {
        let now = self.clock.now();
        let mut memory = memory.lock();
        if let Some(gone) = before.filter(|before| after.is_none_or(|after| after.uid() != before.uid())) {
            memory.remove(gone.uid());
        }
        let Some(pod) = after else { return };
        if !memory.contains_key(pod.uid()) {
            let taken: Vec<u8> = memory.values().map(|seen| seen.place).collect();
            let place = (2..=254).find(|place| !taken.contains(place)).unwrap_or(255);
            memory.insert(pod.uid().to_owned(), Seen { bound: now, deleted: None, place });
        }
        if let Some(seen) = memory.get_mut(pod.uid()).filter(|_| pod.is_deleting()) {
            seen.deleted.get_or_insert(now);
        }
    }

    async fn attend(&self, pods: &Cache<Pod>, memory: &Memory, key: ObjectKey) -> Outcome {
        let Some(pod) = pods.get(&key) else { return Outcome::Done };
        let Some(seen) = memory.lock().get(pod.uid()).copied() else { return Outcome::Done };
        let latency = |step| self.latencies.of(step, self.seed, &self.name, pod.uid());
        let known = Known {
            bound: seen.bound,
            deleted: seen.deleted,
            start: latency(Step::Start),
            stop: latency(Step::Stop),
            host_ip: self.host_ip(),
            pod_ip: self.pod_ip(seen.place),
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let expect = Expect::uid(pod.uid());
        let written = match next(&pod, &known, self.clock.now()) {
            Next::Nothing => return Outcome::Done,
            Next::LookAgain(after) => return Outcome::Again(after),
            Next::Report(status) => write::status(&api, &key.name, status, &expect).await.map(drop),
            Next::LetGo => {
                let deletion = Deletion { expect, grace_seconds: Some(0), propagation: None };
                write::delete(&api, &key.name, deletion).await.map(drop)
            }
        };
        match written {
            Ok(()) => Outcome::Done,
            Err(error) => match error.class() {
                Class::Missing | Class::Stale => Outcome::Done,
                Class::Retry(after) => Outcome::FailedFor(*after),
                Class::Exists | Class::NamespaceTerminating | Class::Fatal(_) => {
                    tracing::warn!(node = %self.name, pod = %key, error = %error.cause(), "{error}");
                    Outcome::Failed
                }
            },
        }
    }

    fn host_ip(&self) -> [u8; 4] {
        host_ip(self.number)
    }

    /// 100.0.0.0/8 by node and place: unique among the first 65 536 nodes.
    fn pod_ip(&self, place: u8) -> [u8; 4] {
        let [_, _, middle, low] = self.number.to_be_bytes();
        [100, middle, low, place]
    }
}

/// 10.64.0.0/10, one address a node.
pub(crate) fn host_ip(number: u32) -> [u8; 4] {
    let [_, high, middle, low] = number.to_be_bytes();
    [10, 64 | (high & 0x3f), middle, low]
}
