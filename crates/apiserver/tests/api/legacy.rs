//! The handbook's manifest and the other resources that are stored in another form.

use serde_json::json;

use crate::world::World;

const MANIFEST: &str = include_str!("../../../../examples/fluentd.yaml");

#[tokio::test]
async fn handbooks_manifest_is_accepted_with_a_warning_and_reads_as_apps_v1() {
    let world = World::new().await;
    let url = "/apis/extensions/v1beta1/namespaces/default/daemonsets";
    let made = world.ask("POST", url, "application/yaml", MANIFEST).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    assert!(
        made.warnings().iter().any(|w| w.contains("extensions/v1beta1 DaemonSet is deprecated")),
        "{:?}",
        made.warnings()
    );
    assert_eq!(made.json()["apiVersion"], "extensions/v1beta1");
    let read = world.get("/apis/apps/v1/namespaces/default/daemonsets/fluentd").await.json();
    let labels = json!({"app": "logging", "id": "fluentd"});
    assert_eq!(read["apiVersion"], "apps/v1");
    assert_eq!(read["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(read["metadata"]["labels"], labels);
    assert_eq!(read["spec"]["updateStrategy"]["type"], "OnDelete");
    let list = world.get(url).await.json();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("DaemonSetList"), &json!("extensions/v1beta1")));
}

#[tokio::test]
async fn events_of_both_groups_are_the_same_objects() {
    let world = World::new().await;
    let event = json!({
        "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Act", "reason": "Why", "type": "Normal",
        "note": "what happened", "reportingController": "c", "reportingInstance": "i",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    let url = "/apis/events.k8s.io/v1/namespaces/default/events";
    let made = world.post(url, event).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let read = world.get("/api/v1/namespaces/default/events/e").await.json();
    assert_eq!((&read["message"], &read["involvedObject"]["name"]), (&json!("what happened"), &json!("p")));
    let found =
        world.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp").await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.get(&format!("{url}/e")).await.json()["note"], "what happened");
}
