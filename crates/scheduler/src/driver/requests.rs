//! What the scheduler writes: bindings, the PodScheduled condition, and the end of those that make room.
//!
//! Each names the Pod that it means by uid. Nothing here is tried again: the next look at the Pod decides that.

use std::sync::Arc;

use api::meta::Meta;
use api::well_known::pod_condition;
use client::ObjectKey;
use client::write::{self, Class, Deletion, Expect};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::PostParams;
use kube::{Api, Client};
use placement::preemption::BY_SCHEDULER;
use serde_json::{Value, json};

pub(super) const UNSCHEDULABLE: &str = "Unschedulable";
pub(super) const SCHEDULER_ERROR: &str = "SchedulerError";

/// A request that has come to its end.
pub(super) enum Ended {
    Bound { pod: Arc<Pod>, node: String },
    NotBound { pod: Arc<Pod>, error: kube::Error },
    Reported,
}

/// What becomes of `status.nominatedNodeName`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nominated<'a> {
    AsBefore,
    To(&'a str),
    Nowhere,
}

pub(super) async fn bind(client: Client, pod: Arc<Pod>, node: String) -> Ended {
    let api: Api<Pod> = Api::namespaced(client, pod.namespace());
    let binding = Binding {
        metadata: ObjectMeta {
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.clone()),
            ..ObjectReference::default()
        },
    };
    let answer: Result<Value, _> =
        api.create_subresource("binding", pod.name(), &PostParams::default(), &binding).await;
    match answer {
        Ok(_) => Ended::Bound { pod, node },
        Err(error) => Ended::NotBound { pod, error },
    }
}

pub(super) async fn report(client: Client, pod: Arc<Pod>, status: Value) -> Ended {
    let api: Api<Pod> = Api::namespaced(client, pod.namespace());
    let expect = Expect { uid: pod.metadata.uid.clone(), resource_version: None };
    if let Err(error) = write::status(&api, pod.name(), status, &expect).await {
        match error.class() {
            Class::Missing | Class::Stale => {}
            // The event says it too, and the next attempt reports again.
            _ => {
                let pod = ObjectKey::of(&pod.metadata);
                tracing::warn!(%pod, error = %error.cause(), "cannot report that it does not fit");
            }
        }
    }
    Ended::Reported
}

/// Tells why, then deletes with the Pod's own grace period.
pub(super) async fn send_away(client: Client, victim: Arc<Pod>, scheduler: String, now: Timestamp) -> Ended {
    let key = ObjectKey::of(&victim.metadata);
    let api: Api<Pod> = Api::namespaced(client, victim.namespace());
    let expect = Expect { uid: victim.metadata.uid.clone(), resource_version: None };
    let status = json!({"conditions": [{
        "type": pod_condition::DISRUPTION_TARGET,
        "status": "True",
        "reason": BY_SCHEDULER,
        "message": format!("{scheduler}: preempting to accommodate a higher priority pod"),
        "lastTransitionTime": Time(now),
    }]});
    match write::status(&api, victim.name(), status, &expect).await {
        Ok(_) => {}
        Err(error) if matches!(error.class(), Class::Missing | Class::Stale) => return Ended::Reported,
        Err(error) => {
            // It stays: who wanted its place looks again.
            tracing::warn!(pod = %key, error = %error.cause(), "cannot mark it as preempted");
            return Ended::Reported;
        }
    }
    if let Err(error) = write::delete(&api, victim.name(), Deletion { expect, ..Deletion::default() }).await {
        tracing::warn!(pod = %key, error = %error.cause(), "cannot remove it for a stronger one");
    }
    Ended::Reported
}

/// The status to write, or `None` if the Pod says so already.
pub(super) fn not_scheduled(
    pod: &Pod,
    reason: &str,
    message: &str,
    nominated: Nominated<'_>,
    now: Timestamp,
) -> Option<Value> {
    let known = api::pod::condition(pod, pod_condition::SCHEDULED).filter(|known| known.status == "False");
    let says_so = known.is_some_and(|known| {
        known.reason.as_deref() == Some(reason) && known.message.as_deref() == Some(message)
    });
    let named = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    let stays = match nominated {
        Nominated::AsBefore => true,
        Nominated::To(node) => named == Some(node),
        Nominated::Nowhere => named.is_none(),
    };
    if says_so && stays {
        return None;
    }
    let since = known.and_then(|known| known.last_transition_time.clone()).unwrap_or(Time(now));
    let mut status = json!({"conditions": [{
        "type": pod_condition::SCHEDULED,
        "status": "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }]});
    match nominated {
        Nominated::AsBefore => {}
        Nominated::To(node) => status["nominatedNodeName"] = node.into(),
        Nominated::Nowhere => status["nominatedNodeName"] = Value::Null,
    }
    Some(status)
}

pub(super) fn nominated_nowhere() -> Value {
    json!({"nominatedNodeName": null})
}
