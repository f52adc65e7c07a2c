//! Rows of StorageClasses, CSINodes and CSIDrivers.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{age, count, joined, list, name, or_none, text};

/// Marks the class of claims that name none, in its old and its new place.
const DEFAULT_CLASS: [&str; 2] = [
    "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
    "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class",
];

pub(super) fn class(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut called = text(object, "/metadata/name").to_owned();
    if DEFAULT_CLASS.iter().any(|pointer| text(object, pointer) == "true") {
        called.push_str(" (default)");
    }
    let or = |pointer: &str, default: &'static str| match text(object, pointer) {
        "" => Value::from(default),
        given => Value::from(given),
    };
    vec![
        called.into(),
        text(object, "/provisioner").into(),
        or("/reclaimPolicy", "Delete"),
        or("/volumeBindingMode", "Immediate"),
        flag(object, "/allowVolumeExpansion"),
        age(object, now),
    ]
}

pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), count(object, "/spec/drivers").into(), age(object, now)]
}

pub(super) fn driver(object: &Value, now: Timestamp) -> Vec<Value> {
    let audiences = list(object, "/spec/tokenRequests").iter().map(|request| text(request, "/audience"));
    let modes = list(object, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str);
    let tokens = joined(audiences, ",");
    vec![
        name(object),
        object.pointer("/spec/attachRequired").and_then(Value::as_bool).unwrap_or(true).into(),
        flag(object, "/spec/podInfoOnMount"),
        flag(object, "/spec/storageCapacity"),
        if tokens.is_empty() { "<unset>".into() } else { tokens.into() },
        flag(object, "/spec/requiresRepublish"),
        or_none(&joined(modes, ",")).into(),
        age(object, now),
    ]
}

fn flag(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false).into()
}
