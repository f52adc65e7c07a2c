//! Pods that were marked for a disruption that did not come: the mark is taken back. Deciding is pure.
//!
//! An eviction marks its Pod before it deletes it; where the deletion fails for good, the mark says what is not so. Marks
//! of the node's agent stand as long as it takes. Upstream: `syncStalePodDisruption`.

use std::time::Duration;

use api::meta::Meta;
use api::pod;
use api::well_known::pod_condition;
use client::ObjectKey;
use client::queue::Outcome;
use client::write::{self, Class, Expect};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use serde_json::json;

use crate::Context;

/// How long a marked Pod may take until it is being deleted: upstream's stalePodDisruptionTimeout.
const STALE_AFTER: Duration = Duration::from_secs(120);

/// The reason of marks that do not go stale.
const BY_AGENT: &str = "TerminationByKubelet";

/// How a Pod's mark stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// None, or one that is not ours to take back.
    Absent,
    /// It holds for this long.
    Holds(Duration),
    Stale,
}

/// Whether the Pod may have to be looked at: most are not marked.
pub fn is_marked(pod: &Pod) -> bool {
    pod::condition(pod, pod_condition::DISRUPTION_TARGET).is_some_and(|mark| mark.status == "True")
}

fn mark(pod: &Pod, now: Timestamp) -> Mark {
    let mark = pod::condition(pod, pod_condition::DISRUPTION_TARGET).filter(|mark| mark.status == "True");
    let Some(mark) = mark.filter(|mark| mark.reason.as_deref() != Some(BY_AGENT)) else {
        return Mark::Absent;
    };
    if pod.is_deleting() || pod::is_terminal(pod) {
        return Mark::Absent;
    }
    let since = mark.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    match STALE_AFTER.checked_sub(age) {
        Some(left) if !left.is_zero() => Mark::Holds(left),
        _ => Mark::Stale,
    }
}

/// Takes the Pod's mark back if its time has come.
pub async fn look(context: &Context, key: ObjectKey) -> Outcome {
    let Some(pod) = context.pods.get(&key) else { return Outcome::Done };
    let now = context.clock.now();
    match mark(&pod, now) {
        Mark::Absent => return Outcome::Done,
        Mark::Holds(left) => return Outcome::Again(left),
        Mark::Stale => {}
    }
    tracing::info!(pod = %key, "the disruption that it was marked for did not come");
    let api: Api<Pod> = Api::namespaced(context.client.clone(), pod.namespace());
    let taken_back = json!({
        "type": pod_condition::DISRUPTION_TARGET, "status": "False", "reason": null, "message": null,
        "lastTransitionTime": Time(now),
    });
    // Of this state of the Pod: a deletion that came meanwhile makes the mark true.
    let expect = Expect::exactly(pod.as_ref());
    match write::status(&api, pod.name(), json!({"conditions": [taken_back]}), &expect).await {
        Ok(_) => Outcome::Done,
        Err(error) => match error.class() {
            Class::Missing | Class::NamespaceTerminating => Outcome::Done,
            Class::Retry(after) => Outcome::FailedFor(*after),
            Class::Stale | Class::Exists => Outcome::Failed,
            Class::Fatal(_) => {
                tracing::warn!(pod = %key, error = %error.cause(), "{error}");
                Outcome::Failed
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_mark_goes_stale_after_two_minutes_unless_the_pod_ends_or_its_agent_made_it() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let pod = |mark: Value, more: Value| -> Pod {
            let mut pod =
                json!({"metadata": {"name": "p"}, "status": {"phase": "Running", "conditions": [mark]}});
            for (field, value) in more.as_object().unwrap() {
                pod[field].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            }
            serde_json::from_value(pod).unwrap()
        };
        let since = |time: &str, reason: &str| json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": time});
        let evicted = |time: &str| since(time, "EvictionByEvictionAPI");
        let old = "2026-01-01T00:08:00Z";
        for (mark_of, more, wanted) in [
            (evicted("2026-01-01T00:09:30Z"), json!({}), Mark::Holds(Duration::from_secs(90))),
            (evicted(old), json!({}), Mark::Stale),
            (json!({"type": "DisruptionTarget", "status": "True"}), json!({}), Mark::Stale),
            (evicted("2026-01-01T00:11:00Z"), json!({}), Mark::Holds(STALE_AFTER)),
            (since(old, BY_AGENT), json!({}), Mark::Absent),
            (json!({"type": "DisruptionTarget", "status": "False"}), json!({}), Mark::Absent),
            (json!({"type": "Ready", "status": "True"}), json!({}), Mark::Absent),
            (evicted(old), json!({"metadata": {"deletionTimestamp": old}}), Mark::Absent),
            (evicted(old), json!({"status": {"phase": "Failed"}}), Mark::Absent),
        ] {
            assert_eq!(mark(&pod(mark_of.clone(), more.clone()), now), wanted, "{mark_of} {more}");
        }
    }
}
