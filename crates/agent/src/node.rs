//! This machine's Node object: registered, kept up to date, its lease renewed.
//!
//! Upstream: pkg/kubelet/kubelet_node_status.go. The status is computed every 10 s, and written when it changed or
//! every 5 minutes. The lease says that we live.
//! DIFFERS(node-deleted): a Node that is deleted while its agent runs is registered again at once; upstream's kubelet
//! waits for its next start.

pub mod conditions;
pub mod facts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::well_known::node_label;
use client::Cache;
use client::events::Severity;
use client::lease::Heartbeat;
use client::write::{self, Class, Expect};
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus, Taint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use process::{Shutdown, Tasks};
use tokio::sync::watch;
use tokio::time::Instant;

use self::facts::Facts;
use crate::context::NodeContext;
use crate::source::ledger::FaultLine;

/// Upstream's nodeStatusUpdateFrequency.
const STATUS_MS: u64 = 10_000;
/// Upstream's nodeStatusReportFrequency: an unchanged status is written this often.
const REPORT_SECONDS: u64 = 300;
/// While it cannot be registered.
const REGISTER_RETRY_MS: u64 = 1_000;

/// What is known about this node before it is registered.
#[derive(Debug, Clone)]
pub struct Identity {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub taints: Vec<Taint>,
    pub version: String,
    pub pods_max: u32,
    /// Port of the agent's own API.
    pub port: Option<u16>,
    pub pod_cidr: Option<String>,
    /// Whether it has a source of static Pods.
    pub has_manifests: bool,
    pub facts: Facts,
}

/// Keeps the Node object.
pub struct NodeKeeper {
    client: kube::Client,
    context: Arc<NodeContext>,
    identity: Identity,
    cache: Cache<Node>,
    node: watch::Sender<Option<Arc<Node>>>,
}

impl Identity {
    /// The node as it knows itself, with what it can give to Pods.
    pub fn node(&self) -> Node {
        let allocatable = Some(self.facts.allocatable(self.pods_max));
        Node { status: Some(NodeStatus { allocatable, ..NodeStatus::default() }), ..self.fresh() }
    }

    /// The Node object as it is registered.
    fn fresh(&self) -> Node {
        Node {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels()),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                taints: (!self.taints.is_empty()).then(|| self.taints.clone()),
                pod_cidr: self.pod_cidr.clone(),
                pod_cidrs: self.pod_cidr.clone().map(|cidr| vec![cidr]),
                ..NodeSpec::default()
            }),
            status: None,
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let arch = self.facts.architecture.clone();
        let own = [
            (node_label::HOSTNAME, self.name.clone()),
            (node_label::OS, "linux".to_owned()),
            (node_label::ARCH, arch.clone()),
            (node_label::BETA_OS, "linux".to_owned()),
            (node_label::BETA_ARCH, arch),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        own.chain(self.labels.iter().cloned()).collect()
    }
}

impl NodeKeeper {
    /// Starts the tasks; `node` is the Node as the API has it.
    pub fn start(
        client: kube::Client,
        context: Arc<NodeContext>,
        identity: Identity,
        node: watch::Sender<Option<Arc<Node>>>,
        tasks: &Tasks,
    ) {
        let api: Api<Node> = Api::all(client.clone());
        let cache = Cache::builder(api)
            .fields(format!("metadata.name={}", identity.name))
            .clock(Arc::clone(&context.clock))
            .start(tasks);
        let told = node.subscribe();
        let owner = Box::new(move || told.borrow().as_ref().map(|node| owner_of(node)));
        let heartbeat = Heartbeat::node(client.clone(), &identity.name, owner, Arc::clone(&context.clock));
        let keeper = NodeKeeper { client, context, identity, cache, node };
        let shutdown = tasks.shutdown_signal().clone();
        tasks.spawn("node lease", heartbeat.keep(shutdown.clone()));
        tasks.spawn("node status", keeper.run(shutdown));
    }

    async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            // A write that is cut off has happened or not; the next start looks.
            () = shutdown.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        self.register().await;
        self.say(Severity::Normal, "Starting", "Starting kubelet.");
        let mut changes = self.cache.subscribe();
        let mut written: Option<(NodeStatus, Instant)> = None;
        let mut pages = self.context.ledger.version();
        let mut pressure = self.context.pressure.subscribe();
        loop {
            let status = self.status().await;
            let due = written.as_ref().is_none_or(|(before, at)| {
                !conditions::same(before, &status) || at.elapsed() >= Duration::from_secs(REPORT_SECONDS)
            });
            if due {
                if let Some((before, _)) = &written {
                    self.say_changes(before, &status);
                }
                match self.write(&status).await {
                    Ok(()) => written = Some((status, Instant::now())),
                    Err(error) if matches!(error.class(), Class::Missing) => {
                        tracing::warn!(node = %self.identity.name, "Node object is gone: registered again");
                        self.register().await;
                        written = None;
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(error = %crate::error_chain(&error), "node status is not written; tried again");
                    }
                }
            }
            tokio::select! {
                // A timer, versions, and an inbox that keeps its changes.
                () = self.context.clock.sleep(Duration::from_millis(STATUS_MS)) => {}
                _ = pages.changed() => {}
                _ = pressure.changed() => {}
                change = changes.next() => {
                    match change.after {
                        Some(node) => drop(self.node.send_replace(Some(node))),
                        None => written = None,
                    }
                }
            }
        }
    }

    /// Until the Node object is there and ours.
    async fn register(&self) {
        let api: Api<Node> = Api::all(self.client.clone());
        loop {
            match self.try_register(&api).await {
                Ok(node) => {
                    tracing::info!(node = %self.identity.name, "node is registered");
                    self.node.send_replace(Some(Arc::new(node)));
                    return;
                }
                Err(error) => {
                    tracing::warn!(error = %crate::error_chain(&error), "node is not registered; tried again");
                    self.context.clock.sleep(Duration::from_millis(REGISTER_RETRY_MS)).await;
                }
            }
        }
    }

    async fn try_register(&self, api: &Api<Node>) -> Result<Node, write::WriteError> {
        match write::create(api, &self.identity.fresh()).await {
            Ok(node) => Ok(node),
            Err(error) if matches!(error.class(), Class::Exists) => {
                // What an operator put there stays; only our own labels are brought up to date.
                let patch = serde_json::json!({"metadata": {"labels": self.identity.labels()}});
                write::merge(api, &self.identity.name, patch, &Expect::default()).await
            }
            Err(error) => Err(error),
        }
    }

    async fn status(&self) -> NodeStatus {
        let facts = &self.identity.facts;
        let runtime = self.context.runtime.status().await;
        let version = match self.context.runtime.version().await {
            Ok(version) => format!("{}://{}", version.name, version.version),
            Err(_) => self.context.runtime_name.clone(),
        };
        let images = self.context.runtime.list_images().await.unwrap_or_default();
        let before = self.node.borrow().as_ref().and_then(|node| node.status.clone()).unwrap_or_default();
        let now = self.context.clock.now();
        let mut all = conditions::conditions(&before, runtime, &self.context.pressure.borrow(), now);
        if self.identity.has_manifests {
            let faults: Vec<String> = self.context.ledger.faults().iter().map(FaultLine::text).collect();
            all.push(conditions::manifests(&before, &faults, now));
        }
        let mut addresses: Vec<NodeAddress> = self
            .context
            .host_ips
            .iter()
            .map(|ip| NodeAddress { type_: "InternalIP".to_owned(), address: ip.clone() })
            .collect();
        addresses.push(NodeAddress { type_: "Hostname".to_owned(), address: self.identity.name.clone() });
        NodeStatus {
            addresses: Some(addresses),
            capacity: Some(facts.capacity(self.identity.pods_max)),
            allocatable: Some(facts.allocatable(self.identity.pods_max)),
            conditions: Some(all),
            daemon_endpoints: self.identity.port.map(|port| NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(port) }),
            }),
            images: Some(facts::images(images)),
            node_info: Some(facts.node_info(&self.identity.version, &version)),
            ..NodeStatus::default()
        }
    }

    async fn write(&self, status: &NodeStatus) -> Result<(), write::WriteError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let value = serde_json::to_value(status).unwrap_or_default();
        let node: Node = write::status(&api, &self.identity.name, value, &Expect::default()).await?;
        self.node.send_replace(Some(Arc::new(node)));
        Ok(())
    }

    fn say_changes(&self, before: &NodeStatus, now: &NodeStatus) {
        for reason in conditions::pressure_changes(before, now) {
            let message = format!("Node {} status is now: {reason}", self.identity.name);
            self.say(Severity::Normal, &reason, &message);
        }
        let ready = |status: &NodeStatus| {
            let conditions = status.conditions.iter().flatten();
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        let name = &self.identity.name;
        match (ready(before), ready(now)) {
            (false, true) => {
                self.say(Severity::Normal, "NodeReady", &format!("Node {name} status is now: NodeReady"))
            }
            (true, false) => {
                self.say(
                    Severity::Normal,
                    "NodeNotReady",
                    &format!("Node {name} status is now: NodeNotReady"),
                );
            }
            _ => {}
        }
    }

    fn say(&self, severity: Severity, reason: &str, message: &str) {
        self.context.say_of_node(severity, reason, message);
    }
}

fn owner_of(node: &Node) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        controller: None,
        block_owner_deletion: None,
    }
}

/// A condition with its times set by comparison with the one before.
pub(crate) fn condition(
    before: &NodeStatus,
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: jiff::Timestamp,
) -> NodeCondition {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    let status = if holds { "True" } else { "False" };
    let known = before.conditions.iter().flatten().find(|condition| condition.type_ == type_);
    // A Time carries seconds and no more.
    let now = Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now));
    let since =
        known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
    NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: since.or(Some(now)),
    }
}
