//! The subresource that is an action without an object of its own: the binding of a pod.

use bytes::Bytes;
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::{Binding, Pod};
use store::Expect;

use api::field::{FieldError, Path};

use super::{Committed, Stored};
use crate::body::Body;
use crate::decode::{Payload, decode};
use crate::error::{self, ApiError};
use crate::kinds;
use crate::limits::CONFLICT_TRIES_MAX;
use crate::options::{Persistence, WriteOptions};
use crate::pipeline::{stored, typed};

/// The resource that decoding errors name.
pub(super) fn body_kind(group: &'static str, kind: &'static str) -> api::scheme::Resource {
    let mut resource = api::scheme::RESOURCES[0];
    (resource.group, resource.version, resource.kind) = (group, "v1", kind);
    resource.definition = match kind {
        "Binding" => "io.k8s.api.core.v1.Binding",
        _ => "io.k8s.api.policy.v1.Eviction",
    };
    resource
}

impl Stored<'_> {
    /// The scheduler's word: the pod is on that node. Of pods/binding, and of bindings, whose body alone names the pod.
    pub(super) async fn bind(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let options = WriteOptions::parse(&self.call.query, "CreateOptions")?;
        let payload = Payload::read(&self.call.headers, body, "Binding")?;
        let described = body_kind("", "Binding");
        let binding: Binding =
            decode(&payload, &described, options.field_validation, &mut |text| self.call.warn(text))?;
        let given = binding.metadata.name.as_deref().unwrap_or_default();
        let name = match self.call.target.name.as_str() {
            "" if given.is_empty() => return Err(ApiError::bad_request("Name parameter required.")),
            "" => given,
            name if given.is_empty() || given == name => name,
            _ => {
                return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
            }
        };
        let namespace = binding.metadata.namespace.as_deref().unwrap_or_default();
        if !namespace.is_empty() && namespace != self.namespace() {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let target = Path::new("target");
        let mut errors = Vec::new();
        let kind = binding.target.kind.as_deref().unwrap_or_default();
        if !matches!(kind, "" | "Node") {
            errors.push(FieldError::not_supported(&target.child("kind"), kind, &["Node", "<empty>"]));
        }
        if binding.target.name.as_deref().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(&target.child("name"), ""));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid("", "Binding", name, &errors));
        }
        for _ in 0..CONFLICT_TRIES_MAX {
            self.fresh().await?;
            let current = self.window.get(&self.key(name));
            let current = current.ok_or_else(|| ApiError::not_found(self.resource, name))?;
            let asked_uid = binding.metadata.uid.as_deref().unwrap_or_default();
            if !asked_uid.is_empty() && asked_uid != current.header.uid() {
                let why = format!(
                    "Precondition failed: UID in precondition: {asked_uid}, UID in object meta: {}",
                    current.header.uid()
                );
                return Err(ApiError::conflict(self.resource, name, why));
            }
            let mut pod: Pod = typed(&current)?;
            let generation = pod.metadata.generation.unwrap_or(0);
            kinds::assign_pod(&mut pod, &binding, self.call.now())
                .map_err(|why| ApiError::conflict_of(self.resource, "pods/binding", name, why))?;
            pod.metadata.generation = Some(generation + 1);
            if options.persistence == Persistence::DryRun {
                return self.json_answer(StatusCode::CREATED, &error::created());
            }
            let done = self
                .put(name, stored(pod, current.managed(), self.call.now())?, Expect::At(current.revision))
                .await?;
            if let Committed::Done(_) = done {
                return self.json_answer(StatusCode::CREATED, &error::created());
            }
        }
        Err(ApiError::modified(self.resource, name))
    }
}
