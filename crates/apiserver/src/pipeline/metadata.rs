//! The rules of an object's metadata: what the server sets, what a client may, what never changes.

use api::field::{FieldError, FieldErrors, Path};
use api::names;
use api::scheme::Resource;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::Write;
use crate::error::ApiError;
use crate::kinds::Names;

/// Letters that upstream's generated names end in: none that make words, none that look alike.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LETTERS_COUNT: usize = 5;
/// A generated name is at most this long, so that it can be a label's value.
const GENERATED_BYTES_MAX: usize = 63;
/// All annotations together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Metadata of an object that is created; says whether the name is generated.
pub fn begin(meta: &mut ObjectMeta, write: &Write<'_>) -> Result<bool, ApiError> {
    check_namespace(meta, write)?;
    let given = meta.name.clone().unwrap_or_default();
    if !write.name.is_empty() && given != write.name {
        return Err(name_mismatch(&given, write.name));
    }
    if meta.resource_version.take().is_some_and(|version| !version.is_empty()) {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let prefix = meta.generate_name.clone().unwrap_or_default();
    let generated = given.is_empty() && !prefix.is_empty();
    if generated {
        meta.name = Some(generate_name(&prefix)?);
    }
    meta.uid = Some(uuid::Uuid::new_v4().to_string());
    meta.creation_timestamp = Some(Time(whole_seconds(write.now)));
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.generation = None;
    meta.self_link = None;
    meta.managed_fields = None;
    Ok(generated)
}

/// Metadata of an object that is updated: what the client leaves out or may not set is as it was.
pub fn follow(meta: &mut ObjectMeta, old: &ObjectMeta, write: &Write<'_>) -> Result<(), ApiError> {
    check_namespace(meta, write)?;
    let given = meta.name.clone().unwrap_or_default();
    if given.is_empty() {
        return Err(ApiError::bad_request("name must be provided"));
    }
    if given != write.name {
        return Err(name_mismatch(&given, write.name));
    }
    let resource = write.resource;
    match meta.resource_version.as_deref().unwrap_or_default() {
        "" if !resource.unconditional_update => {
            let path = Path::new("metadata").child("resourceVersion");
            let error = FieldError::invalid(&path, 0, "must be specified for an update");
            return Err(ApiError::invalid(resource.group, resource.kind, write.name, &[error]));
        }
        "" => {}
        version if Some(version) == old.resource_version.as_deref() => {}
        _ => return Err(ApiError::modified(resource, write.name)),
    }
    let old_uid = old.uid.as_deref().unwrap_or_default();
    match meta.uid.as_deref().unwrap_or_default() {
        "" => meta.uid.clone_from(&old.uid),
        uid if uid == old_uid => {}
        uid => return Err(uid_precondition(resource, write.name, uid, old_uid)),
    }
    if meta.creation_timestamp.is_none() {
        meta.creation_timestamp.clone_from(&old.creation_timestamp);
    }
    if meta.deletion_timestamp.is_none() {
        meta.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    if meta.deletion_grace_period_seconds.is_none() {
        meta.deletion_grace_period_seconds.clone_from(&old.deletion_grace_period_seconds);
    }
    if meta.generate_name.is_none() {
        meta.generate_name.clone_from(&old.generate_name);
    }
    meta.self_link = None;
    meta.managed_fields = None;
    Ok(())
}

/// 409: the object of this name is another one than the client means.
pub fn uid_precondition(resource: &Resource, name: &str, asked: &str, found: &str) -> ApiError {
    let why = format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {found}");
    ApiError::conflict(resource, name, why)
}

fn name_mismatch(given: &str, url: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the name of the object ({given}) does not match the name on the URL ({url})"
    ))
}

fn check_namespace(meta: &mut ObjectMeta, write: &Write<'_>) -> Result<(), ApiError> {
    let given = meta.namespace.as_deref().unwrap_or_default();
    if !given.is_empty() && given != write.namespace {
        let text = if write.resource.namespaced {
            "the namespace of the provided object does not match the namespace sent on the request"
        } else {
            "namespace is not allowed on this type"
        };
        // COMPAT(v1): a namespace object may name itself in both places.
        if write.resource.namespaced || write.resource.kind != "Namespace" {
            return Err(ApiError::bad_request(text));
        }
    }
    meta.namespace = (write.resource.namespaced).then(|| write.namespace.to_owned());
    Ok(())
}

fn generate_name(prefix: &str) -> Result<String, ApiError> {
    let mut random = [0u8; SUFFIX_LETTERS_COUNT];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "no randomness");
        ApiError::internal("a name could not be generated")
    })?;
    let mut end = prefix.len().min(GENERATED_BYTES_MAX - SUFFIX_LETTERS_COUNT);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    for byte in random {
        name.push(char::from(SUFFIX_LETTERS[usize::from(byte) % SUFFIX_LETTERS.len()]));
    }
    Ok(name)
}

pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Nothing holds the object any more.
pub fn is_gone(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
        && meta.finalizers.as_ref().is_none_or(Vec::is_empty)
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
}

/// What is wrong with any object's metadata.
pub fn errors(meta: &ObjectMeta, resource: &Resource, kind_names: Names) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = FieldErrors::new();
    let name = meta.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), "name or generateName is required"));
    } else {
        let details = match kind_names {
            Names::Subdomain => names::dns1123_subdomain(name),
            Names::Label => names::dns1123_label(name),
            Names::PathSegment => names::path_segment(name),
        };
        for detail in details {
            errors.push(FieldError::invalid(&path.child("name"), name, detail));
        }
    }
    if resource.namespaced && meta.namespace.as_deref().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(&path.child("namespace"), ""));
    }
    for (key, value) in meta.labels.iter().flatten() {
        for detail in names::qualified_name(key) {
            errors.push(FieldError::invalid(&path.child("labels"), key.as_str(), detail));
        }
        for detail in names::label_value(value) {
            errors.push(FieldError::invalid(&path.child("labels"), value.as_str(), detail));
        }
    }
    let mut annotations_bytes = 0;
    for (key, value) in meta.annotations.iter().flatten() {
        // Upstream: the key's case does not matter here.
        for detail in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(&path.child("annotations"), key.as_str(), detail));
        }
        annotations_bytes += key.len() + value.len();
    }
    if annotations_bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(&path.child("annotations"), ANNOTATIONS_BYTES_MAX));
    }
    owner_errors(meta, &path, &mut errors);
    for finalizer in meta.finalizers.iter().flatten() {
        for detail in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid(&path.child("finalizers"), finalizer.as_str(), detail));
        }
    }
    errors
}

fn owner_errors(meta: &ObjectMeta, path: &Path, errors: &mut FieldErrors) {
    let mut controller: Option<String> = None;
    for (i, owner) in meta.owner_references.iter().flatten().enumerate() {
        let at = path.child("ownerReferences").index(i);
        if owner.api_version.is_empty() {
            errors.push(FieldError::invalid(&at.child("apiVersion"), "", "version must not be empty"));
        }
        if owner.kind.is_empty() {
            errors.push(FieldError::invalid(&at.child("kind"), "", "must not be empty"));
        }
        if owner.name.is_empty() {
            errors.push(FieldError::invalid(&at.child("name"), "", "must not be empty"));
        }
        if owner.uid.is_empty() {
            errors.push(FieldError::invalid(&at.child("uid"), "", "must not be empty"));
        }
        if owner.controller == Some(true) {
            let described = format!("{}/{}", owner.kind, owner.name);
            match &controller {
                None => controller = Some(described),
                Some(first) => {
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {described}"
                    );
                    let value = serde_json::to_value(owner).unwrap_or_default();
                    errors.push(FieldError::invalid(&path.child("ownerReferences"), value, detail));
                }
            }
        }
    }
}

/// What an update may not change.
pub fn update_errors(new: &ObjectMeta, old: &ObjectMeta) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = FieldErrors::new();
    let mut immutable = |field: &str, value: serde_json::Value| {
        errors.push(FieldError::invalid(&path.child(field), value, "field is immutable"));
    };
    let json = |value: &Option<Time>| serde_json::to_value(value).unwrap_or_default();
    if new.creation_timestamp != old.creation_timestamp {
        immutable("creationTimestamp", json(&new.creation_timestamp));
    }
    if new.deletion_timestamp != old.deletion_timestamp {
        immutable("deletionTimestamp", json(&new.deletion_timestamp));
    }
    if new.deletion_grace_period_seconds != old.deletion_grace_period_seconds {
        immutable("deletionGracePeriodSeconds", new.deletion_grace_period_seconds.into());
    }
    if old.deletion_timestamp.is_some() {
        let known = old.finalizers.as_deref().unwrap_or_default();
        let added: Vec<String> = new
            .finalizers
            .iter()
            .flatten()
            .filter(|finalizer| !known.contains(finalizer))
            .map(|finalizer| format!("{finalizer:?}"))
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden(&path.child("finalizers"), detail));
        }
    }
    errors
}
