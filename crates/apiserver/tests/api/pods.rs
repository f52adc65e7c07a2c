//! What admission does to pods, and affinity as an annotation.

use serde_json::{Value, json};

use crate::world::World;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(spec: Value) -> Value {
    let mut body = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let fields = body["spec"].as_object_mut().unwrap();
    fields.extend(spec.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn new_pod_has_priority_account_tolerations_and_defaults() {
    let world = World::new().await;
    let made = world.post(PODS, pod(json!({"priorityClassName": "system-node-critical"}))).await.json();
    let spec = &made["spec"];
    assert_eq!((&spec["priority"], &spec["serviceAccountName"]), (&json!(2_000_001_000), &json!("default")));
    let keys: Vec<&str> =
        spec["tolerations"].as_array().unwrap().iter().map(|t| t["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    assert_eq!(
        (&spec["restartPolicy"], &spec["schedulerName"]),
        (&json!("Always"), &json!("default-scheduler"))
    );
    assert_eq!(
        (&made["status"]["phase"], &made["status"]["qosClass"]),
        (&json!("Pending"), &json!("BestEffort"))
    );
}

#[tokio::test]
async fn unknown_class_and_unknown_account_are_refused() {
    let world = World::new().await;
    assert_eq!(
        world.post(PODS, pod(json!({"priorityClassName": "x"}))).await.said(),
        "403 Forbidden: pods \"p\" is forbidden: no PriorityClass with name x was found"
    );
    assert_eq!(
        world.post(PODS, pod(json!({"serviceAccountName": "x"}))).await.said(),
        "403 Forbidden: pods \"p\" is forbidden: error looking up service account default/x: serviceaccount \"x\" not found"
    );
}

#[tokio::test]
async fn affinity_annotation_becomes_the_affinity_and_broken_json_is_refused_at_its_place() {
    let world = World::new().await;
    let annotation = "scheduler.alpha.kubernetes.io/affinity";
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}}});
    let mut body = pod(json!({}));
    body["metadata"]["annotations"] = json!({annotation: affinity.to_string()});
    let made = world.post(PODS, body.clone()).await.json();
    assert_eq!(made["spec"]["affinity"], affinity);
    body["metadata"] = json!({"name": "q", "annotations": {annotation: "{"}});
    let refused = world.post(PODS, body).await;
    assert_eq!(refused.status, 422);
    let field = refused.json()["details"]["causes"][0]["field"].as_str().unwrap().to_owned();
    assert_eq!(field, format!("metadata.annotations[{annotation}]"));
}

#[tokio::test]
async fn new_node_is_tainted_until_it_is_ready() {
    let world = World::new().await;
    let made = world.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.json();
    assert_eq!(
        made["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
}

#[tokio::test]
async fn only_some_fields_of_a_pod_may_change() {
    let world = World::new().await;
    world.post(PODS, pod(json!({}))).await;
    let url = format!("{PODS}/p");
    let image = json!({"spec": {"containers": [{"name": "c", "image": "j"}]}}).to_string();
    let patched = world.ask("PATCH", &url, "application/strategic-merge-patch+json", image).await;
    assert_eq!((patched.status.as_u16(), &patched.json()["metadata"]["generation"]), (200, &json!(2)));
    let refused = world.merge(&url, json!({"spec": {"hostNetwork": true}})).await;
    assert!(
        refused.said().starts_with(
            "422 Invalid: Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than"
        ),
        "{}",
        refused.said()
    );
}

#[tokio::test]
async fn pods_are_selected_by_the_nodes_first_name_too() {
    let world = World::new().await;
    for (name, node) in [("a", "n"), ("b", "other")] {
        let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": node,
            "containers": [{"name": "c", "image": "i:1"}]}});
        assert_eq!(world.post("/api/v1/namespaces/default/pods", pod).await.status, 201);
    }
    let found = world.get("/api/v1/pods?fieldSelector=spec.host%3Dn").await.json();
    let names: Vec<&serde_json::Value> =
        found["items"].as_array().unwrap().iter().map(|pod| &pod["metadata"]["name"]).collect();
    assert_eq!(names, ["a"]);
}

#[tokio::test]
async fn likely_mistakes_in_pods_and_templates_are_told_in_warnings() {
    let world = World::new().await;
    let old = "deprecated since v1.14; use \\\"kubernetes.io/os\\\" instead";
    let spec = json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "containers": [{"name": "c", "image": "i"}]});
    let made = world.post("/api/v1/namespaces/default/pods", pod(spec.clone())).await;
    assert_eq!(made.warnings(), [format!("299 - \"spec.nodeSelector[beta.kubernetes.io/os]: {old}\"")]);
    let sets = "/apis/apps/v1/namespaces/default/daemonsets";
    let set = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}});
    let told = [format!("299 - \"spec.template.spec.nodeSelector[beta.kubernetes.io/os]: {old}\"")];
    let dry = world.post(&format!("{sets}?dryRun=All"), set.clone()).await;
    assert_eq!((dry.status.as_u16(), dry.warnings()), (201, told.to_vec()));
    assert_eq!(world.post(sets, set).await.warnings(), told);
    let labelled = world.merge(&format!("{sets}/d"), json!({"metadata": {"labels": {"c": "d"}}})).await;
    assert_eq!(labelled.warnings(), Vec::<String>::new(), "the template is as it was");
    let changed = json!({"spec": {"template": {"spec": {"hostNetwork": true}}}});
    assert_eq!(world.merge(&format!("{sets}/d"), changed).await.warnings(), told);
}
