//! Claims about the cache.

use super::*;
use crate::scripted_api::{PATIENCE, ScriptedApi, scripted};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use process::Shutdown;
use process::clock::manual::ManualClock;
use serde_json::{Value, json};

const BY_NODE: &str = "node";

struct World {
    pods: Cache<Pod>,
    api: ScriptedApi,
    clock: ManualClock,
    tasks: Tasks,
}

fn world() -> World {
    let (client, api) = scripted();
    let clock = ManualClock::at_new_year();
    let tasks = Tasks::new(Shutdown::new());
    let pods = Cache::builder(Api::<Pod>::all(client))
        .index(BY_NODE, |pod| pod.spec.iter().filter_map(|spec| spec.node_name.clone()).collect())
        .clock(Arc::new(clock.clone()))
        .start(&tasks);
    World { pods, api, clock, tasks }
}

fn pod(name: &str, node: &str, version: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "ns", "name": name, "uid": format!("uid-{name}"),
            "resourceVersion": version.to_string(), "managedFields": [{"manager": "m"}]},
        "spec": {"nodeName": node, "containers": []},
    })
}

fn list(version: u64, items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "PodList",
        "metadata": {"resourceVersion": version.to_string()}, "items": items})
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::namespaced("ns", name)
}

fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
    pods.iter().map(|pod| pod.metadata.name.as_deref().unwrap()).collect()
}

impl World {
    async fn reaches(&self, version: u64) {
        self.pods.wait_for(&version.to_string(), PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_list_in_pages_and_a_watch_fill_map_and_indexes() {
    let mut world = world();
    let first = world.api.call().await;
    assert!(first.uri().contains("limit=500"), "{}", first.uri());
    assert!(!world.pods.has_synced());
    let mut page = list(7, &[pod("a", "n1", 3)]);
    page["metadata"]["continue"] = json!("token");
    first.json(200, &page);
    let second = world.api.call().await;
    assert!(second.uri().contains("continue=token"), "{}", second.uri());
    second.json(200, &list(7, &[pod("b", "n2", 4)]));
    let watch = world.api.call().await;
    assert!(watch.uri().contains("resourceVersion=7") && watch.uri().contains("allowWatchBookmarks=true"));
    world.pods.synced().await;
    assert_eq!(names(&world.pods.list()), ["a", "b"]);
    assert_eq!(names(&world.pods.by_index(BY_NODE, "n2")), ["b"]);
    assert!(world.pods.get(&key("a")).unwrap().metadata.managed_fields.is_none());

    let stream = watch.stream();
    stream.event("ADDED", &pod("c", "n2", 8));
    stream.event("MODIFIED", &pod("b", "n1", 9));
    stream.event("DELETED", &pod("a", "n1", 10));
    world.reaches(10).await;
    assert_eq!(names(&world.pods.in_namespace("ns")), ["b", "c"]);
    assert_eq!(names(&world.pods.by_index(BY_NODE, "n1")), ["b"]);
    assert_eq!(world.pods.index_values(BY_NODE), ["n1", "n2"]);
    assert!(world.pods.in_namespace("n").is_empty());
    assert!(world.tasks.shutdown(PATIENCE).await.is_empty());
}

#[tokio::test]
async fn a_closed_watch_goes_on_where_it_stopped_and_bookmarks_count() {
    let mut world = world();
    world.api.call().await.json(200, &list(7, &[]));
    let stream = world.api.call().await.stream();
    stream.event(
        "BOOKMARK",
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "42"}}),
    );
    world.reaches(42).await;
    drop(stream);
    let again = world.api.call().await;
    assert!(again.uri().contains("resourceVersion=42"), "{}", again.uri());
}

#[tokio::test]
async fn an_expired_watch_lists_again_and_tells_subscribers_only_the_differences() {
    let mut world = world();
    world
        .api
        .call()
        .await
        .json(200, &list(7, &[pod("same", "n", 1), pod("gone", "n", 2), pod("old", "n", 3)]));
    let stream = world.api.call().await.stream();
    world.pods.synced().await;
    let mut changes = world.pods.subscribe();
    assert_eq!(changes.next_batch(10).await.len(), 3);
    stream.event("ERROR", &json!({"kind": "Status", "code": 410, "reason": "Expired", "status": "Failure"}));
    let relist = world.api.call().await;
    assert!(!relist.uri().contains("watch=true"), "{}", relist.uri());
    relist.json(200, &list(90, &[pod("same", "n", 1), pod("old", "n", 80), pod("new", "n", 85)]));
    world.reaches(90).await;
    let mut told = Vec::new();
    while let Some(change) = changes.try_next() {
        told.push((change.key.name, change.before.is_some(), change.after.is_some()));
    }
    told.sort();
    let expected = [("gone", true, false), ("new", false, true), ("old", true, true)];
    assert_eq!(told, expected.map(|(name, before, after)| (name.to_owned(), before, after)));
}

#[tokio::test]
async fn a_failing_api_is_retried_after_a_pause() {
    let mut world = world();
    world.api.call().await.failure(503, "ServiceUnavailable");
    world.clock.sleepers_reach(1).await;
    world.clock.advance(Duration::from_secs(2));
    world.api.call().await.json(200, &list(7, &[pod("a", "n", 1)]));
    world.pods.synced().await;
    // The watch is refused too, and begins from the list's version after its own pause.
    world.api.call().await.failure(500, "InternalError");
    world.clock.sleepers_reach(1).await;
    world.clock.advance(Duration::from_secs(2));
    let watch = world.api.call().await;
    assert!(watch.uri().contains("watch=true") && watch.uri().contains("resourceVersion=7"));
}

#[tokio::test]
async fn a_slow_subscriber_gets_the_latest_state_once_and_nothing_of_what_came_and_went() {
    let mut world = world();
    world.api.call().await.json(200, &list(7, &[pod("a", "n", 1)]));
    let stream = world.api.call().await.stream();
    world.pods.synced().await;
    let mut changes = world.pods.subscribe();
    changes.next().await;
    for version in 10..60 {
        stream.event("MODIFIED", &pod("a", "n", version));
    }
    stream.event("ADDED", &pod("brief", "n", 60));
    stream.event("DELETED", &pod("brief", "n", 61));
    world.reaches(61).await;
    let change = changes.next().await;
    let version = |pod: Option<Arc<Pod>>| pod.unwrap().metadata.resource_version.clone().unwrap();
    assert_eq!((version(change.before), version(change.after)), ("1".into(), "59".into()));
    assert!(changes.try_next().is_none());
}

#[tokio::test]
async fn own_writes_are_pending_until_the_cache_shows_them() {
    let mut world = world();
    world.api.call().await.json(200, &list(7, &[pod("old", "n", 3)]));
    let stream = world.api.call().await.stream();
    world.pods.synced().await;
    let writes = OwnWrites::new();
    let now = Timestamp::UNIX_EPOCH;
    writes.wrote(&"ds", key("new"), "12", now);
    writes.deleted(&"ds", key("old"), "uid-old", now);
    assert!(!writes.caught_up(&"ds", &world.pods, now));
    assert!(writes.caught_up(&"another", &world.pods, now));
    stream.event("ADDED", &pod("new", "n", 12));
    world.reaches(12).await;
    assert!(!writes.caught_up(&"ds", &world.pods, now), "the deletion has not been seen");
    let mut terminating = pod("old", "n", 13);
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    stream.event("MODIFIED", &terminating);
    world.reaches(13).await;
    assert!(writes.caught_up(&"ds", &world.pods, now));
}

#[tokio::test]
async fn a_write_that_no_watch_ever_shows_is_given_up_after_five_minutes() {
    let mut world = world();
    world.api.call().await.json(200, &list(7, &[]));
    world.pods.synced().await;
    let writes = OwnWrites::new();
    writes.wrote(&"ds", key("new"), "12", Timestamp::UNIX_EPOCH);
    assert!(!writes.caught_up(&"ds", &world.pods, Timestamp::from_second(299).unwrap()));
    assert!(writes.caught_up(&"ds", &world.pods, Timestamp::from_second(300).unwrap()));
}

#[tokio::test]
async fn selectors_are_part_of_list_and_watch() {
    let (client, mut api) = scripted();
    let tasks = Tasks::new(Shutdown::new());
    let pods = Cache::<Pod>::builder(Api::all(client)).fields("spec.nodeName=n1").labels("a=b").start(&tasks);
    let call = api.call().await;
    for part in ["fieldSelector=spec.nodeName%3Dn1", "labelSelector=a%3Db"] {
        assert!(call.uri().contains(part), "{}", call.uri());
    }
    call.json(200, &list(7, &[]));
    let call = api.call().await;
    assert!(call.uri().contains("fieldSelector=spec.nodeName%3Dn1"), "{}", call.uri());
    assert_eq!(pods.what(), "/api/v1/pods?a=b&spec.nodeName=n1");
}
