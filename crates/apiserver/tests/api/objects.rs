//! Creating, reading, updating, patching single objects.

use serde_json::{Value, json};

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn with_map(data: Value) -> (World, Value) {
    let world = World::new().await;
    let made = world.post(MAPS, json!({"metadata": {"name": "a"}, "data": data})).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    (world, made.json())
}

#[tokio::test]
async fn created_object_reads_back_as_it_was_answered() {
    let (world, made) = with_map(json!({"k": "v"})).await;
    let object = world.get(&format!("{MAPS}/a")).await.json();
    assert_eq!(made, object);
    assert_eq!((&object["kind"], &object["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(object["metadata"]["namespace"], "default");
    assert!(object["metadata"]["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    assert!(object["metadata"]["resourceVersion"].as_str().is_some_and(|v| v.parse::<u64>().is_ok()));
    assert!(
        object["metadata"]["creationTimestamp"]
            .as_str()
            .is_some_and(|at| at.len() == "2026-01-01T00:00:00Z".len())
    );
    assert_eq!(object["metadata"].get("selfLink"), None);
}

#[tokio::test]
async fn generated_names_have_the_prefix_and_differ() {
    let world = World::new().await;
    let body = json!({"metadata": {"generateName": "made-"}});
    let first = world.post(MAPS, body.clone()).await.json();
    let second = world.post(MAPS, body).await.json();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&first).starts_with("made-") && name(&first).len() == "made-".len() + 5);
    assert_ne!(name(&first), name(&second));
}

#[tokio::test]
async fn yaml_body_is_read() {
    let world = World::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: why\ndata:\n  k: \"1\"\n";
    let made = world.ask("POST", MAPS, "application/yaml", yaml).await;
    assert_eq!((made.status.as_u16(), &made.json()["data"]["k"]), (201, &json!("1")));
}

#[tokio::test]
async fn write_that_changes_nothing_keeps_the_revision() {
    let (world, made) = with_map(json!({"k": "v"})).await;
    let put = world.put(&format!("{MAPS}/a"), made.clone()).await.json();
    assert_eq!(put["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let patched = world.merge(&format!("{MAPS}/a"), json!({"data": {"k": "v"}})).await.json();
    assert_eq!(patched["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let changed = world.merge(&format!("{MAPS}/a"), json!({"data": {"k": "w"}})).await.json();
    assert_ne!(changed["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn stale_update_is_a_conflict_and_one_without_version_overwrites() {
    let (world, made) = with_map(json!({"k": "1"})).await;
    let url = format!("{MAPS}/a");
    world.merge(&url, json!({"data": {"k": "2"}})).await;
    let mut stale = made.clone();
    stale["data"]["k"] = json!("3");
    assert_eq!(
        world.put(&url, stale.clone()).await.said(),
        "409 Conflict: Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
         please apply your changes to the latest version and try again"
    );
    stale["metadata"]["resourceVersion"] = json!("");
    let put = world.put(&url, stale).await;
    assert_eq!((put.status.as_u16(), &put.json()["data"]["k"]), (200, &json!("3")));
}

#[tokio::test]
async fn wrong_uid_is_a_conflict() {
    let (world, mut made) = with_map(json!({})).await;
    made["metadata"]["uid"] = json!("other");
    let said = world.put(&format!("{MAPS}/a"), made).await.said();
    assert!(said.starts_with("409 Conflict: Operation cannot be fulfilled on configmaps \"a\": Precondition failed: UID in precondition: other, UID in object meta: "), "{said}");
}

#[tokio::test]
async fn update_of_a_lease_needs_a_version_and_creates_what_is_missing() {
    let world = World::new().await;
    let url = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";
    let lease = json!({"metadata": {"name": "n"}, "spec": {"holderIdentity": "n"}});
    assert_eq!(world.put(url, lease.clone()).await.status, 201);
    assert_eq!(
        world.put(url, lease).await.said(),
        "422 Invalid: Lease.coordination.k8s.io \"n\" is invalid: metadata.resourceVersion: Invalid value: 0: \
         must be specified for an update"
    );
}

#[tokio::test]
async fn json_and_strategic_patches_are_applied() {
    let (world, _) = with_map(json!({"k": "1"})).await;
    let url = format!("{MAPS}/a");
    let operations = json!([{"op": "add", "path": "/data/l", "value": "2"}]).to_string();
    let patched = world.ask("PATCH", &url, "application/json-patch+json", operations).await;
    assert_eq!(patched.json()["data"], json!({"k": "1", "l": "2"}));
    let document = json!({"data": {"k": null}, "metadata": {"labels": {"x": "y"}}}).to_string();
    let patched = world.ask("PATCH", &url, "application/strategic-merge-patch+json", document).await;
    assert_eq!(patched.json()["data"], json!({"l": "2"}));
    assert_eq!(patched.json()["metadata"]["labels"], json!({"x": "y"}));
}

#[tokio::test]
async fn concurrent_patches_all_count() {
    let (world, _) = with_map(json!({})).await;
    let url = format!("{MAPS}/a");
    let patches = (0..4).map(|i| world.merge(&url, json!({"data": {format!("k{i}"): "v"}})));
    for answer in futures::future::join_all(patches).await {
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }
    let data = world.get(&url).await.json()["data"].clone();
    assert_eq!(data.as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn dry_run_answers_and_stores_nothing() {
    let (world, made) = with_map(json!({"k": "1"})).await;
    let created = world.post(&format!("{MAPS}?dryRun=All"), json!({"metadata": {"name": "b"}})).await;
    assert_eq!((created.status.as_u16(), &created.json()["metadata"]["name"]), (201, &json!("b")));
    // It has no place in the order of writes.
    assert_eq!(created.json()["metadata"].get("resourceVersion"), None, "{:?}", created.body);
    assert_eq!(world.get(&format!("{MAPS}/b")).await.status, 404);
    let patched = world.merge(&format!("{MAPS}/a?dryRun=All"), json!({"data": {"k": "2"}})).await;
    assert_eq!(patched.json()["data"]["k"], "2");
    assert_eq!(world.delete(&format!("{MAPS}/a?dryRun=All")).await.status, 200);
    assert_eq!(world.get(&format!("{MAPS}/a")).await.json(), made);
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_told_refused_or_ignored_as_asked() {
    let world = World::new().await;
    let body = r#"{"metadata":{"name":"NAME"},"dat":{},"data":{"a":"1","a":"2"}}"#;
    let send = async |name: &str, mode: &str| {
        let url = format!("{MAPS}?fieldValidation={mode}");
        world.ask("POST", &url, "application/json", body.replace("NAME", name)).await
    };
    let warned = send("w", "Warn").await;
    assert_eq!(warned.status, 201);
    assert_eq!(
        warned.warnings(),
        [r#"299 - "unknown field \"dat\"""#, r#"299 - "duplicate field \"data.a\"""#]
    );
    let ignored = send("i", "Ignore").await;
    assert_eq!((ignored.status.as_u16(), ignored.warnings().len()), (201, 0));
    assert_eq!(
        send("s", "Strict").await.said(),
        "400 BadRequest: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
         unknown field \"dat\", duplicate field \"data.a\""
    );
}

#[tokio::test]
async fn patch_to_what_the_kind_does_not_have_is_refused_as_a_patch_told_or_ignored_as_asked() {
    let (world, made) = with_map(json!({"k": "1"})).await;
    let merge = "application/merge-patch+json";
    let strategic = "application/strategic-merge-patch+json";
    let operations = "application/json-patch+json";
    let send = async |mode: &str, content_type: &str, body: &str| {
        world.ask("PATCH", &format!("{MAPS}/a?fieldValidation={mode}"), content_type, body.to_owned()).await
    };
    let unknown = r#"{"dat":{"a":"b"},"data":{"x":"1","x":"1"}}"#;
    let added = r#"[{"op":"add","path":"/dat","value":{"a":"b"}}]"#;
    let both = "strict decoding error: duplicate field \"data.x\", unknown field \"dat\"";
    for (content_type, body, begins, ends) in [
        (merge, unknown, "patch: Invalid value: \"{\\\"apiVersion\\\":\\\"v1\\\",", both),
        (strategic, unknown, "patch: Invalid value: \"map[dat:map[a:b] data:map[x:1]]\": ", both),
        (
            operations,
            added,
            "patch: Invalid value: \"{\\\"apiVersion\\\":",
            "strict decoding error: unknown field \"dat\"",
        ),
    ] {
        let refused = send("Strict", content_type, body).await;
        let said = refused.said();
        assert!(said.starts_with(&format!("422 Invalid:  \"\" is invalid: {begins}")), "{said}");
        assert!(said.ends_with(ends), "{said}");
        let details = refused.json()["details"].clone();
        assert_eq!(
            (&details["causes"][0]["field"], &details["causes"][0]["reason"], details.get("kind")),
            (&json!("patch"), &json!("FieldValueInvalid"), None)
        );
        let told = send("Warn&dryRun=All", content_type, body).await;
        assert_eq!((told.status.as_u16(), told.warnings().len()), (200, ends.matches(" field ").count()));
        let ignored = send("Ignore&dryRun=All", content_type, body).await;
        assert_eq!((ignored.status.as_u16(), ignored.warnings().len()), (200, 0));
    }
    // Of the wrong type, whatever is asked.
    for content_type in [merge, strategic] {
        let said = send("Ignore", content_type, r#"{"data":{"k":1}}"#).await.said();
        assert!(said.starts_with("422 Invalid:  \"\" is invalid: patch: Invalid value: "), "{said}");
        assert!(
            said.ends_with(
                "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
            ),
            "{said}"
        );
    }
    assert_eq!(world.get(&format!("{MAPS}/a")).await.json(), made);
}

#[tokio::test]
async fn status_update_leaves_the_spec_and_the_spec_update_leaves_the_status() {
    let world = World::new().await;
    let url = "/apis/apps/v1/namespaces/default/daemonsets";
    let spec = json!({
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    });
    let body = json!({"metadata": {"name": "d"}, "spec": spec, "status": {"numberReady": 7}});
    let made = world.post(url, body).await.json();
    assert_eq!((&made["status"]["numberReady"], &made["metadata"]["generation"]), (&json!(0), &json!(1)));
    let status = json!({"status": {"numberReady": 3}, "spec": {"minReadySeconds": 9}});
    let patched = world.merge(&format!("{url}/d/status"), status.clone()).await.json();
    assert_eq!(
        (&patched["status"]["numberReady"], &patched["metadata"]["generation"]),
        (&json!(3), &json!(1))
    );
    assert!(patched["spec"].get("minReadySeconds").is_none());
    let patched = world
        .merge(&format!("{url}/d"), json!({"spec": {"minReadySeconds": 9}, "status": {"numberReady": 5}}))
        .await
        .json();
    assert_eq!(
        (&patched["status"]["numberReady"], &patched["metadata"]["generation"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(patched["metadata"]["annotations"]["deprecated.daemonset.template.generation"], "1");
}

#[tokio::test]
async fn a_namespace_may_name_itself_as_its_namespace_and_a_node_may_not() {
    let world = World::new().await;
    let itself = json!({"metadata": {"name": "own", "namespace": "own"}});
    let made = world.post("/api/v1/namespaces", itself).await;
    assert_eq!((made.status.as_u16(), made.json()["metadata"].get("namespace")), (201, None));
    let node = world.post("/api/v1/nodes", json!({"metadata": {"name": "n", "namespace": "own"}})).await;
    assert_eq!(node.said(), "400 BadRequest: namespace is not allowed on this type");
}

#[tokio::test]
async fn an_owner_that_stands_twice_is_kept_once_with_a_warning() {
    let world = World::new().await;
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u"});
    let owners = json!([owner("a"), owner("a"), owner("b"), owner("a")]);
    let url = "/api/v1/namespaces/default/configmaps";
    let made = world.post(url, json!({"metadata": {"name": "m", "ownerReferences": owners}})).await;
    assert_eq!(made.json()["metadata"]["ownerReferences"], json!([owner("a"), owner("b")]));
    let told = made.warnings();
    assert!(told.len() == 1 && told[0].ends_with("duplicate UID(s) observed: u\""), "{told:?}");
    let again = world.put(&format!("{url}/m"), made.json()).await;
    assert_eq!(again.warnings(), Vec::<String>::new());
}
