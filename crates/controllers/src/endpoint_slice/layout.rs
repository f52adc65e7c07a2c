//! Endpoints into slices: which slices are to be made, written and removed. Pure.
//!
//! Endpoints with the same ports share slices. One that is in a slice stays in it; new ones fill slices that are written
//! anyway, then the fullest that has room for all of them, then a new one. Whose endpoints they are does not matter
//! here. Upstream: `k8s.io/endpointslice` reconciler.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::meta::Meta;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::backends::Family;

/// Endpoints in one slice: upstream's --max-endpoints-per-slice.
pub const ENDPOINTS_MAX: usize = 100;
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.update.is_empty() && self.delete.is_empty()
    }
}

/// What the slices of one family and the same ports have in common: name, number, protocol, application protocol.
pub type Ports = Vec<(String, Option<i32>, String, Option<String>)>;

/// The endpoints of one family by their ports and their [`identity`].
pub type Wanted = BTreeMap<Ports, BTreeMap<String, Endpoint>>;

/// What slices come from.
pub struct Origin<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub owner: OwnerReference,
    pub labels: BTreeMap<String, String>,
    /// Those that the slices have, if they are not others' to set.
    pub annotations: Option<BTreeMap<String, String>>,
    pub nothing: Nothing,
}

/// What there is of a family without endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    OneEmptySlice,
    NoSlice,
}

impl Origin<'_> {
    fn same_annotations(&self, slice: &EndpointSlice) -> bool {
        self.annotations.as_ref().is_none_or(|wanted| slice.annotations() == wanted)
    }

    fn set_annotations(&self, metadata: &mut ObjectMeta) {
        if let Some(annotations) = &self.annotations {
            metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
        }
    }
}

/// Slices of a family that is not named are removed.
pub fn lay_out(origin: &Origin<'_>, wanted: Vec<(Family, Wanted)>, existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let families: Vec<Family> = wanted.iter().map(|(family, _)| *family).collect();
    for (family, wanted) in wanted {
        let own: Vec<&Arc<EndpointSlice>> =
            existing.iter().filter(|slice| slice.address_type == family.name()).collect();
        plan_family(origin, wanted, family, &own, &mut plan);
    }
    let other =
        |slice: &&Arc<EndpointSlice>| families.iter().all(|family| slice.address_type != family.name());
    plan.delete.extend(existing.iter().filter(other).cloned());
    plan
}

fn plan_family(
    origin: &Origin<'_>,
    mut wanted: Wanted,
    family: Family,
    existing: &[&Arc<EndpointSlice>],
    plan: &mut Plan,
) {
    if wanted.is_empty() && origin.nothing == Nothing::OneEmptySlice {
        wanted.insert(Ports::new(), BTreeMap::new());
    }
    let mut known: BTreeMap<Ports, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing {
        known.entry(ports_of(slice)).or_default().push(slice);
    }
    for (ports, endpoints) in wanted {
        let slices = known.remove(&ports).unwrap_or_default();
        plan_ports(origin, family, &ports, endpoints, &slices, plan);
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
    origin: &Origin<'_>,
    family: Family,
    ports: &Ports,
    mut wanted: BTreeMap<String, Endpoint>,
    existing: &[&Arc<EndpointSlice>],
    plan: &mut Plan,
) {
    let wants_none = wanted.is_empty();
    let mut drafts: Vec<Draft<'_>> = existing
        .iter()
        .map(|old| {
            let endpoints: Vec<Endpoint> =
                old.endpoints.iter().filter_map(|known| wanted.remove(&identity(known))).collect();
            let changed =
                endpoints != old.endpoints || *old.labels() != origin.labels || !origin.same_annotations(old);
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
            slice.metadata.labels = Some(origin.labels.clone());
            origin.set_annotations(&mut slice.metadata);
            slice.endpoints = draft.endpoints;
            plan.update.push(slice);
        }
    }
    let chunks = left.chunks(ENDPOINTS_MAX).map(<[Endpoint]>::to_vec);
    let empty = (wants_none && keep_empty == 1).then(Vec::new);
    plan.create.extend(chunks.chain(empty).map(|endpoints| slice(origin, family, ports, endpoints)));
}

/// Which endpoint it is, whatever its conditions.
pub fn identity(endpoint: &Endpoint) -> String {
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

fn slice(origin: &Origin<'_>, family: Family, ports: &Ports, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let port = |(name, number, protocol, app_protocol): &(String, Option<i32>, String, Option<String>)| {
        EndpointPort {
            name: Some(name.clone()),
            port: *number,
            protocol: Some(protocol.clone()),
            app_protocol: app_protocol.clone(),
        }
    };
    let mut metadata = ObjectMeta {
        generate_name: Some(format!("{}-", origin.name)),
        namespace: Some(origin.namespace.to_owned()),
        labels: Some(origin.labels.clone()),
        owner_references: Some(vec![origin.owner.clone()]),
        ..ObjectMeta::default()
    };
    origin.set_annotations(&mut metadata);
    EndpointSlice {
        metadata,
        address_type: family.name().to_owned(),
        ports: Some(ports.iter().map(port).collect()),
        endpoints,
    }
}
