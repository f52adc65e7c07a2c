//! The service account that every pod runs as, its token in the pod, and the runtime's class.

use apiserver::access::User;
use serde_json::{Value, json};

use crate::world::World;

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";
const PLACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn pod(name: &str, spec: Value) -> Value {
    let mut body = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    body["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    body
}

async fn made(world: &World, name: &str, spec: Value) -> Value {
    let answer = world.post(PODS, pod(name, spec)).await;
    assert_eq!(answer.status, 201, "{}", answer.said());
    answer.json()["spec"].clone()
}

#[tokio::test]
async fn token_certificate_and_namespace_are_mounted_where_programs_look_for_them() {
    let world = World::new().await;
    let spec = made(&world, "p", json!({"initContainers": [{"name": "i", "image": "i"}]})).await;
    let volume = &spec["volumes"][0];
    let name = volume["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-") && name.len() == "kube-api-access-".len() + 5, "{name}");
    assert_eq!(
        volume["projected"],
        json!({"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace",
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]})
    );
    let mount = json!([{"name": name, "mountPath": PLACE, "readOnly": true}]);
    assert_eq!(
        (&spec["containers"][0]["volumeMounts"], &spec["initContainers"][0]["volumeMounts"]),
        (&mount, &mount)
    );
}

#[tokio::test]
async fn token_is_not_mounted_where_pod_or_account_say_no_or_something_is_there() {
    let world = World::new().await;
    let own = made(&world, "own", json!({"automountServiceAccountToken": false})).await;
    assert_eq!((&own["volumes"], &own["serviceAccountName"]), (&Value::Null, &json!("default")));
    let there = json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "c", "image": "i",
        "volumeMounts": [{"name": "v", "mountPath": PLACE}]}]});
    assert_eq!(made(&world, "there", there).await["volumes"].as_array().unwrap().len(), 1);
    let shy = json!({"metadata": {"name": "shy"}, "automountServiceAccountToken": false});
    world.post(ACCOUNTS, shy).await;
    assert_eq!(made(&world, "shy", json!({"serviceAccountName": "shy"})).await["volumes"], Value::Null);
    let asked = json!({"serviceAccountName": "shy", "automountServiceAccountToken": true});
    assert_eq!(made(&world, "asked", asked).await["volumes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn pod_pulls_images_with_its_accounts_secrets_unless_it_names_its_own() {
    let world = World::new().await;
    let account = json!({"metadata": {"name": "puller"}, "imagePullSecrets": [{"name": "of-account"}]});
    world.post(ACCOUNTS, account).await;
    let spec = made(&world, "p", json!({"serviceAccountName": "puller"})).await;
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "of-account"}]));
    let own = json!({"serviceAccountName": "puller", "imagePullSecrets": [{"name": "own"}]});
    assert_eq!(made(&world, "q", own).await["imagePullSecrets"], json!([{"name": "own"}]));
}

#[tokio::test]
async fn account_that_enforces_it_lets_its_pods_name_its_own_secrets_only() {
    let world = World::new().await;
    let account = json!({"metadata": {"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "own"}]});
    world.post(ACCOUNTS, account).await;
    let with = |more: Value| {
        let mut body = pod("p", json!({"serviceAccountName": "strict"}));
        body["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let env = |secret: &str| {
        json!({"containers": [{"name": "c", "image": "i", "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]}]})
    };
    for (more, why) in [
        (
            json!({"volumes": [{"name": "v", "secret": {"secretName": "other"}}]}),
            "volume with secret.secretName=\"other\" is not allowed because service account strict does not reference that secret",
        ),
        (
            env("other"),
            "container c with envVar A referencing secret.secretName=\"other\" is not allowed because service account strict does not reference that secret",
        ),
        (
            json!({"imagePullSecrets": [{"name": "other"}]}),
            "imagePullSecrets[0].name=\"other\" is not allowed because service account strict does not reference that imagePullSecret",
        ),
    ] {
        let said = world.post(PODS, with(more)).await.said();
        assert_eq!(said, format!("403 Forbidden: pods \"p\" is forbidden: {why}"));
    }
    assert_eq!(world.post(PODS, with(env("own"))).await.status, 201);
}

#[tokio::test]
async fn secrets_of_an_account_are_kept_by_name_and_its_old_annotation_is_warned_of_once() {
    let world = World::new().await;
    let secrets = json!([{"name": "own", "namespace": "other", "kind": "Secret", "uid": "u"}]);
    let account = json!({"metadata": {"name": "robot"}, "secrets": secrets});
    let made = world.post(ACCOUNTS, account).await;
    assert_eq!((&made.json()["secrets"], made.warnings().len()), (&json!([{"name": "own"}]), 0));
    let url = format!("{ACCOUNTS}/robot");
    let annotations = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    let marked =
        world.merge(&url, json!({"metadata": {"annotations": annotations}, "secrets": secrets})).await;
    assert_eq!(marked.json()["secrets"], json!([{"name": "own"}]));
    assert_eq!(
        marked.warnings(),
        [
            "299 - \"metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets\""
        ]
    );
    let again = world.merge(&url, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!((again.status.as_u16(), again.warnings()), (200, Vec::new()));
}

#[tokio::test]
async fn mirror_pods_have_no_account_and_name_nothing_of_one() {
    let world = World::new().await;
    let mirror = |more: Value| {
        let mut body = pod("m", json!({"nodeName": "n1"}));
        body["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
        body["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (more, why) in [
        (json!({"serviceAccountName": "default"}), "a mirror pod may not reference service accounts"),
        (json!({"imagePullSecrets": [{"name": "s"}]}), "a mirror pod may not reference secrets"),
        (
            json!({"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
    ] {
        let said = world.post(PODS, mirror(more)).await.said();
        assert_eq!(said, format!("403 Forbidden: pods \"m\" is forbidden: {why}"));
    }
    let spec = world.post(PODS, mirror(json!({}))).await.json()["spec"].clone();
    assert_eq!((&spec["volumes"], &spec["serviceAccountName"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn pod_of_a_new_namespace_waits_for_the_default_account_and_is_refused_without_one() {
    let world = World::new().await;
    for name in ["slow", "never"] {
        world.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
    }
    let controller = world.as_user(User::controllers());
    let (pods, account) =
        tokio::join!(world.post("/api/v1/namespaces/slow/pods", pod("p", json!({}))), async {
            // The Pod is on its way first: both run on one thread, and its creation waits without holding it.
            tokio::task::yield_now().await;
            controller
                .post("/api/v1/namespaces/slow/serviceaccounts", json!({"metadata": {"name": "default"}}))
                .await
        });
    assert_eq!((pods.status.as_u16(), account.status.as_u16()), (201, 201));
    let said = world.post("/api/v1/namespaces/never/pods", pod("p", json!({}))).await.said();
    assert_eq!(
        said,
        "403 Forbidden: pods \"p\" is forbidden: error looking up service account never/default: \
         serviceaccount \"default\" not found"
    );
}

#[tokio::test]
async fn runtime_class_brings_its_overhead_and_its_place() {
    let world = World::new().await;
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}});
    assert_eq!(world.post("/apis/node.k8s.io/v1/runtimeclasses", class).await.status, 201);
    let spec = made(&world, "p", json!({"runtimeClassName": "vm"})).await;
    assert_eq!(spec["overhead"], json!({"memory": "64Mi"}));
    assert_eq!(spec["nodeSelector"], json!({"vm": "yes"}));
    assert!(spec["tolerations"].as_array().unwrap().contains(&json!({"key": "vm", "operator": "Exists"})));
    for (more, why) in [
        (json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found"),
        (
            json!({"overhead": {"cpu": "1"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}}),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
        ),
    ] {
        let said = world.post(PODS, pod("q", more)).await.said();
        assert_eq!(said, format!("403 Forbidden: pods \"q\" is forbidden: {why}"));
    }
}
