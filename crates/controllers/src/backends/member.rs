//! What of a Pod matters to the Services that it is behind. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use api::meta::Meta;
use api::well_known::node_label;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which addresses are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Of a Service, in its order; one of before dual stack has the first.
    pub fn of(service: &Service) -> Vec<Family> {
        let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
        match families {
            [] => vec![Family::V4],
            families => families.iter().map(|f| if f == "IPv6" { Family::V6 } else { Family::V4 }).collect(),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    fn has(self, ip: &str) -> bool {
        ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == (self == Family::V4))
    }
}

/// Where the Pod's Node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    /// The Node is not known: its Pods are no endpoints, unless also those that are not ready are.
    NodeMissing,
    Unnamed,
    Named(String),
}

/// A Pod that can be an endpoint: it has an address and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub uid: String,
    pub ips: Vec<String>,
    pub node: Option<String>,
    pub zone: Zone,
    pub ready: bool,
    pub ending: bool,
    hostname: Option<String>,
    subdomain: Option<String>,
    /// Name, protocol and number of the named ports.
    ports: Vec<(String, String, i32)>,
}

impl Member {
    pub fn of(pod: &Pod, node: impl FnOnce(&str) -> Option<Arc<Node>>) -> Option<Member> {
        let status = pod.status.as_ref()?;
        let mut ips: Vec<String> = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
        if ips.is_empty() {
            ips.extend(status.pod_ip.clone().filter(|ip| !ip.is_empty()));
        }
        if ips.is_empty() || api::pod::is_terminal(pod) {
            return None;
        }
        let spec = pod.spec.as_ref()?;
        let bound = api::pod::node_name(pod);
        let zone = match bound.and_then(node) {
            None => Zone::NodeMissing,
            Some(node) => match node.label(node_label::ZONE).filter(|zone| !zone.is_empty()) {
                None => Zone::Unnamed,
                Some(zone) => Zone::Named(zone.to_owned()),
            },
        };
        let sidecars = api::pod::init_containers(spec).iter().filter(|c| api::pod::is_sidecar(c));
        let ports =
            spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
        let ports = ports.filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some((port.name.clone()?, protocol, port.container_port))
        });
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Some(Member {
            uid: pod.uid().to_owned(),
            ips,
            node: bound.map(str::to_owned),
            zone,
            ready: api::pod::is_ready(pod),
            ending: pod.is_deleting(),
            hostname: some(&spec.hostname),
            subdomain: some(&spec.subdomain),
            ports: ports.collect(),
        })
    }

    /// Its addresses of this family, in its order.
    pub fn addresses(&self, family: Family) -> Vec<String> {
        self.ips.iter().filter(|ip| family.has(ip)).cloned().collect()
    }

    /// The number behind a Service's port; none where the Pod has no port of that name.
    pub fn port(&self, port: &ServicePort) -> Option<i32> {
        match port.target_port.as_ref() {
            None => Some(port.port),
            Some(IntOrString::Int(number)) => Some(*number),
            Some(IntOrString::String(name)) => {
                let protocol = protocol(port);
                let found = self.ports.iter().find(|(known, of, _)| known == name && of == protocol);
                found.map(|(_, _, number)| *number)
            }
        }
    }

    /// The name under which DNS knows it, in the Service that is its subdomain.
    pub fn hostname(&self, service: &Service) -> Option<String> {
        self.hostname.clone().filter(|_| self.subdomain.as_deref() == Some(service.name()))
    }

    pub fn reference(&self, namespace: &str, name: &str) -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

pub fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}
