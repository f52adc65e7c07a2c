//! From a Service, the Pods behind it and the slices that are there to those that are to be made, written and removed. Pure.
//!
//! Which Pod is an endpoint of which ports is said here, which slice it stands in by [`layout`](super::layout). Upstream:
//! `k8s.io/endpointslice` reconciler.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::meta::{Meta, controller_ref};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};

use super::layout::{Nothing, Origin, Plan, Ports, SERVICE_NAME, Wanted, identity, lay_out};
use crate::backends::{Family, HEADLESS, Member, Zone, has_address, protocol};

pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

pub fn plan(service: &Service, members: &[(String, Member)], existing: &[Arc<EndpointSlice>]) -> Plan {
    let origin = Origin {
        name: service.name(),
        namespace: service.namespace(),
        owner: controller_ref("v1", "Service", service),
        labels: labels(service),
        annotations: None,
        // Where nothing leads, one slice without endpoints and ports says so.
        nothing: Nothing::OneEmptySlice,
    };
    let families = Family::of(service);
    let wanted = families.iter().map(|family| (*family, wanted(service, members, *family))).collect();
    lay_out(&origin, wanted, existing)
}

fn wanted(service: &Service, members: &[(String, Member)], family: Family) -> Wanted {
    let mut wanted = Wanted::new();
    for (name, member) in members {
        if let Some((ports, endpoint)) = endpoint(service, name, member, family) {
            wanted.entry(ports).or_default().insert(identity(&endpoint), endpoint);
        }
    }
    wanted
}

fn endpoint(service: &Service, name: &str, member: &Member, family: Family) -> Option<(Ports, Endpoint)> {
    let spec = service.spec.as_ref()?;
    let all = spec.publish_not_ready_addresses == Some(true);
    let addresses = member.addresses(family);
    if addresses.is_empty() || (member.zone == Zone::NodeMissing && !all) {
        return None;
    }
    let given = spec.ports.as_deref().unwrap_or_default();
    let mut ports: Ports = given
        .iter()
        .filter_map(|port| {
            let number = member.port(port)?;
            let name = port.name.clone().unwrap_or_default();
            Some((name, Some(number), protocol(port).to_owned(), port.app_protocol.clone()))
        })
        .collect();
    ports.sort();
    let conditions = EndpointConditions {
        ready: Some(all || (member.ready && !member.ending)),
        serving: Some(member.ready),
        terminating: Some(member.ending),
    };
    let zone = match &member.zone {
        Zone::Named(zone) => Some(zone.clone()),
        Zone::Unnamed | Zone::NodeMissing => None,
    };
    let endpoint = Endpoint {
        addresses,
        conditions: Some(conditions),
        hostname: member.hostname(service),
        node_name: member.node.clone(),
        target_ref: Some(member.reference(service.namespace(), name)),
        zone,
        ..Endpoint::default()
    };
    Some((ports, endpoint))
}

/// The Service's labels, but for those that say whose slice it is.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS);
    if !service.spec.as_ref().is_some_and(has_address) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

#[cfg(test)]
mod tests;
