//! Roles and bindings: policy as objects. What a policy means is `access::rbac`'s.

use api::field::{FieldError, FieldErrors, Path};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::{Kind, Names, Part};

const GROUP: &str = "rbac.authorization.k8s.io";

impl Kind for Role {
    const NAMES: Names = Names::PathSegment;

    fn validate_create(&self) -> FieldErrors {
        rule_errors(self.rules.as_deref().unwrap_or_default(), Scope::Namespaced)
    }

    fn validate_update(&self, _old: &Self, _part: Part) -> FieldErrors {
        self.validate_create()
    }
}

impl Kind for ClusterRole {
    const NAMES: Names = Names::PathSegment;

    fn validate_create(&self) -> FieldErrors {
        rule_errors(self.rules.as_deref().unwrap_or_default(), Scope::Cluster)
    }

    fn validate_update(&self, _old: &Self, _part: Part) -> FieldErrors {
        self.validate_create()
    }
}

impl Kind for RoleBinding {
    const NAMES: Names = Names::PathSegment;

    fn default(&mut self) {
        default_reference(&mut self.role_ref, self.subjects.as_mut());
    }

    fn validate_create(&self) -> FieldErrors {
        reference_errors(&self.role_ref, &["Role", "ClusterRole"])
    }

    fn validate_update(&self, old: &Self, _part: Part) -> FieldErrors {
        same_reference(&self.role_ref, &old.role_ref)
    }
}

impl Kind for ClusterRoleBinding {
    const NAMES: Names = Names::PathSegment;

    fn default(&mut self) {
        default_reference(&mut self.role_ref, self.subjects.as_mut());
    }

    fn validate_create(&self) -> FieldErrors {
        reference_errors(&self.role_ref, &["ClusterRole"])
    }

    fn validate_update(&self, old: &Self, _part: Part) -> FieldErrors {
        same_reference(&self.role_ref, &old.role_ref)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Namespaced,
    Cluster,
}

fn default_reference(role: &mut RoleRef, subjects: Option<&mut Vec<Subject>>) {
    if role.api_group.is_empty() {
        role.api_group = GROUP.to_owned();
    }
    for subject in subjects.into_iter().flatten() {
        if subject.api_group.as_deref().unwrap_or_default().is_empty() && subject.kind != "ServiceAccount" {
            subject.api_group = Some(GROUP.to_owned());
        }
    }
}

fn rule_errors(rules: &[PolicyRule], scope: Scope) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, rule) in rules.iter().enumerate() {
        let path = Path::new("rules").index(i);
        let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        if rule.verbs.is_empty() {
            errors.push(FieldError::required(&path.child("verbs"), "verbs must contain at least one value"));
        }
        if !is_empty(&rule.non_resource_urls) {
            if scope == Scope::Namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                let urls = rule.non_resource_urls.clone().unwrap_or_default();
                errors.push(FieldError::invalid(&path.child("nonResourceURLs"), urls, detail));
            }
            continue;
        }
        if is_empty(&rule.api_groups) {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(&path.child("apiGroups"), detail));
        }
        if is_empty(&rule.resources) {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(&path.child("resources"), detail));
        }
    }
    errors
}

fn reference_errors(role: &RoleRef, kinds: &[&str]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let path = Path::new("roleRef");
    if role.api_group != GROUP {
        errors.push(FieldError::not_supported(&path.child("apiGroup"), role.api_group.clone(), &[GROUP]));
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.push(FieldError::not_supported(&path.child("kind"), role.kind.clone(), kinds));
    }
    if role.name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    errors
}

fn same_reference(new: &RoleRef, old: &RoleRef) -> FieldErrors {
    if new == old {
        return FieldErrors::new();
    }
    let value = serde_json::to_value(new).unwrap_or_default();
    vec![FieldError::invalid(&Path::new("roleRef"), value, "cannot change roleRef")]
}
