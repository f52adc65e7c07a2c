//! JSON merge patch (RFC 7386).
//!
//! Upstream answers 400 for a patch that is not an object, because the object it would leave is none.

use serde_json::Value;

use crate::{PatchError, type_name};

pub(crate) fn apply(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::NotAnObject { found: type_name(patch) });
    }
    let mut merged = current.clone();
    json_patch::merge(&mut merged, patch);
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::PatchErrorClass;

    #[test]
    fn maps_merge_lists_are_replaced_nulls_remove() {
        let current = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        let patch = json!({"a": {"b": null, "c": [3], "e": {"f": null, "g": 1}}, "h": null});
        assert_eq!(apply(&current, &patch).unwrap(), json!({"a": {"c": [3], "e": {"g": 1}}, "d": 1}));
    }

    #[test]
    fn a_patch_that_is_no_object_is_a_bad_request() {
        for patch in [json!([]), json!("x"), json!(null), json!(1)] {
            assert_eq!(apply(&json!({}), &patch).unwrap_err().class(), PatchErrorClass::BadRequest);
        }
    }
}
