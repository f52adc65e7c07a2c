//! DaemonSets and their revisions as clients of apps/v1 see them.

use serde_json::{Value, json};

use crate::world::World;

const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn set(metadata: Value) -> Value {
    json!({"metadata": metadata, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
}

/// generation and template generation.
fn generations(set: &Value) -> (i64, String) {
    let metadata = &set["metadata"];
    let template = metadata["annotations"][TEMPLATE_GENERATION].as_str().unwrap_or_default();
    (metadata["generation"].as_i64().unwrap(), template.to_owned())
}

#[tokio::test]
async fn discovery_says_what_daemon_sets_and_revisions_are() {
    let world = World::new().await;
    let list = world.get("/apis/apps/v1").await.json();
    let entry = |name: &str| {
        let found = list["resources"].as_array().unwrap().iter().find(|resource| resource["name"] == name);
        found.cloned().unwrap_or_default()
    };
    let all = json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
    let sets = entry("daemonsets");
    assert_eq!(
        (&sets["kind"], &sets["singularName"], &sets["shortNames"], &sets["categories"], &sets["verbs"]),
        (&json!("DaemonSet"), &json!("daemonset"), &json!(["ds"]), &json!(["all"]), &all)
    );
    assert_eq!(entry("daemonsets/status")["verbs"], json!(["get", "patch", "update"]));
    let revisions = entry("controllerrevisions");
    assert_eq!(
        (
            &revisions["namespaced"],
            &revisions["verbs"],
            revisions.get("shortNames"),
            revisions.get("categories")
        ),
        (&json!(true), &all, None, None)
    );
    for absent in ["daemonsets/scale", "controllerrevisions/status"] {
        assert!(entry(absent).is_null(), "{absent}");
        let url = format!("/apis/apps/v1/namespaces/default/{}", absent.replace('/', "/x/"));
        assert_eq!(
            world.get(&url).await.said(),
            "404 NotFound: the server could not find the requested resource"
        );
    }
}

#[tokio::test]
async fn new_daemon_set_has_no_status_and_no_labels_of_its_template() {
    let world = World::new().await;
    let mut body = set(json!({"name": "d", "generation": 7, "annotations": {TEMPLATE_GENERATION: "5"}}));
    body["status"] = json!({"numberReady": 3, "conditions": [{"type": "Mine", "status": "True"}]});
    let made = world.post(SETS, body).await.json();
    assert_eq!(generations(&made), (1, "5".to_owned()));
    assert_eq!(made["metadata"].get("labels"), None);
    // What counts nodes is always there, nought as well.
    assert_eq!(
        made["status"],
        json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0})
    );
    let below =
        world.post(SETS, set(json!({"name": "f", "annotations": {TEMPLATE_GENERATION: "-5"}}))).await.json();
    assert_eq!(generations(&below), (1, "1".to_owned()));
    let garbled = set(json!({"name": "e", "annotations": {TEMPLATE_GENERATION: "x"}}));
    let said = world.post(SETS, garbled).await.said();
    assert!(
        said.starts_with("400 BadRequest: DaemonSet in version \"v1\" cannot be handled as a DaemonSet: "),
        "{said}"
    );
    let absent = world.put(&format!("{SETS}/none"), set(json!({"name": "none"}))).await;
    assert_eq!(absent.said(), "404 NotFound: daemonsets.apps \"none\" not found");
}

#[tokio::test]
async fn generation_counts_the_spec_and_the_deletion_and_clients_set_neither_number() {
    let world = World::new().await;
    let url = format!("{SETS}/d");
    let made = world.post(SETS, set(json!({"name": "d", "finalizers": ["x.io/f"]}))).await.json();
    assert_eq!(generations(&made), (1, "1".to_owned()));
    let metadata = json!({"metadata": {"labels": {"l": "m"}, "generation": 9, "annotations": {TEMPLATE_GENERATION: "9"}}});
    assert_eq!(generations(&world.merge(&url, metadata).await.json()), (1, "1".to_owned()));
    let spec = world.merge(&url, json!({"spec": {"minReadySeconds": 5}})).await.json();
    assert_eq!(generations(&spec), (2, "1".to_owned()));
    let template = json!({"spec": {"template": {"metadata": {"annotations": {"x": "y"}}}}});
    assert_eq!(generations(&world.merge(&url, template).await.json()), (3, "2".to_owned()));
    // An update without a version overwrites; status is not the main endpoint's.
    let mut body = set(json!({"name": "d", "finalizers": ["x.io/f"]}));
    body["status"] = json!({"numberReady": 3});
    let put = world.put(&url, body).await.json();
    assert_eq!((generations(&put), &put["status"]["numberReady"]), ((4, "3".to_owned()), &json!(0)));
    let status = json!({"metadata": {"labels": {"n": "o"}}, "spec": {"minReadySeconds": 7},
        "status": {"numberReady": 2, "conditions": [{"type": "Mine", "status": "True"}]}});
    let put = world.merge(&format!("{url}/status"), status).await.json();
    assert_eq!(
        (generations(&put), &put["status"]["conditions"][0]["type"], &put["metadata"]["labels"]["n"]),
        ((4, "3".to_owned()), &json!("Mine"), &json!("o"))
    );
    assert_eq!(put["spec"].get("minReadySeconds"), None);
    let wrong = world.merge(&format!("{url}/status"), json!({"status": {"numberReady": -1}})).await.said();
    assert_eq!(
        wrong,
        "422 Invalid: DaemonSet.apps \"d\" is invalid: status.numberReady: Invalid value: -1: must be greater than or equal to 0"
    );
    // Left to the kind, dependents go in the background: nothing keeps the object but its own finalizer.
    let marked = world.delete(&url).await.json();
    assert_eq!(
        (generations(&marked), &marked["metadata"]["finalizers"]),
        ((5, "3".to_owned()), &json!(["x.io/f"]))
    );
}

#[tokio::test]
async fn data_of_a_revision_stays_and_its_number_moves() {
    let world = World::new().await;
    let data = json!({"spec": {"template": {"$patch": "replace"}}});
    let made = world.post(REVISIONS, json!({"metadata": {"name": "d-1"}, "data": data, "revision": 1})).await;
    assert_eq!((made.status.as_u16(), &made.json()["data"]), (201, &data));
    let url = format!("{REVISIONS}/d-1");
    assert_eq!(world.merge(&url, json!({"revision": 3})).await.json()["revision"], 3);
    assert_eq!(
        world.merge(&url, json!({"revision": -1})).await.said(),
        "422 Invalid: ControllerRevision.apps \"d-1\" is invalid: revision: Invalid value: -1: must be greater than or equal to 0"
    );
    let said = world.merge(&url, json!({"data": {"spec": null}})).await.said();
    assert!(
        said.starts_with("422 Invalid: ControllerRevision.apps \"d-1\" is invalid: data: Invalid value: "),
        "{said}"
    );
    assert!(said.ends_with("field is immutable"), "{said}");
    let said = world.post(REVISIONS, json!({"metadata": {"name": "d-2"}, "revision": 1})).await.said();
    assert_eq!(
        said,
        "422 Invalid: ControllerRevision.apps \"d-2\" is invalid: data: Required value: data is mandatory"
    );
}
