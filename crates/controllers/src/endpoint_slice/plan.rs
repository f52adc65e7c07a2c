//! From a Service, the Pods behind it and the slices that are there to those that are to be made, written and removed. Pure.
//!
//! Endpoints with the same ports share slices. One that is in a slice stays in it; new ones fill slices that are written
//! anyway, then the fullest that has room for all of them, then a new one. Upstream: `k8s.io/endpointslice` reconciler.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::meta::{Meta, controller_ref};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::backends::{Family, HEADLESS, Member, Zone, has_address, protocol};

/// Endpoints in one slice: upstream's --max-endpoints-per-slice.
pub const ENDPOINTS_MAX: usize = 100;
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// What the slices of one family and the same ports have in common.
type Ports = Vec<(String, Option<i32>, String, Option<String>)>;

pub fn plan(service: &Service, members: &[(String, Member)], existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let families = Family::of(service);
    for family in &families {
        let own: Vec<&Arc<EndpointSlice>> =
            existing.iter().filter(|slice| slice.address_type == family.name()).collect();
        plan_family(service, members, *family, &own, &mut plan);
    }
    let other =
        |slice: &&Arc<EndpointSlice>| families.iter().all(|family| slice.address_type != family.name());
    plan.delete.extend(existing.iter().filter(other).cloned());
    plan
}

fn plan_family(
    service: &Service,
    members: &[(String, Member)],
    family: Family,
    existing: &[&Arc<EndpointSlice>],
    plan: &mut Plan,
) {
    let mut wanted: BTreeMap<Ports, BTreeMap<String, Endpoint>> = BTreeMap::new();
    for (name, member) in members {
        if let Some((ports, endpoint)) = endpoint(service, name, member, family) {
            wanted.entry(ports).or_default().insert(identity(&endpoint), endpoint);
        }
    }
    // Where nothing leads, one slice without endpoints and ports says so.
    if wanted.is_empty() {
        wanted.insert(Ports::new(), BTreeMap::new());
    }
    let mut known: BTreeMap<Ports, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing {
        known.entry(ports_of(slice)).or_default().push(slice);
    }
    for (ports, endpoints) in wanted {
        let slices = known.remove(&ports).unwrap_or_default();
        plan_ports(service, family, &ports, endpoints, &slices, plan);
    }
    plan.delete.extend(known.into_values().flatten().cloned());
}

/// A slice on its way: what it was, and what it holds now.
struct Draft<'a> {
    old: &'a Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    changed: bool,
}

fn plan_ports(
    service: &Service,
    family: Family,
    ports: &Ports,
    mut wanted: BTreeMap<String, Endpoint>,
    existing: &[&Arc<EndpointSlice>],
    plan: &mut Plan,
) {
    let labels = labels(service);
    let wants_none = wanted.is_empty();
    let mut drafts: Vec<Draft<'_>> = existing
        .iter()
        .map(|old| {
            let endpoints: Vec<Endpoint> =
                old.endpoints.iter().filter_map(|known| wanted.remove(&identity(known))).collect();
            let changed = endpoints != old.endpoints || *old.labels() != labels;
            Draft { old, endpoints, changed }
        })
        .collect();
    let mut left: Vec<Endpoint> = wanted.into_values().collect();
    // Slices that are written anyway are filled up, the fullest first; then one that has room for all that is left.
    drafts.sort_by_key(|draft| (usize::MAX - draft.endpoints.len(), draft.old.name().to_owned()));
    for draft in drafts.iter_mut().filter(|draft| draft.changed && !draft.endpoints.is_empty()) {
        let room = ENDPOINTS_MAX.saturating_sub(draft.endpoints.len()).min(left.len());
        draft.endpoints.extend(left.drain(..room));
    }
    if !left.is_empty() {
        let fits = |draft: &&mut Draft<'_>| draft.endpoints.len() + left.len() <= ENDPOINTS_MAX;
        if let Some(draft) = drafts.iter_mut().find(fits) {
            draft.endpoints.append(&mut left);
            draft.changed = true;
        }
    }
    // An emptied slice goes, but for one where there is nothing to say.
    let mut keep_empty = usize::from(wants_none);
    for draft in drafts {
        if draft.endpoints.is_empty() {
            if keep_empty == 0 {
                plan.delete.push(Arc::clone(draft.old));
                continue;
            }
            keep_empty -= 1;
        }
        if draft.changed {
            let mut slice = (**draft.old).clone();
            slice.metadata.labels = Some(labels.clone());
            slice.endpoints = draft.endpoints;
            plan.update.push(slice);
        }
    }
    let chunks = left.chunks(ENDPOINTS_MAX).map(<[Endpoint]>::to_vec);
    let empty = (wants_none && keep_empty == 1).then(Vec::new);
    plan.create
        .extend(chunks.chain(empty).map(|endpoints| slice(service, family, ports, &labels, endpoints)));
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

/// Which endpoint it is, whatever its conditions.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|pod| pod.uid.as_deref()).unwrap_or_default();
    format!("{uid} {}", endpoint.addresses.join(","))
}

fn ports_of(slice: &EndpointSlice) -> Ports {
    let ports = slice.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        (port.name.clone().unwrap_or_default(), port.port, protocol, port.app_protocol.clone())
    });
    let mut ports: Ports = ports.collect();
    ports.sort();
    ports
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

fn slice(
    service: &Service,
    family: Family,
    ports: &Ports,
    labels: &BTreeMap<String, String>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let port = |(name, number, protocol, app_protocol): &(String, Option<i32>, String, Option<String>)| {
        EndpointPort {
            name: Some(name.clone()),
            port: *number,
            protocol: Some(protocol.clone()),
            app_protocol: app_protocol.clone(),
        }
    };
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name())),
            namespace: Some(service.namespace().to_owned()),
            labels: Some(labels.clone()),
            owner_references: Some(vec![controller_ref("v1", "Service", service)]),
            ..ObjectMeta::default()
        },
        address_type: family.name().to_owned(),
        ports: Some(ports.iter().map(port).collect()),
        endpoints,
    }
}

#[cfg(test)]
mod tests;
