//! May this Pod be on this Node, and if not, why not.
//!
//! One answer for all who ask: the scheduler before it binds, the DaemonSet planner before it plans, the node agent
//! at admission. The filters run in upstream's order, and the first that refuses gives the reasons. This crate
//! does not know where Nodes and Pods come from and keeps nothing between two questions.
//!
//! Upstream: the scheduler's NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit
//! and InterPodAffinity plugins. Nothing here panics on odd input: what does not parse does not match.

pub mod failure;
pub mod interpod;
pub mod load;
pub mod score;
pub mod selection;
pub mod taint;
pub mod unfit;

use api::meta::Meta;
use api::well_known::taint as taint_key;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint};

pub use failure::{Failure, LookedAt, PreemptionTried};
pub use interpod::Neighbours;
pub use load::{Demand, NodeLoad};
pub use score::{Candidate, best};
pub use selection::{Narrowed, matches_node_selection, required_node_names};
pub use taint::untolerated;
pub use unfit::{Ever, Preemption, Unfit};

/// May the Pod be on the Node, next to what is there already? Other Nodes' Pods are not looked at.
pub fn fits(pod: &Pod, node: &Node, load: &NodeLoad) -> Result<(), Vec<Unfit>> {
    fits_demand(pod, &Demand::of(pod), node, load)
}

/// [`fits`] with the Pod's demand computed once for many Nodes.
pub fn fits_demand(pod: &Pod, demand: &Demand, node: &Node, load: &NodeLoad) -> Result<(), Vec<Unfit>> {
    fits_node(pod, node).map_err(|reason| vec![reason])?;
    load.fits_ports(demand).map_err(|reason| vec![reason])?;
    let lacking = load.lacking(demand);
    if lacking.is_empty() { Ok(()) } else { Err(lacking) }
}

/// [`fits_demand`], and the Pods of the whole cluster allow it too (inter-Pod affinity).
pub fn fits_among(
    pod: &Pod,
    demand: &Demand,
    node: &Node,
    load: &NodeLoad,
    neighbours: &Neighbours,
) -> Result<(), Vec<Unfit>> {
    fits_demand(pod, demand, node, load)?;
    neighbours.allow(node).map_err(|reason| vec![reason])
}

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
