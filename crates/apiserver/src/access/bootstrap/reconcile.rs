//! What a bootstrap object that exists lacks: roles and bindings are put right when a server starts.
//!
//! Pure. Rights and subjects that are missing are added, what people added stays; an object whose annotation
//! `autoupdate` is `false` is left alone. Upstream: pkg/registry/rbac/reconciliation, as its post-start hook calls it.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::AUTOUPDATE;
use crate::access::escalation;

/// What is to be done with an object that exists.
#[derive(Debug, Clone, PartialEq)]
pub enum Repair<T> {
    /// It has all that it must have, or is not to be touched.
    Leave,
    Update(T),
    /// A binding's role never changes, so it is made again.
    Replace(T),
}

pub fn cluster_role(found: &ClusterRole, wanted: &ClusterRole) -> Repair<ClusterRole> {
    if is_protected(&found.metadata) {
        return Repair::Leave;
    }
    let mut role = found.clone();
    complete(&mut role.metadata, &wanted.metadata);
    if let Some(aggregation) = &wanted.aggregation_rule {
        let own = role.aggregation_rule.get_or_insert_default();
        for selector in aggregation.cluster_role_selectors.iter().flatten() {
            let selectors = own.cluster_role_selectors.get_or_insert_default();
            if !selectors.contains(selector) {
                selectors.push(selector.clone());
            }
        }
    } else {
        add_rules(&mut role.rules, wanted.rules.as_deref().unwrap_or_default());
    }
    if role == *found { Repair::Leave } else { Repair::Update(role) }
}

pub fn role(found: &Role, wanted: &Role) -> Repair<Role> {
    if is_protected(&found.metadata) {
        return Repair::Leave;
    }
    let mut role = found.clone();
    complete(&mut role.metadata, &wanted.metadata);
    add_rules(&mut role.rules, wanted.rules.as_deref().unwrap_or_default());
    if role == *found { Repair::Leave } else { Repair::Update(role) }
}

pub fn cluster_role_binding(
    found: &ClusterRoleBinding,
    wanted: &ClusterRoleBinding,
) -> Repair<ClusterRoleBinding> {
    if is_protected(&found.metadata) {
        return Repair::Leave;
    }
    let mut binding = found.clone();
    complete(&mut binding.metadata, &wanted.metadata);
    add_subjects(&mut binding.subjects, wanted.subjects.as_deref().unwrap_or_default());
    if found.role_ref != wanted.role_ref {
        let metadata = fresh(&binding.metadata);
        return Repair::Replace(ClusterRoleBinding {
            metadata,
            role_ref: wanted.role_ref.clone(),
            ..binding
        });
    }
    if binding == *found { Repair::Leave } else { Repair::Update(binding) }
}

pub fn role_binding(found: &RoleBinding, wanted: &RoleBinding) -> Repair<RoleBinding> {
    if is_protected(&found.metadata) {
        return Repair::Leave;
    }
    let mut binding = found.clone();
    complete(&mut binding.metadata, &wanted.metadata);
    add_subjects(&mut binding.subjects, wanted.subjects.as_deref().unwrap_or_default());
    if found.role_ref != wanted.role_ref {
        let metadata = fresh(&binding.metadata);
        return Repair::Replace(RoleBinding { metadata, role_ref: wanted.role_ref.clone(), ..binding });
    }
    if binding == *found { Repair::Leave } else { Repair::Update(binding) }
}

fn is_protected(found: &ObjectMeta) -> bool {
    found.annotations.as_ref().and_then(|all| all.get(AUTOUPDATE.0)).is_some_and(|value| value == "false")
}

/// What people wrote stands.
fn complete(own: &mut ObjectMeta, wanted: &ObjectMeta) {
    let add = |own: &mut Option<BTreeMap<String, String>>, wanted: &Option<BTreeMap<String, String>>| {
        for (key, value) in wanted.iter().flatten() {
            own.get_or_insert_default().entry(key.clone()).or_insert_with(|| value.clone());
        }
    };
    add(&mut own.labels, &wanted.labels);
    add(&mut own.annotations, &wanted.annotations);
}

fn add_rules(own: &mut Option<Vec<PolicyRule>>, wanted: &[PolicyRule]) {
    let missing = escalation::uncovered(own.as_deref().unwrap_or_default(), wanted);
    if !missing.is_empty() {
        own.get_or_insert_default().extend(missing);
    }
}

fn add_subjects(own: &mut Option<Vec<Subject>>, wanted: &[Subject]) {
    for subject in wanted {
        let there = own.iter().flatten().any(|known| {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            (&known.kind, &known.name) == (&subject.kind, &subject.name)
                && text(&known.namespace) == text(&subject.namespace)
        });
        if !there {
            own.get_or_insert_default().push(subject.clone());
        }
    }
}

/// Of an object that is made again.
fn fresh(own: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: own.name.clone(),
        namespace: own.namespace.clone(),
        labels: own.labels.clone(),
        annotations: own.annotations.clone(),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn a_role(autoupdate: &str, verbs: Value) -> ClusterRole {
        typed(json!({"metadata": {"name": "r", "uid": "u", "annotations": {AUTOUPDATE.0: autoupdate}},
            "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]}))
    }

    #[test]
    fn missing_rights_are_added_others_stay_and_who_says_so_is_left_alone() {
        let wanted = a_role("true", json!(["get", "list"]));
        assert_eq!(cluster_role(&a_role("true", json!(["get", "list", "own"])), &wanted), Repair::Leave);
        assert_eq!(cluster_role(&a_role("true", json!(["*"])), &wanted), Repair::Leave);
        assert_eq!(cluster_role(&a_role("false", json!([])), &wanted), Repair::Leave);
        let Repair::Update(mended) = cluster_role(&a_role("true", json!(["get", "own"])), &wanted) else {
            panic!("not mended");
        };
        let verbs: Vec<String> = mended.rules.unwrap().into_iter().flat_map(|rule| rule.verbs).collect();
        assert_eq!(verbs, ["get", "own", "list"]);
        assert_eq!(mended.metadata.uid.as_deref(), Some("u"));
    }

    #[test]
    fn missing_subjects_are_added_and_a_binding_to_another_role_is_made_again() {
        let binding = |role: &str, subjects: Value| -> ClusterRoleBinding {
            typed(json!({"metadata": {"name": "b", "uid": "u"}, "subjects": subjects,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}}))
        };
        let (anna, group) = (json!({"kind": "User", "name": "anna"}), json!({"kind": "Group", "name": "g"}));
        let wanted = binding("r", json!([group]));
        assert_eq!(cluster_role_binding(&binding("r", json!([anna, group])), &wanted), Repair::Leave);
        let expected = binding("r", json!([anna, group]));
        assert_eq!(
            cluster_role_binding(&binding("r", json!([anna])), &wanted),
            Repair::Update(expected.clone())
        );
        let Repair::Replace(made) = cluster_role_binding(&binding("other", json!([anna])), &wanted) else {
            panic!("not replaced");
        };
        assert_eq!((made.metadata.uid, made.role_ref.name.as_str()), (None, "r"));
        assert_eq!(made.subjects, expected.subjects);
    }
}
