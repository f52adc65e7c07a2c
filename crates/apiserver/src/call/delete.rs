//! Delete one object or many.
//!
//! Upstream: `pkg/registry/rest/delete.go` and the generic store's Delete. What is deleted stays, marked, while it has
//! finalizers or time to end in; a namespace stays until its content has gone.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};
use store::Expect;

use api::well_known::finalizer;

use super::{Committed, Stored};
use crate::access::restriction;
use crate::body::Body;
use crate::decode::Payload;
use crate::error::{self, ApiError};
use crate::limits::CONFLICT_TRIES_MAX;
use crate::object::Object;
use crate::options::{Deletion, Persistence, Propagation};
use crate::pipeline::{Outcome, mark_deleted, stored, typed};

/// What is left of a deleted object.
pub(super) enum Remains {
    /// It is marked, or was already.
    Ending(Arc<Object>),
    Gone(Arc<Object>),
}

impl Stored<'_> {
    pub(super) async fn delete(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let deletion = self.read_deletion(body)?;
        let name = self.call.target.name.as_str();
        match self.delete_one(name, &deletion).await? {
            Remains::Ending(object) => {
                // COMPAT(v1): of all else that ends later 200 is said, as it always was.
                let code = if deletion.waits { StatusCode::ACCEPTED } else { StatusCode::OK };
                self.object_answer(code, &object)
            }
            // Upstream answers with the object for these kinds, with a Status for the others.
            Remains::Gone(object) if matches!(self.resource.plural, "pods" | "serviceaccounts") => {
                self.object_answer(StatusCode::OK, &object)
            }
            Remains::Gone(object) => {
                let status = error::deleted(self.call.resource, object.header.name(), object.header.uid());
                self.json_answer(StatusCode::OK, &status)
            }
        }
    }

    pub(super) async fn delete_collection(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let deletion = self.read_deletion(body)?;
        let options = self.list_options(false)?;
        self.fresh().await?;
        let view = self.window.list(&options.selection.prefix(), |object| options.selection.matches(object));
        for object in &view.objects {
            match self.delete_one(object.header.name(), &deletion).await {
                Ok(_) => {}
                // Somebody else was faster.
                Err(error) if error.code() == StatusCode::NOT_FOUND => {}
                Err(error) => return Err(error),
            }
        }
        self.list_answer(view.revision, &view.objects, None, None)
    }

    fn read_deletion(&self, body: Bytes) -> Result<Deletion, ApiError> {
        let options = if body.is_empty() {
            None
        } else {
            let payload = Payload::read(&self.call.headers, body, "DeleteOptions")?;
            let mut value = payload.into_value("DeleteOptions")?;
            // Clients send it in their resource's version; there is only one shape.
            if let Some(object) = value.as_object_mut() {
                object.remove("apiVersion");
                object.remove("kind");
            }
            let options: DeleteOptions = serde_json::from_value(value).map_err(|error| {
                ApiError::bad_request(format!(
                    "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: {error}"
                ))
            })?;
            Some(options)
        };
        Deletion::parse(&self.call.query, options)
    }

    pub(super) async fn delete_one(&self, name: &str, deletion: &Deletion) -> Result<Remains, ApiError> {
        for _ in 0..CONFLICT_TRIES_MAX {
            let current = self.current(name).await?;
            self.check_preconditions(name, &current, deletion)?;
            self.restrict(name, &current)?;
            let outcome = if self.resource.kind == "Namespace" {
                self.end_namespace(name, &current)?
            } else {
                self.end(&current, deletion)?
            };
            if deletion.persistence == Persistence::DryRun {
                return Ok(match outcome {
                    Outcome::Remove => Remains::Gone(current),
                    Outcome::Same | Outcome::Put(_) => Remains::Ending(current),
                });
            }
            match outcome {
                Outcome::Same => return Ok(Remains::Ending(current)),
                Outcome::Put(bytes) => {
                    if let Committed::Done(object) =
                        self.put(name, bytes, Expect::At(current.revision)).await?
                    {
                        return Ok(Remains::Ending(object));
                    }
                }
                Outcome::Remove => {
                    if let Committed::Done(object) = self.remove(name, &current).await? {
                        return Ok(Remains::Gone(object));
                    }
                }
            }
        }
        Err(ApiError::modified(self.call.resource, name))
    }

    /// A node's agent deletes only what runs on its node.
    pub(super) fn restrict(&self, name: &str, current: &Object) -> Result<(), ApiError> {
        let Some(node) = self.call.user.node_name() else { return Ok(()) };
        if self.resource.plural != "pods" {
            return Ok(());
        }
        let pod: Pod = typed(current)?;
        let checked = match self.call.target.subresource.as_str() {
            "eviction" => restriction::evict_pod(node, &pod),
            _ => restriction::delete_pod(node, &pod),
        };
        checked.map_err(|why| ApiError::forbidden(self.call.resource, name, why))
    }

    fn check_preconditions(&self, name: &str, current: &Object, deletion: &Deletion) -> Result<(), ApiError> {
        if let Some(asked) = deletion.uid.as_deref().filter(|uid| *uid != current.header.uid()) {
            let why = format!(
                "Precondition failed: UID in precondition: {asked}, UID in object meta: {}",
                current.header.uid()
            );
            return Err(ApiError::conflict(self.call.resource, name, why));
        }
        let found = current.revision_text();
        if let Some(asked) = deletion.resource_version.as_deref().filter(|version| *version != found) {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {asked}, ResourceVersion in object meta: {found}"
            );
            return Err(ApiError::conflict(self.call.resource, name, why));
        }
        Ok(())
    }

    /// The object as the deletion leaves it.
    fn end(&self, current: &Object, deletion: &Deletion) -> Result<Outcome, ApiError> {
        let grace = self.strategy.grace_seconds(current, deletion.grace_seconds)?;
        let now = self.call.now();
        self.strategy.edit_metadata(current, now, &|meta| {
            propagate(meta, deletion.propagation);
            match meta.deletion_timestamp.as_ref().map(|time| time.0) {
                None => {
                    let seconds = grace.unwrap_or(0);
                    mark_deleted(meta, after(now, seconds), seconds);
                }
                Some(at) => shorten(meta, at, deletion.grace_seconds, grace),
            }
        })
    }

    /// A namespace is only marked; who removes its content finalizes it.
    fn end_namespace(&self, name: &str, current: &Object) -> Result<Outcome, ApiError> {
        let mut namespace: Namespace = typed(current)?;
        let holds = |namespace: &Namespace| {
            let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
            finalizers.is_some_and(|finalizers| !finalizers.is_empty())
                || namespace.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
        };
        if matches!(name, "default" | "kube-system" | "kube-public") {
            return Err(ApiError::forbidden(self.call.resource, name, "this namespace may not be deleted"));
        }
        if namespace.metadata.deletion_timestamp.is_none() {
            mark_deleted(&mut namespace.metadata, self.call.now(), 0);
            namespace.metadata.deletion_grace_period_seconds = None;
            namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
            return Ok(if holds(&namespace) {
                Outcome::Put(stored(namespace, current.managed(), self.call.now())?)
            } else {
                Outcome::Remove
            });
        }
        if holds(&namespace) {
            let why = "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will automatically be purged by the system.";
            return Err(ApiError::conflict(self.call.resource, name, why));
        }
        Ok(Outcome::Remove)
    }
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(whole)
}

/// The garbage collector's orders stand in finalizers.
fn propagate(meta: &mut ObjectMeta, propagation: Option<Propagation>) {
    let wanted = match propagation {
        // COMPAT(v1): left to the kind, whose default leaves what is there.
        None => return,
        Some(Propagation::Background) => None,
        Some(Propagation::Foreground) => Some(finalizer::FOREGROUND),
        Some(Propagation::Orphan) => Some(finalizer::ORPHAN),
    };
    let finalizers = meta.finalizers.get_or_insert_default();
    finalizers.retain(|known| known != finalizer::FOREGROUND && known != finalizer::ORPHAN);
    finalizers.extend(wanted.map(str::to_owned));
    if finalizers.is_empty() {
        meta.finalizers = None;
    }
}

/// A second deletion can only make the first one faster.
fn shorten(meta: &mut ObjectMeta, at: Timestamp, asked: Option<i64>, grace: Option<i64>) {
    let (Some(own), Some(_)) = (meta.deletion_grace_period_seconds, asked) else { return };
    let Some(seconds) = grace.filter(|seconds| *seconds < own) else { return };
    let begun = at.checked_sub(SignedDuration::from_secs(own)).unwrap_or(at);
    mark_deleted(meta, after(begun, seconds), seconds);
}
