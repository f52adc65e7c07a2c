//! Which Pod goes: upstream's order, and what is said of it.
//!
//! First those that use more than they asked for, then the lower priority, then by how much they use beyond their
//! request. For process ids: the priority, then how many. A Pod without a figure goes before those with one. Critical
//! Pods, static ones among them, are passed over.

use std::cmp::Reverse;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::Pod;

use api::meta::Meta;

use super::limits::Limits;
use super::watch::Met;
use super::{Resource, Signal};

/// Grace of a Pod that goes because of a hard threshold: the least there is.
pub const HARD_GRACE_SECONDS: u64 = 1;

/// A Pod that runs here.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub pod: &'a Pod,
    /// Of the resource that is short; `None`: not known.
    pub usage: Option<&'a Usage>,
}

/// What a Pod uses of one resource: bytes, inodes, processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    pub total: u64,
    /// By container, where it can be told apart.
    pub containers: Vec<(String, u64)>,
}

/// The one that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    pub uid: String,
    pub message: String,
    pub grace_seconds: u64,
}

/// The one Pod that goes; `None` if none may.
pub fn victim(met: &Met, limits: &Limits, candidates: &[Candidate<'_>]) -> Option<Victim> {
    let ranked = ranked(met.signal, candidates);
    let first = ranked.into_iter().find(|candidate| !api::pod::is_critical(candidate.pod))?;
    Some(Victim {
        uid: first.pod.uid().to_owned(),
        message: message(met, first),
        grace_seconds: grace_seconds(met, limits, first.pod),
    })
}

/// All, the first to go first.
fn ranked<'a>(signal: Signal, candidates: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let resource = signal.resource();
    let mut ranked = candidates.to_vec();
    ranked.sort_by_cached_key(|candidate| {
        let requested = request(resource, api::pod::requests(candidate.pod).get(resource.name()).copied());
        let over = candidate.usage.map(|usage| i128::from(usage.total) - i128::from(requested));
        let exceeds = over.is_none_or(|over| over > 0) && resource != Resource::Pids;
        let unknown = over.is_none() && resource != Resource::Pids;
        let uid = candidate.pod.uid().to_owned();
        (
            Reverse(unknown),
            Reverse(exceeds),
            api::pod::priority(candidate.pod),
            Reverse(over.unwrap_or(i128::MAX)),
            uid,
        )
    });
    ranked
}

/// What counts as asked for: nobody asks for inodes or process ids.
fn request(resource: Resource, requested: Option<Quantity>) -> i64 {
    match resource {
        Resource::Memory | Resource::EphemeralStorage => requested.map_or(0, Quantity::bytes),
        Resource::Inodes | Resource::Pids => 0,
    }
}

fn grace_seconds(met: &Met, limits: &Limits, pod: &Pod) -> u64 {
    if met.is_hard {
        return HARD_GRACE_SECONDS;
    }
    let own = crate::pod::grace_seconds(pod);
    limits.pod_grace_seconds_max.map_or(own, |most| most.min(own)).max(HARD_GRACE_SECONDS)
}

/// Upstream's words, blanks at the end included.
fn message(met: &Met, candidate: Candidate<'_>) -> String {
    let resource = met.signal.resource();
    let mut text = format!(
        "The node was low on resource: {}. Threshold quantity: {}, available: {}. ",
        resource.name(),
        met.threshold,
        met.available
    );
    let usage = match resource {
        Resource::Memory | Resource::EphemeralStorage => candidate.usage,
        Resource::Inodes | Resource::Pids => None,
    };
    let spec = candidate.pod.spec.as_ref();
    for (name, used) in usage.iter().flat_map(|usage| &usage.containers) {
        let container = spec.into_iter().flat_map(api::pod::all_containers).find(|one| one.name == *name);
        let requests = container.and_then(|one| one.resources.as_ref()?.requests.as_ref());
        let requested = requests.and_then(|list| Quantity::parse(&list.get(resource.name())?.0).ok());
        let requested = requested.unwrap_or(Quantity::ZERO);
        let used = Quantity::from_bytes(i64::try_from(*used).unwrap_or(i64::MAX));
        if used > requested {
            text.push_str(&format!(
                "Container {name} was using {used}, request is {requested}, has larger consumption of {}. ",
                resource.name()
            ));
        }
    }
    text
}
