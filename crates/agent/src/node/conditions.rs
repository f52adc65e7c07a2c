//! The Node's conditions: pressure by upstream's default thresholds, and Ready by the runtime's own word.

use cri::{Readiness, RuntimeStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeCondition, NodeStatus};

use super::condition;
use super::facts;

/// Upstream's evictionHard: memory.available.
const MEMORY_AVAILABLE_MIN_BYTES: u64 = 100 << 20;
/// Upstream's evictionHard: nodefs.available and nodefs.inodesFree, in percent.
const DISK_AVAILABLE_MIN_PERCENT: u64 = 10;
const INODES_FREE_MIN_PERCENT: u64 = 5;

/// All four, in upstream's order.
pub fn conditions(
    before: &NodeStatus,
    runtime: cri::Result<RuntimeStatus>,
    now: Timestamp,
) -> Vec<NodeCondition> {
    let memory_low = facts::memory_available_bytes().is_some_and(|bytes| bytes < MEMORY_AVAILABLE_MIN_BYTES);
    let disk_low = facts::disk().is_some_and(|disk| {
        disk.available_bytes * 100 < disk.total_bytes * DISK_AVAILABLE_MIN_PERCENT
            || disk.inodes_free * 100 < disk.inodes * INODES_FREE_MIN_PERCENT
    });
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
            memory_low,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        make(
            "DiskPressure",
            disk_low,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        make(
            "PIDPressure",
            false,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        ready,
    ]
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
    fn transition_time_moves_only_with_the_status() {
        let first: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let before = NodeStatus {
            conditions: Some(conditions(&NodeStatus::default(), Ok(ready()), first)),
            ..Default::default()
        };
        let kept = conditions(&before, Ok(ready()), later);
        assert_eq!(kept[3].last_transition_time.as_ref().unwrap().0, first);
        assert_eq!(kept[3].last_heartbeat_time.as_ref().unwrap().0, later);
        let network =
            Readiness::NotReady { reason: "NetworkPluginNotReady".to_owned(), message: "cni".to_owned() };
        let broken = conditions(&before, Ok(RuntimeStatus { network, ..ready() }), later);
        assert_eq!(broken[3].status, "False");
        assert_eq!(broken[3].last_transition_time.as_ref().unwrap().0, later);
        let message = broken[3].message.as_deref().unwrap();
        assert_eq!(message, "container runtime network not ready: reason:NetworkPluginNotReady message:cni");
        let after = NodeStatus { conditions: Some(kept), ..Default::default() };
        assert!(same(&before, &after));
        assert!(!same(&before, &NodeStatus { conditions: Some(broken), ..Default::default() }));
    }
}
