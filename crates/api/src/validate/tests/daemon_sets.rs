//! DaemonSets, rule by rule.

use serde_json::{Value, json};

use super::{set, told};
use crate::default;
use crate::validate::{
    SelectorChange, SelectorPresence, daemon_set_create, daemon_set_status_update, daemon_set_update,
};
use k8s_openapi::api::apps::v1::DaemonSet;

fn base() -> Value {
    json!({"metadata": {"name": "ds", "namespace": "default"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
}

fn typed(value: &Value) -> (DaemonSet, SelectorPresence) {
    let presence = SelectorPresence::of(value);
    let mut object: DaemonSet = serde_json::from_value(value.clone()).unwrap();
    default::daemon_set(&mut object);
    (object, presence)
}

fn edited(edits: &[(&str, Value)]) -> (DaemonSet, SelectorPresence) {
    let mut value = base();
    for (pointer, edit) in edits {
        set(&mut value, pointer, edit.clone());
    }
    typed(&value)
}

fn create(edits: &[(&str, Value)]) -> Vec<crate::field::FieldError> {
    let (object, presence) = edited(edits);
    daemon_set_create(&object, presence)
}

#[test]
fn a_plain_daemon_set_is_valid() {
    assert_eq!(create(&[]), []);
    let (object, presence) = edited(&[]);
    assert_eq!(daemon_set_update(&object, &object, presence, SelectorChange::Refused), []);
    assert_eq!(daemon_set_status_update(&object, &object), []);
}

#[test]
fn a_templates_labels_and_annotations_are_told_without_metadata() {
    let bad = json!({"a": "b", "-": "x"});
    assert_eq!(told(&create(&[("/spec/template/metadata/labels", bad)])), ["spec.template.labels Invalid"]);
    let bad = json!({"-": "x"});
    let errors = told(&create(&[("/spec/template/metadata/annotations", bad)]));
    assert_eq!(errors, ["spec.template.annotations Invalid"]);
}

#[test]
fn every_rule_names_its_field() {
    let rolling = "/spec/updateStrategy/rollingUpdate";
    let unavailable = format!("{rolling}/maxUnavailable");
    let surge = format!("{rolling}/maxSurge");
    let term = |operator: &str, values: Value| json!([{"key": "a", "operator": operator, "values": values}]);
    type Row<'a> = (Vec<(&'a str, Value)>, Vec<&'a str>);
    let table: Vec<Row<'_>> = vec![
        (vec![("/metadata/name", json!("Bad"))], vec!["metadata.name Invalid"]),
        (vec![("/metadata/name", json!(null))], vec!["metadata.name Required"]),
        (vec![("/metadata/name", json!("a".repeat(253)))], vec![]),
        (vec![("/metadata/name", json!("a".repeat(254)))], vec!["metadata.name Invalid"]),
        (vec![("/metadata/namespace", json!(null))], vec!["metadata.namespace Required"]),
        (
            vec![("/spec/selector/matchExpressions", term("In", json!([])))],
            vec!["spec.selector.matchExpressions[0].values Required"],
        ),
        (
            vec![("/spec/selector/matchExpressions", term("Exists", json!(["b"])))],
            vec!["spec.selector.matchExpressions[0].values Forbidden"],
        ),
        (
            vec![("/spec/selector/matchExpressions", term("Like", json!(["b"])))],
            vec!["spec.selector.matchExpressions[0].operator Invalid"],
        ),
        (
            vec![("/spec/selector/matchExpressions", term("In", json!(["b", "b b"])))],
            vec!["spec.selector.matchExpressions[0].values[1] Invalid"],
        ),
        (
            vec![("/spec/selector/matchLabels", json!({"a": "b b"}))],
            vec!["spec.selector.matchLabels Invalid", "spec.template.metadata.labels Invalid"],
        ),
        (vec![("/spec/selector", json!(null))], vec!["spec.template.metadata.labels Invalid"]),
        (vec![("/spec/selector", json!({}))], vec!["spec.selector Invalid"]),
        (
            vec![("/spec/selector/matchLabels", json!({"a": "c"}))],
            vec!["spec.template.metadata.labels Invalid"],
        ),
        (
            vec![("/spec/template/spec/restartPolicy", json!("Never"))],
            vec!["spec.template.spec.restartPolicy NotSupported"],
        ),
        (
            vec![("/spec/template/spec/restartPolicy", json!("Sometimes"))],
            vec![
                "spec.template.spec.restartPolicy NotSupported",
                "spec.template.spec.restartPolicy NotSupported",
            ],
        ),
        (
            vec![("/spec/template/spec/activeDeadlineSeconds", json!(5))],
            vec!["spec.template.spec.activeDeadlineSeconds Forbidden"],
        ),
        (
            vec![("/spec/template/spec/ephemeralContainers", json!([{"name": "e", "image": "i"}]))],
            vec!["spec.template.spec.ephemeralContainers Forbidden"],
        ),
        (
            vec![(
                "/spec/template/spec/volumes",
                json!([{"name": "v", "gcePersistentDisk": {"pdName": "d"}}]),
            )],
            vec!["spec.template.spec.volumes[0].gcePersistentDisk.readOnly Invalid"],
        ),
        (vec![("/spec/template/spec/containers", json!([]))], vec!["spec.template.spec.containers Required"]),
        (vec![("/spec/minReadySeconds", json!(-1))], vec!["spec.minReadySeconds Invalid"]),
        (vec![("/spec/revisionHistoryLimit", json!(-1))], vec!["spec.revisionHistoryLimit Invalid"]),
        (vec![("/spec/revisionHistoryLimit", json!(0))], vec![]),
        (vec![("/spec/updateStrategy/type", json!("Maybe"))], vec!["spec.updateStrategy NotSupported"]),
        (
            vec![(
                "/spec/updateStrategy",
                json!({"type": "OnDelete", "rollingUpdate": {"maxUnavailable": -1}}),
            )],
            vec![],
        ),
        (
            vec![(&unavailable, json!("x"))],
            vec![
                "spec.updateStrategy.rollingUpdate.maxUnavailable Invalid",
                "spec.updateStrategy.rollingUpdate.maxUnavailable Required",
            ],
        ),
        (vec![(&unavailable, json!(-1))], vec!["spec.updateStrategy.rollingUpdate.maxUnavailable Invalid"]),
        (
            vec![(&unavailable, json!("101%"))],
            vec!["spec.updateStrategy.rollingUpdate.maxUnavailable Invalid"],
        ),
        (vec![(&unavailable, json!("100%"))], vec![]),
        (vec![(&unavailable, json!(500))], vec![]),
        (
            vec![(&unavailable, json!(0)), (&surge, json!("200%"))],
            vec!["spec.updateStrategy.rollingUpdate.maxSurge Invalid"],
        ),
        (vec![(&unavailable, json!(0)), (&surge, json!("20%"))], vec![]),
        (vec![(&surge, json!(1))], vec!["spec.updateStrategy.rollingUpdate.maxSurge Invalid"]),
        (
            vec![(&unavailable, json!("0%"))],
            vec!["spec.updateStrategy.rollingUpdate.maxUnavailable Required"],
        ),
        (
            vec![(
                "/spec/template/metadata/annotations",
                json!({"scheduler.alpha.kubernetes.io/affinity": "{"}),
            )],
            vec!["spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/affinity] Invalid"],
        ),
    ];
    for (edits, expect) in table {
        assert_eq!(told(&create(&edits)), expect, "{edits:?}");
    }
}

#[test]
fn rolling_update_needs_its_block_and_under_on_delete_it_is_ignored() {
    let mut object = edited(&[]).0;
    let strategy = |value: Value| serde_json::from_value(value).unwrap();
    // Defaults fill it in: only who leaves them out meets this.
    object.spec.as_mut().unwrap().update_strategy = strategy(json!({"type": "RollingUpdate"}));
    let errors = daemon_set_create(&object, SelectorPresence::Present);
    assert_eq!(told(&errors), ["spec.updateStrategy.rollingUpdate Required"]);
    let both = json!({"type": "OnDelete", "rollingUpdate": {"maxUnavailable": 3, "maxSurge": 2}});
    object.spec.as_mut().unwrap().update_strategy = strategy(both.clone());
    assert_eq!(daemon_set_create(&object, SelectorPresence::Present), []);
    default::daemon_set(&mut object);
    assert_eq!(
        serde_json::to_value(&object.spec.unwrap().update_strategy).unwrap(),
        both,
        "and kept as it is"
    );
}

#[test]
fn update_tells_each_error_once() {
    let (new, presence) = edited(&[("/spec/minReadySeconds", json!(-1)), ("/metadata/name", json!("Bad"))]);
    let (old, _) = edited(&[("/metadata/name", json!("Bad"))]);
    let errors = daemon_set_update(&new, &old, presence, SelectorChange::Refused);
    assert_eq!(told(&errors), ["spec.minReadySeconds Invalid"]);
}

#[test]
fn messages_are_upstreams() {
    let message = |edits: &[(&str, Value)]| create(edits)[0].to_string();
    assert_eq!(
        message(&[("/spec/selector", json!(null))]),
        "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"
    );
    assert_eq!(
        message(&[("/spec/selector", json!({}))]),
        "spec.selector: Invalid value: {}: empty selector is invalid for daemonset"
    );
    assert_eq!(
        message(&[("/spec/template/spec/restartPolicy", json!("Never"))]),
        "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""
    );
    assert_eq!(
        message(&[("/spec/updateStrategy/rollingUpdate/maxSurge", json!(1))]),
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
    );
    assert_eq!(
        message(&[("/spec/updateStrategy/rollingUpdate/maxUnavailable", json!(0))]),
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"
    );
}

#[test]
fn the_selector_is_immutable_but_through_the_oldest_version() {
    let (old, _) = edited(&[]);
    let labels = json!({"a": "b", "c": "d"});
    let (new, presence) =
        edited(&[("/spec/selector/matchLabels", labels.clone()), ("/spec/template/metadata/labels", labels)]);
    assert_eq!(
        told(&daemon_set_update(&new, &old, presence, SelectorChange::Refused)),
        ["spec.selector Invalid"]
    );
    assert_eq!(daemon_set_update(&new, &old, presence, SelectorChange::Allowed), []);
}

#[test]
fn a_stored_selector_with_bad_values_stays_usable() {
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["no label"]}]});
    let (object, presence) = edited(&[("/spec/selector", bad)]);
    assert_eq!(
        told(&daemon_set_create(&object, presence)),
        ["spec.selector.matchExpressions[0].values[0] Invalid"]
    );
    assert_eq!(daemon_set_update(&object, &object, presence, SelectorChange::Refused), []);
}

#[test]
fn metadata_that_the_system_owns_is_immutable() {
    let (old, presence) = edited(&[("/metadata/uid", json!("u1"))]);
    for (field, value) in [
        ("name", json!("other")),
        ("namespace", json!("other")),
        ("uid", json!("u2")),
        ("creationTimestamp", json!("2026-01-01T00:00:00Z")),
        ("deletionTimestamp", json!("2026-01-01T00:00:00Z")),
        ("deletionGracePeriodSeconds", json!(3)),
    ] {
        let pointer = format!("/metadata/{field}");
        let (new, _) = edited(&[("/metadata/uid", json!("u1")), (&pointer, value)]);
        let errors = daemon_set_update(&new, &old, presence, SelectorChange::Refused);
        assert_eq!(told(&errors), [format!("metadata.{field} Invalid")]);
        assert_eq!(errors[0].detail, "field is immutable");
    }
}

#[test]
fn status_counts_up_from_zero_and_collisions_never_go_back() {
    let status = |status: Value| edited(&[("/status", status)]).0;
    let old = status(json!({"collisionCount": 2}));
    let table = [
        (json!({"collisionCount": 2, "numberReady": -1}), vec!["status.numberReady Invalid"]),
        (
            json!({"collisionCount": 2, "desiredNumberScheduled": -1, "numberAvailable": -1}),
            vec!["status.desiredNumberScheduled Invalid", "status.numberAvailable Invalid"],
        ),
        (json!({"collisionCount": 1}), vec!["status.collisionCount Invalid"]),
        (json!({}), vec!["status.collisionCount Invalid"]),
        (json!({"collisionCount": 3}), vec![]),
    ];
    for (new, expect) in table {
        assert_eq!(told(&daemon_set_status_update(&status(new.clone()), &old)), expect, "{new}");
    }
}

#[test]
fn an_empty_template_is_errors_and_not_a_crash() {
    let (object, presence) = typed(&json!({"metadata": {"name": "a", "namespace": "b"}}));
    let errors = told(&daemon_set_create(&object, presence));
    assert!(errors.contains(&"spec.template.spec.containers Required".to_owned()), "{errors:?}");
}
