//! All hollow nodes of a process: what they share, and who does what when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::meta::Meta;
use api::well_known::node_condition;
use client::backoff::Backoff;
use client::lease::Heartbeat;
use client::queue::Outcome;
use client::write::{self, Class, Deletion, Expect, WriteError};
use client::{Cache, Change, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client};
use parking_lot::Mutex;
use process::{Clock, Shutdown, Tasks};
use tokio::sync::Semaphore;

use super::{HollowNode, Seen};
use crate::latency::Latencies;
use crate::life::Next;

/// Registration is tried again until the API is there.
const REGISTER_RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(7));
/// Nodes that register at once: a fleet that boots together must not be turned away by its server.
const REGISTRATIONS_MAX: usize = 32;
/// Pods whose next step is written at once.
const POD_WORKERS: usize = 64;
/// Nodes that say at once that they are ready.
const NODE_WORKERS: usize = 16;
/// Upstream's nodeStatusReportFrequency.
const STATUS_PERIOD: Duration = Duration::from_secs(5 * 60);

/// Hollow nodes that share their watches.
pub struct Fleet {
    pub nodes: u32,
    /// Nodes are called `<prefix>-00000` and so on.
    pub name_prefix: String,
    pub seed: u64,
    pub latencies: Latencies,
    pub client: Client,
    pub clock: Arc<dyn Clock>,
}

/// When its node first saw what, by Pod uid; as long as the Pod is there.
type Memory = Mutex<BTreeMap<String, Seen>>;

/// What the fleet's tasks share.
struct Shared {
    fleet: Fleet,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    pod_queue: WorkQueue<ObjectKey>,
    node_queue: WorkQueue<ObjectKey>,
    memory: Memory,
}

impl Fleet {
    /// Starts the tasks of all nodes; `pods` is a cache of every Pod.
    pub fn start(self, pods: Cache<Pod>, tasks: &Tasks) {
        let nodes =
            Cache::<Node>::builder(Api::all(self.client.clone())).clock(Arc::clone(&self.clock)).start(tasks);
        let shared = Arc::new(Shared {
            pod_queue: WorkQueue::new(Arc::clone(&self.clock)),
            node_queue: WorkQueue::new(Arc::clone(&self.clock)),
            memory: Memory::default(),
            pods,
            nodes,
            fleet: self,
        });
        let registering = Arc::new(Semaphore::new(REGISTRATIONS_MAX));
        for number in 0..shared.fleet.nodes {
            let node = shared.fleet.node(number);
            let (shared, registering) = (Arc::clone(&shared), Arc::clone(&registering));
            let shutdown = tasks.shutdown_signal().clone();
            tasks.spawn(node.name.to_string(), async move {
                tokio::select! {
                    // A registration that is cut off is repeated by the next start; a lease runs out by itself.
                    () = shutdown.cancelled() => {}
                    () = shared.live(&node, &registering, &shutdown) => {}
                }
            });
        }
        let feeding = Arc::clone(&shared);
        tasks.spawn("hollow-feed", async move { feeding.feed().await });
        for worker in 0..POD_WORKERS {
            let (shared, shutdown) = (Arc::clone(&shared), tasks.shutdown_signal().clone());
            tasks.spawn(format!("hollow-pods-{worker}"), async move {
                shared.pod_queue.work(&shutdown, |key| shared.attend(key)).await;
            });
        }
        for worker in 0..NODE_WORKERS {
            let (shared, shutdown) = (Arc::clone(&shared), tasks.shutdown_signal().clone());
            tasks.spawn(format!("hollow-nodes-{worker}"), async move {
                shared.node_queue.work(&shutdown, |key| shared.say_ready(key)).await;
            });
        }
    }

    fn node(&self, number: u32) -> HollowNode {
        HollowNode {
            name: Arc::from(format!("{}-{number:05}", self.name_prefix)),
            number,
            seed: self.seed,
            latencies: self.latencies,
        }
    }

    /// The node of this name, if it is one of the fleet.
    fn of_name(&self, name: &str) -> Option<HollowNode> {
        let number = name.strip_prefix(&*self.name_prefix)?.strip_prefix('-')?.parse().ok()?;
        let node = self.node(number);
        (number < self.nodes && *node.name == *name).then_some(node)
    }
}

impl Shared {
    /// One node: registration, then its lease and its status at their pace.
    async fn live(&self, node: &HollowNode, registering: &Semaphore, shutdown: &Shutdown) {
        let fleet = &self.fleet;
        let registered = self.register(node, registering).await;
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: node.name.to_string(),
            uid: registered.uid().to_owned(),
            ..OwnerReference::default()
        };
        let owner = Box::new(move || Some(owner.clone()));
        let beat = Heartbeat::node(fleet.client.clone(), &node.name, owner, Arc::clone(&fleet.clock));
        let report = async {
            // Spread over the period, as nodes that did not all boot at once are.
            let share = f64::from(node.number) / f64::from(fleet.nodes.max(1));
            fleet.clock.sleep(STATUS_PERIOD.mul_f64(share)).await;
            loop {
                fleet.clock.sleep(STATUS_PERIOD).await;
                let _ = self.report_ready(node, registered.uid()).await;
            }
        };
        tokio::join!(beat.keep(shutdown.clone()), report);
    }

    async fn register(&self, node: &HollowNode, registering: &Semaphore) -> Node {
        let mut failures = 0;
        loop {
            // Never closed.
            let permit = registering.acquire().await;
            let registered = node.register(&self.fleet.client, &*self.fleet.clock).await;
            drop(permit);
            match registered {
                Ok(object) => return object,
                Err(error) => {
                    failures += 1;
                    tracing::debug!(node = %node.name, error = %error.cause(), "cannot register yet");
                    self.fleet.clock.sleep(REGISTER_RETRY.delay(failures)).await;
                }
            }
        }
    }

    /// Hands every change to who has to look at it.
    async fn feed(&self) {
        let (mut pods, mut nodes) = (self.pods.subscribe(), self.nodes.subscribe());
        loop {
            tokio::select! {
                // Changes stay in their inboxes until they are taken.
                change = pods.next() => {
                    self.remember(&change);
                    if change.after.as_ref().is_some_and(|pod| self.node_of(pod).is_some()) {
                        self.pod_queue.add(change.key);
                    }
                }
                change = nodes.next() => {
                    if change.after.is_some_and(|node| !is_ready(&node)) && self.fleet.of_name(&change.key.name).is_some() {
                        self.node_queue.add(change.key);
                    }
                }
            }
        }
    }

    fn node_of(&self, pod: &Pod) -> Option<HollowNode> {
        self.fleet.of_name(api::pod::node_name(pod)?)
    }

    fn remember(&self, change: &Change<Pod>) {
        let now = self.fleet.clock.now();
        let mut memory = self.memory.lock();
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        if let Some(gone) = before.filter(|before| after.is_none_or(|after| after.uid() != before.uid())) {
            memory.remove(gone.uid());
        }
        let Some((pod, node)) = after.and_then(|pod| Some((pod, api::pod::node_name(pod)?))) else { return };
        if !memory.contains_key(pod.uid()) {
            let others = self.pods.by_index(crate::BY_NODE, node);
            let taken: Vec<u8> =
                others.iter().filter_map(|pod| memory.get(pod.uid())).map(|seen| seen.place).collect();
            let place = (2..=254).find(|place| !taken.contains(place)).unwrap_or(255);
            memory.insert(pod.uid().to_owned(), Seen { bound: now, deleted: None, place });
        }
        if let Some(seen) = memory.get_mut(pod.uid()).filter(|_| pod.is_deleting()) {
            seen.deleted.get_or_insert(now);
        }
    }

    /// Says again that a node is ready when somebody has said otherwise: after it was not heard of, as a kubelet does
    /// with its next status. A Node that is deleted stays so.
    async fn say_ready(&self, key: ObjectKey) -> Outcome {
        let Some(object) = self.nodes.get(&key).filter(|node| !is_ready(node)) else { return Outcome::Done };
        let Some(node) = self.fleet.of_name(&key.name) else { return Outcome::Done };
        match self.report_ready(&node, object.uid()).await {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::debug!(node = %node.name, error = %error.cause(), "cannot say that it is ready");
                Outcome::Failed
            }
        }
    }

    async fn report_ready(&self, node: &HollowNode, uid: &str) -> Result<(), WriteError> {
        let nodes: Api<Node> = Api::all(self.fleet.client.clone());
        let status = node.ready_status(self.fleet.clock.now());
        write::status(&nodes, &node.name, status, &Expect::uid(uid)).await.map(drop)
    }

    async fn attend(&self, key: ObjectKey) -> Outcome {
        let Some(pod) = self.pods.get(&key) else { return Outcome::Done };
        let Some(node) = self.node_of(&pod) else { return Outcome::Done };
        let Some(seen) = self.memory.lock().get(pod.uid()).copied() else { return Outcome::Done };
        let api: Api<Pod> = Api::namespaced(self.fleet.client.clone(), &key.namespace);
        let expect = Expect::uid(pod.uid());
        let written = match node.next(&pod, seen, self.fleet.clock.now()) {
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
                    tracing::warn!(node = %node.name, pod = %key, error = %error.cause(), "{error}");
                    Outcome::Failed
                }
            },
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == node_condition::READY && condition.status == "True")
}
