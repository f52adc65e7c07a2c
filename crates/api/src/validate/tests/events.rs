//! What an Event must say, by the version that it is written in.

use serde_json::{Value, json};

use super::{set, told};
use crate::validate::{EventVersion, event_create, event_update};
use k8s_openapi::api::core::v1::Event;

/// Values by their JSON pointers.
type Edits<'a> = Vec<(&'a str, Value)>;

fn event(base: &Value, edits: &[(&str, Value)]) -> Event {
    let mut value = base.clone();
    for (pointer, edit) in edits {
        set(&mut value, pointer, edit.clone());
    }
    serde_json::from_value(value).unwrap()
}

fn old_form() -> Value {
    json!({"metadata": {"name": "a.17", "namespace": "default"}, "involvedObject": {"namespace": "default"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "count": 1, "source": {"component": "c"}})
}

fn new_form() -> Value {
    json!({"metadata": {"name": "a.17", "namespace": "default"}, "involvedObject": {"namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "R", "action": "A", "message": "m",
        "reportingComponent": "example.com/c", "reportingInstance": "i"})
}

#[test]
fn events_of_core_say_where_their_object_is() {
    let table: Vec<(Value, Edits<'_>, &[&str])> = vec![
        (old_form(), vec![], &[]),
        (old_form(), vec![("/involvedObject", json!({"kind": "Node"}))], &[]),
        (old_form(), vec![("/metadata/name", json!("system:a.17"))], &[]),
        (old_form(), vec![("/metadata/name", json!("a/b"))], &["metadata.name Invalid"]),
        (
            old_form(),
            vec![("/involvedObject/namespace", json!("other"))],
            &["involvedObject.namespace Invalid"],
        ),
        (
            old_form(),
            vec![("/involvedObject", json!({})), ("/metadata/namespace", json!("kube-system"))],
            &["involvedObject.namespace Invalid"],
        ),
        // One that says when it happened is of a newer program, of which more is asked.
        (new_form(), vec![], &[]),
        (
            new_form(),
            vec![("/involvedObject", json!({})), ("/metadata/namespace", json!("kube-system"))],
            &[],
        ),
        (new_form(), vec![("/action", json!(null))], &["action Required"]),
        (
            new_form(),
            vec![("/reportingComponent", json!(null))],
            &["reportingComponent Required", "reportingComponent Invalid", "reportingComponent Invalid"],
        ),
        (new_form(), vec![("/count", json!(3)), ("/type", json!("Odd"))], &[]),
    ];
    for (base, edits, expect) in table {
        let errors = event_create(&event(&base, &edits), EventVersion::Core);
        assert_eq!(told(&errors), expect, "{edits:?}");
    }
    let changed = event(&old_form(), &[("/message", json!("other")), ("/count", json!(2))]);
    assert_eq!(event_update(&changed, &event(&old_form(), &[]), EventVersion::Core), []);
}

#[test]
fn events_of_the_newer_group_are_whole_and_only_their_series_changes() {
    let long = |bytes: usize| json!("x".repeat(bytes));
    let table: Vec<(Edits<'_>, &[&str])> = vec![
        (vec![], &[]),
        (vec![("/metadata/name", json!("system:a.17"))], &["metadata.name Invalid"]),
        (vec![("/eventTime", json!(null))], &["eventTime Required"]),
        (vec![("/type", json!("Odd"))], &["type Invalid"]),
        (
            vec![
                ("/firstTimestamp", json!("2026-01-01T00:00:00Z")),
                ("/lastTimestamp", json!("2026-01-01T00:00:00Z")),
                ("/count", json!(1)),
                ("/source", json!({"host": "n"})),
            ],
            &["firstTimestamp Invalid", "lastTimestamp Invalid", "count Invalid", "source Invalid"],
        ),
        (
            vec![
                ("/reason", long(129)),
                ("/action", long(129)),
                ("/reportingInstance", long(129)),
                ("/message", long(1025)),
            ],
            &["reportingInstance Invalid", "action Invalid", "reason Invalid", "message Invalid"],
        ),
        (
            vec![("/series", json!({"count": 1}))],
            &["series.count Invalid", "series.lastObservedTime Required"],
        ),
        (vec![("/reportingComponent", json!("a b"))], &["reportingController Invalid"]),
    ];
    for (edits, expect) in table {
        let errors = event_create(&event(&new_form(), &edits), EventVersion::Events);
        assert_eq!(told(&errors), expect, "{edits:?}");
    }
    let old = event(&new_form(), &[]);
    let series = json!({"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"});
    assert_eq!(event_update(&event(&new_form(), &[("/series", series)]), &old, EventVersion::Events), []);
    for field in ["reason", "message", "action", "reportingInstance"] {
        let changed = event(&new_form(), &[(&format!("/{field}"), json!("other"))]);
        assert_eq!(told(&event_update(&changed, &old, EventVersion::Events)), [format!("{field} Invalid")]);
    }
}
