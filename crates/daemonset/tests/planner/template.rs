//! What a Pod is made of: labels, owner, tolerations, pin, name.

use serde_json::{Value, json};

use crate::world::{UID, World, on_delete};
use daemonset::NodeName;
use daemonset::template::{self, Seed};
use k8s_openapi::api::core::v1::Pod;

fn created(template: Value) -> Pod {
    let mut world = World::with_nodes(on_delete(), 1);
    world.edit(json!({"template": template}));
    world.plan().creates().next().unwrap().1.clone()
}

#[test]
fn labels_owner_and_generate_name() {
    let pod =
        created(json!({"metadata": {"annotations": {"a": "b"}, "finalizers": ["x/y"], "name": "ignored"}}));
    let hash = pod.metadata.labels.as_ref().unwrap()["controller-revision-hash"].clone();
    assert_eq!(
        serde_json::to_value(&pod.metadata.labels).unwrap(),
        json!({"app": "foo", "controller-revision-hash": hash, "pod-template-generation": "2"})
    );
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("foo-"));
    assert_eq!(serde_json::to_value(&pod.metadata.annotations).unwrap(), json!({"a": "b"}));
    assert_eq!(pod.metadata.finalizers, Some(vec!["x/y".to_owned()]));
    assert_eq!(
        serde_json::to_value(&pod.metadata.owner_references).unwrap(),
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "foo", "uid": UID, "controller": true,
            "blockOwnerDeletion": true}])
    );
    assert!(pod.metadata.name.unwrap().starts_with("foo-"));
}

#[test]
fn six_tolerations_and_a_seventh_on_the_host_network() {
    let own = json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 5});
    let other = json!({"key": "dedicated", "operator": "Exists"});
    let keys = |pod: &Pod| -> Vec<(String, Option<i64>)> {
        let tolerations = pod.spec.as_ref().unwrap().tolerations.clone().unwrap();
        tolerations.into_iter().map(|t| (t.key.unwrap(), t.toleration_seconds)).collect()
    };
    let plain = created(json!({"spec": {"tolerations": [other, own]}}));
    assert_eq!(
        keys(&plain),
        [
            ("dedicated".to_owned(), None),
            ("node.kubernetes.io/not-ready".to_owned(), None),
            ("node.kubernetes.io/unreachable".to_owned(), None),
            ("node.kubernetes.io/disk-pressure".to_owned(), None),
            ("node.kubernetes.io/memory-pressure".to_owned(), None),
            ("node.kubernetes.io/pid-pressure".to_owned(), None),
            ("node.kubernetes.io/unschedulable".to_owned(), None),
        ]
    );
    let host = created(json!({"spec": {"hostNetwork": true}}));
    assert_eq!(keys(&host).len(), 7);
    assert_eq!(keys(&host)[6].0, "node.kubernetes.io/network-unavailable");
}

#[test]
fn the_pin_replaces_required_terms_and_nothing_else() {
    let preferred =
        json!([{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}]);
    let required =
        json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}]});
    let anti = json!({"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"c": "d"}}, "topologyKey": "zone"}]});
    let pod = created(json!({"spec": {"affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
            "requiredDuringSchedulingIgnoredDuringExecution": required},
        "podAntiAffinity": anti}}}));
    assert_eq!(
        serde_json::to_value(pod.spec.unwrap().affinity).unwrap(),
        json!({
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": preferred,
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]}]}},
            "podAntiAffinity": anti})
    );
}

#[test]
fn names_follow_from_what_they_stand_for_and_are_always_legal() {
    let node = NodeName::from("node-0");
    let other = NodeName::from("node-1");
    let seed = Seed { node: &node, hash: "h", predecessor: "", attempt: 0 };
    let name = template::pod_name("foo", UID, seed);
    assert_eq!(name, template::pod_name("foo", UID, seed));
    let others = [
        template::pod_name("foo", "other-uid", seed),
        template::pod_name("foo", UID, Seed { node: &other, ..seed }),
        template::pod_name("foo", UID, Seed { hash: "g", ..seed }),
        template::pod_name("foo", UID, Seed { predecessor: "p", ..seed }),
        template::pod_name("foo", UID, Seed { attempt: 1, ..seed }),
    ];
    assert!(others.iter().all(|different| *different != name), "{name} {others:?}");
    for set in ["a".repeat(253), "a.b".to_owned(), format!("{}.{}", "a".repeat(52), "b".repeat(60))] {
        let name = template::pod_name(&set, UID, seed);
        assert!(name.len() <= 63 && api::names::dns1123_subdomain(&name).is_empty(), "{name}");
    }
}

#[test]
fn the_hash_is_stable_and_the_collision_count_changes_it() {
    let template = json!({"spec": {"containers": [{"name": "c"}]}});
    let canonical = template::canonical_value(template.clone());
    let hash = template::hash(&canonical, None);
    assert_eq!(hash, template::hash(&template::canonical_value(template), None));
    assert_ne!(hash, template::hash(&canonical, Some(0)));
    assert_ne!(template::hash(&canonical, Some(1)), template::hash(&canonical, Some(2)));
    let selector = |s: Value| template::canonical_value(json!({"spec": {"namespaceSelector": s}}));
    assert_ne!(selector(json!({})), selector(json!(null)), "an empty selector is not an absent one");
}
