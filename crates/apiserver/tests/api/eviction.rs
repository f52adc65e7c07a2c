//! Evictions: a disruption budget is asked, decremented and obeyed; what it does not count goes as a deletion does.

use serde_json::{Value, json};

use crate::world::{Answer, World};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A running Pod of `app: a`.
async fn pod(world: &World, name: &str, ready: bool) {
    let body = json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"nodeName": "n",
        "containers": [{"name": "c", "image": "i:1"}]}});
    assert_eq!(world.post(PODS, body).await.status, 201);
    let ready = if ready { "True" } else { "False" };
    phase(world, name, "Running", ready).await;
}

async fn phase(world: &World, name: &str, phase: &str, ready: &str) {
    let status = json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
    assert_eq!(world.merge(&format!("{PODS}/{name}/status"), status).await.status, 200);
}

async fn budget(world: &World, name: &str, spec: Value, status: Value) {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "a"}});
    let made = world.post(BUDGETS, json!({"metadata": {"name": name}, "spec": spec})).await;
    assert_eq!(made.status, 201, "{}", made.said());
    let written = world.merge(&format!("{BUDGETS}/{name}/status"), json!({"status": status})).await;
    assert_eq!(written.status, 200, "{}", written.said());
}

fn counted(allowed: i32, healthy: i32, desired: i32) -> Value {
    json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
        "desiredHealthy": desired, "expectedPods": healthy})
}

async fn evict(world: &World, name: &str, more: Value) -> Answer {
    let mut body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.post(&format!("{PODS}/{name}/eviction"), body).await
}

async fn is_ending(world: &World, name: &str) -> bool {
    world.get(&format!("{PODS}/{name}")).await.json()["metadata"]["deletionTimestamp"].is_string()
}

#[tokio::test]
async fn an_eviction_takes_from_the_budget_tells_the_pod_and_deletes_it() {
    let world = World::new().await;
    pod(&world, "p", true).await;
    budget(&world, "b", json!({"minAvailable": 1}), counted(1, 2, 1)).await;
    let done = evict(&world, "p", json!({})).await;
    assert_eq!((done.status.as_u16(), &done.json()["status"]), (201, &json!("Success")));
    let status = world.get(&format!("{BUDGETS}/b")).await.json()["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["p"].is_string(), "{status}");
    assert_eq!(status["conditions"][0]["reason"], "InsufficientPods");
    let pod = world.get(&format!("{PODS}/p")).await.json();
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let told = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!(
        (&told["status"], &told["reason"], &told["message"]),
        (&json!("True"), &json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting"))
    );
}

#[tokio::test]
async fn a_spent_budget_holds_the_pod_with_429_and_its_cause() {
    let world = World::new().await;
    pod(&world, "p", true).await;
    budget(&world, "b", json!({"minAvailable": 2}), counted(0, 2, 2)).await;
    let held = evict(&world, "p", json!({})).await;
    assert_eq!(
        held.said(),
        "429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(
        held.json()["details"],
        json!({"causes": [{"reason": "DisruptionBudget",
            "message": "The disruption budget b needs 2 healthy pods and has 2 currently"}]})
    );
    assert!(!is_ending(&world, "p").await);

    // Its spec has changed since it was counted: ask again in a moment.
    world.merge(&format!("{BUDGETS}/b"), json!({"spec": {"minAvailable": 1}})).await;
    let held = evict(&world, "p", json!({})).await;
    assert_eq!(held.headers["retry-after"], "10");
    assert_eq!(
        held.json()["details"]["causes"][0]["message"],
        "The disruption budget b is still being processed by the server."
    );
    assert!(!is_ending(&world, "p").await);
}

#[tokio::test]
async fn two_budgets_on_one_pod_are_an_error_of_the_cluster() {
    let world = World::new().await;
    pod(&world, "p", true).await;
    budget(&world, "b", json!({"minAvailable": 1}), counted(1, 2, 1)).await;
    budget(&world, "c", json!({"minAvailable": 1}), counted(1, 2, 1)).await;
    let refused = evict(&world, "p", json!({})).await;
    assert_eq!(
        refused.said(),
        "500 -: This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
    assert!(!is_ending(&world, "p").await);
}

#[tokio::test]
async fn pods_that_serve_nobody_pass_a_spent_budget() {
    let world = World::new().await;
    budget(&world, "b", json!({"minAvailable": 9}), counted(0, 1, 9)).await;
    for (name, stage) in [("pending", "Pending"), ("done", "Succeeded"), ("failed", "Failed")] {
        pod(&world, name, true).await;
        phase(&world, name, stage, "True").await;
        assert_eq!(evict(&world, name, json!({})).await.status, 201, "{name}");
    }
    pod(&world, "sick", false).await;
    assert_eq!(evict(&world, "sick", json!({})).await.status, 429, "too few are healthy");
    world
        .merge(&format!("{BUDGETS}/b"), json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}))
        .await;
    assert_eq!(evict(&world, "sick", json!({})).await.status, 201);
    assert_eq!(world.get(&format!("{BUDGETS}/b")).await.json()["status"].get("disruptedPods"), None);
}

#[tokio::test]
async fn a_dry_run_asks_the_budget_and_changes_nothing() {
    let world = World::new().await;
    pod(&world, "p", true).await;
    budget(&world, "b", json!({"minAvailable": 1}), counted(1, 2, 1)).await;
    let before = world.get(&format!("{BUDGETS}/b")).await.json();
    let tried = json!({"deleteOptions": {"dryRun": ["All"]}});
    assert_eq!(evict(&world, "p", tried.clone()).await.status, 201);
    assert_eq!(world.get(&format!("{BUDGETS}/b")).await.json(), before);
    assert!(!is_ending(&world, "p").await);
    world.merge(&format!("{BUDGETS}/b/status"), json!({"status": {"disruptionsAllowed": 0}})).await;
    assert_eq!(evict(&world, "p", tried).await.status, 429);
}

#[tokio::test]
async fn an_eviction_with_preconditions_is_for_that_pod_only() {
    let world = World::new().await;
    pod(&world, "p", true).await;
    let other = evict(&world, "p", json!({"deleteOptions": {"preconditions": {"uid": "other"}}})).await;
    assert_eq!(other.status, 409);
    assert!(other.said().contains("the UID in the precondition (other) does not match"), "{}", other.said());
    let old = json!({"deleteOptions": {"preconditions": {"resourceVersion": "1"}}});
    assert!(evict(&world, "p", old).await.said().contains("The object might have been modified"));
    let version = world.get(&format!("{PODS}/p")).await.json()["metadata"]["resourceVersion"].clone();
    let exact =
        json!({"deleteOptions": {"preconditions": {"resourceVersion": version}, "gracePeriodSeconds": 7}});
    assert_eq!(evict(&world, "p", exact).await.status, 201);
    assert_eq!(world.get(&format!("{PODS}/p")).await.json()["metadata"]["deletionGracePeriodSeconds"], 7);
}

#[tokio::test]
async fn both_versions_of_the_body_are_taken_and_others_refused() {
    let world = World::new().await;
    for name in ["a", "b"] {
        pod(&world, name, true).await;
    }
    assert_eq!(evict(&world, "a", json!({"apiVersion": "policy/v1beta1"})).await.status, 201);
    assert_eq!(
        evict(&world, "b", json!({"apiVersion": "v1"})).await.said(),
        "400 BadRequest: the API version in the data (v1) does not match the expected API version (policy/v1)"
    );
    assert_eq!(
        evict(&world, "b", json!({"metadata": {"name": "a"}})).await.said(),
        "400 BadRequest: name in URL does not match name in Eviction object"
    );
    assert_eq!(evict(&world, "none", json!({})).await.said(), "404 NotFound: pods \"none\" not found");
}
