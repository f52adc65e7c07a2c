//! What a node's agent may ask for: only what the Pods bound to its node need.
//!
//! Matches upstream's node authorizer (plugin/pkg/auth/authorizer/node, with selectors as in 1.34 and
//! later): secrets, config maps and service accounts only if a Pod on the node names them, Pods and Nodes
//! only its own, its own lease; everything else by the static rules of the role `system:node`. What a
//! permitted write may contain is [`restriction`](super::restriction)'s matter. Which Pods there are is
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
        ("coordination.k8s.io", "leases") => lease(attributes, node),
        _ => Some(by_rules(attributes)),
    };
    decided.unwrap_or_else(|| by_rules(attributes))
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
    no(format!("no relationship found between node '{node}' and this object"))
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
            return no("can only create token subresource of service account");
        }
    }
    related(attributes, node, Referenced::ServiceAccount, pods)
}

fn pod(attributes: &Attributes, node: &str, pods: &dyn PodReferences) -> Option<Opinion> {
    match (attributes.subresource.as_str(), attributes.verb.as_str()) {
        ("", "get") => related(attributes, node, Referenced::Pod, pods),
        ("", "list" | "watch") => {
            let own = |(field, value): &(String, String)| field == "spec.nodeName" && value == node;
            if attributes.field_equals.iter().any(own) {
                return Some(Opinion::Allow);
            }
            // Upstream's informers may also watch one Pod by name.
            if !attributes.name.is_empty() && !attributes.namespace.is_empty() {
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
