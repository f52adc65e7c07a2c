//! Watches: order, selection, where they begin, what wakes them.

use std::time::Duration;

use apiserver::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::world::{DEADLINE, World};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Watch {
    body: Body,
    rest: Vec<u8>,
}

impl Watch {
    async fn open(world: &World, url: &str) -> Watch {
        Watch::accepting(world, url, "application/json").await
    }

    async fn accepting(world: &World, url: &str, accept: &str) -> Watch {
        let request =
            http::Request::get(url).header("accept", accept).body(apiserver::body::empty()).unwrap();
        let response = world.stream(request).await;
        assert_eq!(response.status(), 200);
        Watch { body: response.into_body(), rest: Vec::new() }
    }

    /// The next event; nothing if the watch has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await.expect("no event in time")?;
            self.rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    /// `ADDED a`.
    async fn brief(&mut self) -> String {
        self.next().await.map_or_else(|| "end".to_owned(), |event| brief(&event))
    }
}

/// `ADDED a`.
fn brief(event: &Value) -> String {
    let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
    format!("{} {name}", event["type"].as_str().unwrap())
}

async fn map(world: &World, name: &str, labels: Value) -> Value {
    world.post(MAPS, json!({"metadata": {"name": name, "labels": labels}})).await.json()
}

#[tokio::test]
async fn watch_without_revision_begins_with_what_is_there() {
    let world = World::new().await;
    map(&world, "a", json!({})).await;
    let mut watch = Watch::open(&world, &format!("{MAPS}?watch=1")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    world.merge(&format!("{MAPS}/a"), json!({"data": {"k": "v"}})).await;
    assert_eq!(watch.brief().await, "MODIFIED a");
    let current = world.get(&format!("{MAPS}/a")).await.json();
    world.delete(&format!("{MAPS}/a")).await;
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    let revision =
        |object: &Value| -> u64 { object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap() };
    assert!(revision(&gone["object"]) > revision(&current));
}

#[tokio::test]
async fn two_watches_from_one_revision_see_the_same_sequence() {
    let world = World::new().await;
    let start = world.get(MAPS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let url = format!("{MAPS}?watch=1&resourceVersion={start}");
    let mut early = Watch::open(&world, &url).await;
    for i in 0..20 {
        map(&world, &format!("m{i}"), json!({})).await;
        if i % 3 == 0 {
            world.delete(&format!("{MAPS}/m{i}")).await;
        }
    }
    let mut late = Watch::open(&world, &url).await;
    for _ in 0..27 {
        assert_eq!(early.next().await, late.next().await);
    }
}

#[tokio::test]
async fn object_that_enters_and_leaves_the_selection_is_added_and_deleted() {
    let world = World::new().await;
    map(&world, "a", json!({"on": "no"})).await;
    let mut watch = Watch::open(&world, &format!("{MAPS}?watch=1&labelSelector=on%3Dyes")).await;
    let url = format!("{MAPS}/a");
    world.merge(&url, json!({"metadata": {"labels": {"on": "yes"}}})).await;
    assert_eq!(watch.brief().await, "ADDED a");
    world.merge(&url, json!({"data": {"k": "v"}})).await;
    assert_eq!(watch.brief().await, "MODIFIED a");
    let left = world.merge(&url, json!({"metadata": {"labels": {"on": "no"}}})).await.json();
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    // The last state inside, at the revision at which it left.
    assert_eq!(gone["object"]["metadata"]["labels"]["on"], "yes");
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn pods_change_wakes_only_its_own_nodes_watcher() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let on = |name: &str, node: &str| json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
    let mut watches = Vec::new();
    for i in 0..50 {
        let url = format!("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn{i}");
        watches.push(Watch::open(&world, &url).await);
    }
    assert_eq!(world.server.wakes("pods"), 0);
    assert_eq!(world.post(pods, on("p", "n7")).await.status, 201);
    assert_eq!(watches[7].brief().await, "ADDED p");
    assert_eq!(world.server.wakes("pods"), 1);
    // A watcher that was not woken has missed nothing of its own.
    assert_eq!(world.post(pods, on("q", "n8")).await.status, 201);
    assert_eq!(watches[8].brief().await, "ADDED q");
    assert_eq!(world.server.wakes("pods"), 2);
}

#[tokio::test]
async fn bound_pod_enters_its_nodes_watch() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let mut watch = Watch::open(&world, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1").await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(world.post(pods, pod).await.status, 201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let bound = world.post(&format!("{pods}/p/binding"), binding.clone()).await;
    assert_eq!((bound.status.as_u16(), &bound.json()["status"]), (201, &json!("Success")));
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["spec"]["nodeName"]), (&json!("ADDED"), &json!("n1")));
    assert_eq!(event["object"]["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(
        world.post(&format!("{pods}/p/binding"), binding).await.said(),
        "409 Conflict: Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
    );
}

/// As old schedulers bind, whose body alone says which Pod it is.
#[tokio::test]
async fn pod_is_bound_through_bindings_too() {
    let world = World::new().await;
    let (pods, bindings) = ("/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/bindings");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(world.post(pods, pod).await.status, 201);
    let binding = |name: &str, namespace: &str| json!({"metadata": {"name": name, "namespace": namespace}, "target": {"kind": "Node", "name": "n1"}});
    for (url, body, said) in [
        (bindings, binding("", ""), "400 BadRequest: Name parameter required."),
        (bindings, binding("q", ""), "404 NotFound: pods \"q\" not found"),
        (
            bindings,
            binding("p", "other"),
            "400 BadRequest: the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            &format!("{pods}/p/binding"),
            binding("q", ""),
            "400 BadRequest: name in URL does not match name in Binding object",
        ),
        (
            bindings,
            json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": ""}}),
            "422 Invalid: Binding \"p\" is invalid: target.name: Required value",
        ),
    ] {
        assert_eq!(world.post(url, body).await.said(), said);
    }
    let bound = world.post(bindings, binding("p", "default")).await;
    assert_eq!((bound.status.as_u16(), &bound.json()["status"]), (201, &json!("Success")));
    assert_eq!(world.get(&format!("{pods}/p")).await.json()["spec"]["nodeName"], "n1");
    assert_eq!(
        world.get(bindings).await.said(),
        "405 MethodNotAllowed: the server does not allow this method on the requested resource"
    );
    let resources = world.get("/api/v1").await.json();
    let found =
        resources["resources"].as_array().unwrap().iter().find(|one| one["name"] == "bindings").unwrap();
    assert_eq!((&found["kind"], &found["verbs"]), (&json!("Binding"), &json!(["create"])));
}

/// sendInitialEvents × resourceVersion × allowWatchBookmarks: what a watch says first.
#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let world = World::new().await;
    map(&world, "a", json!({})).await;
    let revision = world.get(MAPS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let from_now = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    for (query, expect) in [
        (format!("{streaming}&allowWatchBookmarks=true"), &["ADDED a", "BOOKMARK -", "ADDED b"][..]),
        (
            format!("{streaming}&allowWatchBookmarks=true&resourceVersion=0"),
            &["ADDED a", "BOOKMARK -", "ADDED b"],
        ),
        (
            format!("{streaming}&allowWatchBookmarks=true&resourceVersion={revision}"),
            &["ADDED a", "BOOKMARK -", "ADDED b"],
        ),
        (streaming.to_owned(), &["ADDED a", "ADDED b"]),
        // Who names no version is treated as if it had asked for a streaming list.
        ("allowWatchBookmarks=true".to_owned(), &["ADDED a", "BOOKMARK -", "ADDED b"]),
        ("resourceVersion=0".to_owned(), &["ADDED a", "ADDED b"]),
        (format!("resourceVersion={revision}&allowWatchBookmarks=true"), &["ADDED b"]),
        (format!("{from_now}&allowWatchBookmarks=true"), &["ADDED b"]),
        (format!("{from_now}&resourceVersion={revision}"), &["ADDED b"]),
    ] {
        let mut watch = Watch::open(&world, &format!("{MAPS}?watch=1&{query}")).await;
        map(&world, "b", json!({})).await;
        for expected in expect {
            let event = watch.next().await.unwrap();
            assert_eq!(brief(&event), *expected, "{query}");
            if event["type"] == "BOOKMARK" {
                let object = &event["object"];
                assert_eq!(object["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
                assert_eq!((&object["kind"], &object["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
                assert!(object["metadata"].get("creationTimestamp").is_none());
                let at: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
                assert!(at >= revision.parse().unwrap());
            }
        }
        world.delete(&format!("{MAPS}/b")).await;
    }
}

#[tokio::test]
async fn options_of_watches_that_do_not_go_together_are_refused() {
    let world = World::new().await;
    let invalid = |what: &str| format!("422 Invalid: ListOptions.meta.k8s.io \"\" is invalid: {what}");
    let needs = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    let unless = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
    let mode = "resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"";
    for (query, expect) in [
        ("sendInitialEvents=true", invalid(needs)),
        ("sendInitialEvents=false", invalid(needs)),
        ("resourceVersionMatch=NotOlderThan", invalid(unless)),
        ("resourceVersionMatch=Exact", invalid(&format!("[{unless}, {mode}]"))),
        ("sendInitialEvents=true&resourceVersionMatch=Exact", invalid(&format!("[{needs}, {mode}]"))),
        (
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x",
            invalid(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ),
        ),
        ("fieldSelector=data.k%3Dv", "400 BadRequest: \"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"".to_owned()),
    ] {
        assert_eq!(world.get(&format!("{MAPS}?watch=1&{query}")).await.said(), expect, "{query}");
    }
    let named =
        world.get("/api/v1/watch/namespaces/default/configmaps/a?fieldSelector=metadata.name%3Db").await;
    assert_eq!(named.said(), "400 BadRequest: fieldSelector metadata.name doesn't match requested name");
    let request = http::Request::get(format!("{MAPS}?watch=1")).header("accept", "application/yaml");
    assert_eq!(
        world.send(request.body(apiserver::body::empty()).unwrap()).await.said(),
        "406 NotAcceptable: only the following media types are accepted: application/json;stream=watch"
    );
}

#[tokio::test]
async fn named_object_is_watched_under_the_old_prefix() {
    let world = World::new().await;
    map(&world, "b", json!({})).await;
    let mut watch = Watch::open(&world, "/api/v1/watch/namespaces/default/configmaps/a").await;
    map(&world, "a", json!({})).await;
    assert_eq!(watch.brief().await, "ADDED a");
    // Upstream's get of one object knows no watch.
    let object = world.get(&format!("{MAPS}/a?watch=true")).await.json();
    assert_eq!(object["kind"], "ConfigMap");
}

#[tokio::test]
async fn revision_that_is_no_longer_known_is_told_inside_the_watch_and_a_list_recovers() {
    let store = std::sync::Arc::new(store::memory::MemoryStore::new());
    let first = World::over(store.clone()).await;
    let old = first.get(MAPS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    map(&first, "a", json!({})).await;
    let second = World::over(store).await;
    let mut watch = Watch::open(&second, &format!("{MAPS}?watch=1&resourceVersion={old}")).await;
    let error = watch.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["kind"]), (&json!("ERROR"), &json!("Status")));
    assert_eq!((&error["object"]["code"], &error["object"]["reason"]), (&json!(410), &json!("Expired")));
    let said = error["object"]["message"].as_str().unwrap();
    assert!(said.starts_with(&format!("too old resource version: {old} (")), "{said}");
    assert_eq!(watch.brief().await, "end");
    let list = second.get(MAPS).await.json();
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Watch::open(&second, &format!("{MAPS}?watch=1&resourceVersion={revision}")).await;
    // What another server of the same store has written is seen here.
    map(&first, "b", json!({})).await;
    assert_eq!(watch.brief().await, "ADDED b");
    assert_eq!(second.get(&format!("{MAPS}/b")).await.status, 200);
}

#[tokio::test]
async fn watcher_that_falls_behind_the_ring_is_told_so() {
    let world = World::new().await;
    map(&world, "a", json!({})).await;
    let mut watch = Watch::open(&world, &format!("{MAPS}?watch=1")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    let mut named = Watch::open(&world, &format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Da")).await;
    assert_eq!(named.brief().await, "ADDED a");
    world.server.forget_events();
    for watch in [&mut watch, &mut named] {
        let error = watch.next().await.unwrap();
        assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
        assert_eq!(watch.brief().await, "end");
    }
}

#[tokio::test]
async fn bookmarks_have_the_form_of_the_watch() {
    let world = World::new().await;
    map(&world, "a", json!({})).await;
    let url = format!("{MAPS}?watch=1&allowWatchBookmarks=true");
    for (form, kind) in [("PartialObjectMetadata", "PartialObjectMetadata"), ("Table", "Table")] {
        let accept = format!("application/json;as={form};v=v1;g=meta.k8s.io");
        let mut watch = Watch::accepting(&world, &url, &accept).await;
        let added = watch.next().await.unwrap();
        assert_eq!((&added["type"], &added["object"]["kind"]), (&json!("ADDED"), &json!(kind)));
        let bookmark = watch.next().await.unwrap();
        assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!(kind)));
        assert_eq!(bookmark["object"]["apiVersion"], "meta.k8s.io/v1");
        assert!(bookmark["object"]["metadata"]["resourceVersion"].is_string(), "{bookmark}");
        if kind == "Table" {
            assert!(added["object"]["columnDefinitions"].is_array(), "the first event describes the columns");
            assert!(bookmark["object"]["columnDefinitions"].is_null(), "the next ones do not");
            let row = &bookmark["object"]["rows"][0]["object"]["metadata"];
            assert_eq!(row["annotations"]["k8s.io/initial-events-end"], "true");
        }
        world.merge(&format!("{MAPS}/a"), json!({"data": {"k": form}})).await;
        let changed = watch.next().await.unwrap();
        assert_eq!((&changed["type"], &changed["object"]["kind"]), (&json!("MODIFIED"), &json!(kind)));
    }
}

#[tokio::test]
async fn deleted_object_has_the_revision_of_its_deletion() {
    let world = World::new().await;
    let made = map(&world, "a", json!({})).await;
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let url = format!("{MAPS}?watch=1&resourceVersion={}", version(&made));
    let mut watch = Watch::accepting(&world, &url, "application/json;stream=watch").await;
    world.delete(&format!("{MAPS}/a")).await;
    let deleted = watch.next().await.unwrap();
    assert_eq!(
        (brief(&deleted), &deleted["object"]["metadata"]["uid"]),
        ("DELETED a".to_owned(), &made["metadata"]["uid"])
    );
    // A watch that begins there is told of nothing but what comes after.
    let mut later =
        Watch::open(&world, &format!("{MAPS}?watch=1&resourceVersion={}", version(&deleted["object"]))).await;
    map(&world, "b", json!({})).await;
    assert_eq!(later.brief().await, "ADDED b");
}

#[tokio::test]
async fn bookmark_comes_before_the_time_of_a_watch_is_over() {
    let world = World::new().await;
    let made = map(&world, "a", json!({})).await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    // Two seconds before the end: here at once.
    let url = format!("{MAPS}?watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=1");
    let mut watch = Watch::open(&world, &url).await;
    let bookmark = watch.next().await.unwrap();
    let metadata = bookmark["object"]["metadata"].as_object().unwrap();
    assert_eq!((&bookmark["type"], metadata.len()), (&json!("BOOKMARK"), 1));
    let told: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(told >= version.parse().unwrap(), "{told}");
    assert_eq!(watch.brief().await, "end");
}

#[tokio::test]
async fn watch_ends_when_its_time_is_over() {
    let world = World::new().await;
    let mut watch = Watch::open(&world, &format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    let begun = std::time::Instant::now();
    assert_eq!(watch.brief().await, "end");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn ending_server_ends_its_watches() {
    let world = World::new().await;
    let mut watch = Watch::open(&world, &format!("{MAPS}?watch=1")).await;
    world.server.end_watches();
    assert_eq!(watch.brief().await, "end");
}

#[tokio::test]
async fn in_process_client_lists_and_watches() {
    use futures::TryStreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};

    let world = World::new().await;
    let client = world.server.client_for(world.user.clone());
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let object = ConfigMap {
        metadata: kube::core::ObjectMeta { name: Some("a".into()), ..Default::default() },
        ..Default::default()
    };
    maps.create(&PostParams::default(), &object).await.unwrap();
    let list = maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
    let revision = list.metadata.resource_version.unwrap();
    let events = maps.watch(&WatchParams::default(), &revision).await.unwrap();
    let mut events = std::pin::pin!(events);
    maps.delete("a", &Default::default()).await.unwrap();
    let event = tokio::time::timeout(DEADLINE, events.try_next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Deleted(map) if map.metadata.name.as_deref() == Some("a")));
}
