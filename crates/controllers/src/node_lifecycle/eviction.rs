//! When a Pod has to leave a Node for its NoExecute taints. Pure.
//!
//! The time counts from when each taint was added, so that a controller that starts anew gives no second grace.
//! Upstream's tainteviction counts from when it first saw the taint.

use api::well_known::taint;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

/// How long a Pod may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    ForGood,
    Until(Timestamp),
    /// There is a taint that it does not tolerate at all.
    No,
}

pub fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == taint::NO_EXECUTE).cloned().collect()
}

/// The shortest of the times that the tolerations which are used for these taints give.
pub fn stay(taints: &[Taint], tolerations: &[Toleration], now: Timestamp) -> Stay {
    let mut until: Option<Timestamp> = None;
    for taint in taints {
        let mut tolerating = tolerations.iter().filter(|t| placement::taint::tolerates(t, taint)).peekable();
        if tolerating.peek().is_none() {
            return Stay::No;
        }
        let added = taint.time_added.as_ref().map_or(now, |time| time.0);
        for seconds in tolerating.filter_map(|toleration| toleration.toleration_seconds) {
            let end = added.checked_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX);
            until = Some(until.map_or(end, |earlier| earlier.min(end)));
        }
    }
    until.map_or(Stay::ForGood, Stay::Until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn taint(key: &str, added: i64) -> Taint {
        Taint {
            key: key.into(),
            effect: "NoExecute".into(),
            time_added: Some(Time(at(added))),
            ..Taint::default()
        }
    }

    fn tolerates(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            toleration_seconds: seconds,
            ..Toleration::default()
        }
    }

    #[test]
    fn the_shortest_toleration_counts_from_when_the_taint_was_added() {
        let taints = [taint("a", 100), taint("b", 200)];
        let check = |tolerations: &[Toleration]| stay(&taints, tolerations, at(1_000));
        assert_eq!(check(&[tolerates("a", None)]), Stay::No);
        assert_eq!(check(&[tolerates("a", None), tolerates("b", None)]), Stay::ForGood);
        assert_eq!(check(&[tolerates("a", Some(300)), tolerates("b", Some(60))]), Stay::Until(at(260)));
        assert_eq!(check(&[tolerates("a", Some(-5)), tolerates("b", None)]), Stay::Until(at(100)));
        assert_eq!(stay(&[], &[], at(0)), Stay::ForGood);
    }
}
