//! What a Node's silence means. Pure; the time is an argument.
//!
//! A Node is heard of when its lease is renewed or its Ready condition is written anew, and what counts is when *we*
//! saw that, never the times that it wrote: clocks differ.

use api::well_known::node_condition;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How long a Node that was heard of may be silent: four heartbeats.
/// DIFFERS(node-monitor-grace-period): upstream has made it 50 s in 1.32; it was 40 s always before.
pub const GRACE_SECONDS: i64 = 40;
/// Upstream's --node-startup-grace-period: how long one that never was may be.
pub const STARTUP_GRACE_SECONDS: i64 = 60;

/// The conditions that nobody but the Node's agent can know.
const AGENTS_CONDITIONS: [&str; 4] = [
    node_condition::READY,
    node_condition::MEMORY_PRESSURE,
    node_condition::DISK_PRESSURE,
    node_condition::PID_PRESSURE,
];

/// What was last heard of a Node, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    renewed: Option<Timestamp>,
    ready: Option<(String, Option<Timestamp>)>,
    at: Timestamp,
}

/// Whether something was heard of a Node that had been silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    Unbroken,
    Broken,
}

impl Heard {
    /// The first look at a Node. Its age counts from now on: a controller that starts gives every Node its grace.
    pub fn first(node: &Node, lease: Option<&Lease>, now: Timestamp) -> Heard {
        Heard { renewed: renewed(lease), ready: ready(node), at: now }
    }

    /// A further look.
    pub fn again(&mut self, node: &Node, lease: Option<&Lease>, now: Timestamp) -> Silence {
        let (renewed, ready) = (renewed(lease), ready(node));
        let lease_moved = renewed.is_some() && renewed != self.renewed;
        // Our own word that the Node is silent is not a word from the Node.
        let agent_spoke =
            ready != self.ready && ready.as_ref().is_some_and(|(status, _)| status != "Unknown");
        let was_silent = now.duration_since(self.at).as_secs() > GRACE_SECONDS;
        self.renewed = renewed;
        self.ready = ready;
        if !lease_moved && !agent_spoke {
            return Silence::Unbroken;
        }
        self.at = now;
        if was_silent { Silence::Broken } else { Silence::Unbroken }
    }
}

/// The conditions to write because the Node is silent; empty if it is not, or if that has been written.
pub fn conditions_of_silence(node: &Node, heard: &Heard, now: Timestamp) -> Vec<NodeCondition> {
    let known = |type_: &str| {
        let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.find(|condition| condition.type_ == type_).cloned()
    };
    let ever_heard = known(node_condition::READY).is_some();
    let grace = if ever_heard { GRACE_SECONDS } else { STARTUP_GRACE_SECONDS };
    if now.duration_since(heard.at).as_secs() <= grace {
        return Vec::new();
    }
    AGENTS_CONDITIONS
        .into_iter()
        .filter_map(|type_| {
            let before = known(type_);
            if before.as_ref().is_some_and(|before| before.status == "Unknown") {
                return None;
            }
            let (reason, message) = match &before {
                Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
                None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
            };
            Some(NodeCondition {
                type_: type_.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_heartbeat_time: before.and_then(|before| before.last_heartbeat_time),
                last_transition_time: Some(Time(now)),
            })
        })
        .collect()
}

fn renewed(lease: Option<&Lease>) -> Option<Timestamp> {
    Some(lease?.spec.as_ref()?.renew_time.as_ref()?.0)
}

fn ready(node: &Node) -> Option<(String, Option<Timestamp>)> {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.find(|condition| condition.type_ == node_condition::READY)?;
    Some((ready.status.clone(), ready.last_heartbeat_time.as_ref().map(|time| time.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn node(ready: &str, heartbeat: i64) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": [
            {"type": "Ready", "status": ready, "lastHeartbeatTime": Time(at(heartbeat))},
            {"type": "DiskPressure", "status": "Unknown"}]}}))
        .unwrap()
    }

    fn lease(renewed: i64) -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "n"},
            "spec": {"renewTime": format!("{}", at(renewed))}}))
        .unwrap()
    }

    fn types(conditions: &[NodeCondition]) -> Vec<(&str, &str)> {
        conditions.iter().map(|c| (c.type_.as_str(), c.reason.as_deref().unwrap())).collect()
    }

    #[test]
    fn a_lease_that_is_renewed_keeps_a_node_heard_of() {
        let (node, mut heard) = (node("True", 0), Heard::first(&node("True", 0), Some(&lease(0)), at(0)));
        for second in (10..200).step_by(10) {
            heard.again(&node, Some(&lease(second)), at(second));
            assert!(conditions_of_silence(&node, &heard, at(second + 40)).is_empty());
        }
        assert!(!conditions_of_silence(&node, &heard, at(190 + 41)).is_empty());
    }

    #[test]
    fn a_status_without_a_lease_keeps_a_node_heard_of_too() {
        let mut heard = Heard::first(&node("True", 0), None, at(0));
        assert_eq!(heard.again(&node("True", 30), None, at(30)), Silence::Unbroken);
        assert!(conditions_of_silence(&node("True", 30), &heard, at(70)).is_empty());
    }

    #[test]
    fn a_silent_nodes_conditions_become_unknown_once() {
        let mut silent = node("True", 0);
        let heard = Heard::first(&silent, Some(&lease(0)), at(0));
        let conditions = conditions_of_silence(&silent, &heard, at(41));
        assert_eq!(
            types(&conditions),
            [
                ("Ready", "NodeStatusUnknown"),
                ("MemoryPressure", "NodeStatusNeverUpdated"),
                ("PIDPressure", "NodeStatusNeverUpdated")
            ]
        );
        assert_eq!(conditions[0].last_heartbeat_time, Some(Time(at(0))));
        silent.status.get_or_insert_default().conditions = Some(
            AGENTS_CONDITIONS
                .map(|type_| NodeCondition {
                    type_: type_.into(),
                    status: "Unknown".into(),
                    ..NodeCondition::default()
                })
                .into(),
        );
        assert!(conditions_of_silence(&silent, &heard, at(60)).is_empty());
    }

    #[test]
    fn our_own_word_is_not_a_sign_of_life_and_the_nodes_own_breaks_the_silence() {
        let mut heard = Heard::first(&node("True", 0), Some(&lease(0)), at(0));
        assert_eq!(heard.again(&node("Unknown", 0), Some(&lease(0)), at(50)), Silence::Unbroken);
        assert_eq!(heard.at, at(0));
        assert_eq!(heard.again(&node("Unknown", 0), Some(&lease(100)), at(100)), Silence::Broken);
        assert_eq!(heard.at, at(100));
    }

    #[test]
    fn a_node_that_never_spoke_has_its_startup_grace() {
        let new = Node::default();
        let heard = Heard::first(&new, None, at(0));
        assert!(conditions_of_silence(&new, &heard, at(60)).is_empty());
        assert_eq!(conditions_of_silence(&new, &heard, at(61)).len(), 4);
    }
}
