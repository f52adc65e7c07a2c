//! What a patch came to, and how a refusal shows it.
//!
//! A patch is refused as the patch: 422 at the field `patch`, whose value is the patched object, or of a strategic patch
//! the patch itself in Go's notation. Upstream: `apiserver/pkg/endpoints/handlers/patch.go`, `jsonPatcher` and `smpPatcher`.

use std::fmt::Write as _;
use std::sync::Arc;

use api::field::{FieldError, Path};
use serde_json::Value;

use super::duplicates;
use crate::error::ApiError;
use crate::options::FieldValidation;

/// An object that a patch has made of another.
#[derive(Debug, Clone)]
pub struct Patched {
    pub(super) value: Value,
    /// Of a strategic patch: what was sent.
    strategic: Option<Arc<Value>>,
    /// The patch's fields that stand twice.
    pub(super) repeated: Vec<String>,
}

impl Patched {
    pub fn new(value: Value, strategic: Option<Arc<Value>>, repeated: Vec<String>) -> Patched {
        Patched { value, strategic, repeated }
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    pub fn with(self, change: impl FnOnce(Value) -> Value) -> Patched {
        Patched { value: change(self.value), ..self }
    }

    pub(super) fn refused(&self, why: &str) -> ApiError {
        let shown = match &self.strategic {
            None => self.value.to_string(),
            Some(document) => {
                let mut shown = String::new();
                write_go(document, &mut shown);
                shown
            }
        };
        ApiError::invalid("", "", "", &[FieldError::invalid(&Path::new("patch"), shown, why)])
    }
}

/// The fields of a patch that stand twice, unless nobody wants to know.
pub fn repeated(patch: &[u8], validation: FieldValidation) -> Vec<String> {
    let mut found = Vec::new();
    if validation != FieldValidation::Ignore {
        duplicates::find(patch, &mut found);
    }
    found
}

/// As Go prints a map: `map[data:map[k:v] finalizers:[a b]]`.
fn write_go(value: &Value, out: &mut String) {
    // String's Write does not fail.
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(bool) => drop(write!(out, "{bool}")),
        Value::Number(number) => drop(write!(out, "{number}")),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                write_go(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push_str("map[");
            for (index, (name, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                write_go(value, out);
            }
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strategic_patches_are_shown_as_go_prints_them() {
        let mut shown = String::new();
        write_go(&json!({"b": [1, true, {}], "a": {"x": null, "c": "d e"}}), &mut shown);
        assert_eq!(shown, "map[a:map[c:d e x:<nil>] b:[1 true map[]]]");
    }
}
