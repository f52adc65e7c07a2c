//! Roles and bindings, compiled into one immutable policy that is looked up by subject.
//!
//! Decides whether any rule bound to the user allows a request. Matches upstream's rbac authorizer and
//! rule resolver (plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac/validation): rules only allow, a
//! missing role allows nothing and is named in the refusal, and aggregated ClusterRoles are the union of
//! those that their selectors match — here worked out when the policy is built, upstream by a controller
//! that writes the rules back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::label::Selector;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::user::SERVICE_ACCOUNT_USER_PREFIX;
use super::{Attributes, Opinion, User};

/// The objects that a policy is made of.
#[derive(Debug, Clone, Default)]
pub struct PolicyObjects {
    pub roles: Vec<Role>,
    pub cluster_roles: Vec<ClusterRole>,
    pub role_bindings: Vec<RoleBinding>,
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
}

/// What a set of roles and bindings allows.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    roles: BTreeMap<(String, String), Arc<[PolicyRule]>>,
    cluster_roles: BTreeMap<String, Arc<[PolicyRule]>>,
    cluster: Grants,
    namespaced: BTreeMap<String, Grants>,
}

/// What is bound to whom in one scope.
#[derive(Debug, Clone, Default)]
struct Grants {
    users: BTreeMap<String, Vec<Grant>>,
    groups: BTreeMap<String, Vec<Grant>>,
}

#[derive(Debug, Clone)]
enum Grant {
    Rules(Arc<[PolicyRule]>),
    /// The binding names a role that does not exist; this is upstream's error text.
    Missing(String),
}

/// The rules that hold for one user, and what could not be resolved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserRules {
    pub rules: Vec<PolicyRule>,
    pub errors: Vec<String>,
}

impl Policy {
    pub fn new(objects: &PolicyObjects) -> Policy {
        let mut policy = Policy {
            roles: objects
                .roles
                .iter()
                .map(|role| {
                    let key = (namespace(&role.metadata), name(&role.metadata));
                    (key, Arc::from(role.rules.clone().unwrap_or_default()))
                })
                .collect(),
            cluster_roles: compile_cluster_roles(&objects.cluster_roles),
            ..Policy::default()
        };
        for binding in &objects.cluster_role_bindings {
            let grant = policy.resolve(&binding.role_ref, "");
            policy.cluster.bind(binding.subjects.as_deref().unwrap_or_default(), "", &grant);
        }
        for binding in &objects.role_bindings {
            let place = namespace(&binding.metadata);
            let grant = policy.resolve(&binding.role_ref, &place);
            let subjects = binding.subjects.as_deref().unwrap_or_default();
            policy.namespaced.entry(place.clone()).or_default().bind(subjects, &place, &grant);
        }
        policy
    }

    pub fn authorize(&self, attributes: &Attributes) -> Opinion {
        let mut missing = Vec::new();
        for grant in self.grants(&attributes.user, &attributes.namespace) {
            match grant {
                Grant::Rules(rules) if rules.iter().any(|rule| allows(rule, attributes)) => {
                    return Opinion::Allow;
                }
                Grant::Rules(_) => {}
                Grant::Missing(text) => missing.push(text.clone()),
            }
        }
        Opinion::None(reason(missing))
    }

    pub fn rules_for(&self, user: &User, namespace: &str) -> UserRules {
        let mut found = UserRules::default();
        for grant in self.grants(user, namespace) {
            match grant {
                Grant::Rules(rules) => found.rules.extend(rules.iter().cloned()),
                Grant::Missing(text) => found.errors.push(text.clone()),
            }
        }
        found
    }

    /// The rules of the role that a binding in `namespace` (empty: a ClusterRoleBinding) refers to.
    pub fn role_rules(&self, role: &RoleRef, namespace: &str) -> Option<&[PolicyRule]> {
        let rules = match role.kind.as_str() {
            "Role" => self.roles.get(&(namespace.to_owned(), role.name.clone())),
            "ClusterRole" => self.cluster_roles.get(&role.name),
            _ => None,
        };
        rules.map(AsRef::as_ref)
    }

    fn resolve(&self, role: &RoleRef, namespace: &str) -> Grant {
        let rules = match role.kind.as_str() {
            "Role" => self.roles.get(&(namespace.to_owned(), role.name.clone())),
            "ClusterRole" => self.cluster_roles.get(&role.name),
            kind => return Grant::Missing(format!("unsupported role reference kind: {kind:?}")),
        };
        match rules {
            Some(rules) => Grant::Rules(rules.clone()),
            None => {
                let kind = role.kind.to_lowercase();
                let name = super::quoted(&role.name);
                Grant::Missing(format!("{kind}.rbac.authorization.k8s.io {name} not found"))
            }
        }
    }

    fn grants<'p>(&'p self, user: &'p User, namespace: &str) -> impl Iterator<Item = &'p Grant> {
        let here = (!namespace.is_empty()).then(|| self.namespaced.get(namespace)).flatten();
        [Some(&self.cluster), here].into_iter().flatten().flat_map(|grants| grants.of(user))
    }
}

impl Grants {
    fn bind(&mut self, subjects: &[Subject], namespace: &str, grant: &Grant) {
        for subject in subjects {
            let slot = match subject.kind.as_str() {
                "User" => self.users.entry(subject.name.clone()),
                "Group" => {
                    self.groups.entry(subject.name.clone()).or_default().push(grant.clone());
                    continue;
                }
                "ServiceAccount" => {
                    let place = subject.namespace.as_deref().filter(|place| !place.is_empty());
                    let place = place.unwrap_or(namespace);
                    if place.is_empty() {
                        continue;
                    }
                    self.users.entry(format!("{SERVICE_ACCOUNT_USER_PREFIX}{place}:{}", subject.name))
                }
                _ => continue,
            };
            slot.or_default().push(grant.clone());
        }
    }

    fn of<'g>(&'g self, user: &'g User) -> impl Iterator<Item = &'g Grant> {
        let by_name = self.users.get(&user.name).into_iter().flatten();
        by_name.chain(user.groups.iter().filter_map(|group| self.groups.get(group)).flatten())
    }
}

/// Whether one rule allows one request.
pub fn allows(rule: &PolicyRule, attributes: &Attributes) -> bool {
    if !has(&rule.verbs, &attributes.verb) {
        return false;
    }
    if !attributes.is_resource_request() {
        return listed(&rule.non_resource_urls).iter().any(|url| url_matches(url, &attributes.path));
    }
    has(listed(&rule.api_groups), &attributes.group)
        && listed(&rule.resources).iter().any(|resource| resource_matches(resource, attributes))
        && name_matches(listed(&rule.resource_names), &attributes.name)
}

/// `*`, the very resource, or with a subresource also `*/subresource`.
fn resource_matches(rule: &str, attributes: &Attributes) -> bool {
    if rule == "*" {
        return true;
    }
    // Asked several times for every request, so nothing is joined or copied here.
    match (rule.split_once('/'), attributes.subresource.as_str()) {
        (None, "") => rule == attributes.resource,
        (Some((resource, own)), subresource) if !subresource.is_empty() => {
            own == subresource && (resource == "*" || resource == attributes.resource)
        }
        _ => false,
    }
}

fn name_matches(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|own| own == name)
}

/// `*`, the very path, or a prefix that ends in `*`.
pub(super) fn url_matches(url: &str, path: &str) -> bool {
    url == path || url.strip_suffix('*').is_some_and(|_| path.starts_with(url.trim_end_matches('*')))
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == "*" || own == wanted)
}

pub(super) fn listed(list: &Option<Vec<String>>) -> &[String] {
    list.as_deref().unwrap_or_default()
}

fn reason(mut missing: Vec<String>) -> String {
    // One role bound several times is one thing to repair.
    let mut seen = BTreeSet::new();
    missing.retain(|text| seen.insert(text.clone()));
    match missing.as_slice() {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}

/// Rules by name, with those of aggregated roles worked out.
fn compile_cluster_roles(roles: &[ClusterRole]) -> BTreeMap<String, Arc<[PolicyRule]>> {
    let by_name: BTreeMap<String, &ClusterRole> =
        roles.iter().map(|role| (name(&role.metadata), role)).collect();
    by_name
        .iter()
        .map(|(name, role)| {
            let mut rules = Vec::new();
            collect_rules(role, &by_name, &mut BTreeSet::new(), &mut rules);
            (name.clone(), Arc::from(rules))
        })
        .collect()
}

/// Adds the role's rules; an aggregated role's own are ignored, as upstream's controller overwrites them.
fn collect_rules<'r>(
    role: &'r ClusterRole,
    by_name: &BTreeMap<String, &'r ClusterRole>,
    visited: &mut BTreeSet<String>,
    rules: &mut Vec<PolicyRule>,
) {
    if !visited.insert(name(&role.metadata)) {
        return; // Roles that select each other are each other's union, once.
    }
    let Some(aggregation) = &role.aggregation_rule else {
        for rule in role.rules.iter().flatten() {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        return;
    };
    for selector in aggregation.cluster_role_selectors.iter().flatten() {
        for (_, other) in by_name.iter().filter(|(_, other)| selects(selector, &other.metadata)) {
            collect_rules(other, by_name, visited, rules);
        }
    }
}

/// A selector that the API would refuse selects nothing.
fn selects(selector: &LabelSelector, metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.clone().unwrap_or_default();
    Selector::from_label_selector(selector).is_ok_and(|selector| selector.matches(&labels))
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

fn namespace(metadata: &ObjectMeta) -> String {
    metadata.namespace.clone().unwrap_or_default()
}
