//! What a node's agent may write: the admission half of its limits.
//!
//! Decides, with the objects at hand, whether a write that the node authorizer let through concerns only the
//! node's own Node, Lease and Pods. Matches upstream's NodeRestriction (plugin/pkg/admission/noderestriction),
//! for the kinds that we serve. Refusals are upstream's texts; the caller puts `… is forbidden: ` before them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::authentication::v1::BoundObjectReference;
use k8s_openapi::api::core::v1::{EnvVar, Node, Pod, PodSpec, Volume};

use super::node::LEASE_NAMESPACE;

/// What makes a Pod a mirror Pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Labels in Kubernetes' own namespaces that a node may set on itself (k8s.io/kubelet/pkg/apis).
const KUBELET_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/windows-build",
];
const KUBELET_LABEL_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const RESTRICTED_LABEL_NAMESPACE: &str = "node-restriction.kubernetes.io";

/// Upstream's reason for the refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Restricted(String);

fn refuse(reason: impl Into<String>) -> Result<(), Restricted> {
    Err(Restricted(reason.into()))
}

/// A node creates mirror Pods only: on itself, owned by itself, and without references to other objects.
/// `own_uid` is that of the node's Node object, if there is one.
pub fn create_pod(node: &str, own_uid: Option<&str>, pod: &Pod) -> Result<(), Restricted> {
    let annotations = pod.metadata.annotations.as_ref();
    if !annotations.is_some_and(|annotations| annotations.contains_key(MIRROR_ANNOTATION)) {
        return refuse(format!(
            "pod does not have {MIRROR_ANNOTATION:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    if spec.node_name.as_deref() != Some(node) {
        return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owner = match pod.metadata.owner_references.as_deref().unwrap_or_default() {
        [] => {
            return refuse(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        [owner] => owner,
        _ => {
            return refuse(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            ));
        }
    };
    if owner.api_version != "v1" || owner.kind != "Node" || owner.name != node {
        return refuse(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if owner.controller != Some(true) {
        return refuse(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if owner.block_owner_deletion == Some(true) {
        return refuse(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    match own_uid {
        None => return refuse(format!("node {node:?} not found")),
        Some(uid) if uid != owner.uid => {
            return refuse(format!("node {node} UID mismatch: expected {} got {uid}", owner.uid));
        }
        Some(_) => {}
    }
    if spec.service_account_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return refuse(format!("node {node:?} can not create pods that reference a service account"));
    }
    match referenced(spec).into_iter().next() {
        Some(kind) => refuse(format!("node {node:?} can not create pods that reference {kind}")),
        None => Ok(()),
    }
}

/// `existing` is the Pod that is to be deleted.
pub fn delete_pod(node: &str, existing: &Pod) -> Result<(), Restricted> {
    match is_on(existing, node) {
        true => Ok(()),
        false => refuse(format!("node {node:?} can only delete pods with spec.nodeName set to itself")),
    }
}

pub fn evict_pod(node: &str, existing: &Pod) -> Result<(), Restricted> {
    match is_on(existing, node) {
        true => Ok(()),
        false => refuse(format!("node {node} can only evict pods with spec.nodeName set to itself")),
    }
}

pub fn update_pod_status(node: &str, old: &Pod, new: &Pod) -> Result<(), Restricted> {
    if !is_on(old, node) {
        return refuse(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    let labels = |pod: &Pod| pod.metadata.labels.clone().unwrap_or_default();
    if labels(old) != labels(new) {
        return refuse(format!("node {node:?} cannot update labels through pod status"));
    }
    Ok(())
}

/// A write of a Pod itself that is neither a create nor a delete; `operation` is `UPDATE` and the like.
pub fn other_pod_write(node: &str, operation: &str) -> Result<(), Restricted> {
    refuse(format!(
        "unexpected operation {operation:?}, node {node:?} can only create and delete mirror pods"
    ))
}

/// A create (`old` is none) or update, of the Node or of its status.
pub fn write_node(node: &str, old: Option<&Node>, new: &Node) -> Result<(), Restricted> {
    let named = new.metadata.name.as_deref().unwrap_or_default();
    if named != node {
        return refuse(format!("node {node:?} is not allowed to modify node {named:?}"));
    }
    let labels = |object: &Node| object.metadata.labels.clone().unwrap_or_default();
    let before = old.map(labels).unwrap_or_default();
    let forbidden = forbidden_labels(&before, &labels(new)).into_iter().collect::<Vec<_>>().join(", ");
    let Some(old) = old else {
        if !forbidden.is_empty() {
            return refuse(format!("node {node:?} is not allowed to set the following labels: {forbidden}"));
        }
        return Ok(());
    };
    let taints = |object: &Node| object.spec.clone().and_then(|spec| spec.taints).unwrap_or_default();
    if taints(old) != taints(new) {
        return refuse(format!("node {node:?} is not allowed to modify taints"));
    }
    if !forbidden.is_empty() {
        return refuse(format!("is not allowed to modify labels: {forbidden}"));
    }
    let owners = |object: &Node| object.metadata.owner_references.clone().unwrap_or_default();
    if owners(old) != owners(new) {
        return refuse(format!("node {node:?} is not allowed to modify owner references"));
    }
    Ok(())
}

/// Any write of a lease.
pub fn write_lease(node: &str, namespace: &str, name: &str) -> Result<(), Restricted> {
    if namespace != LEASE_NAMESPACE {
        return refuse(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    if name != node {
        return refuse("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

/// Any write of a CSINode.
pub fn write_csi_node(node: &str, name: &str) -> Result<(), Restricted> {
    if name != node {
        return refuse("can only access CSINode with the same name as the requesting node");
    }
    Ok(())
}

/// The Pod that a node's token request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodOfToken<'r> {
    pub name: &'r str,
    pub uid: &'r str,
}

/// A node's token request is for a Pod, of which it knows the uid.
pub fn pod_of_token(reference: Option<&BoundObjectReference>) -> Result<PodOfToken<'_>, Restricted> {
    let is_pod = |reference: &&BoundObjectReference| {
        reference.api_version.as_deref() == Some("v1") && reference.kind.as_deref() == Some("Pod")
    };
    let pod = reference.filter(is_pod);
    let name = pod.and_then(|reference| reference.name.as_deref()).filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(Restricted("node requested token not bound to a pod".to_owned()));
    };
    let uid = pod.and_then(|reference| reference.uid.as_deref()).filter(|uid| !uid.is_empty());
    match uid {
        Some(uid) => Ok(PodOfToken { name, uid }),
        None => Err(Restricted("node requested token with a pod binding without a uid".to_owned())),
    }
}

/// The Pod of a node's token request is the one that it means, and runs there.
pub fn token_for_pod(node: &str, uid: &str, pod: &Pod) -> Result<(), Restricted> {
    if pod.metadata.uid.as_deref() != Some(uid) {
        return refuse(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        ));
    }
    match is_on(pod, node) {
        true => Ok(()),
        false => refuse("node requested token bound to a pod scheduled on a different node"),
    }
}

/// A node asks for no audience (the API server's) or for one that a volume of the Pod names, unless it is `allowed`
/// another.
pub fn token_audiences(
    audiences: &[String],
    pod: &Pod,
    allowed: impl Fn(&str) -> bool,
) -> Result<(), Restricted> {
    let audience = match audiences {
        [] => return Ok(()),
        [one] => one,
        _ => return refuse("node may only request 0 or 1 audiences"),
    };
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let projected = volumes.flat_map(|volume| &volume.projected).flat_map(|all| all.sources.iter().flatten());
    let mut named = projected.filter_map(|source| source.service_account_token.as_ref()?.audience.as_deref());
    if named.any(|own| own == audience) || allowed(audience) {
        return Ok(());
    }
    refuse(format!("audience {audience:?} not found in pod spec volume"))
}

fn is_on(pod: &Pod, node: &str) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
}

fn forbidden_labels<'l>(
    old: &'l BTreeMap<String, String>,
    new: &'l BTreeMap<String, String>,
) -> BTreeSet<&'l str> {
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
    let removed = old.iter().filter(|(key, _)| !new.contains_key(*key));
    changed.chain(removed).map(|(key, _)| key.as_str()).filter(|key| is_forbidden_label(key)).collect()
}

fn is_forbidden_label(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
    let within = |parent: &str| {
        namespace == parent || namespace.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    };
    if within(RESTRICTED_LABEL_NAMESPACE) {
        return true;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    let kubelet = KUBELET_LABELS.contains(&label) || KUBELET_LABEL_NAMESPACES.into_iter().any(within);
    kubernetes && !kubelet
}

/// The kinds of objects that a Pod's spec names, in upstream's order and words.
fn referenced(spec: &PodSpec) -> Vec<&'static str> {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let env: Vec<&EnvVar> = containers
        .clone()
        .flat_map(|container| container.env.iter().flatten())
        .chain(ephemeral.clone().flat_map(|container| container.env.iter().flatten()))
        .collect();
    let sources = || env.iter().filter_map(|env| env.value_from.as_ref());
    let env_from = || {
        let ephemeral = ephemeral.clone().flat_map(|container| container.env_from.iter().flatten());
        containers.clone().flat_map(|container| container.env_from.iter().flatten()).chain(ephemeral)
    };
    let projected = |volume: &Volume| {
        volume.projected.as_ref().and_then(|projected| projected.sources.clone()).unwrap_or_default()
    };
    let secrets = !api::pod::secret_names(spec).is_empty();
    let config_maps = volumes.iter().any(|volume| {
        volume.config_map.is_some() || projected(volume).iter().any(|source| source.config_map.is_some())
    }) || sources().any(|source| source.config_map_key_ref.is_some())
        || env_from().any(|source| source.config_map_ref.is_some());
    let tokens = volumes
        .iter()
        .any(|volume| projected(volume).iter().any(|source| source.service_account_token.is_some()));
    let claims =
        volumes.iter().any(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some());
    let resource_claims = spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty());
    [
        (secrets, "secrets"),
        (config_maps, "configmaps"),
        (tokens, "serviceaccounts"),
        (claims, "persistentvolumeclaims"),
        (resource_claims, "resourceclaims"),
    ]
    .into_iter()
    .filter_map(|(is, kind)| is.then_some(kind))
    .collect()
}
