//! Preferred Pod affinity and anti-affinity, both ways: what the incoming Pod would like, and what the Pods that are there
//! would like of it. Upstream: the InterPodAffinity plugin's PreScore and Score, hardPodAffinityWeight 1.

use std::collections::BTreeMap;

use api::meta::Meta;
use k8s_openapi::api::core::v1::Node;

use super::{Candidate, SCORE_MAX};
use crate::incoming::Incoming;
use crate::interpod::{Domain, domain};
use crate::resident::Resident;
use crate::terms::Term;

/// What a required affinity term of a Pod that is there weighs for the newcomer whom it wants.
const WANTED_WEIGHT: i64 = 1;

#[derive(Default)]
pub(super) struct Company {
    weights: BTreeMap<Domain, i64>,
}

impl Company {
    pub fn see<'r>(
        &mut self,
        incoming: &Incoming<'_>,
        node: &Node,
        there: impl Iterator<Item = Resident<'r>>,
    ) {
        let namespaces = incoming.namespaces;
        for resident in there {
            for preference in &incoming.terms.preferred {
                if preference.term.matches(resident.pod, namespaces) {
                    self.weigh(node, &preference.term, preference.weight);
                }
            }
            let Some(terms) = resident.terms else { continue };
            for term in terms.affinity.iter().filter(|term| term.matches(incoming.pod, namespaces)) {
                self.weigh(node, term, WANTED_WEIGHT);
            }
            for preference in &terms.preferred {
                if preference.term.matches(incoming.pod, namespaces) {
                    self.weigh(node, &preference.term, preference.weight);
                }
            }
        }
    }

    pub fn scores(&self, candidates: &[Candidate<'_>]) -> Vec<i64> {
        let of = |candidate: &Candidate<'_>| -> i64 {
            let here = |((key, value), weight): (&Domain, &i64)| {
                (candidate.node.label(key) == Some(value)).then_some(*weight)
            };
            self.weights.iter().filter_map(here).sum()
        };
        let raw: Vec<i64> = match self.weights.is_empty() {
            true => vec![0; candidates.len()],
            false => candidates.iter().map(of).collect(),
        };
        let (least, most) = (raw.iter().min().copied().unwrap_or(0), raw.iter().max().copied().unwrap_or(0));
        let range = most - least;
        raw.iter().map(|score| if range == 0 { 0 } else { (score - least) * SCORE_MAX / range }).collect()
    }

    fn weigh(&mut self, node: &Node, term: &Term, weight: i64) {
        if let Some(domain) = domain(node, &term.topology_key) {
            *self.weights.entry(domain).or_default() += weight;
        }
    }
}
