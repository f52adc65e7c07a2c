//! What a hollow node does with a Pod next. Pure; the time is an argument.
//!
//! A Pod bound to the node runs after its start latency and is gone after its stop latency. Every container is ready at
//! once; none ever ends by itself.

use std::time::Duration;

use api::meta::Meta;
use api::well_known::{pod_condition, pod_phase};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// The next thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Nothing,
    LookAgain(Duration),
    /// Merge this into the Pod's status.
    Report(Value),
    /// It has stopped: delete it for good.
    LetGo,
}

/// What the node knows of a Pod beside the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// When the node first saw it bound.
    pub bound: Timestamp,
    /// When the node first saw it deleted.
    pub deleted: Option<Timestamp>,
    pub start: Duration,
    pub stop: Duration,
    pub host_ip: [u8; 4],
    pub pod_ip: [u8; 4],
}

pub fn next(pod: &Pod, known: &Known, now: Timestamp) -> Next {
    if let Some(deleted) = known.deleted {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0).unsigned_abs();
        let stopped = later(deleted, known.stop.min(Duration::from_secs(grace)));
        return if now >= stopped { Next::LetGo } else { Next::LookAgain(until(now, stopped)) };
    }
    if api::pod::phase(pod) == pod_phase::RUNNING || api::pod::is_terminal(pod) {
        return Next::Nothing;
    }
    let running = later(known.bound, known.start);
    if now < running {
        return Next::LookAgain(until(now, running));
    }
    Next::Report(running_status(pod, known, now))
}

fn running_status(pod: &Pod, known: &Known, now: Timestamp) -> Value {
    let text = |[a, b, c, d]: [u8; 4]| format!("{a}.{b}.{c}.{d}");
    let host_ip = text(known.host_ip);
    let pod_ip = if api::pod::is_host_network(pod) { host_ip.clone() } else { text(known.pod_ip) };
    let now = Time(now);
    let condition = |type_| json!({"type": type_, "status": "True", "lastTransitionTime": now});
    let containers: Vec<Value> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image.clone().unwrap_or_default(),
                "imageID": "",
                "containerID": format!("hollow://{}-{}", pod.uid(), container.name),
                "ready": true,
                "started": true,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            })
        })
        .collect();
    json!({
        "phase": pod_phase::RUNNING,
        "startTime": Time(known.bound),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "conditions": [
            condition(pod_condition::READY_TO_START_CONTAINERS),
            condition(pod_condition::INITIALIZED),
            condition(pod_condition::READY),
            condition(pod_condition::CONTAINERS_READY),
            condition(pod_condition::SCHEDULED),
        ],
        "containerStatuses": containers,
    })
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn known(deleted: Option<i64>) -> Known {
        Known {
            bound: at(0),
            deleted: deleted.map(at),
            start: Duration::from_millis(300),
            stop: Duration::from_millis(2_000),
            host_ip: [10, 1, 0, 1],
            pod_ip: [10, 2, 0, 1],
        }
    }

    fn pod(phase: &str, grace: i64) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u", "deletionGracePeriodSeconds": grace},
            "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn a_bound_pod_runs_and_is_ready_after_its_latency() {
        let pending = pod("Pending", 30);
        assert_eq!(next(&pending, &known(None), at(100)), Next::LookAgain(Duration::from_millis(200)));
        let Next::Report(status) = next(&pending, &known(None), at(300)) else { panic!("nothing to report") };
        let mut running = pending;
        running.status = Some(serde_json::from_value(status).unwrap());
        assert!(api::pod::is_ready(&running));
        assert_eq!(running.status.as_ref().unwrap().pod_ip.as_deref(), Some("10.2.0.1"));
        assert_eq!(next(&running, &known(None), at(400)), Next::Nothing);
    }

    #[test]
    fn a_deleted_pod_is_let_go_after_its_latency_but_within_its_grace() {
        let running = pod("Running", 30);
        assert_eq!(
            next(&running, &known(Some(1_000)), at(1_500)),
            Next::LookAgain(Duration::from_millis(1_500))
        );
        assert_eq!(next(&running, &known(Some(1_000)), at(3_000)), Next::LetGo);
        assert_eq!(next(&pod("Running", 1), &known(Some(1_000)), at(2_000)), Next::LetGo);
        assert_eq!(next(&pod("Failed", 0), &known(Some(1_000)), at(1_000)), Next::LetGo);
    }
}
