//! Whose leaving makes room for a Pod that fits nowhere: whether that is to be looked for at all, and on which Nodes.

use std::sync::Arc;

use client::ObjectKey;
use k8s_openapi::api::core::v1::Pod;
use placement::preemption::{choose, is_leaving_by_preemption, may_help, victims};
use placement::{Budgets, Incoming, PreemptionTried, Stuck, Victims};

use super::Refused;
use crate::snapshot::Snapshot;

/// Upstream's minCandidateNodesPercentage and minCandidateNodesAbsolute: so many offers are enough to choose from.
const OFFERS_PERCENT: usize = 10;
const OFFERS_ENOUGH_MIN: usize = 100;

pub(super) enum Outcome {
    /// These make room on this Node.
    Room { node: String, victims: Vec<Arc<Pod>> },
    /// Nobody is looked for.
    OutOfTheQuestion(PreemptionTried),
    /// What stood in the way on each Node that seemed worth a try.
    InVain(Vec<Stuck>),
}

/// Why nobody may be removed for this Pod now.
pub(super) fn is_out_of_the_question(
    pod: &Pod,
    snapshot: &Snapshot,
    refused: &[Refused],
) -> Option<PreemptionTried> {
    if pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Some(PreemptionTried::PolicyNever);
    }
    let node = snapshot.promises.node_of(&ObjectKey::of(&pod.metadata))?;
    // Where its promised Node is of no use any more, it may look elsewhere.
    if refused.iter().any(|refused| refused.node == node && !may_help(&refused.reasons)) {
        return None;
    }
    let priority = api::pod::priority(pod);
    let still_leaving = snapshot
        .residents(node)
        .any(|there| api::pod::priority(there.pod) < priority && is_leaving_by_preemption(there.pod));
    still_leaving.then_some(PreemptionTried::VictimStillThere)
}

pub(super) fn look_for_victims(
    incoming: &mut Incoming<'_>,
    refused: &[Refused],
    snapshot: &Snapshot,
    budgets: &Budgets,
) -> Outcome {
    if let Some(why) = is_out_of_the_question(incoming.pod, snapshot, refused) {
        return Outcome::OutOfTheQuestion(why);
    }
    let worth_a_try: Vec<&str> = refused
        .iter()
        .filter(|refused| may_help(&refused.reasons))
        .map(|refused| refused.node.as_str())
        .collect();
    let enough = (worth_a_try.len() * OFFERS_PERCENT / 100).max(OFFERS_ENOUGH_MIN);
    let mut offers: Vec<Victims<'_>> = Vec::new();
    let mut places: Vec<&str> = Vec::new();
    let mut stuck = Vec::new();
    for name in worth_a_try {
        let Some(seen) = snapshot.node(name) else { continue };
        let there: Vec<_> = snapshot.residents(name).collect();
        let promised = snapshot.promises.on(name, incoming.pod);
        match victims(incoming, seen.node, seen.load, &there, &promised, budgets) {
            Ok(offer) => {
                offers.push(offer);
                places.push(name);
            }
            Err(why) => stuck.push(why),
        }
        // As upstream, the search goes on while all offers break some budget.
        if offers.len() >= enough && offers.iter().any(|offer| offer.violations == 0) {
            break;
        }
    }
    let Some(chosen) = choose(&offers) else { return Outcome::InVain(stuck) };
    let victims = offers[chosen].pods.iter();
    let victims = victims.filter_map(|pod| snapshot.pod(&ObjectKey::of(&pod.metadata)).cloned()).collect();
    Outcome::Room { node: places[chosen].to_owned(), victims }
}
