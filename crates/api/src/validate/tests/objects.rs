//! Metadata and the smaller kinds.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::told;
use crate::field::{FieldErrors, Path};
use crate::validate::*;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

fn of<T: DeserializeOwned>(mut value: Value) -> T {
    if value.get("metadata").is_none() {
        value["metadata"] = json!({"name": "a", "namespace": "default"});
    }
    serde_json::from_value(value).unwrap()
}

fn cluster<T: DeserializeOwned>(mut value: Value) -> T {
    if value.get("metadata").is_none() {
        value["metadata"] = json!({"name": "a"});
    }
    serde_json::from_value(value).unwrap()
}

fn check<T: DeserializeOwned>(
    create: impl Fn(&T) -> FieldErrors,
    make: impl Fn(Value) -> T,
    table: Vec<(Value, Vec<&str>)>,
) {
    for (value, expect) in table {
        assert_eq!(told(&create(&make(value.clone()))), expect, "{value}");
    }
}

#[test]
fn metadata_of_new_objects_is_well_formed() {
    let owner = |extra: Value| {
        let mut owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"});
        owner.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        owner
    };
    let big = "x".repeat(256 * 1024);
    let table = vec![
        (json!({}), vec![]),
        (json!({"generateName": "a-"}), vec![]),
        (json!({"generateName": "A-"}), vec!["metadata.generateName Invalid"]),
        (json!({"namespace": "a.b"}), vec!["metadata.namespace Invalid"]),
        (json!({"labels": {"a b": "c"}}), vec!["metadata.labels Invalid"]),
        (json!({"labels": {"a": "c d"}}), vec!["metadata.labels Invalid"]),
        (json!({"annotations": {"A.io/Upper": "any text at all"}}), vec![]),
        (json!({"annotations": {"a b": ""}}), vec!["metadata.annotations Invalid"]),
        (json!({ "annotations": {"a": big} }), vec!["metadata.annotations TooLong"]),
        (json!({"ownerReferences": [owner(json!({}))]}), vec![]),
        (
            json!({"ownerReferences": [owner(json!({"uid": ""}))]}),
            vec!["metadata.ownerReferences.uid Invalid"],
        ),
        (
            json!({"ownerReferences": [owner(json!({"apiVersion": "a/b/c"}))]}),
            vec!["metadata.ownerReferences.apiVersion Invalid"],
        ),
        (
            json!({"ownerReferences": [owner(json!({"kind": "Event"}))]}),
            vec!["metadata.ownerReferences Invalid"],
        ),
        (
            json!({"ownerReferences": [owner(json!({"controller": true})), owner(json!({"controller": true}))]}),
            vec!["metadata.ownerReferences Invalid"],
        ),
        (json!({"finalizers": ["a.io/b", "foregroundDeletion"]}), vec![]),
        (json!({"finalizers": ["mine"]}), vec!["metadata.finalizers[0] Invalid"]),
        (json!({"finalizers": ["orphan", "foregroundDeletion"]}), vec!["metadata.finalizers Invalid"]),
    ];
    for (value, expect) in table {
        let mut meta = json!({"name": "a", "namespace": "default"});
        meta.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        let meta: ObjectMeta = serde_json::from_value(meta).unwrap();
        let errors =
            object_meta_create(&meta, Scope::Namespaced, NameSyntax::Subdomain, &Path::new("metadata"));
        assert_eq!(told(&errors), expect, "{value}");
    }
    let meta = ObjectMeta { name: Some("a".into()), namespace: Some("b".into()), ..ObjectMeta::default() };
    let errors = object_meta_create(&meta, Scope::Cluster, NameSyntax::Subdomain, &Path::new("metadata"));
    assert_eq!(told(&errors), ["metadata.namespace Forbidden"]);
}

#[test]
fn a_dying_object_gets_no_new_finalizers() {
    let dying = |finalizers: Value| -> ObjectMeta {
        serde_json::from_value(
            json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}),
        )
        .unwrap()
    };
    let path = Path::new("metadata");
    let old = dying(json!(["a.io/b"]));
    assert_eq!(object_meta_update(&dying(json!([])), &old, &path), []);
    assert_eq!(
        told(&object_meta_update(&dying(json!(["a.io/b", "a.io/c"])), &old, &path)),
        ["metadata.finalizers Forbidden"]
    );
}

#[test]
fn config_maps_have_legal_keys_and_can_be_frozen() {
    check(
        config_map_create,
        of::<ConfigMap>,
        vec![
            (json!({"data": {"a.b": "x"}, "binaryData": {"c": "eA=="}}), vec![]),
            (json!({"data": {"a/b": "x"}}), vec!["data[a/b] Invalid"]),
            (json!({"data": {"a": "x"}, "binaryData": {"a": "eA=="}}), vec!["data[a] Invalid"]),
            (json!({"data": {"a": "x".repeat(1024 * 1024 + 1)}}), vec!["<nil> TooLong"]),
        ],
    );
    let old: ConfigMap = of(json!({"data": {"a": "x"}, "immutable": true}));
    let new: ConfigMap = of(json!({"data": {"a": "y"}}));
    assert_eq!(told(&config_map_update(&new, &old)), ["immutable Forbidden", "data Forbidden"]);
    assert_eq!(config_map_update(&old, &old), []);
}

#[test]
fn secrets_have_the_keys_of_their_type() {
    check(
        secret_create,
        of::<Secret>,
        vec![
            (json!({"type": "Opaque", "data": {"any": "eA=="}}), vec![]),
            (json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), vec!["data[tls.key] Required"]),
            (json!({"type": "kubernetes.io/dockerconfigjson"}), vec!["data[.dockerconfigjson] Required"]),
            (
                json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eA=="}}),
                vec!["data[.dockerconfigjson] Invalid"],
            ),
            (json!({"type": "kubernetes.io/ssh-auth"}), vec!["data[ssh-privatekey] Required"]),
            (
                json!({"type": "kubernetes.io/basic-auth"}),
                vec!["data[username] Required", "data[password] Required"],
            ),
            (
                json!({"type": "kubernetes.io/service-account-token"}),
                vec!["metadata.annotations[kubernetes.io/service-account.name] Required"],
            ),
        ],
    );
    let old: Secret = of(json!({"type": "Opaque"}));
    assert_eq!(told(&secret_update(&of(json!({"type": "other"})), &old)), ["type Invalid"]);
}

#[test]
fn nodes_keep_what_is_set_once() {
    check(
        node_create,
        cluster::<Node>,
        vec![
            (
                json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}}),
                vec![],
            ),
            (
                json!({"spec": {"taints": [{"key": "a", "effect": "Sometimes"}]}}),
                vec!["spec.taints[0].effect NotSupported"],
            ),
            (json!({"spec": {"taints": [{"key": "a"}]}}), vec!["spec.taints[0].effect Required"]),
            (
                json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule", "value": "x"}]}}),
                vec!["spec.taints[1] Duplicate"],
            ),
            (json!({"spec": {"podCIDRs": ["10.0.0.0"]}}), vec!["spec.podCIDRs[0] Invalid"]),
            (json!({"status": {"capacity": {"cpu": "-1"}}}), vec!["status.capacity[cpu] Invalid"]),
            (json!({"status": {"capacity": {"pods": "110", "memory": "1Gi"}}}), vec![]),
        ],
    );
    let old: Node = cluster(json!({"spec": {"podCIDRs": ["10.0.0.0/24"], "providerID": "p"}}));
    let new: Node = cluster(json!({"spec": {"podCIDRs": ["10.0.1.0/24"], "providerID": "q"}}));
    assert_eq!(told(&node_update(&new, &old)), ["spec.podCIDRs Forbidden", "spec.providerID Forbidden"]);
    assert_eq!(node_update(&old, &cluster(json!({}))), []);
}

#[test]
fn namespaces_are_labels_with_an_honest_phase() {
    check(
        namespace_create,
        cluster::<Namespace>,
        vec![
            (json!({"spec": {"finalizers": ["kubernetes"]}}), vec![]),
            (json!({"metadata": {"name": "a.b"}}), vec!["metadata.name Invalid"]),
            (json!({"spec": {"finalizers": ["mine"]}}), vec!["spec.finalizers[0] Invalid"]),
        ],
    );
    let phase = |phase: &str| -> Namespace { cluster(json!({"status": {"phase": phase}})) };
    assert_eq!(namespace_status_update(&phase("Active"), &phase("Active")), []);
    assert_eq!(
        told(&namespace_status_update(&phase("Terminating"), &phase("Active"))),
        ["status.phase Invalid"]
    );
}

#[test]
fn records_are_checked() {
    check(
        lease_create,
        of::<Lease>,
        vec![
            (json!({"spec": {"holderIdentity": "n", "leaseDurationSeconds": 40}}), vec![]),
            (json!({"spec": {"leaseDurationSeconds": 0}}), vec!["spec.leaseDurationSeconds Invalid"]),
            (json!({"spec": {"leaseTransitions": -1}}), vec!["spec.leaseTransitions Invalid"]),
        ],
    );
    check(
        priority_class_create,
        cluster::<PriorityClass>,
        vec![
            (json!({"value": 1_000_000_000}), vec![]),
            (json!({"value": 1_000_000_001}), vec!["value Forbidden"]),
            (json!({"metadata": {"name": "system-mine"}, "value": 1}), vec!["metadata.name Forbidden"]),
            (json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}), vec![]),
            (json!({"value": 1, "preemptionPolicy": "Maybe"}), vec!["preemptionPolicy NotSupported"]),
        ],
    );
    let class = |value: Value| cluster::<PriorityClass>(value);
    let errors = priority_class_update(
        &class(json!({"value": 2, "preemptionPolicy": "Never"})),
        &class(json!({"value": 1})),
    );
    assert_eq!(told(&errors), ["value Forbidden", "preemptionPolicy Invalid"]);
    check(
        controller_revision_create,
        of::<ControllerRevision>,
        vec![
            (json!({"data": {"spec": {}}, "revision": 1}), vec![]),
            (json!({"revision": 1}), vec!["data Required"]),
            (json!({"data": {}, "revision": -1}), vec!["revision Invalid"]),
        ],
    );
    let revision = |value: Value| of::<ControllerRevision>(value);
    let old = revision(json!({"data": {"a": 1}, "revision": 1}));
    assert_eq!(controller_revision_update(&revision(json!({"data": {"a": 1}, "revision": 2})), &old), []);
    assert_eq!(
        told(&controller_revision_update(&revision(json!({"data": {"a": 2}, "revision": 1})), &old)),
        ["data Invalid"]
    );
}

#[test]
fn roles_and_bindings_are_checked() {
    check(
        role_create,
        of::<Role>,
        vec![
            (
                json!({"metadata": {"name": "system:a", "namespace": "b"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
                vec![],
            ),
            (json!({"metadata": {"name": "a/b", "namespace": "b"}}), vec!["metadata.name Invalid"]),
            (
                json!({"rules": [{"verbs": []}]}),
                vec!["rules[0].verbs Required", "rules[0].apiGroups Required", "rules[0].resources Required"],
            ),
            (
                json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}),
                vec!["rules[0].nonResourceURLs Invalid"],
            ),
        ],
    );
    check(
        cluster_role_create,
        cluster::<ClusterRole>,
        vec![
            (json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}), vec![]),
            (json!({"aggregationRule": {}}), vec!["aggregationRule.clusterRoleSelectors Required"]),
        ],
    );
    let role = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "r"});
    check(
        role_binding_create,
        of::<RoleBinding>,
        vec![
            (json!({"roleRef": role("Role"), "subjects": [{"kind": "ServiceAccount", "name": "s"}]}), vec![]),
            (json!({"roleRef": role("Rule")}), vec!["roleRef.kind NotSupported"]),
        ],
    );
    check(
        cluster_role_binding_create,
        cluster::<ClusterRoleBinding>,
        vec![
            (json!({"roleRef": role("Role")}), vec!["roleRef.kind NotSupported"]),
            (
                json!({"roleRef": role("ClusterRole"), "subjects": [{"kind": "ServiceAccount", "name": "s"}, {"kind": "User", "name": "u"}, {"kind": "Robot", "name": "r"}]}),
                vec![
                    "subjects[0].namespace Required",
                    "subjects[1].apiGroup NotSupported",
                    "subjects[2].kind NotSupported",
                ],
            ),
        ],
    );
    let old: RoleBinding = of(json!({"roleRef": role("Role")}));
    let new: RoleBinding = of(json!({"roleRef": role("ClusterRole")}));
    assert_eq!(told(&role_binding_update(&new, &old)), ["roleRef Invalid"]);
}
