//! Taints and tolerations.
//!
//! Upstream: `v1.Toleration.ToleratesTaint` and the TaintToleration plugin. A toleration without effect covers all
//! effects, one without key and with Exists all keys; the operator defaults to Equal; the numeric operators of an
//! alpha gate (Gt, Lt) are not ours and cover nothing.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

pub use api::well_known::taint::{NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE};

/// The effects that keep a new Pod away.
pub const KEEPS_NEW_PODS_AWAY: &[&str] = &[NO_SCHEDULE, NO_EXECUTE];
/// The effects that send a running Pod away.
pub const SENDS_RUNNING_PODS_AWAY: &[&str] = &[NO_EXECUTE];

/// The first taint with one of the effects that no toleration covers.
pub fn untolerated<'a>(
    taints: &'a [Taint],
    tolerations: &[Toleration],
    effects: &[&str],
) -> Option<&'a Taint> {
    taints.iter().find(|taint| effects.contains(&taint.effect.as_str()) && !tolerated(taint, tolerations))
}

/// Does any of the tolerations cover the taint?
pub fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// Does this toleration cover the taint?
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => {
            // An empty key with Equal is refused by validation; upstream then compares the values only.
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        "Exists" => true,
        _ => false,
    }
}

/// How many taints that only ask for another Node are not tolerated (scoring).
pub fn untolerated_preferences(taints: &[Taint], tolerations: &[Toleration]) -> usize {
    taints.iter().filter(|taint| taint.effect == PREFER_NO_SCHEDULE && !tolerated(taint, tolerations)).count()
}

/// The taints of a Node.
pub fn of_node(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}
