//! What stands in the way of a namespace's end, in upstream's conditions. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// What a look at a namespace found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub discovery_error: Option<String>,
    pub errors: Vec<String>,
    pub remaining: Vec<Remaining>,
}

/// An object that is still there.
#[derive(Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Plural and group with a dot between, as upstream writes it: `pods.`, `daemonsets.apps`.
    pub resource: String,
    pub finalizers: Vec<String>,
}

impl Found {
    pub fn is_clean(&self) -> bool {
        self.discovery_error.is_none() && self.errors.is_empty() && self.remaining.is_empty()
    }
}

/// The status to write, or `None` if the namespace says so already.
pub fn status(namespace: &Namespace, found: &Found, now: Timestamp) -> Option<Value> {
    let known: BTreeMap<&str, _> = namespace
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .map(|condition| (condition.type_.as_str(), condition))
        .collect();
    let mut changed = false;
    let mut conditions = Vec::new();
    for (type_, trouble, fine) in verdicts(found) {
        let (status, reason, message) = match &trouble {
            Some((reason, message)) => ("True", *reason, message.as_str()),
            None => ("False", fine.0, fine.1),
        };
        let before = known.get(type_);
        let same_status = before.is_some_and(|before| before.status == status);
        let same = same_status
            && before.is_some_and(|before| {
                before.reason.as_deref() == Some(reason) && before.message.as_deref() == Some(message)
            });
        changed |= !same;
        let since = before.filter(|_| same_status).and_then(|before| before.last_transition_time.clone());
        conditions.push(json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or(Time(now)),
        }));
    }
    changed.then(|| json!({"phase": "Terminating", "conditions": conditions}))
}

type Trouble = Option<(&'static str, String)>;

fn verdicts(found: &Found) -> [(&'static str, Trouble, (&'static str, &'static str)); 5] {
    let discovery = found
        .discovery_error
        .as_ref()
        .map(|error| ("DiscoveryFailed", format!("Discovery failed for some groups: {error}")));
    let deletion = (!found.errors.is_empty()).then(|| {
        let message = format!(
            "Failed to delete all resource types, {} remaining: {}",
            found.errors.len(),
            found.errors.join(", ")
        );
        ("ContentDeletionFailed", message)
    });
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            discovery,
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            deletion,
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        (
            "NamespaceContentRemaining",
            content_remaining(&found.remaining),
            ("ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            finalizers_remaining(&found.remaining),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
}

fn content_remaining(remaining: &[Remaining]) -> Trouble {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in remaining {
        *counts.entry(&object.resource).or_default() += 1;
    }
    let parts: Vec<String> =
        counts.iter().map(|(resource, count)| format!("{resource} has {count} resource instances")).collect();
    let message = format!("Some resources are remaining: {}", parts.join(", "));
    (!parts.is_empty()).then_some(("SomeResourcesRemain", message))
}

fn finalizers_remaining(remaining: &[Remaining]) -> Trouble {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finalizer in remaining.iter().flat_map(|object| &object.finalizers) {
        *counts.entry(finalizer).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
        .collect();
    let message = format!("Some content in the namespace has finalizers remaining: {}", parts.join(", "));
    (!parts.is_empty()).then_some(("SomeFinalizersRemain", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining(resource: &str, finalizer: &[&str]) -> Remaining {
        Remaining {
            resource: resource.into(),
            finalizers: finalizer.iter().map(|&finalizer| finalizer.to_owned()).collect(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn message_of(status: &Value, type_: &str) -> (String, String) {
        let conditions = status["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == type_).unwrap();
        (found["status"].as_str().unwrap().into(), found["message"].as_str().unwrap().into())
    }

    #[test]
    fn what_is_left_is_counted_by_resource_and_by_finalizer() {
        let found = Found {
            remaining: vec![
                remaining("pods.", &["example.com/hold"]),
                remaining("pods.", &[]),
                remaining("daemonsets.apps", &["example.com/hold"]),
            ],
            ..Found::default()
        };
        let status = status(&Namespace::default(), &found, at(0)).unwrap();
        assert_eq!(
            message_of(&status, "NamespaceContentRemaining"),
            (
                "True".into(),
                "Some resources are remaining: daemonsets.apps has 1 resource instances, \
                pods. has 2 resource instances"
                    .into()
            )
        );
        assert_eq!(
            message_of(&status, "NamespaceFinalizersRemaining"),
            (
                "True".into(),
                "Some content in the namespace has finalizers remaining: \
                example.com/hold in 2 resource instances"
                    .into()
            )
        );
        assert_eq!(message_of(&status, "NamespaceDeletionContentFailure").0, "False");
    }

    #[test]
    fn the_same_finding_is_written_once_and_keeps_its_time() {
        let found = Found { remaining: vec![remaining("pods.", &[])], ..Found::default() };
        let first = status(&Namespace::default(), &found, at(0)).unwrap();
        let known = Some(serde_json::from_value(first.clone()).unwrap());
        let namespace = Namespace { status: known, ..Namespace::default() };
        assert_eq!(status(&namespace, &found, at(9)), None);
        let more =
            Found { remaining: vec![remaining("pods.", &[]), remaining("pods.", &[])], ..Found::default() };
        let second = status(&namespace, &more, at(9)).unwrap();
        let time = |status: &Value| status["conditions"][3]["lastTransitionTime"].clone();
        assert_eq!(time(&second), time(&first), "still True: not a transition");
    }
}
