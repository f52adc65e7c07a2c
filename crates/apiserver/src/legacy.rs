//! Resources that are stored as another one: old DaemonSet versions, and events of both groups.
//!
//! The conversion itself is `api::convert`'s; here it meets requests.

use api::scheme::Resource;
use serde_json::Value;

use crate::error::ApiError;

/// A body of `resource` as the kind that is stored.
pub fn to_storage(resource: &Resource, value: Value) -> Result<Value, ApiError> {
    let _ = resource;
    Ok(value)
}

/// A stored object as `resource` shows it.
pub fn from_storage(resource: &Resource, value: Value) -> Result<Value, ApiError> {
    let _ = resource;
    Ok(value)
}
