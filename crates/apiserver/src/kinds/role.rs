//! Roles and bindings: policy as objects. What a policy means is `access::rbac`'s.
//!
//! A writer gives away only what they hold. Upstream: `pkg/registry/rbac/*/policybased`.

use api::field::FieldErrors;
use api::scheme::Resource;
use api::{default, validate};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Kind, Part, Seen};
use crate::access::Attributes;
use crate::admission::Admission;
use crate::error::ApiError;

const GROUP: &str = "rbac.authorization.k8s.io";

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

fn row(plural: &str) -> Result<&'static Resource, ApiError> {
    api::scheme::find(GROUP, "v1", plural).ok_or_else(ApiError::unknown_path)
}

/// A role's rules may be set by who holds them, or may `escalate`.
fn rules_granted(
    plural: &str,
    meta: &ObjectMeta,
    rules: Option<&Vec<PolicyRule>>,
    admission: &Admission<'_>,
) -> Result<(), ApiError> {
    let (namespace, name) = (text(&meta.namespace), text(&meta.name));
    let excuse = Attributes {
        verb: "escalate".to_owned(),
        group: GROUP.to_owned(),
        version: "v1".to_owned(),
        resource: plural.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    let rules = rules.map(Vec::as_slice).unwrap_or_default();
    admission.may_grant(row(plural)?, (namespace, name), &excuse, rules)
}

/// A role may be bound by who holds its rules, or may `bind` it.
fn role_granted(
    plural: &str,
    meta: &ObjectMeta,
    role: &RoleRef,
    admission: &Admission<'_>,
) -> Result<(), ApiError> {
    let (namespace, name) = (text(&meta.namespace), text(&meta.name));
    let excuse = Attributes {
        verb: "bind".to_owned(),
        group: GROUP.to_owned(),
        version: "v1".to_owned(),
        resource: if role.kind == "Role" { "roles" } else { "clusterroles" }.to_owned(),
        namespace: namespace.to_owned(),
        name: role.name.clone(),
        ..Attributes::default()
    };
    let policy = admission.authorizer.policy();
    // A role that does not exist grants nothing yet; upstream refuses to bind what it cannot check.
    let Some(rules) = policy.role_rules(role, namespace) else {
        let every = PolicyRule {
            verbs: vec!["*".to_owned()],
            api_groups: Some(vec!["*".to_owned()]),
            resources: Some(vec!["*".to_owned()]),
            ..PolicyRule::default()
        };
        return admission.may_grant(row(plural)?, (namespace, name), &excuse, &[every]);
    };
    admission.may_grant(row(plural)?, (namespace, name), &excuse, rules)
}

impl Kind for Role {
    fn default(&mut self) {
        default::role(self);
    }

    fn admit_create(&mut self, admission: &Admission<'_>) -> Result<(), ApiError> {
        rules_granted("roles", &self.metadata, self.rules.as_ref(), admission)
    }

    fn admit_update(&mut self, old: &Self, admission: &Admission<'_>) -> Result<(), ApiError> {
        if self.rules == old.rules {
            return Ok(());
        }
        rules_granted("roles", &self.metadata, self.rules.as_ref(), admission)
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::role_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::role_update(self, old)
    }
}

impl Kind for ClusterRole {
    fn default(&mut self) {
        default::cluster_role(self);
    }

    fn admit_create(&mut self, admission: &Admission<'_>) -> Result<(), ApiError> {
        rules_granted("clusterroles", &self.metadata, self.rules.as_ref(), admission)
    }

    fn admit_update(&mut self, old: &Self, admission: &Admission<'_>) -> Result<(), ApiError> {
        if self.rules == old.rules {
            return Ok(());
        }
        rules_granted("clusterroles", &self.metadata, self.rules.as_ref(), admission)
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::cluster_role_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::cluster_role_update(self, old)
    }
}

impl Kind for RoleBinding {
    fn default(&mut self) {
        default::role_binding(self);
    }

    fn admit_create(&mut self, admission: &Admission<'_>) -> Result<(), ApiError> {
        role_granted("rolebindings", &self.metadata, &self.role_ref, admission)
    }

    fn admit_update(&mut self, old: &Self, admission: &Admission<'_>) -> Result<(), ApiError> {
        if self.role_ref == old.role_ref && self.subjects == old.subjects {
            return Ok(());
        }
        role_granted("rolebindings", &self.metadata, &self.role_ref, admission)
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::role_binding_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::role_binding_update(self, old)
    }
}

impl Kind for ClusterRoleBinding {
    fn default(&mut self) {
        default::cluster_role_binding(self);
    }

    fn admit_create(&mut self, admission: &Admission<'_>) -> Result<(), ApiError> {
        role_granted("clusterrolebindings", &self.metadata, &self.role_ref, admission)
    }

    fn admit_update(&mut self, old: &Self, admission: &Admission<'_>) -> Result<(), ApiError> {
        if self.role_ref == old.role_ref && self.subjects == old.subjects {
            return Ok(());
        }
        role_granted("clusterrolebindings", &self.metadata, &self.role_ref, admission)
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::cluster_role_binding_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::cluster_role_binding_update(self, old)
    }
}
