//! Which taints follow from a Node's conditions. Pure.
//!
//! NoSchedule at once for what is wrong with a Node; NoExecute for a Node that is not ready, if it may be given up.
//! Taints with other keys are nobody's business here. Upstream: nodelifecycle's nodeConditionToTaintKeyStatusMap.

use api::well_known::{node_condition, taint};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::outage::GiveUp;
use super::ready_status;

/// What a Node says of itself, or is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotReady,
    Unreachable,
}

pub fn readiness(node: &Node) -> Readiness {
    match ready_status(node) {
        Some("True") => Readiness::Ready,
        Some("Unknown") | None => Readiness::Unreachable,
        Some(_) => Readiness::NotReady,
    }
}

/// The Node's taints as they should be, or `None` if they are.
pub fn wanted(node: &Node, give_up: GiveUp, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let wanted = wanted_here(node, give_up);
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let keeps = |taint: &&Taint| !is_ours(taint) || is_wanted(taint);
    let mut taints: Vec<Taint> = present.iter().filter(keeps).cloned().collect();
    let kept = taints.len();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                value: None,
                time_added: Some(Time(now)),
            });
        }
    }
    (kept != present.len() || taints.len() != kept).then_some(taints)
}

/// Keys and effects that only this controller sets and removes.
fn is_ours(taint: &Taint) -> bool {
    match taint.effect.as_str() {
        taint::NO_SCHEDULE => matches!(
            taint.key.as_str(),
            taint::NOT_READY
                | taint::UNREACHABLE
                | taint::UNSCHEDULABLE
                | taint::MEMORY_PRESSURE
                | taint::DISK_PRESSURE
                | taint::PID_PRESSURE
                | taint::NETWORK_UNAVAILABLE
        ),
        taint::NO_EXECUTE => matches!(taint.key.as_str(), taint::NOT_READY | taint::UNREACHABLE),
        _ => false,
    }
}

fn wanted_here(node: &Node, give_up: GiveUp) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    // A Node that has said nothing yet keeps the taint that it was registered with.
    match ready_status(node) {
        Some("True") => {}
        Some("Unknown") => wanted.push((taint::UNREACHABLE, taint::NO_SCHEDULE)),
        Some(_) | None => wanted.push((taint::NOT_READY, taint::NO_SCHEDULE)),
    }
    let by_condition = [
        (node_condition::MEMORY_PRESSURE, taint::MEMORY_PRESSURE),
        (node_condition::DISK_PRESSURE, taint::DISK_PRESSURE),
        (node_condition::PID_PRESSURE, taint::PID_PRESSURE),
        (node_condition::NETWORK_UNAVAILABLE, taint::NETWORK_UNAVAILABLE),
    ];
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    for (type_, key) in by_condition {
        if conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True") {
            wanted.push((key, taint::NO_SCHEDULE));
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((taint::UNSCHEDULABLE, taint::NO_SCHEDULE));
    }
    match (give_up, ready_status(node)) {
        (GiveUp::No, _) | (_, Some("True") | None) => {}
        (GiveUp::Yes, Some("Unknown")) => wanted.push((taint::UNREACHABLE, taint::NO_EXECUTE)),
        (GiveUp::Yes, Some(_)) => wanted.push((taint::NOT_READY, taint::NO_EXECUTE)),
        // One that is given up already stays so, under the key that fits.
        (GiveUp::NotYet, Some(status)) if is_given_up(node) => {
            let key = if status == "Unknown" { taint::UNREACHABLE } else { taint::NOT_READY };
            wanted.push((key, taint::NO_EXECUTE));
        }
        (GiveUp::NotYet, Some(_)) => {}
    }
    wanted
}

fn is_given_up(node: &Node) -> bool {
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.any(|taint| taint.effect == taint::NO_EXECUTE && is_ours(taint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(conditions: Value, taints: Value, unschedulable: bool) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"},
            "spec": {"unschedulable": unschedulable, "taints": taints}, "status": {"conditions": conditions}}))
        .unwrap()
    }

    fn check(node: &Node, give_up: GiveUp) -> Option<String> {
        let line = |taint: &Taint| {
            format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)
        };
        wanted(node, give_up, Timestamp::UNIX_EPOCH)
            .map(|taints| taints.iter().map(line).collect::<Vec<_>>().join(" "))
    }

    fn ready(status: &str) -> Value {
        json!([{"type": "Ready", "status": status}])
    }

    #[test]
    fn taints_follow_the_conditions() {
        let table = [
            (ready("True"), false, None),
            (ready("False"), false, Some("not-ready:NoSchedule not-ready:NoExecute")),
            (ready("Unknown"), false, Some("unreachable:NoSchedule unreachable:NoExecute")),
            (json!([]), false, Some("not-ready:NoSchedule")),
            (ready("True"), true, Some("unschedulable:NoSchedule")),
            (
                json!([{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "True"},
                    {"type": "DiskPressure", "status": "Unknown"}, {"type": "PIDPressure", "status": "True"}]),
                false,
                Some("memory-pressure:NoSchedule pid-pressure:NoSchedule"),
            ),
        ];
        for (conditions, unschedulable, expected) in table {
            let node = node(conditions.clone(), json!([]), unschedulable);
            assert_eq!(check(&node, GiveUp::Yes).as_deref(), expected, "{conditions}");
        }
    }

    #[test]
    fn a_node_that_recovers_loses_ours_and_keeps_others() {
        let taints = json!([
            {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
            {"key": "dedicated", "value": "gpu", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/memory-pressure", "effect": "NoExecute"},
        ]);
        let node = node(ready("True"), taints, false);
        assert_eq!(
            check(&node, GiveUp::Yes).as_deref(),
            Some("dedicated:NoExecute memory-pressure:NoExecute")
        );
    }

    #[test]
    fn a_node_that_may_not_be_given_up_is_not_and_one_that_is_stays_so() {
        let fresh = node(ready("Unknown"), json!([]), false);
        assert_eq!(check(&fresh, GiveUp::NotYet).as_deref(), Some("unreachable:NoSchedule"));
        let given_up = node(
            ready("False"),
            json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]),
            false,
        );
        let moved = Some("not-ready:NoSchedule not-ready:NoExecute");
        assert_eq!(check(&given_up, GiveUp::NotYet).as_deref(), moved);
        assert_eq!(check(&given_up, GiveUp::No).as_deref(), Some("not-ready:NoSchedule"));
    }

    #[test]
    fn taints_that_are_right_are_left_with_their_times() {
        let node = node(
            ready("Unknown"),
            json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]),
            false,
        );
        assert_eq!(check(&node, GiveUp::Yes), None);
    }
}
