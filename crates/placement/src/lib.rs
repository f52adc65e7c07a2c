//! May this Pod be on this Node, and if not, why not.
//!
//! One answer for all who ask: the scheduler before it binds, the DaemonSet planner before it plans, the node agent
//! at admission. [`Incoming`] is the whole question for one Pod; [`fits_node`] the part of it that no other Pod has a say
//! in. Among Nodes that fit, [`best`] chooses; where none does, [`preemption`] says whose leaving would help. This crate
//! does not know where Nodes and Pods come from and keeps nothing between two questions.
//!
//! Upstream: the scheduler's NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit,
//! PodTopologySpread, InterPodAffinity and DefaultPreemption plugins. Nothing here panics on odd input: what does not parse
//! does not match.

pub mod failure;
mod incoming;
mod interpod;
pub mod load;
pub mod preemption;
mod resident;
pub mod score;
pub mod selection;
mod spread;
pub mod taint;
pub mod terms;
pub mod unfit;
mod waiting;

use api::meta::Meta;
use api::well_known::taint as taint_key;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint};

pub use failure::{Failure, LookedAt, PreemptionTried};
pub use incoming::{Incoming, Sees};
pub use load::{Demand, NodeLoad};
pub use preemption::{Budgets, Stuck, Victims};
pub use resident::Resident;
pub use score::{Candidate, ImageSpread, Preferences, Weighs, best};
pub use selection::{Narrowed, matches_node_selection, required_node_names};
pub use taint::untolerated;
pub use terms::{NamespaceLabels, PodTerms};
pub use unfit::{Ever, Preemption, Unfit};
pub use waiting::{News, Reach, Waiting};

/// The part of the question that no other Pod has a say in.
pub fn fits_node(pod: &Pod, node: &Node) -> Result<(), Unfit> {
    let no_spec = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true)
        && !taint::tolerated(&unschedulable_taint(), tolerations)
    {
        return Err(Unfit::Unschedulable);
    }
    if api::pod::node_name(pod).is_some_and(|name| name != node.name()) {
        return Err(Unfit::NodeName);
    }
    if let Some(taint) = untolerated(taint::of_node(node), tolerations, taint::KEEPS_NEW_PODS_AWAY) {
        let value = taint.value.clone().unwrap_or_default();
        return Err(Unfit::UntoleratedTaint { key: taint.key.clone(), value });
    }
    if !matches_node_selection(spec, node) {
        return Err(Unfit::NodeSelection);
    }
    Ok(())
}

fn unschedulable_taint() -> Taint {
    Taint {
        key: taint_key::UNSCHEDULABLE.to_owned(),
        effect: taint_key::NO_SCHEDULE.to_owned(),
        ..Taint::default()
    }
}

#[cfg(test)]
mod tests;
