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

#[tokio::test]
async fn events_of_the_newer_group_are_held_to_its_rules_and_core_events_are_not() {
    let world = World::new().await;
    let loose = json!({"metadata": {"name": "system:a.1"}, "type": "Odd"});
    assert_eq!(world.post("/api/v1/namespaces/default/events", loose.clone()).await.status, 201);
    let url = "/apis/events.k8s.io/v1/namespaces/default/events";
    let refused = world.post(url, json!({"metadata": {"name": "a.1"}, "type": "Odd"})).await;
    assert_eq!(
        refused.said(),
        "422 Invalid: Event.events.k8s.io \"a.1\" is invalid: [eventTime: Required value, type: Invalid value: \"\": has invalid value: Odd]"
    );
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Act", "reason": "Why", "type": "Normal",
        "note": "said", "reportingController": "c", "reportingInstance": "i",
    });
    assert_eq!(world.post(url, event).await.status, 201);
    let said = world.merge(&format!("{url}/e"), json!({"note": "other"})).await.said();
    assert_eq!(
        said,
        "422 Invalid: Event.events.k8s.io \"e\" is invalid: message: Invalid value: \"other\": field is immutable"
    );
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}});
    assert_eq!(world.merge(&format!("{url}/e"), series).await.status, 200);
    assert_eq!(
        world.merge("/api/v1/namespaces/default/events/e", json!({"message": "other"})).await.status,
        200
    );
}
