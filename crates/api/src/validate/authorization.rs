//! Roles and bindings.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::selector::{SelectorValues, label_selector};
use super::{Complaints, text};
use crate::field::{FieldError, FieldErrors, Path, shown_value};
use crate::names;

const GROUP: &str = "rbac.authorization.k8s.io";
const SYNTAX: NameSyntax = NameSyntax::PathSegment;

pub fn role_create(role: &Role) -> FieldErrors {
    let mut errors = object_meta_create(&role.metadata, Scope::Namespaced, SYNTAX, &Path::new("metadata"));
    errors.extend(rules(role.rules.as_deref(), Scope::Namespaced));
    errors
}

pub fn role_update(new: &Role, old: &Role) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(rules(new.rules.as_deref(), Scope::Namespaced));
    errors
}

pub fn cluster_role_create(role: &ClusterRole) -> FieldErrors {
    let mut errors = object_meta_create(&role.metadata, Scope::Cluster, SYNTAX, &Path::new("metadata"));
    errors.extend(cluster_rules(role));
    errors
}

pub fn cluster_role_update(new: &ClusterRole, old: &ClusterRole) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(cluster_rules(new));
    errors
}

pub fn role_binding_create(binding: &RoleBinding) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&binding.metadata, Scope::Namespaced, SYNTAX, &path);
    errors.extend(role_ref(&binding.role_ref, &["Role", "ClusterRole"]));
    errors.extend(subjects(binding.subjects.as_deref(), Scope::Namespaced));
    errors
}

pub fn role_binding_update(new: &RoleBinding, old: &RoleBinding) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(role_ref(&new.role_ref, &["Role", "ClusterRole"]));
    errors.extend(subjects(new.subjects.as_deref(), Scope::Namespaced));
    errors.extend(same_role(&new.role_ref, &old.role_ref));
    errors
}

pub fn cluster_role_binding_create(binding: &ClusterRoleBinding) -> FieldErrors {
    let mut errors = object_meta_create(&binding.metadata, Scope::Cluster, SYNTAX, &Path::new("metadata"));
    errors.extend(role_ref(&binding.role_ref, &["ClusterRole"]));
    errors.extend(subjects(binding.subjects.as_deref(), Scope::Cluster));
    errors
}

pub fn cluster_role_binding_update(new: &ClusterRoleBinding, old: &ClusterRoleBinding) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(role_ref(&new.role_ref, &["ClusterRole"]));
    errors.extend(subjects(new.subjects.as_deref(), Scope::Cluster));
    errors.extend(same_role(&new.role_ref, &old.role_ref));
    errors
}

fn cluster_rules(role: &ClusterRole) -> FieldErrors {
    let mut errors = rules(role.rules.as_deref(), Scope::Cluster);
    if let Some(aggregation) = &role.aggregation_rule {
        let path = Path::new("aggregationRule.clusterRoleSelectors");
        let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
        if selectors.is_empty() {
            let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(FieldError::required(&path, detail));
        }
        for (i, selector) in selectors.iter().enumerate() {
            errors.extend(label_selector(selector, &path.index(i), SelectorValues::Checked));
        }
    }
    errors
}

fn rules(rules: Option<&[PolicyRule]>, scope: Scope) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, rule) in rules.into_iter().flatten().enumerate() {
        let path = Path::new("rules").index(i);
        if rule.verbs.is_empty() {
            errors.push(FieldError::required(&path.child("verbs"), "verbs must contain at least one value"));
        }
        let urls = rule.non_resource_urls.as_deref().unwrap_or_default();
        let groups = rule.api_groups.as_deref().unwrap_or_default();
        let resources = rule.resources.as_deref().unwrap_or_default();
        let names = rule.resource_names.as_deref().unwrap_or_default();
        if !urls.is_empty() {
            let urls_path = path.child("nonResourceURLs");
            if scope == Scope::Namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(&urls_path, urls.to_vec(), detail));
            }
            if !groups.is_empty() || !resources.is_empty() || !names.is_empty() {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(&urls_path, urls.to_vec(), detail));
            }
            continue;
        }
        if groups.is_empty() {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(&path.child("apiGroups"), detail));
        }
        if resources.is_empty() {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(&path.child("resources"), detail));
        }
    }
    errors
}

fn role_ref(role: &RoleRef, kinds: &[&str]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let path = Path::new("roleRef");
    errors.one_of(&path.child("apiGroup"), &role.api_group, &[GROUP]);
    errors.one_of(&path.child("kind"), &role.kind, kinds);
    if errors.required_text(&path.child("name"), &role.name) {
        errors.syntax(&path.child("name"), &role.name, names::path_segment(&role.name));
    }
    errors
}

fn same_role(new: &RoleRef, old: &RoleRef) -> Option<FieldError> {
    let path = Path::new("roleRef");
    (new != old).then(|| FieldError::invalid(&path, shown_value(new), "cannot change roleRef"))
}

fn subjects(subjects: Option<&[Subject]>, scope: Scope) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, subject) in subjects.into_iter().flatten().enumerate() {
        let path = Path::new("subjects").index(i);
        errors.required_text(&path.child("name"), &subject.name);
        let group_path = path.child("apiGroup");
        let namespace = text(&subject.namespace);
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !subject.name.is_empty() {
                    let complaints = names::dns1123_subdomain(&subject.name);
                    errors.syntax(&path.child("name"), &subject.name, complaints);
                }
                errors.one_of(&group_path, text(&subject.api_group), &[""]);
                if namespace.is_empty() && scope == Scope::Cluster {
                    errors.push(FieldError::required(&path.child("namespace"), ""));
                }
            }
            "User" | "Group" => errors.one_of(&group_path, text(&subject.api_group), &[GROUP]),
            other => {
                let kinds = ["ServiceAccount", "User", "Group"];
                errors.push(FieldError::not_supported(&path.child("kind"), other, &kinds));
            }
        }
    }
    errors
}
