//! Rows as upstream prints them, one claim a kind and state.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T01:00:00Z";

fn rendering() -> Rendering {
    Rendering { version: MetaVersion::V1, include: IncludeObject::Metadata, now: NOW.parse().unwrap() }
}

fn resource(group: &str, version: &str, plural: &str) -> &'static Resource {
    api::scheme::find(group, version, plural).unwrap()
}

/// The cells of an object, as text.
fn cells(group: &str, plural: &str, object: &Value) -> Vec<String> {
    let row = rendering().row(resource(group, "v1", plural), object);
    let texts = row["cells"].as_array().unwrap().iter().map(|cell| match cell {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    texts.collect()
}

fn pod(spec: Value, status: Value) -> Value {
    json!({
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
        "status": status,
    })
}

fn running(restarts: u32) -> Value {
    json!({"name": "c", "ready": true, "restartCount": restarts, "state": {"running": {}}})
}

#[test]
fn a_pods_status_says_what_is_going_on() {
    let one = || json!({"containers": [{"name": "c"}]});
    let with_init =
        || json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "c"}]});
    let waiting =
        |reason: &str| json!({"name": "c", "restartCount": 3, "state": {"waiting": {"reason": reason}}});
    let terminated = |reason: &str, code: i32| json!({"name": "c", "state": {"terminated": {"reason": reason, "exitCode": code}}});
    for (name, spec, status, want) in [
        ("pending", one(), json!({"phase": "Pending"}), ["0/1", "Pending", "0"]),
        (
            "running",
            one(),
            json!({"phase": "Running", "containerStatuses": [running(0)]}),
            ["1/1", "Running", "0"],
        ),
        (
            "crash loop",
            one(),
            json!({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}),
            ["0/1", "CrashLoopBackOff", "3"],
        ),
        (
            "completed",
            one(),
            json!({"phase": "Succeeded", "containerStatuses": [terminated("Completed", 0)]}),
            ["0/1", "Completed", "0"],
        ),
        (
            "error without a reason",
            one(),
            json!({"phase": "Failed", "containerStatuses": [terminated("", 7)]}),
            ["0/1", "ExitCode:7", "0"],
        ),
        ("evicted", one(), json!({"phase": "Failed", "reason": "Evicted"}), ["0/1", "Evicted", "0"]),
        (
            "gated",
            one(),
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            ["0/1", "SchedulingGated", "0"],
        ),
        (
            "initializing",
            with_init(),
            json!({"phase": "Pending", "initContainerStatuses": [
                terminated("Completed", 0), {"name": "j", "state": {"running": {}}}
            ], "containerStatuses": [waiting("PodInitializing")]}),
            ["0/1", "Init:1/2", "0"],
        ),
        (
            "init fails",
            with_init(),
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
            ]}),
            ["0/1", "Init:CrashLoopBackOff", "2"],
        ),
        (
            "init error",
            with_init(),
            json!({"phase": "Pending", "initContainerStatuses": [terminated("Error", 1)]}),
            ["0/1", "Init:Error", "0"],
        ),
        (
            "a sidecar counts",
            json!({"initContainers": [{"name": "i", "restartPolicy": "Always"}], "containers": [{"name": "c"}]}),
            json!({"phase": "Running",
                "initContainerStatuses": [{"name": "i", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}],
                "containerStatuses": [running(2)]}),
            ["2/2", "Running", "3"],
        ),
        (
            "one ended well, one runs",
            json!({"containers": [{"name": "a"}, {"name": "c"}]}),
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [terminated("Completed", 0), running(0)]}),
            ["1/2", "NotReady", "0"],
        ),
    ] {
        assert_eq!(cells("", "pods", &pod(spec, status))[1..4], want, "{name}");
    }
}

#[test]
fn a_pod_that_is_being_deleted_is_terminating_until_it_has_ended() {
    let mut leaving = pod(json!({}), json!({"phase": "Running"}));
    leaving["metadata"]["deletionTimestamp"] = NOW.into();
    assert_eq!(cells("", "pods", &leaving)[2], "Terminating");
    leaving["status"] = json!({"phase": "Failed"});
    assert_eq!(cells("", "pods", &leaving)[2], "Failed");
    leaving["status"] = json!({"phase": "Running", "reason": "NodeLost"});
    assert_eq!(cells("", "pods", &leaving)[2], "Unknown");
}

#[test]
fn restarts_tell_when_the_last_one_was() {
    let status = json!({"name": "c", "ready": true, "restartCount": 2, "state": {"running": {}},
        "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}});
    let pod = pod(
        json!({"containers": [{"name": "c"}], "nodeName": "n", "readinessGates": [{"conditionType": "x"}]}),
        json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [status]}),
    );
    assert_eq!(
        cells("", "pods", &pod),
        ["p", "1/1", "Running", "2 (5m ago)", "60m", "10.0.0.1", "n", "<none>", "0/1"]
    );
}

#[test]
fn only_pods_that_ended_carry_the_completed_condition() {
    let pods = resource("", "v1", "pods");
    let ended = rendering().row(pods, &pod(json!({}), json!({"phase": "Failed"})));
    assert_eq!(ended["conditions"][0]["type"], "Completed");
    assert_eq!(ended["conditions"][0]["reason"], "Failed");
    let running = rendering().row(pods, &pod(json!({}), json!({"phase": "Running"})));
    assert_eq!(running.get("conditions"), None);
}

#[test]
fn daemon_sets_show_their_numbers() {
    let object = json!({
        "metadata": {"name": "d", "creationTimestamp": "2025-12-30T00:00:00Z"},
        "spec": {
            "selector": {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "In", "values": ["y", "x"]}]},
            "template": {"spec": {
                "nodeSelector": {"disk": "ssd", "arch": "arm"},
                "containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}],
            }},
        },
        "status": {"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3,
            "updatedNumberScheduled": 2, "numberAvailable": 1},
    });
    let want =
        ["d", "5", "4", "3", "2", "1", "arch=arm,disk=ssd", "2d1h", "a,b", "x:1,y:2", "a=1,b in (x,y)"];
    assert_eq!(cells("apps", "daemonsets", &object), want);
    let bare = json!({"metadata": {"name": "d"}});
    let want = ["d", "0", "0", "0", "0", "0", "<none>", "<unknown>", "", "", "<none>"];
    assert_eq!(cells("apps", "daemonsets", &bare), want);
}

#[test]
fn nodes_show_readiness_roles_and_addresses() {
    let object = json!({
        "metadata": {"name": "n", "creationTimestamp": NOW, "labels": {
            "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "x"}},
        "spec": {"unschedulable": true},
        "status": {
            "conditions": [{"type": "Ready", "status": "False"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian"},
        },
    });
    let want = [
        "n",
        "NotReady,SchedulingDisabled",
        "control-plane,worker,x",
        "0s",
        "v1",
        "10.0.0.1",
        "<none>",
        "Debian",
        "<unknown>",
        "<unknown>",
    ];
    assert_eq!(cells("", "nodes", &object), want);
}

#[test]
fn both_event_groups_show_the_same_row() {
    let core = json!({
        "metadata": {"name": "e"}, "type": "Warning", "reason": "Failed", "message": " text\n", "count": 4,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:58:00Z",
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec"},
        "source": {"component": "agent", "host": "n"},
    });
    let new = json!({
        "metadata": {"name": "e"}, "type": "Warning", "reason": "Failed", "note": " text\n", "deprecatedCount": 4,
        "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z", "deprecatedLastTimestamp": "2026-01-01T00:58:00Z",
        "regarding": {"kind": "Pod", "name": "p", "fieldPath": "spec"},
        "deprecatedSource": {"component": "agent", "host": "n"},
    });
    let want = ["2m", "Warning", "Failed", "pod/p", "spec", "agent, n", "text", "60m", "4", "e"];
    assert_eq!(cells("", "events", &core), want);
    assert_eq!(cells("events.k8s.io", "events", &new), want);
    let series = json!({"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:50:00.123456Z",
        "series": {"count": 9, "lastObservedTime": "2026-01-01T00:59:00.000000Z"},
        "involvedObject": {"kind": "Node"}, "reportingComponent": "scheduler"});
    let row = cells("", "events", &series);
    assert_eq!(
        (row[0].as_str(), row[3].as_str(), row[5].as_str(), row[8].as_str()),
        ("60s", "node", "scheduler", "9")
    );
}

#[test]
fn the_other_kinds_have_their_cells() {
    let meta = json!({"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"});
    let with = |mut object: Value| {
        object["metadata"] = meta.clone();
        object
    };
    let revision = with(json!({"revision": 3}));
    assert_eq!(cells("apps", "controllerrevisions", &revision), ["x", "<none>", "3", "60m"]);
    let mut owned = revision;
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": true}]);
    assert_eq!(cells("apps", "controllerrevisions", &owned)[1], "daemonset.apps/d");
    let active = with(json!({"status": {"phase": "Active"}}));
    assert_eq!(cells("", "namespaces", &active), ["x", "Active", "60m"]);
    let map = with(json!({"data": {"a": ""}, "binaryData": {"b": "", "c": ""}}));
    assert_eq!(cells("", "configmaps", &map), ["x", "3", "60m"]);
    assert_eq!(
        cells("", "secrets", &with(json!({"type": "Opaque", "data": {"a": ""}}))),
        ["x", "Opaque", "1", "60m"]
    );
    assert_eq!(cells("", "serviceaccounts", &with(json!({}))), ["x", "0", "60m"]);
    let lease = with(json!({"spec": {"holderIdentity": "h"}}));
    assert_eq!(cells("coordination.k8s.io", "leases", &lease), ["x", "h", "60m"]);
    let class = with(json!({"value": 7, "globalDefault": true, "preemptionPolicy": "Never"}));
    assert_eq!(cells("scheduling.k8s.io", "priorityclasses", &class), ["x", "7", "true", "60m", "Never"]);
    let group = "rbac.authorization.k8s.io";
    assert_eq!(cells(group, "clusterroles", &with(json!({}))), ["x", "2026-01-01T00:00:00Z"]);
    let binding = with(json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
        {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]}));
    assert_eq!(cells(group, "rolebindings", &binding), ["x", "Role/r", "60m", "u, v", "", "n/s"]);
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    for resource in api::scheme::RESOURCES {
        let row = rendering().row(resource, &json!({"metadata": {"name": "x"}}));
        let cells = row["cells"].as_array().unwrap();
        assert_eq!(cells.len(), columns::of(resource).len(), "{}", resource.qualified());
        assert!(!cells.iter().any(Value::is_null));
    }
}

#[test]
fn a_list_becomes_a_table_with_its_metadata() {
    let list = json!({
        "kind": "PodList", "apiVersion": "v1",
        "metadata": {"resourceVersion": "9", "continue": "c", "remainingItemCount": 4, "selfLink": "x"},
        "items": [pod(json!({}), json!({})), pod(json!({}), json!({}))],
    });
    let pods = resource("", "v1", "pods");
    let table = rendering().list(pods, &list);
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(table["metadata"], json!({"resourceVersion": "9", "continue": "c", "remainingItemCount": 4}));
    assert_eq!(table["rows"].as_array().unwrap().len(), 2);
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["columnDefinitions"][5]["priority"], 1);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = partial_list(&list, MetaVersion::V1beta1);
    assert_eq!(partial["metadata"]["continue"], "c");
    assert_eq!(partial["items"][1]["apiVersion"], "meta.k8s.io/v1beta1");
    assert_eq!(partial["items"][1].get("spec"), None);
}

#[test]
fn include_object_says_how_much_of_it() {
    let pods = resource("", "v1", "pods");
    let object = pod(json!({"nodeName": "n"}), json!({}));
    let row = |include| Rendering { include, ..rendering() }.row(pods, &object);
    assert_eq!(row(IncludeObject::None)["object"], Value::Null);
    assert_eq!(row(IncludeObject::Metadata)["object"]["metadata"]["name"], "p");
    let whole = &row(IncludeObject::Object)["object"];
    assert_eq!((&whole["kind"], &whole["spec"]["nodeName"]), (&"Pod".into(), &"n".into()));
    assert_eq!(IncludeObject::parse(None), Ok(IncludeObject::Metadata));
    assert_eq!(IncludeObject::parse(Some("None")), Ok(IncludeObject::None));
    assert!(IncludeObject::parse(Some("All")).is_err());
}

#[test]
fn only_the_first_event_of_a_watch_describes_the_columns() {
    let pods = resource("", "v1", "pods");
    let mut object = pod(json!({}), json!({}));
    object["metadata"]["resourceVersion"] = "5".into();
    let first = rendering().event(pods, &object, Headers::Shown);
    assert_eq!(first["columnDefinitions"].as_array().unwrap().len(), 9);
    assert_eq!(first["metadata"]["resourceVersion"], "5");
    let later = rendering().event(pods, &object, Headers::Omitted);
    assert_eq!(later["columnDefinitions"], Value::Null);
    assert_eq!(later["rows"].as_array().unwrap().len(), 1);
}
