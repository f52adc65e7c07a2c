//! Dry runs: every kind of write is tried to its end, answered, and changes nothing.

use serde_json::{Value, json};

use crate::world::World;

const NAMESPACE: &str = "/api/v1/namespaces/default";
const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";

/// All that the writes of the test could have changed.
async fn everything(world: &World) -> Vec<Value> {
    let mut items = Vec::new();
    for url in [
        &format!("{NAMESPACE}/configmaps"),
        &format!("{NAMESPACE}/pods"),
        &format!("{NAMESPACE}/services"),
        SETS,
        "/api/v1/namespaces",
        "/apis/policy/v1/poddisruptionbudgets",
    ] {
        items.push(world.get(url).await.json()["items"].clone());
    }
    items
}

#[tokio::test]
async fn dry_run_of_every_write_is_answered_and_changes_nothing() {
    let world = World::new().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "1"}});
    let labels = json!({"a": "b"});
    let pod = json!({"metadata": {"name": "p", "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    let mut other = pod.clone();
    other["metadata"]["name"] = json!("q");
    let set = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod["spec"]}}});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"selector": {"matchLabels": labels}, "maxUnavailable": 1}});
    for (url, body) in [
        (format!("{NAMESPACE}/configmaps"), &map),
        (format!("{NAMESPACE}/pods"), &pod),
        (SETS.to_owned(), &set),
        ("/api/v1/namespaces".to_owned(), &json!({"metadata": {"name": "n"}})),
        ("/apis/policy/v1/namespaces/default/poddisruptionbudgets".to_owned(), &budget),
    ] {
        let made = world.post(&url, body.clone()).await;
        assert_eq!(made.status, 201, "{}", made.said());
    }
    let before = everything(&world).await;
    let mut changed = map.clone();
    changed["data"]["k"] = json!("2");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "x"}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}});
    let token = json!({"spec": {"audiences": ["a"]}});
    let json_type = "application/json";
    let merge = "application/merge-patch+json";
    let strategic = "application/strategic-merge-patch+json";
    let operations = json!([{"op": "replace", "path": "/data/k", "value": "2"}]);
    for (method, url, content_type, body, code) in [
        ("POST", "/pods", json_type, &other, 201),
        (
            "POST",
            "/services",
            json_type,
            &json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
            201,
        ),
        ("PUT", "/configmaps/m", json_type, &changed, 200),
        ("PATCH", "/configmaps/m", merge, &changed, 200),
        ("PATCH", "/configmaps/m", strategic, &changed, 200),
        ("PATCH", "/configmaps/m", "application/json-patch+json", &operations, 200),
        ("PATCH", "/configmaps/m?fieldManager=f&force=true", "application/apply-patch+yaml", &changed, 200),
        ("DELETE", "/configmaps/m", json_type, &json!({"propagationPolicy": "Foreground"}), 202),
        ("DELETE", "/configmaps", json_type, &json!({}), 200),
        ("DELETE", "/pods/p", json_type, &json!({}), 200),
        ("PATCH", "/pods/p/status", merge, &json!({"status": {"phase": "Running"}}), 200),
        ("PATCH", "/pods/p/ephemeralcontainers", strategic, &debug, 200),
        ("POST", "/pods/p/binding", json_type, &binding, 201),
        ("POST", "/bindings", json_type, &binding, 201),
        ("POST", "/pods/p/eviction", json_type, &eviction, 201),
        ("POST", "/serviceaccounts/default/token", json_type, &token, 201),
    ] {
        let separator = if url.contains('?') { '&' } else { '?' };
        // The options of a deletion stand in its body.
        let (url, body) = match method {
            "DELETE" => {
                let mut body = body.clone();
                body["dryRun"] = json!(["All"]);
                (format!("{NAMESPACE}{url}"), body)
            }
            _ => (format!("{NAMESPACE}{url}{separator}dryRun=All"), body.clone()),
        };
        let answer = world.ask(method, &url, content_type, body.to_string()).await;
        assert_eq!(answer.status, code, "{method} {url}: {:?}", answer.body);
        assert_eq!(everything(&world).await, before, "{method} {url}");
    }
    for (method, url, content_type, body) in [
        ("PATCH", format!("{SETS}/d/status?dryRun=All"), merge, json!({"status": {"numberReady": 1}})),
        ("DELETE", "/api/v1/namespaces/n?dryRun=All".to_owned(), json_type, json!(null)),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = world.ask(method, &url, content_type, body).await;
        assert_eq!(answer.status, 200, "{method} {url}: {:?}", answer.body);
        assert_eq!(everything(&world).await, before, "{method} {url}");
    }
    // What would be refused is refused.
    let wrong = world
        .post(&format!("{NAMESPACE}/pods?dryRun=All"), json!({"metadata": {"name": "r"}, "spec": {}}))
        .await;
    assert_eq!(wrong.status, 422);
    let taken = world.post(&format!("{NAMESPACE}/configmaps?dryRun=All"), map).await;
    assert_eq!(taken.said(), "409 AlreadyExists: configmaps \"m\" already exists");
}
