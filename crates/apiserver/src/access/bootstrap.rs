//! The roles and bindings that a new cluster begins with, as data.
//!
//! The names, rules, labels and subjects are upstream's (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), those of
//! kinds that are not served included: what is installed for them binds these roles.
//! Every object carries `kubernetes.io/bootstrapping: rbac-defaults` and the annotation
//! `rbac.authorization.kubernetes.io/autoupdate: "true"`.

mod controllers;
pub mod reconcile;
mod rules;

use std::collections::BTreeMap;

use api::well_known::namespace::{KUBE_PUBLIC, KUBE_SYSTEM};
use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::rbac::PolicyObjects;
use super::token::ACCOUNTS_GROUP;
use super::user::{AUTHENTICATED, CONTROLLERS_USER, MASTERS, SCHEDULER_USER, UNAUTHENTICATED};

use rules::READ;
pub use rules::node_rules;

const GROUP: &str = "rbac.authorization.k8s.io";
const BOOTSTRAPPING: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
const AUTOUPDATE: (&str, &str) = ("rbac.authorization.kubernetes.io/autoupdate", "true");
const AGGREGATE_PREFIX: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// Upstream's roles for people, of which `view` is part of `edit` and `edit` of `admin`.
const AGGREGATED: [&str; 3] = ["admin", "edit", "view"];

/// All bootstrap objects, in the order of their names.
pub fn objects() -> PolicyObjects {
    let mut cluster_roles: Vec<ClusterRole> = AGGREGATED.into_iter().map(aggregated).collect();
    for (role, aggregate_to, rules) in rules::cluster_roles() {
        cluster_roles.push(cluster_role(role, aggregate_to, rules));
    }
    let mut cluster_role_bindings = people_and_components();
    for (controller, rules) in controllers::ours() {
        let name = format!("system:controller:{controller}");
        cluster_roles.push(cluster_role(&name, &[], rules));
        let account = service_account(controller, KUBE_SYSTEM);
        // DIFFERS(RBAC): our controllers share one client certificate, so its user holds each
        // controller's role beside the service account that upstream's controller manager impersonates.
        cluster_role_bindings.push(cluster_role_binding(&name, &[account, user(CONTROLLERS_USER)]));
    }
    for (controller, rules) in controllers::of_others() {
        let name = format!("system:controller:{controller}");
        cluster_roles.push(cluster_role(&name, &[], rules));
        cluster_role_bindings.push(cluster_role_binding(&name, &[service_account(controller, KUBE_SYSTEM)]));
    }
    cluster_roles.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    cluster_role_bindings.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let (roles, role_bindings) = namespaced().into_iter().unzip();
    PolicyObjects { roles, cluster_roles, role_bindings, cluster_role_bindings }
}

fn people_and_components() -> Vec<ClusterRoleBinding> {
    vec![
        cluster_role_binding("cluster-admin", &[group(MASTERS)]),
        cluster_role_binding("system:monitoring", &[group("system:monitoring")]),
        cluster_role_binding("system:basic-user", &[group(AUTHENTICATED)]),
        cluster_role_binding("system:discovery", &[group(AUTHENTICATED)]),
        cluster_role_binding("system:public-info-viewer", &[group(AUTHENTICATED), group(UNAUTHENTICATED)]),
        cluster_role_binding("system:kube-controller-manager", &[user(CONTROLLERS_USER)]),
        cluster_role_binding("system:kube-scheduler", &[user(SCHEDULER_USER)]),
        cluster_role_binding("system:volume-scheduler", &[user(SCHEDULER_USER)]),
        cluster_role_binding("system:kube-dns", &[service_account("kube-dns", KUBE_SYSTEM)]),
        cluster_role_binding("system:node-proxier", &[user("system:kube-proxy")]),
        // Nodes are authorized by the node authorizer; the binding exists, without subjects, as upstream.
        cluster_role_binding("system:node", &[]),
        cluster_role_binding("system:service-account-issuer-discovery", &[group(ACCOUNTS_GROUP)]),
    ]
}

/// Space-separated lists for one rule.
fn rule(verbs: &str, group: &str, resources: &str) -> PolicyRule {
    PolicyRule {
        verbs: words(verbs),
        // The core group has no name.
        api_groups: Some(if group.is_empty() { vec![String::new()] } else { words(group) }),
        resources: Some(words(resources)),
        ..PolicyRule::default()
    }
}

fn named(mut rule: PolicyRule, names: &str) -> PolicyRule {
    rule.resource_names = Some(words(names));
    rule
}

fn urls(verbs: &str, urls: &str) -> PolicyRule {
    PolicyRule { verbs: words(verbs), non_resource_urls: Some(words(urls)), ..PolicyRule::default() }
}

/// Both groups in which events are served.
fn events(verbs: &str) -> PolicyRule {
    let mut rule = rule(verbs, "", "events");
    rule.api_groups = Some(vec![String::new(), "events.k8s.io".to_owned()]);
    rule
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn metadata(name: &str, namespace: Option<&str>) -> ObjectMeta {
    let pair = |(key, value): (&str, &str)| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(pair(BOOTSTRAPPING)),
        annotations: Some(pair(AUTOUPDATE)),
        ..ObjectMeta::default()
    }
}

fn cluster_role(name: &str, aggregate_to: &[&str], rules: Vec<PolicyRule>) -> ClusterRole {
    let mut metadata = metadata(name, None);
    let labels = metadata.labels.get_or_insert_default();
    labels.extend(aggregate_to.iter().map(|role| (format!("{AGGREGATE_PREFIX}{role}"), "true".to_owned())));
    ClusterRole { metadata, rules: Some(rules), aggregation_rule: None }
}

/// A role that is the union of those labelled for it; `edit` and `view` are themselves part of the next.
fn aggregated(name: &str) -> ClusterRole {
    let part_of: &[&str] = match name {
        "edit" => &["admin"],
        "view" => &["edit"],
        _ => &[],
    };
    let label = BTreeMap::from([(format!("{AGGREGATE_PREFIX}{name}"), "true".to_owned())]);
    let selector = LabelSelector { match_labels: Some(label), match_expressions: None };
    let mut role = cluster_role(name, part_of, Vec::new());
    role.aggregation_rule = Some(AggregationRule { cluster_role_selectors: Some(vec![selector]) });
    role
}

fn cluster_role_binding(role: &str, subjects: &[Subject]) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: metadata(role, None),
        role_ref: role_ref("ClusterRole", role),
        subjects: (!subjects.is_empty()).then(|| subjects.to_vec()),
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: GROUP.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn user(name: &str) -> Subject {
    subject("User", name)
}

fn group(name: &str) -> Subject {
    subject("Group", name)
}

fn subject(kind: &str, name: &str) -> Subject {
    Subject {
        api_group: Some(GROUP.to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: None,
    }
}

fn service_account(name: &str, namespace: &str) -> Subject {
    Subject {
        api_group: None,
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
    }
}

/// Roles in one namespace each, with their bindings: election locks, the configuration for extension servers, bootstrap
/// tokens.
fn namespaced() -> Vec<(Role, RoleBinding)> {
    let locks = || {
        let verbs = "create get list update watch";
        vec![
            rule(verbs, "coordination.k8s.io", "leases"),
            rule(verbs, "coordination.k8s.io", "leasecandidates"),
        ]
    };
    let own_account = |name: &str| vec![service_account(name, KUBE_SYSTEM)];
    let mut controllers = vec![user(CONTROLLERS_USER)];
    controllers.extend(own_account("kube-controller-manager"));
    controllers.extend(own_account("leader-election-controller"));
    let mut schedulers = vec![user(SCHEDULER_USER)];
    schedulers.extend(own_account("kube-scheduler"));
    let mut all = vec![
        in_namespace(KUBE_SYSTEM, "system::leader-locking-kube-controller-manager", locks(), controllers),
        in_namespace(KUBE_SYSTEM, "system::leader-locking-kube-scheduler", locks(), schedulers),
        in_namespace(
            KUBE_PUBLIC,
            "system:controller:bootstrap-signer",
            vec![
                rule(READ, "", "configmaps"),
                named(rule("update", "", "configmaps"), "cluster-info"),
                events("create patch update"),
            ],
            own_account("bootstrap-signer"),
        ),
        in_namespace(
            KUBE_SYSTEM,
            "system:controller:bootstrap-signer",
            vec![rule(READ, "", "secrets")],
            own_account("bootstrap-signer"),
        ),
        in_namespace(
            KUBE_SYSTEM,
            "system:controller:cloud-provider",
            vec![rule("create get list watch", "", "configmaps")],
            own_account("cloud-provider"),
        ),
        in_namespace(
            KUBE_SYSTEM,
            "system:controller:token-cleaner",
            vec![rule("delete get list watch", "", "secrets"), events("create patch update")],
            own_account("token-cleaner"),
        ),
    ];
    let reader = "extension-apiserver-authentication-reader";
    let rules = vec![named(rule(READ, "", "configmaps"), "extension-apiserver-authentication")];
    let (role, mut binding) =
        in_namespace(KUBE_SYSTEM, reader, rules, vec![user(CONTROLLERS_USER), user(SCHEDULER_USER)]);
    // The one binding that is not named as its role is.
    binding.metadata.name = Some(format!("system::{reader}"));
    all.push((role, binding));
    all
}

fn in_namespace(
    namespace: &str,
    name: &str,
    rules: Vec<PolicyRule>,
    subjects: Vec<Subject>,
) -> (Role, RoleBinding) {
    let metadata = metadata(name, Some(namespace));
    let role = Role { metadata: metadata.clone(), rules: Some(rules) };
    let binding = RoleBinding { metadata, role_ref: role_ref("Role", name), subjects: Some(subjects) };
    (role, binding)
}
