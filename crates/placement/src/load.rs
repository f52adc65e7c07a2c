//! What the Pods of a Node use of it: requests, number, host ports.
//!
//! Pods are added and removed by what they demand, so that one Pod's change costs that Pod's size, not the
//! Node's. Upstream: `framework.NodeInfo` and the NodeResourcesFit and NodePorts plugins. Limits do not count;
//! a resource that the Node does not list is zero.

use std::collections::BTreeMap;

use api::pod::{HostPort, Resources};
use api::quantity::Quantity;
use api::well_known::resource;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::unfit::{Ever, Unfit};

/// What one Pod takes from the Node that it is on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    /// In billionths, by resource; no zeros.
    pub requests: BTreeMap<String, i128>,
    pub host_ports: Vec<HostPort>,
    /// Requests for the score, where a container that requests no CPU or memory is taken to need some.
    presumed: BTreeMap<String, i128>,
}

/// What a Node has, and what the Pods on it take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeLoad {
    allocatable: BTreeMap<String, i128>,
    requested: BTreeMap<String, i128>,
    presumed: BTreeMap<String, i128>,
    pods: i128,
    host_ports: BTreeMap<HostPort, u32>,
}

impl Demand {
    pub fn of(pod: &Pod) -> Self {
        let requests = nanos(&api::pod::requests(pod));
        let presumed = pod.spec.as_ref().map(api::pod::presumed_requests).unwrap_or_default();
        Demand { requests, host_ports: api::pod::host_ports(pod), presumed: nanos(&presumed) }
    }

    pub(crate) fn presumed_of(&self, name: &str) -> i128 {
        self.presumed.get(name).copied().unwrap_or_default()
    }
}

impl NodeLoad {
    /// The Node as it is with no Pod on it.
    pub fn empty(node: &Node) -> Self {
        let mut load = NodeLoad::default();
        load.set_node(node);
        load
    }

    /// The Node with these Pods on it. Pods that ended (Succeeded, Failed) take nothing.
    pub fn with_pods<'a>(node: &Node, pods: impl IntoIterator<Item = &'a Pod>) -> Self {
        let mut load = NodeLoad::empty(node);
        for pod in pods.into_iter().filter(|pod| !api::pod::is_terminal(pod)) {
            load.add(&Demand::of(pod));
        }
        load
    }

    /// The Node changed: take over what it has now. An amount that does not parse is zero.
    pub fn set_node(&mut self, node: &Node) {
        let listed = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        self.allocatable = listed
            .into_iter()
            .flatten()
            .filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(&amount.0).ok()?.nanos())))
            .collect();
    }

    pub fn add(&mut self, demand: &Demand) {
        for (sums, amounts) in
            [(&mut self.requested, &demand.requests), (&mut self.presumed, &demand.presumed)]
        {
            for (name, amount) in amounts {
                *sums.entry(name.clone()).or_default() += amount;
            }
        }
        for port in &demand.host_ports {
            *self.host_ports.entry(port.clone()).or_default() += 1;
        }
        self.pods += 1;
    }

    /// The reverse of [`NodeLoad::add`] with the same demand.
    pub fn remove(&mut self, demand: &Demand) {
        for (sums, amounts) in
            [(&mut self.requested, &demand.requests), (&mut self.presumed, &demand.presumed)]
        {
            for (name, amount) in amounts {
                if let Some(sum) = sums.get_mut(name) {
                    *sum -= amount;
                }
            }
            sums.retain(|_, amount| *amount != 0);
        }
        for port in &demand.host_ports {
            if let Some(count) = self.host_ports.get_mut(port) {
                *count = count.saturating_sub(1);
            }
        }
        self.host_ports.retain(|_, count| *count != 0);
        self.pods -= 1;
    }

    /// Would the Pod's host ports be free?
    pub fn fits_ports(&self, demand: &Demand) -> Result<(), Unfit> {
        let taken = |port: &HostPort| self.host_ports.keys().any(|other| port.conflicts_with(other));
        if demand.host_ports.iter().any(taken) { Err(Unfit::HostPorts) } else { Ok(()) }
    }

    /// All the reasons why the Pod's requests do not fit, the number of Pods first, then by resource.
    pub fn lacking(&self, demand: &Demand) -> Vec<Unfit> {
        let mut reasons = Vec::new();
        if (self.pods + 1) * NANOS_PER_UNIT > self.allocatable_of(resource::PODS) {
            reasons.push(Unfit::TooManyPods);
        }
        for (name, amount) in &demand.requests {
            let has = self.allocatable_of(name);
            if *amount > has - self.requested.get(name).copied().unwrap_or_default() {
                let ever = if *amount > has { Ever::Never } else { Ever::WhenOthersLeave };
                reasons.push(Unfit::Insufficient { resource: name.clone(), ever });
            }
        }
        reasons
    }

    pub fn pods(&self) -> i128 {
        self.pods
    }

    pub(crate) fn allocatable_of(&self, name: &str) -> i128 {
        self.allocatable.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn requested_of(&self, name: &str) -> i128 {
        self.requested.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn presumed_of(&self, name: &str) -> i128 {
        self.presumed.get(name).copied().unwrap_or_default()
    }
}

const NANOS_PER_UNIT: i128 = 1_000_000_000;

fn nanos(resources: &Resources) -> BTreeMap<String, i128> {
    resources
        .iter()
        .map(|(name, amount)| (name.clone(), amount.nanos()))
        .filter(|(_, amount)| *amount > 0)
        .collect()
}
