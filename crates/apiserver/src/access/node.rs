//! What a node's agent may ask for: only what the Pods bound to its node need.
//!
//! Matches upstream's node authorizer (plugin/pkg/auth/authorizer/node, with selectors as in 1.34 and
//! later): secrets, config maps, service accounts and claims only if a Pod on the node names them, Pods, Nodes, leases and
//! CSINodes only its own; everything else by the static rules of the role `system:node`. Volumes, attachments and
//! resource slices are not served, so none belongs to a node. What a permitted write may contain is [`restriction`](super::restriction)'s matter. Which Pods there are is
//! asked through [`PodReferences`].

use std::sync::LazyLock;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{Attributes, Opinion, bootstrap, rbac};

/// The namespace of the leases that nodes renew.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";

/// What a Pod can name, or be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Referenced {
    Secret,
    ConfigMap,
    ServiceAccount,
    VolumeClaim,
    /// The Pod itself.
    Pod,
}

/// Knows the Pods that are bound to a node. Answers from memory: it is asked while a request waits.
pub trait PodReferences: Send + Sync {
    /// Does a Pod bound to `node` in `namespace` refer to (or, for Pods, is it) the object of this name?
    fn refers(&self, node: &str, kind: Referenced, namespace: &str, name: &str) -> bool;
}

/// A cluster without Pods.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPods;

impl PodReferences for NoPods {
    fn refers(&self, _node: &str, _kind: Referenced, _namespace: &str, _name: &str) -> bool {
        false
    }
}

static NODE_RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(bootstrap::node_rules);

/// The node authorizer's opinion; of users who are not nodes it has none and gives no reason.
pub fn authorize(attributes: &Attributes, pods: &dyn PodReferences) -> Opinion {
    let Some(node) = attributes.user.node_name() else { return Opinion::None(String::new()) };
    let decided = match (attributes.group.as_str(), attributes.resource.as_str()) {
        ("", "secrets") => read_referenced(attributes, node, Referenced::Secret, pods),
        ("", "configmaps") => read_referenced(attributes, node, Referenced::ConfigMap, pods),
        ("", "serviceaccounts") => service_account(attributes, node, pods),
        ("", "pods") => pod(attributes, node, pods),
        ("", "nodes") => own_node(attributes, node),
        ("", "persistentvolumeclaims") => volume_claim(attributes, node, pods),
        ("", "persistentvolumes")
        | ("resource.k8s.io", "resourceclaims")
        | ("storage.k8s.io", "volumeattachments") => of_no_node(attributes, node),
        ("resource.k8s.io", "resourceslices") => resource_slice(attributes, node),
        ("coordination.k8s.io", "leases") => lease(attributes, node),
        ("storage.k8s.io", "csinodes") => csi_node(attributes, node),
        _ => Some(by_rules(attributes)),
    };
    decided.unwrap_or_else(|| Opinion::None(String::new()))
}

fn by_rules(attributes: &Attributes) -> Opinion {
    if NODE_RULES.iter().any(|rule| rbac::allows(rule, attributes)) {
        Opinion::Allow
    } else {
        Opinion::None(String::new())
    }
}

fn no(reason: impl Into<String>) -> Option<Opinion> {
    Some(Opinion::None(reason.into()))
}

fn related(
    attributes: &Attributes,
    node: &str,
    kind: Referenced,
    pods: &dyn PodReferences,
) -> Option<Opinion> {
    if attributes.name.is_empty() {
        return no("No Object name found");
    }
    if pods.refers(node, kind, &attributes.namespace, &attributes.name) {
        return Some(Opinion::Allow);
    }
    unrelated(node)
}

fn unrelated(node: &str) -> Option<Opinion> {
    no(format!("no relationship found between node '{node}' and this object"))
}

/// Why a request is not a `get` of one object, if it is not.
fn not_one(attributes: &Attributes) -> Option<Opinion> {
    match (attributes.verb.as_str(), attributes.subresource.as_str()) {
        ("get", "") if attributes.name.is_empty() => no("No Object name found"),
        ("get", "") => None,
        ("get", _) => no("cannot get subresource"),
        _ => no("can only get individual resources of this type"),
    }
}

/// Objects that would belong to a node through others that are not served.
fn of_no_node(attributes: &Attributes, node: &str) -> Option<Opinion> {
    not_one(attributes).or_else(|| unrelated(node))
}

fn volume_claim(attributes: &Attributes, node: &str, pods: &dyn PodReferences) -> Option<Opinion> {
    if attributes.subresource == "status" {
        return match attributes.verb.as_str() {
            "update" | "patch" => related(attributes, node, Referenced::VolumeClaim, pods),
            _ => no("can only get/update/patch this type"),
        };
    }
    not_one(attributes).or_else(|| related(attributes, node, Referenced::VolumeClaim, pods))
}

fn resource_slice(attributes: &Attributes, node: &str) -> Option<Opinion> {
    if !attributes.subresource.is_empty() {
        return no("cannot authorize ResourceSlice subresources");
    }
    match attributes.verb.as_str() {
        "create" => Some(Opinion::Allow),
        "get" | "update" | "patch" | "delete" => unrelated(node),
        "watch" | "list" | "deletecollection" => {
            let own = |(field, value): &(String, String)| field == "nodeName" && value == node;
            if attributes.field_equals.iter().any(own) {
                return Some(Opinion::Allow);
            }
            no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        }
        _ => no(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
        ),
    }
}

fn read_referenced(
    attributes: &Attributes,
    node: &str,
    kind: Referenced,
    pods: &dyn PodReferences,
) -> Option<Opinion> {
    if !matches!(attributes.verb.as_str(), "get" | "list" | "watch") {
        return no("can only read resources of this type");
    }
    if !attributes.subresource.is_empty() {
        return no("cannot read subresource");
    }
    if attributes.namespace.is_empty() {
        return no("can only read namespaced object of this type");
    }
    related(attributes, node, kind, pods)
}

fn service_account(attributes: &Attributes, node: &str, pods: &dyn PodReferences) -> Option<Opinion> {
    let reads = attributes.verb == "get" && attributes.subresource.is_empty();
    if !reads {
        if attributes.verb != "create" || attributes.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if attributes.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
    }
    related(attributes, node, Referenced::ServiceAccount, pods)
}

fn pod(attributes: &Attributes, node: &str, pods: &dyn PodReferences) -> Option<Opinion> {
    match (attributes.subresource.as_str(), attributes.verb.as_str()) {
        ("", "get") => not_one(attributes).or_else(|| related(attributes, node, Referenced::Pod, pods)),
        ("", "list" | "watch") => {
            let own = |(field, value): &(String, String)| field == "spec.nodeName" && value == node;
            if attributes.field_equals.iter().any(own) {
                return Some(Opinion::Allow);
            }
            // One Pod by its name, as upstream's informers watch it.
            if !attributes.name.is_empty() {
                return related(attributes, node, Referenced::Pod, pods);
            }
            no("can only list/watch pods with spec.nodeName field selector")
        }
        // Which Pods these may be is checked with the object at hand, at admission.
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
            Some(Opinion::Allow)
        }
        _ => None,
    }
}

fn own_node(attributes: &Attributes, node: &str) -> Option<Opinion> {
    match (attributes.subresource.as_str(), attributes.verb.as_str()) {
        // Whose Node is written is checked at admission, where a created one has its name.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Some(Opinion::Allow),
        ("", "get" | "list" | "watch") => match attributes.name.as_str() {
            name if name == node => Some(Opinion::Allow),
            "" => no(format!("node '{node}' cannot read all nodes, only its own Node object")),
            other => no(format!("node '{node}' cannot read '{other}', only its own Node object")),
        },
        _ => None,
    }
}

fn lease(attributes: &Attributes, node: &str) -> Option<Opinion> {
    if !matches!(attributes.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if attributes.namespace != LEASE_NAMESPACE {
        return no(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    if attributes.verb != "create" && attributes.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Some(Opinion::Allow)
}

fn csi_node(attributes: &Attributes, node: &str) -> Option<Opinion> {
    if !matches!(attributes.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !attributes.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    // Whose a created one is, admission sees.
    if attributes.verb != "create" && attributes.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Some(Opinion::Allow)
}
