//! The rules of an object's metadata: what the server sets, what a client may, what never changes.

use api::field::{FieldError, Path};
use api::scheme::Resource;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::Write;
use crate::error::ApiError;

/// Letters that upstream's generated names end in: none that make words, none that look alike.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LETTERS_COUNT: usize = 5;
/// A generated name is at most this long, so that it can be a label's value.
const GENERATED_BYTES_MAX: usize = 63;

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
    let uid = meta.uid.as_deref().unwrap_or_default();
    if !uid.is_empty() && uid != old_uid {
        return Err(uid_precondition(resource, write.name, uid, old_uid));
    }
    api::strategy::keep_system_metadata(meta, old);
    if meta.generate_name.is_none() {
        meta.generate_name.clone_from(&old.generate_name);
    }
    meta.self_link = None;
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

/// Takes out owners that stand twice, and says so, as upstream does since 1.20.
pub fn each_owner_once(meta: &mut ObjectMeta, warn: &mut dyn FnMut(String)) {
    let Some(owners) = meta.owner_references.as_mut().filter(|owners| owners.len() > 1) else { return };
    let (mut kept, mut double) = (Vec::with_capacity(owners.len()), Vec::new());
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            if !double.contains(&owner.uid) {
                double.push(owner.uid);
            }
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if !double.is_empty() {
        warn(format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may \
             reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            double.join(", ")
        ));
    }
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

/// The prefix and letters that make another name of it each time.
pub fn generate_name(prefix: &str) -> Result<String, ApiError> {
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
