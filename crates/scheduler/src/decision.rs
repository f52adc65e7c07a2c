//! One Pod's decision, from the picture alone. Pure.
//!
//! A Pod that names its Nodes (every term of its required affinity does, as a DaemonSet's Pods) is tried on those
//! only; others on all. The first filter that refuses a Node gives its reasons; among those that fit the best score
//! wins, and the first name among equals.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use placement::{
    Candidate, Demand, Failure, LookedAt, Narrowed, Neighbours, PreemptionTried, Unfit, best, fits_among,
    required_node_names,
};

use crate::snapshot::{Seen, Snapshot};

/// Labels of each namespace.
pub type NamespaceLabels = BTreeMap<String, BTreeMap<String, String>>;

/// What to do with a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Bind { node: String },
    Wait { failure: Failure, until: Until },
}

/// Which changes may make a Pod fit that did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until {
    pub nodes: Where,
    /// Any change to such a Node's own properties, or a new Node.
    pub node_changes: bool,
    /// A Pod leaves such a Node.
    pub pod_leaves: bool,
    /// A Pod comes to some Node, or one's labels change: it may be who this Pod wants to be with.
    pub pod_comes: bool,
}

/// Nodes that matter to a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    Anywhere,
    Only(BTreeSet<String>),
}

pub fn decide(pod: &Pod, snapshot: &Snapshot, namespaces: &NamespaceLabels) -> Decision {
    let no_spec = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let narrowed = required_node_names(spec);
    let (seen, place): (Vec<Seen<'_>>, Where) = match narrowed {
        Narrowed::AllNodes => (snapshot.nodes().collect(), Where::Anywhere),
        Narrowed::Only(names) => {
            (names.iter().filter_map(|name| snapshot.node(name)).collect(), Where::Only(names))
        }
        Narrowed::Conflict => return wait(spec, snapshot, LookedAt::TermsConflict, Where::Anywhere),
    };
    let demand = Demand::of(pod);
    let neighbours = neighbours(pod, spec, snapshot, namespaces);
    let mut fitting = Vec::new();
    let mut refused = Vec::new();
    for seen in seen {
        match fits_among(pod, &demand, seen.node, seen.load, &neighbours) {
            Ok(()) => fitting.push(Candidate { node: seen.node, load: seen.load }),
            Err(reasons) => refused.push(reasons),
        }
    }
    let chosen = match fitting.as_slice() {
        [only] => Some(*only),
        several => best(pod, several),
    };
    match chosen {
        Some(candidate) => Decision::Bind { node: candidate.node.metadata.name.clone().unwrap_or_default() },
        None => wait(spec, snapshot, LookedAt::Nodes(refused), place),
    }
}

/// Only the Pods that can have a say are counted: all, if this Pod asks for company or distance, else those that keep
/// their distance.
fn neighbours(pod: &Pod, spec: &PodSpec, snapshot: &Snapshot, namespaces: &NamespaceLabels) -> Neighbours {
    let asks =
        spec.affinity.as_ref().is_some_and(|a| a.pod_affinity.is_some() || a.pod_anti_affinity.is_some());
    if asks {
        Neighbours::of(pod, snapshot.placed(), namespaces)
    } else {
        Neighbours::of(pod, snapshot.repelling(), namespaces)
    }
}

fn wait(spec: &PodSpec, snapshot: &Snapshot, looked_at: LookedAt, nodes: Where) -> Decision {
    let preemption = match spec.preemption_policy.as_deref() {
        Some("Never") => PreemptionTried::PolicyNever,
        _ => PreemptionTried::NoVictims,
    };
    let until = until(&looked_at, nodes);
    Decision::Wait { failure: Failure { nodes_total: snapshot.nodes_total(), looked_at, preemption }, until }
}

fn until(looked_at: &LookedAt, nodes: Where) -> Until {
    // A new Node, or a changed one, may always be the one.
    let mut until = Until { nodes, node_changes: true, pod_leaves: false, pod_comes: false };
    let reasons = match looked_at {
        LookedAt::Nodes(refused) => refused.as_slice(),
        LookedAt::TermsConflict => &[],
    };
    for reason in reasons.iter().flatten() {
        match reason {
            Unfit::HostPorts
            | Unfit::TooManyPods
            | Unfit::Insufficient { .. }
            | Unfit::PodAntiAffinity
            | Unfit::ExistingPodsAntiAffinity => until.pod_leaves = true,
            Unfit::PodAffinity => until.pod_comes = true,
            Unfit::TopologySpread | Unfit::TopologySpreadMissingLabel => {
                until.pod_leaves = true;
                until.pod_comes = true;
            }
            Unfit::Unschedulable
            | Unfit::NodeName
            | Unfit::UntoleratedTaint { .. }
            | Unfit::NodeSelection => {}
        }
    }
    // A Pod elsewhere in the same topology domain can decide about affinity.
    let by_neighbours = |reason: &Unfit| {
        matches!(
            reason,
            Unfit::PodAntiAffinity
                | Unfit::ExistingPodsAntiAffinity
                | Unfit::TopologySpread
                | Unfit::TopologySpreadMissingLabel
        )
    };
    if reasons.iter().flatten().any(by_neighbours) {
        until.nodes = Where::Anywhere;
    }
    until
}

#[cfg(test)]
mod tests;
