//! Writes with preconditions, and one classification of what can go wrong with them.
//!
//! Every reconciler asks [`Class::of`] once and acts on the class; nobody else matches on HTTP codes. The helpers
//! make the common writes: a delete that hits one object only, a status patch, a merge patch against a known
//! version. They retry nothing.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::serde::de::DeserializeOwned;
use kube::Error;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use serde::Serialize;
use thiserror::Error as ThisError;

/// Pause where the server names none: upstream clients wait a second on 429 and 503 without Retry-After.
pub const RETRY_AFTER_DEFAULT_MS: u64 = 1_000;
/// Longest pause that a server's word is taken for: beyond it, it is more useful to ask again.
pub const RETRY_AFTER_MAX_SECONDS: u64 = 60;

/// What an error asks the caller to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// The server or the way to it is in trouble: the same request may work after this long.
    Retry(Duration),
    /// The object has changed meanwhile: look again, then decide again.
    Stale,
    /// The object is not there: for a delete, success.
    Missing,
    /// The object is there already: for a repeatable create, success if it is one's own.
    Exists,
    /// The namespace is going away: nothing can be created in it any more.
    NamespaceTerminating,
    /// The same request will be refused again; the reason is for a condition or an event.
    Fatal(Refusal),
}

/// A refusal in the server's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Upstream's machine-readable reason: `Forbidden`, `Invalid`, …
    pub reason: String,
    pub message: String,
}

/// A write that failed.
#[derive(Debug, ThisError)]
pub enum WriteError {
    #[error("cannot create {what}")]
    Create { what: String, class: Class, source: Box<Error> },
    #[error("cannot delete {what}")]
    Delete { what: String, class: Class, source: Box<Error> },
    #[error("cannot patch {what}")]
    Patch { what: String, class: Class, source: Box<Error> },
    #[error("cannot replace {what}")]
    Replace { what: String, class: Class, source: Box<Error> },
}

impl WriteError {
    pub fn class(&self) -> &Class {
        match self {
            WriteError::Create { class, .. }
            | WriteError::Delete { class, .. }
            | WriteError::Patch { class, .. }
            | WriteError::Replace { class, .. } => class,
        }
    }

    /// The cause as the server worded it.
    pub fn cause(&self) -> &Error {
        match self {
            WriteError::Create { source, .. }
            | WriteError::Delete { source, .. }
            | WriteError::Patch { source, .. }
            | WriteError::Replace { source, .. } => source,
        }
    }
}

impl Class {
    pub fn of(error: &Error) -> Class {
        match error {
            Error::Api(status) => Class::of_status(status),
            // The request never got an answer, or half of one. Whether it took effect is unknown, which is why
            // writes carry preconditions and creates are repeatable.
            Error::HyperError(_) | Error::Service(_) | Error::ReadEvents(_) | Error::Auth(_) => {
                Class::Retry(Duration::from_millis(RETRY_AFTER_DEFAULT_MS))
            }
            other => Class::Fatal(Refusal { reason: "ClientError".to_owned(), message: other.to_string() }),
        }
    }

    fn of_status(status: &Status) -> Class {
        let details = status.details.as_ref();
        let retry = || {
            let asked = details.map_or(0, |details| u64::from(details.retry_after_seconds));
            Class::Retry(match asked {
                0 => Duration::from_millis(RETRY_AFTER_DEFAULT_MS),
                asked => Duration::from_secs(asked.min(RETRY_AFTER_MAX_SECONDS)),
            })
        };
        let terminating =
            || details.is_some_and(|d| d.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"));
        match status.code {
            404 => Class::Missing,
            409 if status.reason == "AlreadyExists" => Class::Exists,
            409 => Class::Stale,
            410 => Class::Stale,
            403 if terminating() => Class::NamespaceTerminating,
            401 | 408 | 429 | 500..=599 => retry(),
            _ => Class::Fatal(Refusal { reason: status.reason.clone(), message: status.message.clone() }),
        }
    }
}

/// Which object a write is meant for: none but the one with this uid, and this version where one is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expect {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl Expect {
    pub fn uid(uid: impl Into<String>) -> Expect {
        Expect { uid: Some(uid.into()), resource_version: None }
    }

    /// Exactly the object that was looked at.
    pub fn exactly<K: kube::Resource>(object: &K) -> Expect {
        let meta = object.meta();
        Expect { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() }
    }
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct Deletion {
    pub expect: Expect,
    pub grace_seconds: Option<u32>,
    pub propagation: Option<PropagationPolicy>,
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The server has taken the request; the object may still be there, terminating.
    Accepted,
    /// There was no such object.
    WasGone,
}

/// Deletes the object that `deletion.expect` names. One that is not there is a success; another object under the
/// same name is [`Class::Stale`].
pub async fn delete<K>(api: &Api<K>, name: &str, deletion: Deletion) -> Result<Deleted, WriteError>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug,
{
    let Expect { uid, resource_version } = deletion.expect;
    let preconditions =
        (uid.is_some() || resource_version.is_some()).then_some(Preconditions { resource_version, uid });
    let params = DeleteParams {
        dry_run: false,
        grace_period_seconds: deletion.grace_seconds,
        propagation_policy: deletion.propagation,
        preconditions,
    };
    match api.delete(name, &params).await {
        Ok(_) => Ok(Deleted::Accepted),
        Err(source) => match Class::of(&source) {
            Class::Missing => Ok(Deleted::WasGone),
            class => Err(WriteError::Delete { what: what(api, name), class, source: Box::new(source) }),
        },
    }
}

/// Creates `object`.
pub async fn create<K>(api: &Api<K>, object: &K) -> Result<K, WriteError>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Serialize,
{
    api.create(&PostParams::default(), object).await.map_err(|source| WriteError::Create {
        what: what(api, object.meta().name.as_deref().unwrap_or("(generated name)")),
        class: Class::of(&source),
        source: Box::new(source),
    })
}

/// Replaces `object`, whose `metadata.resourceVersion` is the version that was looked at.
pub async fn replace<K>(api: &Api<K>, object: &K) -> Result<K, WriteError>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Serialize,
{
    let name = object.meta().name.clone().unwrap_or_default();
    api.replace(&name, &PostParams::default(), object).await.map_err(|source| WriteError::Replace {
        what: what(api, &name),
        class: Class::of(&source),
        source: Box::new(source),
    })
}

/// Replaces the status of `object`, whose `metadata.resourceVersion` is the version that was looked at.
pub async fn replace_status<K>(api: &Api<K>, object: &K) -> Result<K, WriteError>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Serialize,
{
    let name = object.meta().name.clone().unwrap_or_default();
    api.replace_status(&name, &PostParams::default(), object).await.map_err(|source| WriteError::Replace {
        what: what(api, &name),
        class: Class::of(&source),
        source: Box::new(source),
    })
}

/// Merge-patches the object; `expect` is put into the patch, where the server compares it.
pub async fn merge<K>(
    api: &Api<K>,
    name: &str,
    patch: serde_json::Value,
    expect: &Expect,
) -> Result<K, WriteError>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug,
{
    let patch = with_expectation(patch, expect);
    let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map_err(|source| patch_failed(api, name, source))
}

/// Strategic-merge-patches the object, with the same expectation.
pub async fn strategic<K>(
    api: &Api<K>,
    name: &str,
    patch: serde_json::Value,
    expect: &Expect,
) -> Result<K, WriteError>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug,
{
    let patch = with_expectation(patch, expect);
    let patched = api.patch(name, &PatchParams::default(), &Patch::Strategic(&patch)).await;
    patched.map_err(|source| patch_failed(api, name, source))
}

/// Strategic-merge-patches the status subresource: conditions and addresses merge by their keys.
/// `status` is the value of `.status`, as far as it is to change.
pub async fn status<K>(
    api: &Api<K>,
    name: &str,
    status: serde_json::Value,
    expect: &Expect,
) -> Result<K, WriteError>
where
    K: kube::Resource + DeserializeOwned,
{
    let patch = with_expectation(serde_json::json!({ "status": status }), expect);
    let patched = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await;
    patched.map_err(|source| patch_failed(api, name, source))
}

fn patch_failed<K: kube::Resource>(api: &Api<K>, name: &str, source: Error) -> WriteError {
    WriteError::Patch { what: what(api, name), class: Class::of(&source), source: Box::new(source) }
}

fn with_expectation(mut patch: serde_json::Value, expect: &Expect) -> serde_json::Value {
    let fields = [("uid", &expect.uid), ("resourceVersion", &expect.resource_version)];
    for (field, value) in fields {
        if let Some(value) = value {
            patch["metadata"][field] = serde_json::Value::String(value.clone());
        }
    }
    patch
}

fn what<K: kube::Resource>(api: &Api<K>, name: &str) -> String {
    format!("{}/{name}", api.resource_url())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{StatusCause, StatusDetails};

    fn details(retry_after_seconds: u32, cause: &str) -> StatusDetails {
        let causes = vec![StatusCause { reason: cause.into(), message: String::new(), field: String::new() }];
        StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes,
            retry_after_seconds,
        }
    }

    #[test]
    fn every_answer_has_one_class() {
        let refusal = |reason: &str| Refusal { reason: reason.into(), message: "no".into() };
        let table = [
            (404, "NotFound", details(0, ""), Class::Missing),
            (409, "AlreadyExists", details(0, ""), Class::Exists),
            (409, "Conflict", details(0, ""), Class::Stale),
            (403, "Forbidden", details(0, "NamespaceTerminating"), Class::NamespaceTerminating),
            (403, "Forbidden", details(0, ""), Class::Fatal(refusal("Forbidden"))),
            (422, "Invalid", details(0, ""), Class::Fatal(refusal("Invalid"))),
            (429, "TooManyRequests", details(7, ""), Class::Retry(Duration::from_secs(7))),
            (503, "ServiceUnavailable", details(0, ""), Class::Retry(Duration::from_secs(1))),
            (504, "Timeout", details(4_000, ""), Class::Retry(Duration::from_secs(60))),
        ];
        for (code, reason, details, expected) in table {
            let status = Status::failure("no", reason).with_code(code).with_details(details);
            assert_eq!(Class::of(&Error::Api(status.boxed())), expected, "{code} {reason}");
        }
    }

    #[test]
    fn an_expectation_goes_into_the_patch_and_keeps_what_is_there() {
        let patch = serde_json::json!({"metadata": {"labels": {"a": "b"}}});
        let expect = Expect { uid: Some("u".into()), resource_version: Some("7".into()) };
        let expected =
            serde_json::json!({"metadata": {"labels": {"a": "b"}, "uid": "u", "resourceVersion": "7"}});
        assert_eq!(with_expectation(patch, &expect), expected);
    }
}
