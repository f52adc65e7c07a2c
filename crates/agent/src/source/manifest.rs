//! A manifest's bytes → a static Pod of this node.
//!
//! Upstream's rules (pkg/kubelet/config): one Pod per file, YAML or JSON, unknown fields dropped, the name gets the
//! node's name as suffix, the uid is a hash over the effective content, the node and the file's path, so that
//! comments and blanks change nothing and a rename makes another Pod.

use api::names;
use api::well_known::pod_annotation;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus, Toleration};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::SourceKind;

/// Upstream's limit for one manifest.
pub const MANIFEST_BYTES_MAX: u64 = 10 << 20;
/// Hexadecimal digits of a uid made here: as many as upstream's hash has.
const UID_DIGITS: usize = 32;

/// A uid that the manifest brings itself.
const UID_BYTES_MAX: usize = 64;

/// Why a file is not a Pod. The text is for the operator who wrote the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("larger than {MANIFEST_BYTES_MAX} bytes")]
    TooLarge,
    #[error("not UTF-8 text")]
    Encoding,
    #[error("empty: no Pod in it")]
    Empty,
    #[error("neither YAML nor JSON: {message}")]
    Syntax { message: String },
    #[error("only kind Pod of apiVersion v1 can be a static Pod, this is {kind:?} of {api_version:?}")]
    Kind { kind: String, api_version: String },
    #[error("not a Pod: {message}")]
    Decode { message: String },
    #[error("metadata.name: must be set")]
    NoName,
    #[error("{field}: {message}")]
    Invalid { field: String, message: String },
    #[error(
        "{field}: a static Pod cannot refer to API objects ({what}); use a DaemonSet, or put the data on the node and mount it with hostPath"
    )]
    ApiReference { field: String, what: &'static str },
}

/// What makes a manifest this node's own.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    pub node_name: &'a str,
    /// The file's path, part of the uid.
    pub path: &'a str,
    pub seen_at: Timestamp,
}

/// Reads a manifest as [`Pod`] and makes it this node's.
pub fn static_pod(bytes: &[u8], origin: Origin<'_>) -> Result<Pod, ManifestError> {
    let mut pod = decode(bytes)?;
    api::default::pod(&mut pod);
    refuse_api_references(&pod)?;
    adopt(&mut pod, origin)?;
    validate(&pod)?;
    Ok(pod)
}

fn decode(bytes: &[u8]) -> Result<Pod, ManifestError> {
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::Encoding)?;
    if text.trim().is_empty() {
        return Err(ManifestError::Empty);
    }
    let mut value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| ManifestError::Syntax { message: error.to_string() })?
    } else {
        // COMPAT(kubelet): of several documents in one file only the first is read.
        serde_saphyr::from_multiple::<Value>(text)
            .map_err(|error| ManifestError::Syntax { message: one_line(&error.to_string()) })?
            .into_iter()
            .find(|document| !document.is_null())
            .ok_or(ManifestError::Empty)?
    };
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, api_version) = (field("kind"), field("apiVersion"));
    if kind != "Pod" || api_version != "v1" {
        return Err(ManifestError::Kind { kind, api_version });
    }
    quantities_as_text(&mut value);
    let Some(spec) = value.get("spec") else {
        return Err(ManifestError::Invalid { field: "spec".to_owned(), message: "must be set".to_owned() });
    };
    if !spec.is_object() {
        return Err(ManifestError::Decode { message: format!("spec: expected a mapping, found {spec}") });
    }
    serde_json::from_value(value).map_err(|error| ManifestError::Decode { message: error.to_string() })
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// A quantity may be written as a number.
fn quantities_as_text(value: &mut Value) {
    fn to_text(value: &mut Value) {
        if let Value::Number(number) = value {
            *value = Value::String(number.to_string());
        }
    }
    match value {
        Value::Object(map) => {
            for (key, child) in map.iter_mut() {
                match (key.as_str(), &mut *child) {
                    ("limits" | "requests" | "overhead", Value::Object(resources)) => {
                        resources.values_mut().for_each(to_text);
                    }
                    ("sizeLimit" | "divisor", number) => to_text(number),
                    (_, other) => quantities_as_text(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quantities_as_text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Upstream refuses these since 1.34; before, such a Pod ran without a mirror.
fn refuse_api_references(pod: &Pod) -> Result<(), ManifestError> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let refuse = |field: String, what| Err(ManifestError::ApiReference { field, what });
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return refuse("spec.serviceAccountName".to_owned(), "a ServiceAccount");
    }
    if spec.image_pull_secrets.as_ref().is_some_and(|list| !list.is_empty()) {
        return refuse("spec.imagePullSecrets".to_owned(), "Secrets");
    }
    if spec.resource_claims.as_ref().is_some_and(|list| !list.is_empty()) {
        return refuse("spec.resourceClaims".to_owned(), "ResourceClaims");
    }
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        return refuse("spec.ephemeralContainers".to_owned(), "ephemeral containers come through the API");
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let field = |kind: &str| format!("spec.volumes[{index}].{kind}");
        if volume.secret.is_some() {
            return refuse(field("secret"), "a Secret");
        }
        if volume.config_map.is_some() {
            return refuse(field("configMap"), "a ConfigMap");
        }
        if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
            return refuse(field("persistentVolumeClaim"), "a PersistentVolumeClaim");
        }
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (at, source) in sources.enumerate() {
            let field = |kind: &str| format!("spec.volumes[{index}].projected.sources[{at}].{kind}");
            if source.secret.is_some() {
                return refuse(field("secret"), "a Secret");
            }
            if source.config_map.is_some() {
                return refuse(field("configMap"), "a ConfigMap");
            }
            if source.service_account_token.is_some() {
                return refuse(field("serviceAccountToken"), "a ServiceAccount's token");
            }
            if source.cluster_trust_bundle.is_some() {
                return refuse(field("clusterTrustBundle"), "a ClusterTrustBundle");
            }
        }
    }
    let groups =
        [("initContainers", spec.init_containers.as_deref()), ("containers", Some(&*spec.containers))];
    for (group, containers) in groups {
        for (index, container) in containers.into_iter().flatten().enumerate() {
            for (at, from) in container.env_from.iter().flatten().enumerate() {
                if from.secret_ref.is_some() || from.config_map_ref.is_some() {
                    return refuse(format!("spec.{group}[{index}].envFrom[{at}]"), "a ConfigMap or Secret");
                }
            }
            for (at, variable) in container.env.iter().flatten().enumerate() {
                let Some(from) = &variable.value_from else { continue };
                if from.secret_key_ref.is_some() || from.config_map_key_ref.is_some() {
                    let field = format!("spec.{group}[{index}].env[{at}].valueFrom");
                    return refuse(field, "a ConfigMap or Secret");
                }
            }
        }
    }
    Ok(())
}

/// Name, namespace, node, uid, annotations, toleration.
fn adopt(pod: &mut Pod, origin: Origin<'_>) -> Result<(), ManifestError> {
    let name = pod.metadata.name.clone().filter(|name| !name.is_empty()).ok_or(ManifestError::NoName)?;
    let uid = pod
        .metadata
        .uid
        .clone()
        .filter(|uid| !uid.is_empty())
        .unwrap_or_else(|| hashed_uid(pod, origin.node_name, origin.path));
    let meta = &mut pod.metadata;
    meta.name = Some(format!("{name}-{}", origin.node_name.to_lowercase()));
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    meta.generate_name = None;
    meta.resource_version = None;
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.owner_references = None;
    meta.managed_fields = None;
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(pod_annotation::CONFIG_HASH.to_owned(), uid.clone());
    annotations.insert(pod_annotation::CONFIG_SOURCE.to_owned(), SourceKind::File.as_str().to_owned());
    annotations.insert(pod_annotation::CONFIG_SEEN.to_owned(), origin.seen_at.to_string());
    meta.uid = Some(uid);
    if let Some(spec) = &mut pod.spec {
        spec.node_name = Some(origin.node_name.to_owned());
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
    pod.status = Some(PodStatus { phase: Some("Pending".to_owned()), ..Default::default() });
    Ok(())
}

fn hashed_uid(pod: &Pod, node_name: &str, path: &str) -> String {
    // Typed values have one order of fields and sorted maps, so the text depends on the content alone.
    let content = serde_json::to_vec(pod).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(&content);
    hash.update(format!("host:{node_name}file:{path}"));
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
    match api::validate::pod_create(pod).into_iter().next() {
        None => Ok(()),
        Some(error) => Err(invalid(&error.path, error.body())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: a, image: b}\n";

    fn origin() -> Origin<'static> {
        Origin { node_name: "node-a", path: "/m/web.yaml", seen_at: Timestamp::UNIX_EPOCH }
    }

    fn read(text: &str) -> Result<Pod, ManifestError> {
        static_pod(text.as_bytes(), origin())
    }

    #[test]
    fn name_gets_the_nodes_as_suffix_and_the_annotations_say_where_it_is_from() {
        let pod = read(POD).unwrap();
        let meta = &pod.metadata;
        assert_eq!(meta.name.as_deref(), Some("web-node-a"));
        assert_eq!(meta.namespace.as_deref(), Some("default"));
        let annotations = meta.annotations.as_ref().unwrap();
        assert_eq!(annotations["kubernetes.io/config.hash"], *meta.uid.as_ref().unwrap());
        assert_eq!(annotations["kubernetes.io/config.source"], "file");
        assert_eq!(pod.spec.as_ref().unwrap().node_name.as_deref(), Some("node-a"));
        let tolerations = pod.spec.unwrap().tolerations.unwrap();
        assert!(tolerations.iter().any(|t| t.operator.as_deref() == Some("Exists")
            && t.effect.as_deref() == Some("NoExecute")
            && t.key.is_none()));
    }

    #[test]
    fn uid_ignores_blanks_comments_and_order_but_not_path_node_or_content() {
        let uid = |text: &str, origin| static_pod(text.as_bytes(), origin).unwrap().metadata.uid.unwrap();
        let first = uid(POD, origin());
        let shuffled = "# hello\nkind: Pod\nspec:\n  containers:\n  - image: b\n    name: a\n\nmetadata:\n  name: web\napiVersion: v1\n";
        assert_eq!(first, uid(shuffled, origin()));
        assert_eq!(first.len(), 32);
        assert_ne!(first, uid(POD, Origin { path: "/m/other.yaml", ..origin() }));
        assert_ne!(first, uid(POD, Origin { node_name: "b", ..origin() }));
        assert_ne!(first, uid(&POD.replace("image: b", "image: c"), origin()));
    }

    #[test]
    fn of_several_documents_the_first_is_read() {
        let other = POD.replace("{name: web}", "{name: other}");
        let pod = read(&format!("---\n{POD}---\n{other}")).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("web-node-a"));
    }

    #[test]
    fn uid_of_the_manifest_is_kept() {
        let pod = read(&POD.replace("{name: web}", "{name: web, uid: mine}")).unwrap();
        assert_eq!(pod.metadata.uid.as_deref(), Some("mine"));
    }

    #[test]
    fn json_is_read_as_well() {
        let pod = read(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"name":"a","image":"b","resources":{"limits":{"cpu":1}}}]}}"#).unwrap();
        let container = &pod.spec.unwrap().containers[0];
        assert_eq!(container.resources.as_ref().unwrap().limits.as_ref().unwrap()["cpu"].0, "1");
    }

    #[test]
    fn faults_are_told_precisely() {
        assert_eq!(read(" \n"), Err(ManifestError::Empty));
        assert!(matches!(read("kind: [a"), Err(ManifestError::Syntax { .. })));
        assert!(matches!(read("apiVersion: apps/v1\nkind: DaemonSet"), Err(ManifestError::Kind { .. })));
        assert!(matches!(
            read("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: ...\n"),
            Err(ManifestError::Decode { .. })
        ));
        let nameless = POD.replace("{name: web}", "{}");
        assert_eq!(read(&nameless), Err(ManifestError::NoName));
        assert!(matches!(read(&POD.replace("web", "We_b")), Err(ManifestError::Invalid { .. })));
        let with_secret = format!("{POD}  volumes:\n  - name: s\n    secret: {{secretName: x}}\n");
        let error = read(&with_secret).unwrap_err().to_string();
        assert!(error.starts_with("spec.volumes[0].secret: a static Pod cannot refer"), "{error}");
    }
}
