//! Which of the Nodes that fit is best.
//!
//! Upstream's weights of the parts that are ours: taints 3, preferred node affinity 2, least allocated 1.
//! DIFFERS(scheduler): equal Nodes are told apart by name, where upstream throws a die; the same cluster gives the same answer.

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use crate::load::{Demand, NodeLoad};
use crate::{selection, taint};
use api::meta::Meta;
use api::well_known::resource;

const WEIGHT_TAINTS: i128 = 3;
const WEIGHT_AFFINITY: i128 = 2;
const SHARE_MAX: i128 = 1000;

/// A Node that fits, with what is on it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub node: &'a Node,
    pub load: &'a NodeLoad,
}

/// The best of the candidates; the first by name among equals.
pub fn best<'a>(pod: &Pod, candidates: &[Candidate<'a>]) -> Option<Candidate<'a>> {
    let demand = Demand::of(pod);
    let no_spec = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let raw: Vec<Raw> = candidates.iter().map(|candidate| Raw::of(pod, spec, &demand, candidate)).collect();
    let taints_max = raw.iter().map(|r| r.taints).max().unwrap_or_default();
    let affinity_max = raw.iter().map(|r| r.affinity).max().unwrap_or_default();
    let score = |r: &Raw| {
        let taints = if taints_max == 0 { SHARE_MAX } else { SHARE_MAX - r.taints * SHARE_MAX / taints_max };
        let affinity = if affinity_max == 0 { 0 } else { r.affinity * SHARE_MAX / affinity_max };
        WEIGHT_TAINTS * taints + WEIGHT_AFFINITY * affinity + r.free
    };
    candidates
        .iter()
        .zip(&raw)
        .min_by(|(a, raw_a), (b, raw_b)| {
            score(raw_b).cmp(&score(raw_a)).then_with(|| a.node.name().cmp(b.node.name()))
        })
        .map(|(candidate, _)| *candidate)
}

struct Raw {
    taints: i128,
    affinity: i128,
    free: i128,
}

impl Raw {
    fn of(pod: &Pod, spec: &PodSpec, demand: &Demand, candidate: &Candidate<'_>) -> Self {
        let taints =
            taint::untolerated_preferences(taint::of_node(candidate.node), api::pod::tolerations(pod));
        let free = [resource::CPU, resource::MEMORY]
            .map(|name| candidate.load.free_share_after(demand, name))
            .iter()
            .sum::<i128>();
        Raw {
            taints: taints as i128,
            affinity: i128::from(selection::preferred_weight(spec, candidate.node)),
            free: free / 2,
        }
    }
}
