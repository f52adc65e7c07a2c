//! Soft topology spread (ScheduleAnyway): fewer Pods of the group in a Node's domains is better. Upstream: the
//! PodTopologySpread plugin's PreScore and Score, with the cluster's default constraints for Pods that have none.

use std::collections::{BTreeMap, BTreeSet};

use api::label::Selector;
use api::meta::Meta;
use api::well_known::node_label;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::{Candidate, SCORE_MAX};
use crate::incoming::Incoming;
use crate::interpod::Domain;
use crate::spread::{Constraint, SOFT, constraints_of, has_all_keys};

/// Upstream's system defaults for Pods that a Service selects and that have no constraints of their own.
const DEFAULTS: [(&str, i64); 2] = [(node_label::HOSTNAME, 3), (node_label::ZONE, 5)];

#[derive(Default)]
pub(super) struct SoftSpread {
    constraints: Vec<Weighted>,
    /// The Pod's own constraints: a Node without one of the keys takes no part. With the defaults it does.
    all_keys: bool,
    /// Pods in the domains of the Nodes that fit.
    by_domain: BTreeMap<Domain, i64>,
    /// Pods on each Node, for constraints over single Nodes.
    by_node: BTreeMap<(usize, String), i64>,
    candidates: BTreeSet<String>,
}

struct Weighted {
    constraint: Constraint,
    /// More domains make each of them count more.
    weight: f64,
}

impl SoftSpread {
    pub fn of(incoming: &Incoming<'_>, candidates: &[Candidate<'_>], group: Option<Selector>) -> Self {
        let has_own = incoming
            .spec
            .topology_spread_constraints
            .as_ref()
            .is_some_and(|constraints| !constraints.is_empty());
        let constraints = match (has_own, group) {
            (true, _) => constraints_of(incoming.pod, SOFT),
            (false, Some(group)) => defaults(&group),
            (false, None) => Vec::new(),
        };
        if constraints.is_empty() {
            return SoftSpread::default();
        }
        let takes_part = |node: &Node| !has_own || has_all_keys(node, constraints.iter());
        let taking_part: Vec<&Node> =
            candidates.iter().map(|candidate| candidate.node).filter(|node| takes_part(node)).collect();
        let mut by_domain = BTreeMap::new();
        let weight = |constraint: &Constraint, by_domain: &mut BTreeMap<Domain, i64>| {
            let before = by_domain.len();
            if is_hostname(constraint) {
                return weight_of(taking_part.len());
            }
            for value in taking_part.iter().filter_map(|node| node.label(&constraint.topology_key)) {
                by_domain.insert((constraint.topology_key.clone(), value.to_owned()), 0);
            }
            weight_of(by_domain.len() - before)
        };
        let weights: Vec<f64> =
            constraints.iter().map(|constraint| weight(constraint, &mut by_domain)).collect();
        SoftSpread {
            candidates: taking_part.iter().map(|node| node.name().to_owned()).collect(),
            constraints: constraints
                .into_iter()
                .zip(weights)
                .map(|(constraint, weight)| Weighted { constraint, weight })
                .collect(),
            all_keys: has_own,
            by_domain,
            by_node: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.constraints.is_empty()
    }

    pub fn see<'a>(
        &mut self,
        incoming: &Incoming<'_>,
        node: &Node,
        there: impl Iterator<Item = &'a Pod> + Clone,
    ) {
        let constraints = self.constraints.iter().map(|weighted| &weighted.constraint);
        if self.is_empty() || (self.all_keys && !has_all_keys(node, constraints)) {
            return;
        }
        for (index, Weighted { constraint, .. }) in self.constraints.iter().enumerate() {
            let Some(value) = node.label(&constraint.topology_key) else { continue };
            let counting = || {
                let pods = there.clone().filter(|pod| constraint.counts_pod(incoming.pod, pod)).count();
                i64::try_from(pods).unwrap_or(i64::MAX)
            };
            if is_hostname(constraint) {
                // Upstream counts a Node's own Pods whatever the policies say of the Node.
                if self.candidates.contains(node.name()) {
                    self.by_node.insert((index, node.name().to_owned()), counting());
                }
            } else if let Some(count) =
                self.by_domain.get_mut(&(constraint.topology_key.clone(), value.to_owned()))
                && constraint.counts_node(incoming.spec, node)
            {
                *count += counting();
            }
        }
    }

    pub fn scores(&self, candidates: &[Candidate<'_>]) -> Vec<i64> {
        if self.is_empty() {
            return vec![0; candidates.len()];
        }
        let raw: Vec<Option<i64>> = candidates.iter().map(|candidate| self.raw(candidate.node)).collect();
        let counted = || raw.iter().flatten().copied();
        let (least, most) = (counted().min().unwrap_or(0), counted().max().unwrap_or(0));
        let score = |raw: &Option<i64>| match raw {
            None => 0,
            Some(_) if most == 0 => SCORE_MAX,
            Some(raw) => SCORE_MAX * (most + least - raw) / most,
        };
        raw.iter().map(score).collect()
    }

    /// The more Pods of the group, the higher; `None` where the Node takes no part.
    fn raw(&self, node: &Node) -> Option<i64> {
        if !self.candidates.contains(node.name()) {
            return None;
        }
        let mut sum = 0.0;
        for (index, Weighted { constraint, weight }) in self.constraints.iter().enumerate() {
            let Some(value) = node.label(&constraint.topology_key) else { continue };
            let pods = if is_hostname(constraint) {
                self.by_node.get(&(index, node.name().to_owned()))
            } else {
                self.by_domain.get(&(constraint.topology_key.clone(), value.to_owned()))
            };
            let pods = pods.copied().unwrap_or_default();
            sum += pods as f64 * weight + (constraint.skew_max - 1) as f64;
        }
        Some(sum.round() as i64)
    }
}

fn is_hostname(constraint: &Constraint) -> bool {
    constraint.topology_key == node_label::HOSTNAME
}

/// Two are added so that one domain weighs something too.
fn weight_of(domains: usize) -> f64 {
    (domains as f64 + 2.0).ln()
}

fn defaults(group: &Selector) -> Vec<Constraint> {
    DEFAULTS
        .iter()
        .map(|(key, skew_max)| Constraint {
            topology_key: (*key).to_owned(),
            skew_max: *skew_max,
            domains_min: 1,
            pods: group.clone(),
            selected_only: true,
            tolerated_only: false,
        })
        .collect()
}
