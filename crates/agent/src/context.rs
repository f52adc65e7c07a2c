//! What every part of one node agent shares: the runtime, the API client, the folders, the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use api::quantity::Quantity;
use client::Recorder;
use client::events::Severity;
use cri::Runtime;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use podmachine::image_gc::Policy;
use podmachine::pressure::{Condition, Limits};
use podmachine::{Event, EventType, Host, PodSource};
use process::Clock;
use tokio::sync::{Semaphore, watch};

use crate::board::Board;
use crate::cgroup::Hierarchies;
use crate::measures::Measures;
use crate::objects::Shelf;
use crate::offline::Kept;
use crate::resolv::Resolver;
use crate::runtime_events::Watchers;
use crate::source::ledger::Ledger;
use crate::source::local_objects::LocalObjects;
use crate::spec::PodId;
use crate::spec::sandbox::SandboxNode;
use crate::token::Tokens;
use crate::volume::Volumes;

/// How many sandboxes and containers are started at once: each takes a tenth of a second of CPU time and more, and
/// CNI plugins wait for each other.
pub const STARTS_AT_ONCE_MAX: usize = 8;

/// One node agent's shared parts.
pub struct NodeContext {
    pub node_name: String,
    /// Tells this agent's sandboxes from another's on the same runtime.
    pub agent_id: String,
    pub root_dir: PathBuf,
    pub log_root: PathBuf,
    pub runtime: Arc<dyn Runtime>,
    /// Scheme of container ids in a status.
    pub runtime_name: String,
    pub client: Option<kube::Client>,
    /// What the API's Pods need, for when the API is away.
    pub kept: Arc<Kept>,
    /// ConfigMaps and Secrets for static Pods.
    pub local_objects: Arc<LocalObjects>,
    /// What the sources of static Pods hold, and what is wrong with them.
    pub ledger: Arc<Ledger>,
    pub recorder: Option<Recorder>,
    pub clock: Arc<dyn Clock>,
    pub volumes: Volumes,
    pub tokens: Tokens,
    /// `None` with a runtime that makes no processes.
    pub cgroups: Option<Hierarchies>,
    pub resolver: Resolver,
    pub host_ips: Vec<String>,
    pub memory_bytes: i64,
    pub allocatable: BTreeMap<String, Quantity>,
    pub started_at: Timestamp,
    pub starts: Semaphore,
    pub board: Arc<Board>,
    pub watchers: Arc<Watchers>,
    pub statuses: crate::status::Writer,
    /// When Pods are evicted.
    pub limits: Limits,
    /// What the node is short of, as of the last look.
    pub pressure: watch::Sender<BTreeSet<Condition>>,
    pub image_policy: Policy,
    pub measures: Measures,
}

impl NodeContext {
    pub fn sandbox_node(&self) -> SandboxNode<'_> {
        SandboxNode { name: &self.node_name, agent: &self.agent_id }
    }

    pub fn host(&self) -> Host {
        Host {
            ips: self.host_ips.clone(),
            runtime: self.runtime_name.clone(),
            crash_backoff_seconds_max: None,
            agent_started_at: Some(self.started_at),
        }
    }

    /// Where the ConfigMaps and Secrets of a Pod are.
    pub fn objects_of<'a>(&'a self, source: PodSource, uid: &'a str) -> Shelf<'a> {
        match source {
            PodSource::Static => Shelf::Node(&self.local_objects),
            PodSource::Api => Shelf::Api { client: self.client.as_ref(), kept: &self.kept, uid },
        }
    }

    /// An Event on this node's own object.
    pub fn say_of_node(&self, severity: Severity, reason: &str, message: &str) {
        let Some(recorder) = &self.recorder else { return };
        let regarding = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(self.node_name.clone()),
            // COMPAT(kubelet): a node's own events carry its name as uid.
            uid: Some(self.node_name.clone()),
            ..ObjectReference::default()
        };
        recorder.event(&regarding, severity, reason, message);
    }

    /// An Event on a Pod. A static Pod's goes to its mirror's name; who reads it finds it there.
    pub fn say(&self, pod: &Pod, event: &Event) {
        let id = PodId::of(pod);
        tracing::info!(pod = %id, reason = %event.reason, message = %event.message, "event");
        let Some(recorder) = &self.recorder else { return };
        let severity = match event.event_type {
            EventType::Normal => Severity::Normal,
            EventType::Warning => Severity::Warning,
        };
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(id.name),
            namespace: Some(id.namespace),
            uid: Some(id.uid),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: event.field_path.clone(),
        };
        recorder.event(&regarding, severity, &event.reason, &event.message);
    }
}
