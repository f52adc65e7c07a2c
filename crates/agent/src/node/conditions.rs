//! The Node's conditions: pressure as [`crate::pressure`] tells it, and Ready by the runtime's own word.

use std::collections::BTreeSet;

use cri::{Readiness, RuntimeStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeCondition, NodeStatus};

use podmachine::pressure::Condition;

use super::condition;

/// All four, in upstream's order.
pub fn conditions(
    before: &NodeStatus,
    runtime: cri::Result<RuntimeStatus>,
    pressure: &BTreeSet<Condition>,
    now: Timestamp,
) -> Vec<NodeCondition> {
    let make = |type_: &str, holds: bool, words: (&str, &str), else_words: (&str, &str)| {
        let (reason, message) = if holds { words } else { else_words };
        condition(before, type_, holds, reason, message, now)
    };
    let not_ready = not_ready(runtime);
    let ready = match &not_ready {
        None => condition(before, "Ready", true, "KubeletReady", "kubelet is posting ready status", now),
        Some(message) => condition(before, "Ready", false, "KubeletNotReady", message, now),
    };
    vec![
        make(
            "MemoryPressure",
            pressure.contains(&Condition::MemoryPressure),
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        make(
            "DiskPressure",
            pressure.contains(&Condition::DiskPressure),
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        make(
            "PIDPressure",
            pressure.contains(&Condition::PidPressure),
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        ready,
    ]
}

/// Reasons of the Events that a change of pressure is told with: `NodeHasDiskPressure`.
pub fn pressure_changes(before: &NodeStatus, now: &NodeStatus) -> Vec<String> {
    let of = |status: &NodeStatus, type_: &str| {
        let found = status.conditions.iter().flatten().find(|condition| condition.type_ == type_)?;
        Some((found.status.clone(), found.reason.clone().unwrap_or_default()))
    };
    let change = |type_: &&str| {
        let ((was, _), (is, reason)) = (of(before, type_)?, of(now, type_)?);
        (was != is).then(|| reason.replacen("Kubelet", "Node", 1))
    };
    ["MemoryPressure", "DiskPressure", "PIDPressure"].iter().filter_map(change).collect()
}

/// Characters of faults in a condition's message; all of them are in `everynode static status`.
const FAULTS_CHARS_MAX: usize = 1_024;

/// DIFFERS(static-faults): whether some manifest is refused; upstream says it in its log alone.
pub fn manifests(before: &NodeStatus, faults: &[String], now: Timestamp) -> NodeCondition {
    const TYPE: &str = "StaticPodManifestFault";
    if faults.is_empty() {
        return condition(
            before,
            TYPE,
            false,
            "ManifestsAccepted",
            "every static Pod manifest is accepted",
            now,
        );
    }
    let message: String = faults.join("\n").chars().take(FAULTS_CHARS_MAX).collect();
    condition(before, TYPE, true, "ManifestRefused", &message, now)
}

/// Why Pods cannot be started now.
fn not_ready(runtime: cri::Result<RuntimeStatus>) -> Option<String> {
    let status = match runtime {
        Ok(status) => status,
        Err(error) => return Some(format!("container runtime is down: {error}")),
    };
    let mut reasons = Vec::new();
    for (name, readiness) in [("runtime", status.runtime), ("runtime network", status.network)] {
        if let Readiness::NotReady { reason, message } = readiness {
            reasons.push(format!("container {name} not ready: reason:{reason} message:{message}"));
        }
    }
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// Nothing differs but the times.
pub fn same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let timeless = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
            condition.last_transition_time = None;
        }
        status
    };
    timeless(a) == timeless(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> RuntimeStatus {
        RuntimeStatus { runtime: Readiness::Ready, network: Readiness::Ready }
    }

    #[test]
    fn faults_of_manifests_are_a_condition() {
        let now = Timestamp::UNIX_EPOCH;
        let fine = manifests(&NodeStatus::default(), &[], now);
        assert_eq!((fine.status.as_str(), fine.reason.as_deref()), ("False", Some("ManifestsAccepted")));
        let bad = manifests(&NodeStatus::default(), &["/m/a: empty".to_owned(), "x".repeat(5_000)], now);
        assert_eq!((bad.status.as_str(), bad.message.as_ref().unwrap().len()), ("True", FAULTS_CHARS_MAX));
        assert!(bad.message.unwrap().starts_with("/m/a: empty\nxxx"));
    }

    #[test]
    fn change_of_pressure_is_told_in_upstreams_words() {
        let now = Timestamp::UNIX_EPOCH;
        let status = |pressure: &[Condition]| NodeStatus {
            conditions: Some(conditions(
                &NodeStatus::default(),
                Ok(ready()),
                &pressure.iter().copied().collect(),
                now,
            )),
            ..Default::default()
        };
        let all = [Condition::DiskPressure, Condition::MemoryPressure, Condition::PidPressure];
        let told = pressure_changes(&status(&[]), &status(&all));
        assert_eq!(told, ["NodeHasInsufficientMemory", "NodeHasDiskPressure", "NodeHasInsufficientPID"]);
        let back = pressure_changes(&status(&all), &status(&all[1..]));
        assert_eq!(back, ["NodeHasNoDiskPressure"]);
        assert!(pressure_changes(&NodeStatus::default(), &status(&all)).is_empty());
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let none = BTreeSet::new();
        let first: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let before = NodeStatus {
            conditions: Some(conditions(&NodeStatus::default(), Ok(ready()), &none, first)),
            ..Default::default()
        };
        let kept = conditions(&before, Ok(ready()), &none, later);
        assert_eq!(kept[3].last_transition_time.as_ref().unwrap().0, first);
        assert_eq!(kept[3].last_heartbeat_time.as_ref().unwrap().0, later);
        let network =
            Readiness::NotReady { reason: "NetworkPluginNotReady".to_owned(), message: "cni".to_owned() };
        let broken = conditions(&before, Ok(RuntimeStatus { network, ..ready() }), &none, later);
        assert_eq!(broken[3].status, "False");
        assert_eq!(broken[3].last_transition_time.as_ref().unwrap().0, later);
        let message = broken[3].message.as_deref().unwrap();
        assert_eq!(message, "container runtime network not ready: reason:NetworkPluginNotReady message:cni");
        let after = NodeStatus { conditions: Some(kept), ..Default::default() };
        assert!(same(&before, &after));
        assert!(!same(&before, &NodeStatus { conditions: Some(broken), ..Default::default() }));
    }
}
