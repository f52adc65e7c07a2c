//! Who owns what after a write or an apply, as tables.

use api::scheme::{Resource, find};
use serde_json::{Value, json};

use super::*;

const EARLIER: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-01T00:00:09Z";

fn maps() -> &'static Resource {
    find("", "v1", "configmaps").unwrap()
}

fn pods() -> &'static Resource {
    find("", "v1", "pods").unwrap()
}

fn by<'a>(manager: &'a str, requested: &'static Resource) -> Writer<'a> {
    Writer { manager, subresource: "", requested, now: NOW }
}

/// `[(manager, operation, fieldsV1)]` as the stored JSON.
fn entries(of: &[(&str, &str, Value)]) -> Vec<u8> {
    let entries = of.iter().map(|(manager, operation, fields)| {
        json!({
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": manager,
            "operation": operation, "time": EARLIER,
        })
    });
    serde_json::to_vec(&entries.collect::<Vec<_>>()).unwrap()
}

/// `manager operation fieldsV1` with a star where the time is the write's.
fn shown(json: &[u8]) -> Vec<String> {
    if json.is_empty() {
        return Vec::new();
    }
    let entries: Vec<Value> = serde_json::from_slice(json).unwrap();
    let each = entries.iter().map(|entry| {
        let star = if entry["time"] == NOW { "*" } else { "" };
        let text = |field: &str| entry[field].as_str().unwrap().to_owned();
        format!("{}{star} {} {}", text("manager"), text("operation"), entry["fieldsV1"])
    });
    each.collect()
}

fn written(manager: &str, stored: &[u8], old: Option<Value>, new: Value) -> Option<Tracked> {
    let writer = by(manager, maps());
    let reset = writer.reset();
    let is_new = old.is_none();
    track(&writer, stored, Given::Nothing, is_new, &mut |_| Form {
        old: old.as_ref().map(|old| Tree::of(old, reset.root)),
        new: Tree::of(&new, reset.root),
    })
}

fn data(of: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": of})
}

#[test]
fn what_a_write_changes_is_the_writers_and_nobody_elses() {
    let stored = || entries(&[("a", "Update", json!({"f:data": {".": {}, "f:k": {}, "f:l": {}}}))]);
    for (writer, new, expected) in [
        // Nothing but another value of its own: the time alone.
        ("a", json!({"k": "2", "l": "1"}), &[r#"a* Update {"f:data":{".":{},"f:k":{},"f:l":{}}}"#][..]),
        (
            "b",
            json!({"k": "2", "l": "1"}),
            &[r#"a Update {"f:data":{".":{},"f:l":{}}}"#, r#"b* Update {"f:data":{"f:k":{}}}"#],
        ),
        // What is removed is nobody's, and whoever removes it owns nothing by that.
        ("b", json!({"k": "1"}), &[r#"a Update {"f:data":{".":{},"f:k":{}}}"#]),
        ("a", json!({"k": "1"}), &[r#"a Update {"f:data":{".":{},"f:k":{}}}"#]),
        (
            "a",
            json!({"k": "1", "l": "1", "m": "1"}),
            &[r#"a* Update {"f:data":{".":{},"f:k":{},"f:l":{},"f:m":{}}}"#],
        ),
    ] {
        let old = Some(data(json!({"k": "1", "l": "1"})));
        let tracked = written(writer, &stored(), old, data(new.clone())).unwrap();
        assert_eq!(shown(&tracked.json), expected, "{writer} {new}");
        assert_eq!(
            tracked.same_owners,
            writer == "a" && new == json!({"k": "2", "l": "1"}),
            "{writer} {new}"
        );
    }
}

#[test]
fn write_that_changes_nothing_leaves_the_entries() {
    let stored = entries(&[("a", "Update", json!({"f:data": {".": {}, "f:k": {}}}))]);
    let same = || data(json!({"k": "1"}));
    assert_eq!(written("b", &stored, Some(same()), same()), None);
    assert_eq!(written("b", b"", Some(same()), data(json!({"k": "2"}))), None, "never tracked");
}

#[test]
fn entries_in_versions_that_are_not_served_are_dropped() {
    let stored = br#"[{"apiVersion":"v9","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:k":{}}},"manager":"x","operation":"Update"}]"#;
    let old = Some(data(json!({"k": "1"})));
    let tracked = written("a", stored, old, data(json!({"k": "1", "l": "1"}))).unwrap();
    assert_eq!(shown(&tracked.json), [r#"a* Update {"f:data":{"f:l":{}}}"#]);
}

fn applied(
    manager: &str,
    contention: Contention,
    resource: &'static Resource,
    stored: &[u8],
    live: &Value,
    config: &Value,
) -> Result<Applied, Conflicts> {
    let convert = |value: &Value, _: &'static Resource, _: &'static Resource| value.clone();
    apply(&by(manager, resource), contention, stored, Some(live), config, &convert)
}

#[test]
fn what_is_applied_no_more_goes_where_nobody_else_owns_it() {
    let own = || json!({"f:data": {"f:k": {}, "f:l": {}}});
    let live = || data(json!({"k": "1", "l": "1", "x": "1"}));
    for (others, config, expected) in [
        (json!({"f:data": {".": {}, "f:x": {}}}), json!({"k": "1"}), json!({"k": "1", "x": "1"})),
        (json!({"f:data": {"f:l": {}}}), json!({"k": "1"}), json!({"k": "1", "l": "1", "x": "1"})),
        (json!({"f:data": {"f:x": {}}}), json!({}), json!({"x": "1"})),
        (json!({"f:metadata": {"f:labels": {}}}), json!({"l": "2"}), json!({"l": "2", "x": "1"})),
    ] {
        let stored = entries(&[("a", "Apply", own()), ("b", "Update", others.clone())]);
        let applied =
            applied("a", Contention::Refuse, maps(), &stored, &live(), &data(config.clone())).unwrap();
        assert_eq!(applied.object["data"], expected, "{others} {config}");
    }
}

#[test]
fn last_of_a_map_takes_the_map_along_and_metadata_stays() {
    let stored =
        entries(&[("a", "Apply", json!({"f:metadata": {"f:labels": {"f:x": {}}}, "f:data": {"f:k": {}}}))]);
    let mut live = data(json!({"k": "1"}));
    live["metadata"] = json!({"name": "a", "uid": "u", "labels": {"x": "y"}});
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let applied = applied("a", Contention::Refuse, maps(), &stored, &live, &config).unwrap();
    let left = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}});
    assert_eq!(applied.object, left);
    assert_eq!(shown(&applied.managed), Vec::<String>::new());
}

#[test]
fn item_of_a_list_goes_with_its_last_owner_and_loses_only_what_its_applier_named() {
    let container = |fields: Value| json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": fields}}});
    let pod = |containers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers}});
    let live = pod(json!([{"name": "b", "image": "i"}, {"name": "c", "image": "j", "tty": true}]));
    let config = pod(json!([{"name": "b", "image": "i"}]));
    let own = container(json!({".": {}, "f:name": {}, "f:image": {}, "f:tty": {}}));
    let stored = entries(&[("a", "Apply", own.clone())]);
    let alone = applied("a", Contention::Refuse, pods(), &stored, &live, &config).unwrap();
    assert_eq!(alone.object, config);
    let others = container(json!({".": {}, "f:name": {}, "f:image": {}}));
    let stored = entries(&[("a", "Apply", own), ("b", "Apply", others)]);
    let shared = applied("a", Contention::Refuse, pods(), &stored, &live, &config).unwrap();
    assert_eq!(shared.object, pod(json!([{"name": "b", "image": "i"}, {"name": "c", "image": "j"}])));
}

#[test]
fn conflicts_name_the_field_and_forcing_takes_it() {
    let stored = entries(&[("b", "Apply", json!({"f:data": {"f:k": {}}}))]);
    let (live, config) = (data(json!({"k": "1"})), data(json!({"k": "2"})));
    let refused = applied("a", Contention::Refuse, maps(), &stored, &live, &config).unwrap_err();
    assert_eq!(refused.0, [Conflict { manager: "\"b\"".to_owned(), path: ".data.k".to_owned() }]);
    let forced = applied("a", Contention::Force, maps(), &stored, &live, &config).unwrap();
    assert_eq!(shown(&forced.managed), [r#"a* Apply {"f:data":{"f:k":{}}}"#]);
    assert_eq!(forced.object, config);
}

#[test]
fn applying_the_same_again_changes_neither_object_nor_times() {
    let stored = entries(&[("a", "Apply", json!({"f:data": {"f:k": {}}}))]);
    let same = data(json!({"k": "1"}));
    let again = applied("a", Contention::Refuse, maps(), &stored, &same, &same).unwrap();
    assert_eq!((&again.object, again.same_owners), (&same, true));
    assert_eq!(shown(&again.managed), [r#"a Apply {"f:data":{"f:k":{}}}"#]);
    let other = data(json!({"k": "2"}));
    let changed = applied("a", Contention::Refuse, maps(), &stored, &same, &other).unwrap();
    assert_eq!(
        (changed.same_owners, shown(&changed.managed)),
        (true, vec![r#"a* Apply {"f:data":{"f:k":{}}}"#.to_owned()])
    );
}

#[test]
fn who_has_an_object_before_anybody_applies_is_one_manager() {
    let (live, config) = (data(json!({"k": "1", "l": "1"})), data(json!({"k": "1"})));
    let first = applied("a", Contention::Refuse, maps(), b"", &live, &config).unwrap();
    assert_eq!(
        shown(&first.managed),
        [
            r#"a* Apply {"f:data":{"f:k":{}}}"#,
            r#"before-first-apply* Update {"f:data":{".":{},"f:k":{},"f:l":{}}}"#,
        ]
    );
}
