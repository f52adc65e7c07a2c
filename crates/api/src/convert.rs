//! Conversion between a served version of a kind and the one it is stored as, on JSON.
//!
//! Two kinds have two forms: the DaemonSets of extensions/v1beta1 and apps/v1beta2, stored as apps/v1, and the Events of
//! events.k8s.io/v1, stored as v1. Any other version and kind passes unchanged. Lists are converted item by item. What is
//! not an object where one is expected is left alone: decoding it into its type refuses it later, with a better message.

mod daemon_set;
mod event;

use serde_json::{Map, Value};

pub use daemon_set::{TemplateGenerationError, template_generation};

/// From the version of a request to the stored one; `apiVersion` is rewritten. Version defaults are set on the way.
pub fn to_stored(api_version: &str, kind: &str, value: &mut Value) {
    each(kind, value, &|object| match (api_version, single(kind)) {
        ("extensions/v1beta1", "DaemonSet") => {
            daemon_set::from_legacy(object, daemon_set::Legacy::Extensions)
        }
        ("apps/v1beta2", "DaemonSet") => daemon_set::from_legacy(object, daemon_set::Legacy::AppsBeta),
        ("events.k8s.io/v1", "Event") => event::to_core(object),
        _ => {}
    });
    if let Some(stored) = stored_version(api_version, single(kind)) {
        stamp(kind, value, stored);
    }
}

/// From the stored version to that of the answer.
pub fn from_stored(api_version: &str, kind: &str, value: &mut Value) {
    if stored_version(api_version, single(kind)).is_none() {
        return;
    }
    each(kind, value, &|object| match single(kind) {
        "DaemonSet" => daemon_set::to_legacy(object),
        "Event" => event::from_core(object),
        _ => {}
    });
    stamp(kind, value, api_version);
}

/// The apiVersion under which a served version is stored, where that is another one.
fn stored_version(api_version: &str, kind: &str) -> Option<&'static str> {
    match (api_version, kind) {
        ("extensions/v1beta1" | "apps/v1beta2", "DaemonSet") => Some("apps/v1"),
        ("events.k8s.io/v1", "Event") => Some("v1"),
        _ => None,
    }
}

fn single(kind: &str) -> &str {
    kind.strip_suffix("List").unwrap_or(kind)
}

fn each(kind: &str, value: &mut Value, convert: &dyn Fn(&mut Map<String, Value>)) {
    if !kind.ends_with("List") {
        if let Value::Object(object) = value {
            convert(object);
        }
        return;
    }
    for item in value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(object) = item {
            convert(object);
        }
    }
}

/// Rewrites `apiVersion` of the object, or of the list and those items that state one.
fn stamp(kind: &str, value: &mut Value, api_version: &str) {
    let write = |value: &mut Value| {
        if let Some(found) = value.get_mut("apiVersion") {
            *found = Value::from(api_version);
        }
    };
    write(value);
    if kind.ends_with("List") {
        value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(write);
    }
}

#[cfg(test)]
mod tests;
