//! What no plan may ever do, whatever was seen: checked on every plan of the random sequences.

use std::collections::{BTreeMap, BTreeSet};

use daemonset::plan::PODS_PER_PLAN_MAX;
use daemonset::{DeleteReason, Plan, Step, Strategy, Verdict, View, verdict};
use k8s_openapi::api::core::v1::Node;

/// Panics with the plan where it breaks an invariant; `nodes` are those that the view has been told of.
pub fn check(view: &View, plan: &Plan, nodes: &BTreeMap<String, Node>, in_flight_before: &BTreeSet<String>) {
    let wanted = view.wanted();
    let mut created = BTreeSet::new();
    let mut deleted = BTreeSet::new();
    let mut in_budget = 0;
    for step in &plan.steps {
        match step {
            Step::CreatePod { node, .. } => {
                let there = nodes.get(node.as_str());
                let asked = there.map(|there| verdict(wanted, there));
                assert_eq!(asked, Some(Verdict::Run), "a pod for a node that wants none: {plan}");
                assert!(created.insert(node.to_string()), "two pods for one node: {plan}");
                assert!(!in_flight_before.contains(node.as_str()), "a step behind an unseen one: {plan}");
            }
            Step::DeletePod { node, pod, reason, .. } => {
                assert!(deleted.insert(pod.name.clone()), "one pod deleted twice: {plan}");
                assert!(view.knows_pod(&pod.name), "a pod that is not there deleted: {plan}");
                assert!(!in_flight_before.contains(node.as_str()), "a step behind an unseen one: {plan}");
                in_budget += u32::from(matches!(reason, DeleteReason::Outdated { .. }));
                if let DeleteReason::Outdated { budget } = reason {
                    assert!(budget.used <= budget.max, "over the budget: {plan}");
                }
            }
            _ => {}
        }
    }
    let sums = view.sums();
    let room = wanted.strategy.budget(sums.desired).saturating_sub(sums.budget_used);
    assert!(in_budget <= room, "{in_budget} victims, room for {room}: {plan}");
    if wanted.strategy == Strategy::OnDelete {
        let rolls = plan.deletes().any(|(_, _, reason)| {
            matches!(reason, DeleteReason::Outdated { .. } | DeleteReason::OutdatedUnavailable)
        });
        assert!(!rolls, "OnDelete replaces nothing by itself: {plan}");
    }
    assert!(created.len() <= PODS_PER_PLAN_MAX && deleted.len() <= PODS_PER_PLAN_MAX);
}
