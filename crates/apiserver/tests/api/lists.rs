//! Lists: selectors, pages, revisions.

use serde_json::{Value, json};

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn five() -> World {
    let world = World::new().await;
    for i in 0..5 {
        let parity = if i % 2 == 0 { "even" } else { "odd" };
        let body = json!({"metadata": {"name": format!("m{i}"), "labels": {"parity": parity}}});
        assert_eq!(world.post(MAPS, body).await.status, 201);
    }
    world
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn selectors_choose_and_items_have_no_type() {
    let world = five().await;
    let list = world.get(&format!("{MAPS}?labelSelector=parity%3Dodd")).await.json();
    assert_eq!(names(&list), ["m1", "m3"]);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert!(list["items"][0].get("kind").is_none());
    let list = world
        .get(&format!("{MAPS}?fieldSelector=metadata.name%21%3Dm0&labelSelector=parity%20notin%20(odd)"))
        .await;
    assert_eq!(names(&list.json()), ["m2", "m4"]);
    assert_eq!(world.get(&format!("{MAPS}?labelSelector=a%20in%20")).await.json()["reason"], "BadRequest");
    assert_eq!(names(&world.get("/api/v1/namespaces/kube-system/configmaps").await.json()), [""; 0]);
    assert_eq!(names(&world.get("/api/v1/configmaps").await.json()).len(), 5);
}

#[tokio::test]
async fn every_page_is_of_the_same_moment() {
    let world = five().await;
    let first = world.get(&format!("{MAPS}?limit=2")).await.json();
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["m0".into(), "m1".into()], &json!(3))
    );
    world.delete(&format!("{MAPS}/m3")).await;
    world.post(MAPS, json!({"metadata": {"name": "m22"}})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = world.get(&format!("{MAPS}?limit=2&continue={token}")).await.json();
    assert_eq!(names(&second), ["m2", "m3"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = world.get(&format!("{MAPS}?limit=2&continue={token}")).await.json();
    assert_eq!(names(&third), ["m4"]);
    assert!(third["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn forgotten_page_is_expired() {
    let world = five().await;
    let first = world.get(&format!("{MAPS}?limit=2")).await.json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    world.server.drop_snapshots();
    let answer = world.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert!(
        answer.said().starts_with("410 Expired: The provided continue parameter is too old"),
        "{}",
        answer.said()
    );
    let answer = world.get(&format!("{MAPS}?limit=2&continue=garbage")).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn listed_revision_is_where_a_watch_goes_on() {
    let world = five().await;
    let list = world.get(MAPS).await.json();
    let revision: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let exact =
        world.get(&format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")).await.json();
    assert_eq!(names(&exact).len(), 5);
    let newest = world.get(&format!("{MAPS}/m4")).await.json();
    let newest: u64 = newest["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(revision >= newest);
}
