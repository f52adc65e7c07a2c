//! Resources that are stored as another one: old DaemonSet versions, and events of both groups.
//!
//! The conversion itself is `api::convert`'s; here it meets requests.

use api::convert;
use api::scheme::Resource;
use serde_json::Value;

/// A body of `resource` as the kind that is stored.
pub fn to_storage(resource: &Resource, mut value: Value) -> Value {
    convert::to_stored(&resource.api_version(), resource.kind, &mut value);
    value
}

/// A stored object as `resource` shows it.
pub fn from_storage(resource: &Resource, mut value: Value) -> Value {
    if resource.stored_as.is_some() {
        convert::from_stored(&resource.api_version(), resource.kind, &mut value);
    }
    value
}
