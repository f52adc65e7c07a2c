//! The node's own word on a Pod that was bound to it or lies in its manifest folder: may it run here, now.
//!
//! Asked once, before the first start. The scheduler's verdict may be old, and static Pods never saw a scheduler.
//! A critical Pod (static, mirror, or of system priority) that only lacks resources is admitted in the place of
//! others: the least that suffices, the best-protected class spared most. Upstream: the kubelet's predicate
//! handler and critical-pod preemption.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint};
use placement::{Demand, NodeLoad, Unfit};

use api::meta::Meta;
use api::pod::QosClass;
use api::well_known::taint;

use crate::pressure::Condition;

/// What the node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Admitted,
    /// To be handed to the machine as [`Admission::Refused`](crate::Admission::Refused).
    Refused {
        reason: String,
        message: String,
    },
    /// Admitted once these Pods (by uid) are evicted with reason `Preempting`.
    InPlaceOf {
        victims: Vec<String>,
    },
}

/// May the Pod run on the Node next to the others that were admitted? Terminal Pods among them do not count.
pub fn admit(pod: &Pod, node: &Node, others: &[&Pod]) -> Verdict {
    if let Some((reason, words)) = mismatch(pod, node) {
        return refused(reason, format!("Predicate {reason} failed: {words}"));
    }
    let others: Vec<&Pod> = others
        .iter()
        .copied()
        .filter(|other| other.uid() != pod.uid() && !api::pod::is_terminal(other))
        .collect();
    let demand = Demand::of(pod);
    let load = NodeLoad::with_pods(node, others.iter().copied());
    if let Err(unfit) = load.fits_ports(&demand) {
        return refused("NodePorts", format!("Predicate NodePorts failed: {unfit}"));
    }
    let lacking = load.lacking(&demand);
    let Some(first) = lacking.first() else { return Verdict::Admitted };
    if api::pod::is_critical(pod)
        && let Some(victims) = victims(pod, node, &demand, &others)
    {
        return Verdict::InPlaceOf { victims };
    }
    match first {
        Unfit::Insufficient { resource, .. } => {
            refused(&format!("OutOf{resource}"), format!("Node didn't have enough resource: {resource}"))
        }
        other => refused("OutOfpods", format!("Node didn't have enough resource: pods ({other})")),
    }
}

/// May the Pod start while the node has these conditions? Critical ones may; under memory pressure alone also those
/// that ask for something or tolerate its taint. Upstream's eviction manager, asked before all other rules.
pub fn under_pressure(pod: &Pod, conditions: &BTreeSet<Condition>) -> Verdict {
    if conditions.is_empty() || api::pod::is_critical(pod) {
        return Verdict::Admitted;
    }
    if conditions.iter().eq([&Condition::MemoryPressure]) {
        let asks = pod.spec.as_ref().map(api::pod::qos_class) != Some(QosClass::BestEffort);
        let taint = Taint {
            key: taint::MEMORY_PRESSURE.to_owned(),
            effect: taint::NO_SCHEDULE.to_owned(),
            ..Taint::default()
        };
        let taints = [taint];
        let tolerations = api::pod::tolerations(pod);
        let tolerates = placement::untolerated(&taints, tolerations, &[taint::NO_SCHEDULE]).is_none();
        if asks || tolerates {
            return Verdict::Admitted;
        }
    }
    let names: Vec<String> = conditions.iter().map(ToString::to_string).collect();
    refused("Evicted", format!("The node had condition: [{}]. ", names.join(" ")))
}

fn refused(reason: &str, message: String) -> Verdict {
    Verdict::Refused { reason: reason.to_owned(), message }
}

/// What no eviction can change. Upstream's predicate name and words.
fn mismatch(pod: &Pod, node: &Node) -> Option<(&'static str, &'static str)> {
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    if api::pod::node_name(pod).is_some_and(|name| name != node.name()) {
        return Some(("NodeName", "node(s) didn't match the requested node name"));
    }
    if !placement::matches_node_selection(spec, node) {
        return Some(("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"));
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let taints = placement::taint::of_node(node);
    let taint = placement::untolerated(taints, tolerations, placement::taint::SENDS_RUNNING_PODS_AWAY);
    if taint.is_some() && !api::pod::is_static(pod) {
        return Some(("TaintToleration", "node(s) had taints that the pod didn't tolerate"));
    }
    None
}

/// The Pods to evict, or `None` if even all that may go would not suffice.
fn victims(pod: &Pod, node: &Node, demand: &Demand, others: &[&Pod]) -> Option<Vec<String>> {
    let may_go = |other: &Pod| {
        !api::pod::is_critical(other)
            || (!api::pod::is_static(other) && api::pod::priority(other) < api::pod::priority(pod))
    };
    let mut leaving: Vec<&Pod> = others.iter().copied().filter(|other| may_go(other)).collect();
    let suffices = |leaving: &[&Pod]| {
        let stays = |other: &&&Pod| !leaving.iter().any(|gone| gone.uid() == other.uid());
        NodeLoad::with_pods(node, others.iter().filter(stays).copied()).lacking(demand).is_empty()
    };
    if !suffices(&leaving) {
        return None;
    }
    // Spare whom we can: the guaranteed first, the smaller demands after the larger ones of their class.
    leaving.sort_by_key(|other| {
        let class = other.spec.as_ref().map(api::pod::qos_class);
        let asked: i128 = Demand::of(other).requests.values().sum();
        (std::cmp::Reverse(class), std::cmp::Reverse(asked), other.uid().to_owned())
    });
    let mut at = 0;
    while at < leaving.len() {
        let spared = leaving.remove(at);
        if !suffices(&leaving) {
            leaving.insert(at, spared);
            at += 1;
        }
    }
    let mut victims: Vec<String> = leaving.iter().map(|victim| victim.uid().to_owned()).collect();
    victims.sort();
    Some(victims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node() -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"disk": "ssd"}},
            "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "10"}},
        }))
        .unwrap()
    }

    fn pod(uid: &str, cpu: &str, spec: Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": uid, "namespace": "default", "uid": uid},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]},
        });
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::Admitted => "admitted".to_owned(),
            Verdict::Refused { reason, .. } => reason,
            Verdict::InPlaceOf { victims } => format!("in place of {}", victims.join(" ")),
        }
    }

    #[test]
    fn what_does_not_match_the_node_is_refused_by_predicate() {
        let cases = [
            (json!({}), "admitted"),
            (json!({"nodeName": "n"}), "admitted"),
            (json!({"nodeName": "other"}), "NodeName"),
            (json!({"nodeSelector": {"disk": "ssd"}}), "admitted"),
            (json!({"nodeSelector": {"disk": "hdd"}}), "NodeAffinity"),
        ];
        for (spec, expected) in cases {
            assert_eq!(reason(admit(&pod("p", "1", spec.clone()), &node(), &[])), expected, "{spec}");
        }
        let refusal = admit(&pod("p", "1", json!({"nodeName": "other"})), &node(), &[]);
        let message = "Predicate NodeName failed: node(s) didn't match the requested node name".to_owned();
        assert_eq!(refusal, Verdict::Refused { reason: "NodeName".to_owned(), message });
    }

    #[test]
    fn only_no_execute_taints_count_and_not_for_static_pods() {
        let mut node = node();
        assert_eq!(
            reason(admit(&pod("p", "1", json!({})), &node, &[])),
            "admitted",
            "NoSchedule is the scheduler's"
        );
        node.spec.as_mut().unwrap().taints.as_mut().unwrap()[0].effect = "NoExecute".to_owned();
        assert_eq!(reason(admit(&pod("p", "1", json!({})), &node, &[])), "TaintToleration");
        let mut fixed = pod("s", "1", json!({}));
        fixed.metadata.annotations =
            Some([("kubernetes.io/config.source".to_owned(), "file".to_owned())].into());
        assert_eq!(reason(admit(&fixed, &node, &[])), "admitted");
    }

    #[test]
    fn resources_and_ports_count_with_those_that_are_there_and_not_ended() {
        let there = pod("a", "1500m", json!({}));
        assert_eq!(reason(admit(&pod("p", "1", json!({})), &node(), &[&there])), "OutOfcpu");
        let mut ended = there.clone();
        ended.status = Some(serde_json::from_value(json!({"phase": "Succeeded"})).unwrap());
        assert_eq!(reason(admit(&pod("p", "1", json!({})), &node(), &[&ended])), "admitted");
        assert_eq!(reason(admit(&there, &node(), &[&there])), "admitted", "a Pod is not in its own way");
        let port = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i",
            "ports": [{"containerPort": 80, "hostPort": 80}]}]});
        let (one, two) = (pod("a", "1", port.clone()), pod("b", "1", port));
        assert_eq!(reason(admit(&two, &node(), &[&one])), "NodePorts");
    }

    #[test]
    fn a_critical_pod_takes_the_place_of_the_fewest_and_least_protected() {
        let critical = pod("c", "1", json!({"priority": 2_000_000_000}));
        let small = pod("small", "500m", json!({}));
        let large = pod("large", "1", json!({}));
        let other = pod("other", "500m", json!({}));
        let verdict = admit(&critical, &node(), &[&small, &large, &other]);
        assert_eq!(reason(verdict), "in place of other small", "the larger one is spared, they suffice");
        let peer = pod("peer", "2", json!({"priority": 2_000_000_000}));
        assert_eq!(reason(admit(&critical, &node(), &[&peer])), "OutOfcpu", "a peer stays");
        assert_eq!(reason(admit(&pod("p", "1", json!({})), &node(), &[&small, &large, &other])), "OutOfcpu");
        let too_large = pod("c", "3", json!({"priority": 2_000_000_000}));
        assert_eq!(reason(admit(&too_large, &node(), &[&small])), "OutOfcpu");
    }

    #[test]
    fn under_pressure_only_who_asks_tolerates_or_is_critical_is_admitted() {
        let memory = BTreeSet::from([Condition::MemoryPressure]);
        let disk = BTreeSet::from([Condition::DiskPressure]);
        let both = BTreeSet::from([Condition::MemoryPressure, Condition::DiskPressure]);
        let best_effort = pod("b", "0", json!({}));
        let asks = pod("a", "1", json!({}));
        let daemon = pod(
            "d",
            "0",
            json!({"tolerations": [
            {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}]}),
        );
        let critical = pod("c", "0", json!({"priority": 2_000_000_000}));
        let cases = [
            (&best_effort, [true, false, false, false]),
            (&asks, [true, true, false, false]),
            (&daemon, [true, true, false, false]),
            (&critical, [true, true, true, true]),
        ];
        for (pod, expected) in cases {
            for (conditions, admitted) in [&BTreeSet::new(), &memory, &disk, &both].into_iter().zip(expected)
            {
                let said = under_pressure(pod, conditions);
                assert_eq!(said == Verdict::Admitted, admitted, "{} {conditions:?}", pod.uid());
            }
        }
        let message = "The node had condition: [DiskPressure MemoryPressure]. ".to_owned();
        let expected = Verdict::Refused { reason: "Evicted".to_owned(), message };
        assert_eq!(under_pressure(&best_effort, &both), expected);
    }
}
