//! Server-side apply and managedFields.

use serde_json::{Value, json};

use crate::world::{Answer, World};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
const APPLY: &str = "application/apply-patch+yaml";

async fn apply(world: &World, url: &str, manager: &str, config: Value) -> Answer {
    let separator = if url.contains('?') { '&' } else { '?' };
    world.ask("PATCH", &format!("{url}{separator}fieldManager={manager}"), APPLY, config.to_string()).await
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn set(containers: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}},
        },
    })
}

/// `manager operation version subresource: fieldsV1` of every entry.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let shown = entries.iter().map(|entry| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let subresource = if text("subresource").is_empty() { "" } else { " status" };
        assert!(text("time").ends_with('Z') && text("fieldsType") == "FieldsV1", "{entry}");
        format!(
            "{} {} {}{subresource}: {}",
            text("manager"),
            text("operation"),
            text("apiVersion"),
            entry["fieldsV1"]
        )
    });
    shown.collect()
}

#[tokio::test]
async fn writes_are_tracked_under_the_field_manager_or_the_program() {
    let world = World::new().await;
    let made = world.post(&format!("{MAPS}?fieldManager=me"), map(json!({"k": "1"}))).await.json();
    assert_eq!(owners(&made), [r#"me Update v1: {"f:data":{".":{},"f:k":{}}}"#]);
    let request = http::Request::builder()
        .method("PATCH")
        .uri(format!("{MAPS}/a"))
        .header("content-type", "application/merge-patch+json")
        .header("user-agent", "tool/v1.2 (linux/amd64)")
        .body(apiserver::body::full(json!({"data": {"k": "2", "l": "3"}}).to_string()))
        .unwrap();
    let patched = world.send(request).await.json();
    assert_eq!(
        owners(&patched),
        [r#"me Update v1: {"f:data":{}}"#, r#"tool Update v1: {"f:data":{"f:k":{},"f:l":{}}}"#]
    );
    let read = world.get(&format!("{MAPS}/a")).await.json();
    assert_eq!(read, patched);
}

#[tokio::test]
async fn components_without_a_user_agent_are_known_by_their_user() {
    let world = World::new().await;
    let component = world.as_user(apiserver::access::User::apiserver());
    let made = component.post(MAPS, map(json!({"k": "1"}))).await.json();
    assert_eq!(owners(&made), [r#"kube-apiserver Update v1: {"f:data":{".":{},"f:k":{}}}"#]);
    let mut other = map(json!({"k": "1"}));
    other["metadata"]["name"] = json!("b");
    let unknown = world.post(MAPS, other).await.json();
    assert_eq!(owners(&unknown), [r#"unknown Update v1: {"f:data":{".":{},"f:k":{}}}"#]);
}

#[tokio::test]
async fn status_is_tracked_apart_and_the_spec_is_not_its_writers() {
    let world = World::new().await;
    let body = set(json!([{"name": "c", "image": "i"}]));
    let made = world.post(&format!("{SETS}?fieldManager=me"), body).await.json();
    assert_eq!(owners(&made).len(), 1, "{made}");
    let fields = &made["metadata"]["managedFields"][0]["fieldsV1"];
    let container = &fields["f:spec"]["f:template"]["f:spec"]["f:containers"][r#"k:{"name":"c"}"#];
    assert_eq!(container["f:image"], json!({}), "{fields}");
    assert_eq!(container["f:imagePullPolicy"], json!({}), "defaults belong to whoever left them out");
    assert!(fields.get("f:status").is_none() && fields["f:metadata"].get("f:name").is_none());
    let status = json!({"status": {"observedGeneration": 1}, "spec": {"minReadySeconds": 3}});
    let patched = world.merge(&format!("{SETS}/d/status?fieldManager=it"), status).await.json();
    let status = r#"it Update apps/v1 status: {"f:status":{"f:observedGeneration":{}}}"#;
    assert!(owners(&patched).iter().any(|owner| owner == status), "{:?}", owners(&patched));
}

#[tokio::test]
async fn apply_creates_what_is_absent_and_owns_what_it_names() {
    let world = World::new().await;
    let made = apply(&world, &format!("{MAPS}/a"), "one", map(json!({"k": "1"}))).await;
    assert_eq!(made.status, 201);
    assert_eq!(owners(&made.json()), [r#"one Apply v1: {"f:data":{"f:k":{}}}"#]);
    let again = apply(&world, &format!("{MAPS}/a"), "one", map(json!({"k": "1"}))).await;
    assert_eq!(
        (again.status.as_u16(), again.json()),
        (200, made.json()),
        "it is as it was, revision and times"
    );
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: \"2\"\n";
    let url = format!("{MAPS}/a?fieldManager=one");
    let changed = world.ask("PATCH", &url, APPLY, yaml).await.json();
    assert_eq!(changed["data"], json!({"k": "2"}));
}

#[tokio::test]
async fn field_of_another_with_another_value_is_a_conflict_unless_forced() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    world.post(&format!("{MAPS}?fieldManager=me"), map(json!({"k": "1", "l": "1"}))).await;
    apply(&world, &url, "one", map(json!({"m": "1"}))).await;
    let refused = apply(&world, &url, "two", map(json!({"k": "2"}))).await;
    assert_eq!(
        refused.said(),
        "409 Conflict: Apply failed with 1 conflict: conflict with \"me\" using v1: .data.k"
    );
    assert_eq!(
        refused.json()["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"me\" using v1", "field": ".data.k"}])
    );
    let refused = apply(&world, &url, "two", map(json!({"k": "2", "l": "2", "m": "2"}))).await;
    assert_eq!(
        refused.said(),
        "409 Conflict: Apply failed with 3 conflicts: conflicts with \"me\" using v1:\n- .data.k\n- .data.l\n\
         conflicts with \"one\":\n- .data.m"
    );
    let forced = apply(&world, &format!("{url}?force=true"), "two", map(json!({"k": "2", "m": "2"}))).await;
    assert_eq!(forced.status, 200);
    assert_eq!(
        owners(&forced.json()),
        [r#"two Apply v1: {"f:data":{"f:k":{},"f:m":{}}}"#, r#"me Update v1: {"f:data":{".":{},"f:l":{}}}"#,]
    );
}

#[tokio::test]
async fn same_value_is_owned_by_both_and_goes_when_neither_applies_it() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    apply(&world, &url, "one", map(json!({"k": "1", "x": "1"}))).await;
    let both = apply(&world, &url, "two", map(json!({"k": "1", "y": "1"}))).await.json();
    assert_eq!(
        owners(&both),
        [
            r#"one Apply v1: {"f:data":{"f:k":{},"f:x":{}}}"#,
            r#"two Apply v1: {"f:data":{"f:k":{},"f:y":{}}}"#
        ]
    );
    let left = apply(&world, &url, "one", map(json!({"x": "1"}))).await.json();
    assert_eq!(left["data"], json!({"k": "1", "x": "1", "y": "1"}), "the other one still has k");
    let gone = apply(&world, &url, "two", map(json!({"y": "1"}))).await.json();
    assert_eq!(gone["data"], json!({"x": "1", "y": "1"}));
    let none = apply(
        &world,
        &url,
        "two",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
    );
    let none = none.await.json();
    assert_eq!((&none["data"], owners(&none).len()), (&json!({"x": "1"}), 1));
}

#[tokio::test]
async fn containers_and_ports_merge_by_their_keys_and_are_removed_one_by_one() {
    let world = World::new().await;
    let url = format!("{SETS}/d");
    let one = json!([{"name": "a", "image": "i", "ports": [{"containerPort": 53}], "env": [{"name": "A", "value": "1"}]}]);
    let made = apply(&world, &url, "one", set(one)).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let two = json!([
        {"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}]},
        {"name": "b", "image": "j"},
    ]);
    let two = apply(&world, &url, "two", set(two)).await;
    assert_eq!(two.status, 200, "{:?}", two.body);
    let containers = |object: &Value| object["spec"]["template"]["spec"]["containers"].clone();
    let found = containers(&two.json());
    assert_eq!(found[0]["ports"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!((&found[0]["image"], &found[1]["image"]), (&json!("i"), &json!("j")));
    let alone = apply(&world, &url, "two", set(json!([{"name": "b", "image": "j"}]))).await.json();
    let found = containers(&alone);
    assert_eq!(found[0]["ports"], json!([{"containerPort": 53, "protocol": "TCP"}]));
    assert_eq!(found.as_array().unwrap().len(), 2);
    let one = apply(&world, &url, "one", set(json!([{"name": "b", "image": "j"}]))).await.json();
    let found = containers(&one);
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["name"], "b");
    assert_eq!(one["metadata"]["generation"], 4);
}

#[tokio::test]
async fn status_is_applied_through_its_subresource_and_only_there() {
    let world = World::new().await;
    let mut config = set(json!([{"name": "c", "image": "i"}]));
    config["status"] = json!({"numberReady": 7, "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0});
    let made = apply(&world, &format!("{SETS}/d"), "one", config.clone()).await.json();
    assert_eq!(made["status"]["numberReady"], 0);
    assert!(made["metadata"]["managedFields"][0]["fieldsV1"].get("f:status").is_none());
    let applied = apply(&world, &format!("{SETS}/d/status"), "two", config.clone()).await.json();
    assert_eq!((&applied["status"]["numberReady"], owners(&applied).len()), (&json!(7), 2));
    let own = applied["metadata"]["managedFields"].as_array().unwrap();
    let own = own.iter().find(|entry| entry["manager"] == "two").unwrap();
    assert_eq!((&own["subresource"], own["fieldsV1"].get("f:spec")), (&json!("status"), None));
    let absent = apply(&world, &format!("{SETS}/e/status"), "two", config).await;
    assert_eq!(absent.said(), "404 NotFound: daemonsets.apps \"e\" not found");
}

#[tokio::test]
async fn configurations_that_cannot_be_applied_are_refused_in_upstreams_words() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    let said = async |url: &str, body: Value| world.ask("PATCH", url, APPLY, body.to_string()).await.said();
    let good = || map(json!({"k": "1"}));
    assert_eq!(
        said(&url, good()).await,
        "422 Invalid: PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let url = format!("{MAPS}/a?fieldManager=m");
    let mut managed = good();
    managed["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(said(&url, managed).await, "400 BadRequest: metadata.managedFields must be nil");
    let mut other = good();
    other["apiVersion"] = json!("apps/v1");
    assert_eq!(said(&url, other).await, "400 BadRequest: invalid object type: apps/v1, Kind=ConfigMap");
    let mut uid = good();
    uid["metadata"]["uid"] = json!("u");
    assert_eq!(
        said(&url, uid).await,
        "409 Conflict: Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object \
         specified uid u, and no existing object was found"
    );
    let mut unknown = good();
    unknown["dat"] = json!({});
    unknown["data"]["k"] = json!(1);
    assert_eq!(
        said(&url, unknown).await,
        "500 -: failed to create typed patch object (/a; /v1, Kind=ConfigMap): errors:\n  \
         .dat: field not declared in schema\n  .data.k: expected string, got &value.valueUnstructured{Value:1}"
    );
    let twice = set(json!([{"name": "c", "image": "i", "env": [{"name": "A"}, {"name": "A"}, {}]}]));
    assert_eq!(
        said(&format!("{SETS}/d?fieldManager=m"), twice).await,
        "500 -: failed to create typed patch object (/d; apps/v1, Kind=DaemonSet): errors:\n  \
         .spec.template.spec.containers[name=\"c\"].env: duplicate entries for key [name=\"A\"]\n  \
         .spec.template.spec.containers[name=\"c\"].env: element 2: associative list with keys has an element \
         that omits key field \"name\" (and doesn't have default value)"
    );
    assert_eq!(
        world.ask("PATCH", &url, APPLY, "a: [").await.said().split(": ").nth(1).unwrap(),
        "error decoding YAML"
    );
    assert_eq!(world.get(&format!("{MAPS}/a")).await.status, 404);
}

#[tokio::test]
async fn fields_that_stand_twice_in_a_configuration_are_refused_told_or_ignored_as_asked() {
    let world = World::new().await;
    let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1","k":"2"}}"#;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: \"1\"\n  k: \"2\"\n";
    for body in [json, yaml] {
        let send = async |mode: &str| {
            let url = format!("{MAPS}/a?fieldManager=m&fieldValidation={mode}");
            world.ask("PATCH", &url, APPLY, body).await
        };
        let strict = send("Strict").await.said();
        assert!(strict.starts_with("400 BadRequest: error strict decoding YAML: "), "{strict}");
        let warned = send("Warn").await;
        assert_eq!((&warned.json()["data"]["k"], warned.warnings().len()), (&json!("2"), 1));
        assert_eq!(send("Ignore").await.warnings().len(), 0);
    }
}

#[tokio::test]
async fn stale_version_or_other_uid_in_the_configuration_is_a_conflict() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    let made = apply(&world, &url, "one", map(json!({"k": "1"}))).await.json();
    apply(&world, &url, "one", map(json!({"k": "2"}))).await;
    let with = |field: &str, value: &Value| {
        let mut config = map(json!({"k": "3"}));
        config["metadata"][field] = value.clone();
        config
    };
    let stale =
        apply(&world, &url, "one", with("resourceVersion", &made["metadata"]["resourceVersion"])).await;
    assert!(
        stale.said().starts_with(
            "409 Conflict: Operation cannot be fulfilled on configmaps \"a\": the object has been modified"
        ),
        "{}",
        stale.said()
    );
    let other = apply(&world, &url, "one", with("uid", &json!("u"))).await;
    assert!(other.said().contains("Precondition failed: UID in precondition: u"), "{}", other.said());
    let mine = apply(&world, &url, "one", with("uid", &made["metadata"]["uid"])).await;
    assert_eq!(mine.json()["data"]["k"], "3");
}

#[tokio::test]
async fn dry_run_applies_nothing() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    let tried = apply(&world, &format!("{url}?dryRun=All"), "one", map(json!({"k": "1"}))).await;
    assert_eq!((tried.status.as_u16(), &tried.json()["data"]["k"]), (201, &json!("1")));
    assert_eq!(world.get(&url).await.status, 404);
    let made = apply(&world, &url, "one", map(json!({"k": "1"}))).await.json();
    let tried = apply(&world, &format!("{url}?dryRun=All"), "one", map(json!({"k": "2"}))).await.json();
    assert_eq!(tried["data"]["k"], "2");
    assert_eq!(world.get(&url).await.json(), made);
}

#[tokio::test]
async fn managed_fields_are_cleared_on_request_and_kept_otherwise() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    let made = apply(&world, &url, "one", map(json!({"k": "1"}))).await.json();
    let put = world.put(&format!("{url}?fieldManager=one"), map(json!({"k": "1"}))).await.json();
    assert_eq!(put, made, "clients that do not know of managedFields do not remove them");
    let cleared = world.merge(&url, json!({"metadata": {"managedFields": [{}]}})).await.json();
    assert!(cleared["metadata"].get("managedFields").is_none(), "{cleared}");
    let changed = world.merge(&url, json!({"data": {"k": "2"}})).await.json();
    assert!(changed["metadata"].get("managedFields").is_none(), "nothing is tracked until somebody applies");
    let refused = apply(&world, &url, "one", map(json!({"k": "3"}))).await;
    assert_eq!(
        refused.said(),
        "409 Conflict: Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.k"
    );
    let applied = apply(&world, &url, "one", map(json!({"k": "2"}))).await.json();
    assert_eq!(
        owners(&applied),
        [
            r#"one Apply v1: {"f:data":{"f:k":{}}}"#,
            r#"before-first-apply Update v1: {"f:data":{".":{},"f:k":{}}}"#,
        ]
    );
}

#[tokio::test]
async fn json_patch_replaces_the_entries_themselves() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    let made =
        world.post(&format!("{MAPS}?fieldManager=kubectl-client-side-apply"), map(json!({"k": "1"}))).await;
    let mut entries = made.json()["metadata"]["managedFields"].clone();
    entries[0]["manager"] = json!("kubectl");
    entries[0]["operation"] = json!("Apply");
    let operations = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": entries},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": made.json()["metadata"]["resourceVersion"]},
    ]);
    let patched = world.ask("PATCH", &url, "application/json-patch+json", operations.to_string()).await;
    assert_eq!(
        owners(&patched.json()),
        [r#"kubectl Apply v1: {"f:data":{".":{},"f:k":{}}}"#],
        "{:?}",
        patched.body
    );
}

#[tokio::test]
async fn kubectls_own_client_side_configuration_is_no_conflict_and_its_annotation_follows() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut made = map(json!({"k": "1", "l": "1"}));
    made["metadata"]["annotations"] = json!({annotation: map(json!({"k": "1"})).to_string()});
    world.post(&format!("{MAPS}?fieldManager=kubectl-client-side-apply"), made).await;
    let other = apply(&world, &url, "flux", map(json!({"k": "2"}))).await;
    assert!(
        other.said().contains("conflict with \"kubectl-client-side-apply\" using v1: .data.k"),
        "{}",
        other.said()
    );
    let more = apply(&world, &url, "kubectl", map(json!({"k": "2", "l": "2"}))).await;
    assert!(
        more.said().ends_with("conflict with \"kubectl-client-side-apply\" using v1: .data.l"),
        "{}",
        more.said()
    );
    let applied = apply(&world, &url, "kubectl", map(json!({"k": "2"}))).await.json();
    assert_eq!(applied["data"], json!({"k": "2", "l": "1"}));
    let last = applied["metadata"]["annotations"][annotation].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(last).unwrap(), map(json!({"k": "2"})));
}

#[tokio::test]
async fn older_versions_apply_and_own_in_their_own_words() {
    let world = World::new().await;
    let legacy = "/apis/extensions/v1beta1/namespaces/default/daemonsets/d";
    let mut config = set(json!([{"name": "c", "image": "i"}]));
    config["apiVersion"] = json!("extensions/v1beta1");
    config["spec"]["templateGeneration"] = json!(5);
    let made = apply(&world, legacy, "old", config.clone()).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let mut newer = set(json!([{"name": "c", "image": "j"}]));
    let refused = apply(&world, &format!("{SETS}/d"), "new", newer.clone()).await;
    assert_eq!(
        refused.said(),
        "409 Conflict: Apply failed with 1 conflict: conflict with \"old\": \
         .spec.template.spec.containers[name=\"c\"].image"
    );
    newer["spec"]["minReadySeconds"] = json!(3);
    newer["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i");
    let both = apply(&world, &format!("{SETS}/d"), "new", newer).await;
    assert_eq!(both.status, 200, "{:?}", both.body);
    let mut versions: Vec<String> = both.json()["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} {}", entry["manager"], entry["apiVersion"]))
        .collect();
    // By time, and by name within a second: either may come first.
    versions.sort();
    assert_eq!(versions, [r#""new" "apps/v1""#, r#""old" "extensions/v1beta1""#]);
    // The same applier goes over to the newer version: what it names no more goes.
    config["spec"]["revisionHistoryLimit"] = json!(4);
    assert_eq!(apply(&world, legacy, "old", config).await.status, 200);
    let moved =
        apply(&world, &format!("{SETS}/d"), "old", set(json!([{"name": "c", "image": "i"}]))).await.json();
    assert_eq!(moved["spec"]["revisionHistoryLimit"], 10, "its default again");
    assert_eq!(moved["spec"]["minReadySeconds"], 3);
    assert_eq!(owners(&moved).iter().filter(|owner| owner.starts_with("old Apply apps/v1")).count(), 1);
}

#[tokio::test]
async fn who_may_not_create_may_not_apply_what_is_absent() {
    let world = World::new().await;
    let role = json!({"metadata": {"name": "p"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]}]});
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    assert_eq!(world.post(&format!("{group}/roles"), role).await.status, 201);
    let binding = json!({
        "metadata": {"name": "p"},
        "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "Role", "name": "p", "apiGroup": "rbac.authorization.k8s.io"},
    });
    assert_eq!(world.post(&format!("{group}/rolebindings"), binding).await.status, 201);
    let eve = world.as_user(apiserver::access::User { name: "eve".to_owned(), ..Default::default() });
    assert_eq!(
        apply(&eve, &format!("{MAPS}/a"), "m", map(json!({"k": "1"}))).await.said(),
        "403 Forbidden: configmaps \"a\" is forbidden: User \"eve\" cannot create resource \"configmaps\" in API \
         group \"\" in the namespace \"default\""
    );
    world.post(MAPS, map(json!({"k": "1"}))).await;
    assert_eq!(apply(&eve, &format!("{MAPS}/a"), "m", map(json!({"k": "1"}))).await.status, 200);
}

#[tokio::test]
async fn eleventh_updater_pushes_the_oldest_into_ancient_changes() {
    let world = World::new().await;
    world.post(&format!("{MAPS}?fieldManager=m0"), map(json!({"k0": "1"}))).await;
    let mut last = Value::Null;
    for i in 1..13 {
        let url = format!("{MAPS}/a?fieldManager=m{i}");
        last = world.merge(&url, json!({"data": {format!("k{i}"): "1"}})).await.json();
    }
    let owners = owners(&last);
    assert_eq!(owners.len(), 10, "{owners:?}");
    assert!(owners.iter().any(|owner| owner.starts_with("ancient-changes Update v1: ")), "{owners:?}");
}

#[tokio::test]
async fn finalizers_are_a_set_and_owner_references_go_by_uid() {
    let world = World::new().await;
    let url = format!("{MAPS}/a");
    let with = |finalizers: Value| {
        let mut config = map(json!({}));
        config["metadata"]["finalizers"] = finalizers;
        config
    };
    apply(&world, &url, "one", with(json!(["x.io/a", "x.io/b"]))).await;
    let both = apply(&world, &url, "two", with(json!(["x.io/c"]))).await.json();
    assert_eq!(both["metadata"]["finalizers"], json!(["x.io/a", "x.io/b", "x.io/c"]));
    assert!(owners(&both)[1].contains(r#""f:finalizers":{"v:\"x.io/c\"":{}}"#), "{:?}", owners(&both));
    let left = apply(&world, &url, "one", with(json!(["x.io/b"]))).await.json();
    assert_eq!(left["metadata"]["finalizers"], json!(["x.io/b", "x.io/c"]));

    let owned = |owners: &[(&str, &str)]| {
        let owner = |(uid, name): &(&str, &str)| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
        let mut config = map(json!({}));
        config["metadata"]["name"] = json!("b");
        config["metadata"]["ownerReferences"] = owners.iter().map(owner).collect();
        config
    };
    let names = |object: &Value| -> Vec<String> {
        let owners = object["metadata"]["ownerReferences"].as_array().unwrap().iter();
        owners.map(|owner| owner["name"].as_str().unwrap().to_owned()).collect()
    };
    let url = format!("{MAPS}/b");
    apply(&world, &url, "one", owned(&[("u1", "first"), ("u2", "second")])).await;
    let both = apply(&world, &url, "two", owned(&[("u3", "third")])).await.json();
    assert_eq!(names(&both), ["first", "second", "third"], "another uid is another owner");
    assert!(
        owners(&both)[1].contains(r#""f:ownerReferences":{"k:{\"uid\":\"u3\"}":{}}"#),
        "an owner is owned as a whole: {:?}",
        owners(&both)
    );
    let renamed = apply(&world, &url, "two", owned(&[("u3", "third"), ("u2", "other")])).await;
    assert_eq!(
        renamed.said(),
        "409 Conflict: Apply failed with 1 conflict: conflict with \"one\": .metadata.ownerReferences[uid=\"u2\"]"
    );
    let left = apply(&world, &url, "one", owned(&[("u2", "second")])).await.json();
    assert_eq!(names(&left), ["second", "third"]);
    let twice = apply(&world, &url, "one", owned(&[("u2", "second"), ("u2", "second")])).await.said();
    assert!(twice.ends_with(".metadata.ownerReferences: duplicate entries for key [uid=\"u2\"]"), "{twice}");
}
