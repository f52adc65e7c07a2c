//! From a budget and its Pods to its status. Pure.
//!
//! Upstream: `pkg/controller/disruption/disruption.go` (getExpectedPodCount, buildDisruptedPodMap, updatePdbStatus).

use std::collections::BTreeMap;
use std::time::Duration;

use api::disruption;
use api::int_or_percent::{NotAPercentage, Rounding, scaled_value};
use api::meta::Meta;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How long an eviction that was let go may take until the Pod is being deleted: upstream's DeletionTimeout.
pub const DELETION_SECONDS_MAX: i64 = 120;

/// What counts of a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub healthy: bool,
    pub ending: bool,
    pub controller: Option<Controller>,
}

/// Who says how many there should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    pub api_version: String,
    pub kind: String,
}

impl Member {
    pub fn of(pod: &Pod) -> Member {
        let controller = pod
            .controller_owner()
            .map(|owner| Controller { api_version: owner.api_version.clone(), kind: owner.kind.clone() });
        Member { healthy: api::pod::is_ready(pod), ending: pod.is_deleting(), controller }
    }
}

/// How a budget stands.
#[derive(Debug, PartialEq)]
pub struct Count {
    pub status: PodDisruptionBudgetStatus,
    /// When the first eviction is overdue that is not confirmed yet.
    pub look_again: Option<Duration>,
    /// Pods that were let go and are still there, not being deleted.
    pub overdue: Vec<String>,
    /// Pods without a controller count for nothing, where its scale is what matters.
    pub has_unmanaged: bool,
}

/// Why a budget cannot be counted: its reader sees it in the condition.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncountable {
    /// COMPAT(policy/v1): a share of the Pods, or a number that may be away, is of the controller's scale; DaemonSets have none.
    #[error("{resource} does not implement the scale subresource")]
    NoScale { resource: String },
    #[error("no matches for kind {kind:?} in version {api_version:?}")]
    UnknownKind { kind: String, api_version: String },
    #[error(transparent)]
    Share(#[from] NotAPercentage),
}

pub fn count(
    budget: &PodDisruptionBudget,
    members: &[(String, Member)],
    now: Timestamp,
) -> Result<Count, Uncountable> {
    let empty = PodDisruptionBudgetSpec::default();
    let expected = expected(budget.spec.as_ref().unwrap_or(&empty), members)?;
    let old = budget.status.clone().unwrap_or_default();
    let granted = old.disrupted_pods.clone().unwrap_or_default();
    let (disrupted, overdue, look_again) = unconfirmed(&granted, members, now);
    let healthy = members
        .iter()
        .filter(|(name, member)| member.healthy && !member.ending && !disrupted.contains_key(name));
    let healthy = saturated(healthy.count());
    let spare = healthy.saturating_sub(expected.desired);
    let mut status = PodDisruptionBudgetStatus {
        conditions: old.conditions,
        current_healthy: healthy,
        desired_healthy: expected.desired,
        // With no Pods expected nothing is allowed: the first ones are not to go before they are counted.
        disruptions_allowed: if expected.pods > 0 { spare.max(0) } else { 0 },
        expected_pods: expected.pods,
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: Some(budget.generation()),
    };
    if !disruption::is_told(&status, budget.generation()) {
        disruption::tell(&mut status, now);
    }
    Ok(Count { status, look_again, overdue, has_unmanaged: expected.has_unmanaged })
}

struct Expected {
    pods: i32,
    desired: i32,
    has_unmanaged: bool,
}

fn expected(spec: &PodDisruptionBudgetSpec, members: &[(String, Member)]) -> Result<Expected, Uncountable> {
    if let Some(away) = &spec.max_unavailable {
        let (pods, has_unmanaged) = scale(members)?;
        let away = scaled_value(away, i64::from(pods), Rounding::Up)?;
        let desired = i32::try_from(i64::from(pods) - away).unwrap_or(0).max(0);
        return Ok(Expected { pods, desired, has_unmanaged });
    }
    match &spec.min_available {
        Some(IntOrString::Int(least)) => {
            Ok(Expected { pods: saturated(members.len()), desired: *least, has_unmanaged: false })
        }
        Some(share) => {
            let (pods, has_unmanaged) = scale(members)?;
            let desired = scaled_value(share, i64::from(pods), Rounding::Up)?;
            Ok(Expected { pods, desired: i32::try_from(desired).unwrap_or(i32::MAX), has_unmanaged })
        }
        None => Ok(Expected { pods: 0, desired: 0, has_unmanaged: false }),
    }
}

/// How many Pods the controllers want, and whether there are Pods without one. No kind that is served has a scale.
fn scale(members: &[(String, Member)]) -> Result<(i32, bool), Uncountable> {
    match members.iter().find_map(|(_, member)| member.controller.as_ref()) {
        None => Ok((0, !members.is_empty())),
        Some(Controller { api_version, kind }) => Err(match api::scheme::find_kind(api_version, kind) {
            Some(resource) => Uncountable::NoScale { resource: resource.qualified() },
            None => Uncountable::UnknownKind { kind: kind.clone(), api_version: api_version.clone() },
        }),
    }
}

/// Of the evictions that were let go: those whose Pod is not being deleted yet, those that are overdue, and when the next is.
fn unconfirmed(
    granted: &BTreeMap<String, Time>,
    members: &[(String, Member)],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Vec<String>, Option<Duration>) {
    let (mut waiting, mut overdue, mut next) = (BTreeMap::new(), Vec::new(), None);
    for (name, _) in members.iter().filter(|(_, member)| !member.ending) {
        let Some(at) = granted.get(name) else { continue };
        let end = at.0.checked_add(SignedDuration::from_secs(DELETION_SECONDS_MAX)).unwrap_or(Timestamp::MAX);
        if end < now {
            overdue.push(name.clone());
            continue;
        }
        let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
        // A moment later, when it is past.
        let left = left + Duration::from_millis(1);
        next = Some(next.map_or(left, |known: Duration| known.min(left)));
        waiting.insert(name.clone(), at.clone());
    }
    (waiting, overdue, next)
}

fn saturated(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        let budget = json!({"metadata": {"name": "b", "generation": 3}, "spec": spec, "status": status});
        serde_json::from_value(budget).unwrap()
    }

    fn bare() -> Value {
        json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
    }

    fn member(healthy: bool, owner: Option<(&str, &str)>) -> Member {
        let controller = owner.map(|(api_version, kind)| Controller {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        });
        Member { healthy, ending: false, controller }
    }

    fn members(of: &[Member]) -> Vec<(String, Member)> {
        of.iter().enumerate().map(|(i, member)| (format!("p{i}"), member.clone())).collect()
    }

    const DAEMON: Option<(&str, &str)> = Some(("apps/v1", "DaemonSet"));

    /// expected, healthy, desired, allowed
    fn numbers(budget: &PodDisruptionBudget, members: &[(String, Member)]) -> [i32; 4] {
        let status = count(budget, members, at(0)).unwrap().status;
        [status.expected_pods, status.current_healthy, status.desired_healthy, status.disruptions_allowed]
    }

    #[test]
    fn a_number_that_must_be_available_is_of_the_pods_that_are_there() {
        let pods = members(&[member(true, DAEMON), member(true, DAEMON), member(false, None)]);
        for (least, expected) in [(0, [3, 2, 0, 2]), (1, [3, 2, 1, 1]), (2, [3, 2, 2, 0]), (5, [3, 2, 5, 0])]
        {
            let budget = budget(json!({"minAvailable": least}), bare());
            assert_eq!(numbers(&budget, &pods), expected, "{least}");
        }
        assert_eq!(numbers(&budget(json!({"minAvailable": 0}), bare()), &[]), [0, 0, 0, 0], "no pods yet");
    }

    #[test]
    fn shares_and_absences_need_a_scale_that_daemon_sets_do_not_have() {
        let daemons = members(&[member(true, DAEMON)]);
        for spec in [json!({"maxUnavailable": 1}), json!({"minAvailable": "50%"})] {
            let error = count(&budget(spec, bare()), &daemons, at(0)).unwrap_err();
            assert_eq!(error.to_string(), "daemonsets.apps does not implement the scale subresource");
        }
        let unknown = members(&[member(true, Some(("apps/v1", "ReplicaSet")))]);
        assert_eq!(
            count(&budget(json!({"maxUnavailable": 1}), bare()), &unknown, at(0)).unwrap_err().to_string(),
            "no matches for kind \"ReplicaSet\" in version \"apps/v1\""
        );
        let bare_pods = members(&[member(true, None)]);
        let counted = count(&budget(json!({"maxUnavailable": 1}), bare()), &bare_pods, at(0)).unwrap();
        assert!(counted.has_unmanaged);
        assert_eq!((counted.status.expected_pods, counted.status.disruptions_allowed), (0, 0));
    }

    #[test]
    fn an_evicted_pod_counts_as_gone_until_it_is_or_the_time_is_over() {
        let mut pods = members(&[member(true, None), member(true, None)]);
        let mut status = bare();
        status["disruptedPods"] = json!({"p0": Time(at(100)), "gone": Time(at(100))});
        let budget = budget(json!({"minAvailable": 1}), status);
        let counted = count(&budget, &pods, at(150)).unwrap();
        assert_eq!((counted.status.current_healthy, counted.status.disruptions_allowed), (1, 0));
        let waiting: Vec<&String> = counted.status.disrupted_pods.as_ref().unwrap().keys().collect();
        assert_eq!(waiting, ["p0"]);
        assert_eq!(counted.look_again, Some(Duration::from_millis(70_001)));
        let late = count(&budget, &pods, at(221)).unwrap();
        assert_eq!((late.status.current_healthy, late.overdue.as_slice()), (2, ["p0".to_owned()].as_slice()));
        assert_eq!((late.look_again, late.status.disrupted_pods), (None, None));
        pods[0].1.ending = true;
        let confirmed = count(&budget, &pods, at(150)).unwrap();
        assert_eq!((confirmed.status.current_healthy, confirmed.status.disrupted_pods), (1, None));
    }

    #[test]
    fn counting_again_changes_nothing_and_the_generation_is_told() {
        let pods = members(&[member(true, None), member(true, None)]);
        let first = count(&budget(json!({"minAvailable": 1}), bare()), &pods, at(5)).unwrap().status;
        assert_eq!(first.observed_generation, Some(3));
        let told = disruption::condition(&first).unwrap();
        assert_eq!(
            (told.status.as_str(), told.reason.as_str(), told.observed_generation),
            ("True", "SufficientPods", Some(3))
        );
        let again = budget(json!({"minAvailable": 1}), serde_json::to_value(&first).unwrap());
        assert_eq!(count(&again, &pods, at(50)).unwrap().status, first);
    }
}
