//! Who may do what: users from client certificates, roles and bindings, and what a node's agent may touch.
//!
//! Decides only; which HTTP Status a refusal becomes is `apiserver::error`'s matter. Order of the
//! authorizers as upstream runs them with `--authorization-mode=Node,RBAC`: members of `system:masters` may
//! do everything, then [`node`], then [`rbac`]. The first that allows wins; nothing denies for the others.
//! The policy is an immutable value that is swapped whole, so one request sees one policy.

pub mod authn;
pub mod bootstrap;
pub mod bootstrap_token;
pub mod escalation;
pub mod node;
pub mod rbac;
pub mod restriction;
pub mod token;
pub mod user;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use node::{NoPods, PodReferences, Referenced};
pub use rbac::{Policy, PolicyObjects, UserRules};
pub use user::User;

/// What is asked for, in upstream's terms. A request for a resource has a `resource`; every other one has
/// only a `path`. Absent parts are empty strings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    pub user: User,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, …; for a path the
    /// HTTP method in lower case.
    pub verb: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    /// Also set for a list or watch whose field selector names one object by `metadata.name`.
    pub name: String,
    /// The field selector's equalities of a list or watch (`spec.nodeName` → `node-1`).
    pub field_equals: Vec<(String, String)>,
    pub path: String,
}

impl Attributes {
    pub fn is_resource_request(&self) -> bool {
        !self.resource.is_empty()
    }

    /// `pods/log`, as roles write it.
    pub fn combined_resource(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }

    /// What the user cannot do, in upstream's words, without the object that the Status names before it:
    /// `User "u" cannot get resource "pods" in API group "" in the namespace "default"`.
    pub fn cannot(&self) -> String {
        let user = quoted(&self.user.name);
        let verb = &self.verb;
        let text = if !self.is_resource_request() {
            format!("User {user} cannot {verb} path {}", quoted(&self.path))
        } else {
            let resource = quoted(&self.combined_resource());
            let group = quoted(&self.group);
            let place = match self.namespace.as_str() {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {}", quoted(namespace)),
            };
            format!("User {user} cannot {verb} resource {resource} in API group {group} {place}")
        };
        // Upstream escapes what a browser would read as markup.
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    }
}

/// The answer of the authorizers together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Nobody allowed it. `message` is what upstream puts after `… is forbidden: `.
    Deny {
        message: String,
    },
}

impl Decision {
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allow)
    }
}

/// One authorizer's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opinion {
    Allow,
    /// Somebody else may allow it; the reason (which may be empty) is shown if nobody does.
    None(String),
}

/// All authorizers behind one door.
pub struct Authorizer {
    policy: ArcSwap<Policy>,
    pods: Arc<dyn PodReferences>,
}

impl Authorizer {
    /// With upstream's bootstrap roles and bindings as the first policy.
    pub fn new(pods: Arc<dyn PodReferences>) -> Authorizer {
        Authorizer { policy: ArcSwap::from_pointee(Policy::new(&bootstrap::objects())), pods }
    }

    /// From now on this policy is in force.
    pub fn replace(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// The policy now in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.is_in(user::MASTERS) {
            return Decision::Allow;
        }
        let node = node::authorize(attributes, self.pods.as_ref());
        let Opinion::None(node_reason) = node else { return Decision::Allow };
        let rbac = self.policy.load().authorize(attributes);
        let Opinion::None(rbac_reason) = rbac else { return Decision::Allow };
        let reasons: Vec<String> =
            [node_reason, rbac_reason].into_iter().filter(|reason| !reason.is_empty()).collect();
        let cannot = attributes.cannot();
        let message = if reasons.is_empty() { cannot } else { format!("{cannot}: {}", reasons.join("\n")) };
        Decision::Deny { message }
    }

    /// The rules that hold for `user` in `namespace` (empty: the cluster's only), for self-review.
    pub fn rules_for(&self, user: &User, namespace: &str) -> UserRules {
        self.policy.load().rules_for(user, namespace)
    }
}

/// Go's `%q`, for the names that occur here: quotes, backslashes and control characters are escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() && (c as u32) < 0x100 => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
