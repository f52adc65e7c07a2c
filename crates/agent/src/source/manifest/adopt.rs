//! A decoded object → this node's own: defaults, name, uid, annotations, and whether it is legal.

use api::names;
use api::well_known::pod_annotation;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus, Secret, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest, Sha256};

use super::{ManifestError, Origin, references};
use crate::source::SourceKind;

/// Hexadecimal digits of a uid made here: as many as upstream's hash has.
const UID_DIGITS: usize = 32;
/// A uid that the manifest brings itself.
const UID_BYTES_MAX: usize = 64;
/// Where an object lives that does not say.
const NAMESPACE_DEFAULT: &str = "default";

pub fn pod(mut pod: Pod, origin: Origin<'_>) -> Result<Pod, ManifestError> {
    api::default::pod(&mut pod);
    references::refuse_api_objects(&pod)?;
    adopt(&mut pod, origin)?;
    validate(&pod)?;
    Ok(pod)
}

/// Stays on this node: static Pods may name it.
pub fn config_map(mut map: ConfigMap) -> Result<ConfigMap, ManifestError> {
    settle(&mut map.metadata)?;
    legal(api::validate::config_map_create(&map))?;
    Ok(map)
}

/// Stays on this node: static Pods may name it.
pub fn secret(mut secret: Secret) -> Result<Secret, ManifestError> {
    settle(&mut secret.metadata)?;
    api::default::secret(&mut secret);
    legal(api::validate::secret_create(&secret))?;
    Ok(secret)
}

fn settle(meta: &mut ObjectMeta) -> Result<(), ManifestError> {
    if meta.name.as_ref().is_none_or(String::is_empty) {
        return Err(ManifestError::NoName);
    }
    meta.namespace.get_or_insert_with(|| NAMESPACE_DEFAULT.to_owned());
    Ok(())
}

fn legal(errors: api::field::FieldErrors) -> Result<(), ManifestError> {
    match errors.into_iter().next() {
        None => Ok(()),
        Some(error) => Err(ManifestError::Invalid { field: error.path.clone(), message: error.body() }),
    }
}

/// Name, namespace, node, uid, annotations, toleration.
fn adopt(pod: &mut Pod, origin: Origin<'_>) -> Result<(), ManifestError> {
    let name = pod.metadata.name.clone().filter(|name| !name.is_empty()).ok_or(ManifestError::NoName)?;
    let uid =
        pod.metadata.uid.clone().filter(|uid| !uid.is_empty()).unwrap_or_else(|| hashed_uid(pod, origin));
    let meta = &mut pod.metadata;
    meta.name = Some(format!("{name}-{}", origin.node_name.to_lowercase()));
    meta.namespace.get_or_insert_with(|| NAMESPACE_DEFAULT.to_owned());
    meta.generate_name = None;
    meta.resource_version = None;
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.owner_references = None;
    meta.managed_fields = None;
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(pod_annotation::CONFIG_HASH.to_owned(), uid.clone());
    annotations.insert(pod_annotation::CONFIG_SOURCE.to_owned(), origin.kind.as_str().to_owned());
    annotations.insert(pod_annotation::CONFIG_SEEN.to_owned(), origin.seen_at.to_string());
    meta.uid = Some(uid);
    if let Some(spec) = &mut pod.spec {
        spec.node_name = Some(origin.node_name.to_owned());
        // COMPAT(kubelet): not for those from a URL.
        if origin.kind == SourceKind::File {
            let tolerates_all = Toleration {
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                ..Default::default()
            };
            let tolerations = spec.tolerations.get_or_insert_default();
            if !tolerations.contains(&tolerates_all) {
                tolerations.push(tolerates_all);
            }
        }
    }
    pod.status = Some(PodStatus { phase: Some("Pending".to_owned()), ..Default::default() });
    Ok(())
}

fn hashed_uid(pod: &Pod, origin: Origin<'_>) -> String {
    // Typed values have one order of fields and sorted maps, so the text depends on the content alone.
    let content = serde_json::to_vec(pod).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(&content);
    match origin.kind {
        // COMPAT(kubelet): a URL's Pods have one uid on all nodes.
        SourceKind::Http => hash.update(format!("url:{}", origin.path)),
        SourceKind::File | SourceKind::Api => {
            hash.update(format!("host:{}file:{}", origin.node_name, origin.path));
        }
    }
    crate::pause::hex(&hash.finalize())[..UID_DIGITS].to_owned()
}

fn validate(pod: &Pod) -> Result<(), ManifestError> {
    let invalid = |field: &str, message: String| ManifestError::Invalid { field: field.to_owned(), message };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if let Some(message) = names::dns1123_subdomain(name).into_iter().next() {
        return Err(invalid("metadata.name", format!("{name:?}: {message}")));
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(message) = names::dns1123_label(namespace).into_iter().next() {
        return Err(invalid("metadata.namespace", format!("{namespace:?}: {message}")));
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    // It names folders on this node.
    if uid.len() > UID_BYTES_MAX || !uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(invalid("metadata.uid", format!("{uid:?}: only letters, digits and '-' here")));
    }
    legal(api::validate::pod_create(pod))
}
