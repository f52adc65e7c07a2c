//! Topology spread constraints: no domain may be too far ahead of the emptiest one.
//!
//! [`Spread`] counts the hard constraints (DoNotSchedule) of one incoming Pod, domain by domain, and is asked for each
//! Node; the soft ones are part of the score. Only Pods of the incoming Pod's namespace count, and none that is being
//! deleted. Upstream: the PodTopologySpread plugin's PreFilter and Filter.

use std::collections::BTreeMap;

use api::label::{Requirement, Requires, Selector};
use api::meta::Meta;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, TopologySpreadConstraint};

use crate::selection::matches_node_selection;
use crate::taint::{self, untolerated};
use crate::unfit::Unfit;

pub(crate) const HARD: &str = "DoNotSchedule";
pub(crate) const SOFT: &str = "ScheduleAnyway";

/// One constraint, ready to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub topology_key: String,
    pub skew_max: i64,
    pub domains_min: usize,
    pub pods: Selector,
    /// nodeAffinityPolicy is Honor: only Nodes that the Pod selects count.
    pub selected_only: bool,
    /// nodeTaintsPolicy is Honor: only Nodes whose taints it tolerates count.
    pub tolerated_only: bool,
}

/// The hard constraints of one Pod with what was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spread {
    counted: Vec<Counted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    constraint: Constraint,
    /// The Pod itself would be one of those that count.
    itself: i64,
    domains: BTreeMap<String, i64>,
    /// How many domains have this many Pods: the emptiest one is the first.
    by_count: BTreeMap<i64, usize>,
}

/// The Pod's own constraints of one kind.
pub(crate) fn constraints_of(pod: &Pod, when: &str) -> Vec<Constraint> {
    let all = pod.spec.as_ref().and_then(|spec| spec.topology_spread_constraints.as_deref());
    let of_kind = all.unwrap_or_default().iter().filter(|constraint| constraint.when_unsatisfiable == when);
    of_kind.map(|constraint| Constraint::of(pod, constraint)).collect()
}

impl Constraint {
    fn of(pod: &Pod, constraint: &TopologySpreadConstraint) -> Self {
        let honors = |policy: &Option<String>, default| policy.as_deref().map_or(default, |p| p == "Honor");
        let selector = Selector::from_optional(constraint.label_selector.as_ref());
        Constraint {
            topology_key: constraint.topology_key.clone(),
            skew_max: i64::from(constraint.max_skew),
            domains_min: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            pods: with_label_keys(selector.unwrap_or(Selector::Nothing), pod, constraint),
            selected_only: honors(&constraint.node_affinity_policy, true),
            tolerated_only: honors(&constraint.node_taints_policy, false),
        }
    }

    /// Does the Node take part in this constraint?
    pub fn counts_node(&self, spec: &PodSpec, node: &Node) -> bool {
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        let tolerated =
            || untolerated(taint::of_node(node), tolerations, taint::KEEPS_NEW_PODS_AWAY).is_none();
        (!self.selected_only || matches_node_selection(spec, node)) && (!self.tolerated_only || tolerated())
    }

    /// Does this Pod, on some Node, count for the incoming one?
    pub fn counts_pod(&self, incoming: &Pod, there: &Pod) -> bool {
        // COMPAT(scheduler): an empty selector counts nobody but the Pod itself.
        !self.pods.is_everything()
            && !there.is_deleting()
            && there.namespace() == incoming.namespace()
            && self.pods.matches(there.labels())
    }
}

/// The Node has the keys of all constraints: others take no part in any.
pub(crate) fn has_all_keys<'a>(node: &Node, mut constraints: impl Iterator<Item = &'a Constraint>) -> bool {
    constraints.all(|constraint| node.label(&constraint.topology_key).is_some())
}

impl Spread {
    pub fn of(pod: &Pod) -> Self {
        let counted = |constraint: Constraint| Counted {
            itself: i64::from(constraint.pods.matches(pod.labels())),
            constraint,
            domains: BTreeMap::new(),
            by_count: BTreeMap::new(),
        };
        Spread { counted: constraints_of(pod, HARD).into_iter().map(counted).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }

    /// All constraints leave out the Nodes that the Pod does not select: others need not be looked at.
    pub fn sees_selected_only(&self) -> bool {
        self.counted.iter().all(|counted| counted.constraint.selected_only)
    }

    /// Counts Pods of a Node in (`by` 1) or out (-1). The Node's domains are there from then on, if only with nobody in them.
    pub fn count<'a>(
        &mut self,
        incoming: &Pod,
        spec: &PodSpec,
        node: &Node,
        there: impl Iterator<Item = &'a Pod> + Clone,
        by: i64,
    ) {
        if self.is_empty() || !self.has_all_keys(node) {
            return;
        }
        for counted in self.counted.iter_mut().filter(|c| c.constraint.counts_node(spec, node)) {
            let counting = there.clone().filter(|pod| counted.constraint.counts_pod(incoming, pod)).count();
            counted.change(node, by * i64::try_from(counting).unwrap_or(i64::MAX));
        }
    }

    pub fn allow(&self, node: &Node) -> Result<(), Unfit> {
        for counted in &self.counted {
            let Some(value) = node.label(&counted.constraint.topology_key) else {
                return Err(Unfit::TopologySpreadMissingLabel);
            };
            let here = counted.domains.get(value).copied().unwrap_or_default();
            if here + counted.itself - counted.emptiest() > counted.constraint.skew_max {
                return Err(Unfit::TopologySpread);
            }
        }
        Ok(())
    }

    fn has_all_keys(&self, node: &Node) -> bool {
        has_all_keys(node, self.counted.iter().map(|counted| &counted.constraint))
    }
}

impl Counted {
    fn change(&mut self, node: &Node, by: i64) {
        let Some(value) = node.label(&self.constraint.topology_key) else { return };
        let before = self.domains.get(value).copied();
        let after = before.unwrap_or_default() + by;
        if let Some(before) = before {
            let domains = self.by_count.entry(before).or_default();
            *domains = domains.saturating_sub(1);
            if *domains == 0 {
                self.by_count.remove(&before);
            }
        }
        *self.by_count.entry(after).or_default() += 1;
        self.domains.insert(value.to_owned(), after);
    }

    /// With fewer domains than minDomains the missing ones are empty. Where no domain counts nothing is held against it.
    fn emptiest(&self) -> i64 {
        if self.domains.len() < self.constraint.domains_min {
            return 0;
        }
        self.by_count.keys().next().copied().unwrap_or(i64::from(i32::MAX))
    }
}

/// matchLabelKeys: the Pod's own values become part of the selector.
fn with_label_keys(selector: Selector, pod: &Pod, constraint: &TopologySpreadConstraint) -> Selector {
    let Selector::All(mut requirements) = selector else { return selector };
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.label(key) {
            let requires = Requires::Equals(value.to_owned());
            requirements.push(Requirement { key: key.clone(), requires });
        }
    }
    Selector::All(requirements)
}
