//! Strategic merge patch.

use serde_json::Value;

use crate::{PatchError, type_name};

pub(crate) fn apply(_definition: &str, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::NotAnObject { found: type_name(patch) });
    }
    crate::merge::apply(current, patch)
}
