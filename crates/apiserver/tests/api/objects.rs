//! Creating, reading, updating single objects.

use serde_json::json;

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn created_object_reads_back_as_it_was_answered() {
    let world = World::new().await;
    let made = world.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let read = world.get(&format!("{MAPS}/a")).await;
    assert_eq!(made.json(), read.json());
    let object = read.json();
    assert_eq!((&object["kind"], &object["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(object["metadata"]["namespace"], "default");
    assert!(object["metadata"]["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    assert!(object["metadata"]["resourceVersion"].as_str().is_some_and(|v| v.parse::<u64>().is_ok()));
}
