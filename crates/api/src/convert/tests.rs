//! Conversions there and back, and the page's first manifest.

use serde_json::json;

use super::*;
use crate::default;
use crate::validate::{SelectorPresence, daemon_set_create};
use k8s_openapi::api::apps::v1::DaemonSet;

fn fluentd() -> Value {
    json!({"apiVersion": "extensions/v1beta1", "kind": "DaemonSet", "metadata": {"name": "fluentd", "namespace": "default"},
        "spec": {"template": {
            "metadata": {"name": "fluentd", "labels": {"app": "logging", "id": "fluentd"}},
            "spec": {"containers": [{"name": "fluentd", "image": "gcr.io/google_containers/fluentd-elasticsearch:1.3",
                "env": [{"name": "FLUENTD_ARGS", "value": "-qq"}],
                "volumeMounts": [{"name": "containers", "mountPath": "/var/lib/docker/containers"},
                    {"name": "varlog", "mountPath": "/varlog"}]}],
                "volumes": [{"hostPath": {"path": "/var/lib/docker/containers"}, "name": "containers"},
                    {"hostPath": {"path": "/var/log"}, "name": "varlog"}]}}}})
}

#[test]
fn the_oldest_manifest_is_a_valid_daemon_set_of_today() {
    let mut value = fluentd();
    to_stored("extensions/v1beta1", "DaemonSet", &mut value);
    let labels = json!({"app": "logging", "id": "fluentd"});
    assert_eq!(value["apiVersion"], "apps/v1");
    assert_eq!(value["spec"]["selector"], json!({ "matchLabels": labels }));
    assert_eq!(value["metadata"]["labels"], labels);
    let presence = SelectorPresence::of(&value);
    let mut object: DaemonSet = serde_json::from_value(value).unwrap();
    default::daemon_set(&mut object);
    assert_eq!(daemon_set_create(&object, presence), []);
    let stored = serde_json::to_value(&object).unwrap();
    assert_eq!(stored["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    assert_eq!(stored["spec"]["revisionHistoryLimit"], 10);
    let pod = &stored["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][1]["hostPath"], json!({"path": "/var/log", "type": ""}));
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "IfNotPresent");
}

#[test]
fn what_the_client_gave_is_not_overwritten() {
    let mut value = fluentd();
    value["metadata"]["labels"] = json!({"own": "label"});
    value["spec"]["selector"] = json!({"matchLabels": {"app": "logging"}});
    value["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
    let mut converted = value.clone();
    to_stored("extensions/v1beta1", "DaemonSet", &mut converted);
    value["apiVersion"] = json!("apps/v1");
    assert_eq!(converted, value);
}

#[test]
fn apps_v1beta2_has_the_defaults_of_today() {
    let mut value = fluentd();
    value["apiVersion"] = json!("apps/v1beta2");
    to_stored("apps/v1beta2", "DaemonSet", &mut value);
    assert!(value["spec"].get("selector").is_none() && value["spec"].get("updateStrategy").is_none());
    assert!(value["metadata"].get("labels").is_none());
}

#[test]
fn template_generation_is_a_field_there_and_an_annotation_here() {
    for version in ["extensions/v1beta1", "apps/v1beta2"] {
        let stored = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "a", "labels": {"a": "b"}, "annotations": {"deprecated.daemonset.template.generation": "7"}},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "updateStrategy": {"type": "OnDelete"},
                "template": {"metadata": {"labels": {"a": "b"}}}},
            "status": {"numberReady": 3}});
        let mut value = stored.clone();
        from_stored(version, "DaemonSet", &mut value);
        assert_eq!(value["apiVersion"], version);
        assert_eq!(value["spec"]["templateGeneration"], 7);
        assert!(value["metadata"].get("annotations").is_none());
        to_stored(version, "DaemonSet", &mut value);
        assert_eq!(value, stored);
    }
    let annotated = |text: &str| {
        [(crate::well_known::daemon_set::TEMPLATE_GENERATION_ANNOTATION.to_owned(), text.to_owned())].into()
    };
    assert_eq!(template_generation(&annotated("7")), Ok(Some(7)));
    assert_eq!(template_generation(&Default::default()), Ok(None));
    assert!(template_generation(&annotated("seven")).is_err());
}

#[test]
fn events_have_two_vocabularies() {
    let core = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p"}, "message": "m", "reason": "r", "type": "Normal", "count": 2,
        "source": {"component": "c"}, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": null,
        "reportingComponent": "rc", "reportingInstance": "ri", "series": {"count": 1}});
    let mut value = core.clone();
    from_stored("events.k8s.io/v1", "Event", &mut value);
    assert_eq!(
        value,
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"kind": "Pod", "name": "p"}, "note": "m", "reason": "r", "type": "Normal", "deprecatedCount": 2,
            "deprecatedSource": {"component": "c"}, "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
            "deprecatedLastTimestamp": null, "reportingController": "rc", "reportingInstance": "ri",
            "series": {"count": 1}})
    );
    to_stored("events.k8s.io/v1", "Event", &mut value);
    assert_eq!(value, core);
}

#[test]
fn lists_are_converted_item_by_item() {
    let mut list = json!({"apiVersion": "v1", "kind": "EventList", "items": [{"message": "a"}, {"apiVersion": "v1", "message": "b"}]});
    from_stored("events.k8s.io/v1", "EventList", &mut list);
    assert_eq!(list["apiVersion"], "events.k8s.io/v1");
    assert_eq!(list["items"], json!([{"note": "a"}, {"apiVersion": "events.k8s.io/v1", "note": "b"}]));
}

#[test]
fn what_is_not_an_object_is_left_for_decoding_to_refuse() {
    for mut value in [
        json!("..."),
        json!({"spec": "..."}),
        json!({"metadata": 1, "spec": {"templateGeneration": "x", "template": 3}}),
    ] {
        to_stored("extensions/v1beta1", "DaemonSet", &mut value);
        from_stored("extensions/v1beta1", "DaemonSet", &mut value);
    }
    let mut value = json!({"kind": "DaemonSet", "spec": "..."});
    to_stored("extensions/v1beta1", "DaemonSet", &mut value);
    assert!(serde_json::from_value::<DaemonSet>(value).is_err());
    let mut value = json!({"apiVersion": "v1", "kind": "Pod"});
    to_stored("v1", "Pod", &mut value);
    assert_eq!(value, json!({"apiVersion": "v1", "kind": "Pod"}));
}
