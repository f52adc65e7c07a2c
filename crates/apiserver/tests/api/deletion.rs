//! Deletion: at once, with grace, with finalizers, of many, of namespaces.

use serde_json::{Value, json};

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn pod(world: &World, node: Option<&str>) -> Value {
    let mut body = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    if let Some(node) = node {
        body["spec"]["nodeName"] = json!(node);
    }
    let made = world.post(PODS, body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    made.json()
}

async fn delete_with(world: &World, url: &str, options: Value) -> crate::world::Answer {
    world.ask("DELETE", url, "application/json", options.to_string()).await
}

#[tokio::test]
async fn deleted_object_is_gone_and_named_in_the_answer() {
    let world = World::new().await;
    let made = world.post(MAPS, json!({"metadata": {"name": "a"}})).await.json();
    let status = world.delete(&format!("{MAPS}/a")).await.json();
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(status["details"], json!({"kind": "configmaps", "name": "a", "uid": made["metadata"]["uid"]}));
    assert_eq!(world.get(&format!("{MAPS}/a")).await.status, 404);
}

#[tokio::test]
async fn finalizer_keeps_a_deleted_object_until_it_is_removed() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    world.post(MAPS, json!({"metadata": {"name": "a", "finalizers": ["x.io/f"]}})).await;
    let marked = world.delete(&url).await.json();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let refused = world.merge(&url, json!({"metadata": {"finalizers": ["x.io/f", "x.io/g"]}})).await;
    assert!(
        refused.said().contains(
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
        ),
        "{}",
        refused.said()
    );
    assert_eq!(world.merge(&url, json!({"metadata": {"finalizers": null}})).await.status, 200);
    assert_eq!(world.get(&url).await.status, 404);
}

#[tokio::test]
async fn pod_on_a_node_ends_in_its_own_time_and_forced_at_once() {
    let world = World::new().await;
    pod(&world, Some("n")).await;
    let url = format!("{PODS}/p");
    let marked = world.delete(&url).await.json();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(world.get(&url).await.json()["metadata"]["deletionTimestamp"].is_string());
    let shorter = delete_with(&world, &url, json!({"gracePeriodSeconds": 5})).await.json();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    let longer = delete_with(&world, &url, json!({"gracePeriodSeconds": 60})).await.json();
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 5);
    assert_eq!(delete_with(&world, &url, json!({"gracePeriodSeconds": 0})).await.status, 200);
    assert_eq!(world.get(&url).await.status, 404);
}

#[tokio::test]
async fn pod_without_a_node_is_gone_at_once() {
    let world = World::new().await;
    pod(&world, None).await;
    assert_eq!(world.delete(&format!("{PODS}/p")).await.json()["kind"], "Pod");
    assert_eq!(world.get(&format!("{PODS}/p")).await.status, 404);
}

#[tokio::test]
async fn precondition_that_does_not_hold_is_a_conflict() {
    let world = World::new().await;
    pod(&world, None).await;
    let answer = delete_with(&world, &format!("{PODS}/p"), json!({"preconditions": {"uid": "other"}})).await;
    assert!(answer.said().starts_with("409 Conflict: Operation cannot be fulfilled on pods \"p\": Precondition failed: UID in precondition: other"), "{}", answer.said());
}

#[tokio::test]
async fn options_of_deletions_come_from_the_body_or_the_query_and_must_go_together() {
    let world = World::new().await;
    let made = world.post(MAPS, json!({"metadata": {"name": "a"}})).await.json();
    let url = format!("{MAPS}/a");
    let invalid = |what: &str| format!("422 Invalid: DeleteOptions.meta.k8s.io \"\" is invalid: {what}");
    let both = "propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set";
    let unknown = "propagationPolicy: Unsupported value: \"Never\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
    let dry = "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"";
    for (query, body, what) in [
        ("?propagationPolicy=Orphan&orphanDependents=true", json!(null), both),
        ("", json!({"propagationPolicy": "Orphan", "orphanDependents": false}), both),
        ("?propagationPolicy=Never", json!(null), unknown),
        ("", json!({"propagationPolicy": "Never"}), unknown),
        ("?dryRun=Some", json!(null), dry),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let said = world.ask("DELETE", &format!("{url}{query}"), "application/json", body).await.said();
        assert_eq!(said, invalid(what));
    }
    let stale = delete_with(&world, &url, json!({"preconditions": {"resourceVersion": "1"}})).await.said();
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(
        stale,
        format!(
            "409 Conflict: Operation cannot be fulfilled on configmaps \"a\": Precondition failed: ResourceVersion in precondition: 1, ResourceVersion in object meta: {version}"
        )
    );
    let tried = delete_with(&world, &url, json!({"dryRun": ["All"]})).await;
    assert_eq!((tried.status.as_u16(), world.get(&url).await.status.as_u16()), (200, 200));
    let right = json!({"preconditions": {"resourceVersion": version, "uid": made["metadata"]["uid"]}});
    assert_eq!(delete_with(&world, &url, right).await.status, 200);
    assert_eq!(world.get(&url).await.status, 404);
}

#[tokio::test]
async fn propagation_stands_in_finalizers() {
    let world = World::new().await;
    for (policy, finalizer, code) in [("Foreground", "foregroundDeletion", 202), ("Orphan", "orphan", 200)] {
        world.post(MAPS, json!({"metadata": {"name": "a"}})).await;
        let url = format!("{MAPS}/a");
        let marked = world.delete(&format!("{url}?propagationPolicy={policy}")).await;
        assert_eq!(marked.status, code, "{policy}");
        assert_eq!(marked.json()["metadata"]["finalizers"], json!([finalizer]));
        world.merge(&url, json!({"metadata": {"finalizers": []}})).await;
        assert_eq!(world.get(&url).await.status, 404);
    }
    let answer = world.delete(&format!("{MAPS}/a?propagationPolicy=Sometimes")).await;
    assert_eq!(answer.status, 422);
}

#[tokio::test]
async fn collection_is_deleted_by_selector() {
    let world = World::new().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        world.post(MAPS, json!({"metadata": {"name": name, "labels": {"l": label}}})).await;
    }
    let answer = world.delete(&format!("{MAPS}?labelSelector=l%3Dx")).await.json();
    assert_eq!(answer["items"].as_array().unwrap().len(), 2);
    assert_eq!(world.get(MAPS).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn namespace_takes_nothing_new_while_it_ends_and_goes_when_it_is_finalized() {
    let world = World::new().await;
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    let ending = world.delete("/api/v1/namespaces/n").await.json();
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = world.post("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": "a"}})).await;
    assert_eq!(
        refused.said(),
        "403 Forbidden: configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert_eq!(world.delete("/api/v1/namespaces/n").await.status, 409);
    let mut finalized = world.get("/api/v1/namespaces/n").await.json();
    finalized["spec"]["finalizers"] = json!([]);
    assert_eq!(world.put("/api/v1/namespaces/n/finalize", finalized).await.status, 200);
    assert_eq!(world.get("/api/v1/namespaces/n").await.status, 404);
}

#[tokio::test]
async fn evicted_pod_ends() {
    let world = World::new().await;
    pod(&world, Some("n")).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    assert_eq!(world.post(&format!("{PODS}/p/eviction"), eviction).await.status, 201);
    assert!(world.get(&format!("{PODS}/p")).await.json()["metadata"]["deletionTimestamp"].is_string());
}
