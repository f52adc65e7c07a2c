//! Events of events.k8s.io/v1 and v1: the same thing under other names.

use serde_json::{Map, Value};

/// (name in v1, name in events.k8s.io/v1) of the fields that are called differently.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

pub(super) fn to_core(object: &mut Map<String, Value>) {
    for (core, events) in RENAMED {
        rename(object, events, core);
    }
}

pub(super) fn from_core(object: &mut Map<String, Value>) {
    for (core, events) in RENAMED {
        rename(object, core, events);
    }
}

fn rename(object: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = object.remove(from) {
        object.insert(to.to_owned(), value);
    }
}
