//! Which of the Nodes that fit is best.
//!
//! Upstream's plugins and weights: taints 3, node affinity 2, topology spread 2, inter-Pod affinity 2, least allocated 1,
//! balanced allocation 1, image locality 1; each gives 0 to 100. Every Node that fits is scored, where upstream samples.
//! DIFFERS(scheduler): equal Nodes are told apart by name, where upstream throws a die; the same cluster gives the same answer.

mod company;
mod image;
mod resources;
mod soft_spread;

use k8s_openapi::api::core::v1::Node;

use crate::incoming::Incoming;
use crate::load::NodeLoad;
use crate::resident::Resident;
use crate::{selection, taint};
use api::label::Selector;
use api::meta::Meta;

pub use image::ImageSpread;

const SCORE_MAX: i64 = 100;
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;
const WEIGHT_COMPANY: i64 = 2;

/// A Node that fits, with what is on it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub node: &'a Node,
    pub load: &'a NodeLoad,
}

/// The Nodes whose Pods bear on the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighs {
    /// Pods that say something about others.
    Speaking,
    Everybody,
}

/// What was counted of the Pods that are there, for the score. Made once the Nodes that fit are known.
pub struct Preferences {
    company: company::Company,
    spread: soft_spread::SoftSpread,
}

impl Preferences {
    /// `group` is how the Pod's Services select it, for the spread that Pods without constraints of their own get.
    pub fn of(incoming: &Incoming<'_>, candidates: &[Candidate<'_>], group: Option<Selector>) -> Self {
        Preferences {
            company: company::Company::default(),
            spread: soft_spread::SoftSpread::of(incoming, candidates, group),
        }
    }

    pub fn weighs(&self, incoming: &Incoming<'_>) -> Weighs {
        let asks = !incoming.terms.preferred.is_empty() || !self.spread.is_empty();
        if asks { Weighs::Everybody } else { Weighs::Speaking }
    }

    /// Counts a Node, a candidate or not, and the Pods on it.
    pub fn see<'r>(
        &mut self,
        incoming: &Incoming<'_>,
        node: &Node,
        there: impl Iterator<Item = Resident<'r>> + Clone,
    ) {
        self.spread.see(incoming, node, there.clone().map(|resident| resident.pod));
        self.company.see(incoming, node, there);
    }
}

/// The best of the candidates; the first by name among equals.
pub fn best<'a>(
    incoming: &Incoming<'_>,
    candidates: &[Candidate<'a>],
    preferences: &Preferences,
    images: &ImageSpread,
) -> Option<Candidate<'a>> {
    let totals = totals(incoming, candidates, preferences, images);
    let ranked = candidates.iter().zip(totals);
    ranked
        .min_by(|(a, total_a), (b, total_b)| {
            total_b.cmp(total_a).then_with(|| a.node.name().cmp(b.node.name()))
        })
        .map(|(candidate, _)| *candidate)
}

/// The weighted sum for each candidate.
pub fn totals(
    incoming: &Incoming<'_>,
    candidates: &[Candidate<'_>],
    preferences: &Preferences,
    images: &ImageSpread,
) -> Vec<i64> {
    let each = |score: &dyn Fn(&Candidate<'_>) -> i64| candidates.iter().map(score).collect::<Vec<i64>>();
    let tolerations = api::pod::tolerations(incoming.pod);
    let taints = each(&|candidate| {
        let untolerated = taint::untolerated_preferences(taint::of_node(candidate.node), tolerations);
        i64::try_from(untolerated).unwrap_or(i64::MAX)
    });
    let affinity = each(&|candidate| selection::preferred_weight(incoming.spec, candidate.node));
    let parts = [
        (WEIGHT_TAINTS, share_of_the_largest(taints).into_iter().map(|share| SCORE_MAX - share).collect()),
        (WEIGHT_AFFINITY, share_of_the_largest(affinity)),
        (WEIGHT_SPREAD, preferences.spread.scores(candidates)),
        (WEIGHT_COMPANY, preferences.company.scores(candidates)),
        (1, each(&|candidate| resources::least_allocated(&incoming.demand, candidate.load))),
        (1, each(&|candidate| resources::balanced(&incoming.demand, candidate.load))),
        (1, each(&|candidate| images.score(incoming.spec, candidate.node))),
    ];
    let mut totals = vec![0; candidates.len()];
    for (weight, scores) in parts {
        let scores: Vec<i64> = scores;
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += weight * score;
        }
    }
    totals
}

fn share_of_the_largest(scores: Vec<i64>) -> Vec<i64> {
    match scores.iter().max() {
        Some(largest) if *largest > 0 => scores.iter().map(|score| score * SCORE_MAX / largest).collect(),
        _ => scores,
    }
}
