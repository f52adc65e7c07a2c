//! JSON patch (RFC 6902).
//!
//! Upstream: `jsonPatcher.applyJSPatch` in `apiserver/pkg/endpoints/handlers/patch.go`: undecodable → 400, too many
//! operations → 413, an operation that does not apply or a test that fails → 422.

use json_patch::PatchErrorKind;
use serde_json::Value;

use crate::{JSON_PATCH_OPERATIONS_MAX, PatchError};

pub(crate) fn apply(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    if let Some(operations) = patch.as_array().map(Vec::len)
        && operations > JSON_PATCH_OPERATIONS_MAX
    {
        return Err(PatchError::TooManyOperations { operations });
    }
    let operations: json_patch::Patch =
        serde::Deserialize::deserialize(patch).map_err(PatchError::DecodeOperations)?;
    let mut patched = current.clone();
    // On an error the half-patched copy is dropped, so nothing need be undone.
    json_patch::patch_unsafe(&mut patched, &operations).map_err(|source| match source.kind {
        PatchErrorKind::TestFailed => PatchError::TestFailed { path: source.path.to_string() },
        _ => {
            PatchError::ApplyOperation { operation: source.operation, path: source.path.to_string(), source }
        }
    })?;
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::PatchErrorClass;

    #[test]
    fn operations_apply_in_order() {
        let current = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"list": [1, 2, 3]}});
        let patch = json!([
            {"op": "test", "path": "/metadata/labels/a", "value": "1"},
            {"op": "add", "path": "/metadata/labels/b~1c", "value": "2"},
            {"op": "remove", "path": "/spec/list/0"},
            {"op": "add", "path": "/spec/list/-", "value": 4},
            {"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/labels/d"},
            {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/e"},
            {"op": "replace", "path": "/spec/list/0", "value": 9},
        ]);
        assert_eq!(
            apply(&current, &patch).unwrap(),
            json!({"metadata": {"labels": {"b/c": "2", "d": "1", "e": "1"}}, "spec": {"list": [9, 3, 4]}})
        );
    }

    #[test]
    fn each_failure_has_its_class() {
        let current = json!({"a": 1});
        let class = |patch: Value| apply(&current, &patch).unwrap_err().class();
        assert_eq!(class(json!([{"op": "test", "path": "/a", "value": 2}])), PatchErrorClass::Unprocessable);
        assert_eq!(class(json!([{"op": "remove", "path": "/b"}])), PatchErrorClass::Unprocessable);
        assert_eq!(class(json!([{"op": "fly", "path": "/a"}])), PatchErrorClass::BadRequest);
        assert_eq!(class(json!({"a": 2})), PatchErrorClass::BadRequest);
        let many = vec![json!({"op": "test", "path": "/a", "value": 1}); JSON_PATCH_OPERATIONS_MAX + 1];
        assert_eq!(class(Value::Array(many)), PatchErrorClass::TooLarge);
    }

    #[test]
    fn a_failed_patch_names_the_operation_and_path() {
        let error = apply(&json!({"a": 1}), &json!([{"op": "remove", "path": "/b"}])).unwrap_err();
        assert!(matches!(&error, PatchError::ApplyOperation { operation: 0, path, .. } if path == "/b"));
    }
}
