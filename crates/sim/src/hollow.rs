//! Hollow nodes: a Node object, a lease, and the Pods bound to it, over the API like any node's agent.
//!
//! All nodes of a process share two watches, one of Pods and one of Nodes, and a few workers, so that thousands fit beside
//! the server that they are to load. Each still has what makes a node: its registration, its own lease every ten seconds,
//! its status every five minutes.

mod fleet;

use std::sync::Arc;

use api::meta::Meta;
use api::well_known::{node_condition, node_label};
use client::write::{self, Class, Expect};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Client};
use process::Clock;
use serde_json::{Value, json};

use crate::latency::{Latencies, Step};
use crate::life::{Known, Next, next};

pub use fleet::Fleet;

/// What one node is made of.
#[derive(Clone)]
struct HollowNode {
    name: Arc<str>,
    number: u32,
    seed: u64,
    latencies: Latencies,
}

/// When the node first saw what of a Pod.
#[derive(Clone, Copy)]
struct Seen {
    bound: Timestamp,
    deleted: Option<Timestamp>,
    /// Its address is its place on the node.
    place: u8,
}

impl HollowNode {
    /// Creates the Node, if it is not there from an earlier run, and says that it is ready.
    async fn register(&self, client: &Client, clock: &dyn Clock) -> Result<Node, write::WriteError> {
        let nodes: Api<Node> = Api::all(client.clone());
        match write::create(&nodes, &self.object()).await {
            Ok(_) => {}
            Err(error) if *error.class() == Class::Exists => {}
            Err(error) => return Err(error),
        }
        write::status(&nodes, &self.name, self.ready_status(clock.now()), &Expect::default()).await
    }

    fn object(&self) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(self.name.to_string());
        node.metadata.labels = Some(
            [(node_label::HOSTNAME, &*self.name), (node_label::OS, "linux"), (node_label::ARCH, "amd64")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        node
    }

    fn ready_status(&self, now: Timestamp) -> Value {
        let now = Time(now);
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
                {"type": "Hostname", "address": &*self.name},
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
                "kubeProxyVersion": "", "bootID": &*self.name, "machineID": &*self.name, "systemUUID": &*self.name,
            },
        })
    }

    /// What the node does with a Pod of its own now.
    fn next(&self, pod: &Pod, seen: Seen, now: Timestamp) -> Next {
        let latency = |step| self.latencies.of(step, self.seed, &self.name, pod.uid());
        let known = Known {
            bound: seen.bound,
            deleted: seen.deleted,
            start: latency(Step::Start),
            stop: latency(Step::Stop),
            host_ip: self.host_ip(),
            pod_ip: self.pod_ip(seen.place),
        };
        next(pod, &known, now)
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
