//! What a Pod takes from a node: effective requests and limits, and its quality-of-service class.
//!
//! The effective amount of a resource is the larger of what runs at the end (containers and sidecars together) and what
//! any init container needs while it runs beside the sidecars started before it; plus the overhead. Amounts given for
//! the Pod as a whole replace that sum. Unparsable amounts count as zero: validation has refused them.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

use super::{all_containers, init_containers, is_sidecar};
use crate::quantity::Quantity;
use crate::well_known::resource;

/// Amounts by resource name.
pub type Resources = BTreeMap<String, Quantity>;

type WireResources = BTreeMap<String, WireQuantity>;

/// How a Pod's requests and limits rank it under pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosClass {
    BestEffort,
    Burstable,
    Guaranteed,
}

impl QosClass {
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::BestEffort => "BestEffort",
            QosClass::Burstable => "Burstable",
            QosClass::Guaranteed => "Guaranteed",
        }
    }
}

impl fmt::Display for QosClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Effective requests, overhead included.
pub fn requests(pod: &Pod) -> Resources {
    pod.spec.as_ref().map(spec_requests).unwrap_or_default()
}

/// Effective limits. A resource that some container leaves unlimited still shows the others' sum.
pub fn limits(pod: &Pod) -> Resources {
    pod.spec.as_ref().map(spec_limits).unwrap_or_default()
}

pub fn spec_requests(spec: &PodSpec) -> Resources {
    requests_presuming(spec, &Resources::new())
}

/// [`spec_requests`], where a container that requests no CPU or no memory is taken to need some: the scheduler's score
/// would else see no difference between Nodes full of such Pods and empty ones. Upstream's figures.
pub fn presumed_requests(spec: &PodSpec) -> Resources {
    let presumed = [(resource::CPU, PRESUMED_CPU), (resource::MEMORY, PRESUMED_MEMORY)];
    let amounts =
        presumed.iter().filter_map(|(name, text)| Some(((*name).to_owned(), Quantity::parse(text).ok()?)));
    requests_presuming(spec, &amounts.collect())
}

const PRESUMED_CPU: &str = "100m";
const PRESUMED_MEMORY: &str = "200Mi";

fn requests_presuming(spec: &PodSpec, presumed: &Resources) -> Resources {
    let mut total = effective(spec, presumed, |resources| resources.requests.as_ref());
    replace_by_pod_level(&mut total, spec.resources.as_ref().and_then(|r| r.requests.as_ref()));
    add(&mut total, &parsed(spec.overhead.as_ref()));
    total
}

pub fn spec_limits(spec: &PodSpec) -> Resources {
    let mut total = effective(spec, &Resources::new(), |resources| resources.limits.as_ref());
    replace_by_pod_level(&mut total, spec.resources.as_ref().and_then(|r| r.limits.as_ref()));
    // Overhead only widens limits that exist.
    for (name, amount) in parsed(spec.overhead.as_ref()) {
        if let Some(limit) = total.get_mut(&name) {
            *limit += amount;
        }
    }
    total
}

/// The class by CPU and memory of all containers, init containers included; by the Pod's own amounts where it has them.
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let pod_level = spec.resources.as_ref().filter(|r| r.requests.is_some() || r.limits.is_some());
    let each: Vec<Option<&ResourceRequirements>> = match pod_level {
        Some(resources) => vec![Some(resources)],
        None => all_containers(spec).map(|container| container.resources.as_ref()).collect(),
    };
    let mut requests = Resources::new();
    let mut limits = Resources::new();
    let mut all_limited = true;
    for resources in &each {
        let of = |list: Option<&WireResources>| -> Resources {
            let computed = |(name, amount): &(String, Quantity)| {
                matches!(name.as_str(), resource::CPU | resource::MEMORY) && *amount > Quantity::ZERO
            };
            parsed(list).into_iter().filter(computed).collect()
        };
        add(&mut requests, &of(resources.and_then(|r| r.requests.as_ref())));
        let own_limits = of(resources.and_then(|r| r.limits.as_ref()));
        all_limited &= own_limits.len() == 2;
        add(&mut limits, &own_limits);
    }
    if requests.is_empty() && limits.is_empty() {
        return QosClass::BestEffort;
    }
    let equal = requests.iter().all(|(name, amount)| limits.get(name) == Some(amount));
    if all_limited && equal && requests.len() == limits.len() {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

fn effective(
    spec: &PodSpec,
    presumed: &Resources,
    list: impl Fn(&ResourceRequirements) -> Option<&WireResources>,
) -> Resources {
    let of = |container: &Container| {
        let mut named = parsed(container.resources.as_ref().and_then(&list));
        for (name, amount) in presumed {
            named.entry(name.clone()).or_insert(*amount);
        }
        named
    };
    let mut running = Resources::new();
    for container in &spec.containers {
        add(&mut running, &of(container));
    }
    let mut sidecars = Resources::new();
    let mut starting = Resources::new();
    for container in init_containers(spec) {
        let mut now = of(container);
        if is_sidecar(container) {
            add(&mut running, &now);
            add(&mut sidecars, &now);
            now = sidecars.clone();
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut starting, now);
    }
    raise(&mut running, starting);
    running
}

/// Amounts of the whole Pod stand for CPU, memory and huge pages.
fn replace_by_pod_level(total: &mut Resources, pod_level: Option<&WireResources>) {
    for (name, amount) in parsed(pod_level) {
        let supported = matches!(name.as_str(), resource::CPU | resource::MEMORY)
            || name.starts_with(resource::HUGEPAGES_PREFIX);
        if supported {
            total.insert(name, amount);
        }
    }
}

fn parsed(list: Option<&WireResources>) -> Resources {
    list.into_iter()
        .flatten()
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::try_from(amount).ok()?)))
        .collect()
}

fn add(total: &mut Resources, more: &Resources) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += *amount;
    }
}

fn raise(total: &mut Resources, to: Resources) {
    for (name, amount) in to {
        let entry = total.entry(name).or_insert(amount);
        if *entry < amount {
            *entry = amount;
        }
    }
}
