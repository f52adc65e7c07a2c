//! Errors that name a field, and the paths that name it.
//!
//! What validation returns: never one error but all of them, each with the path of the field in the request, what is
//! wrong and the value that was sent. It does not know HTTP: `apiserver::error` turns a list into a Status.
//! Texts follow upstream's `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt;

use serde_json::Value;

/// What is wrong with a field. The order is that of upstream's documentation, nothing depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TypeInvalid,
    InternalError,
}

impl FieldErrorKind {
    /// The words at the head of the message: `Invalid value`.
    pub fn text(self) -> &'static str {
        match self {
            FieldErrorKind::NotFound => "Not found",
            FieldErrorKind::Required => "Required value",
            FieldErrorKind::Duplicate => "Duplicate value",
            FieldErrorKind::Invalid | FieldErrorKind::TypeInvalid => "Invalid value",
            FieldErrorKind::NotSupported => "Unsupported value",
            FieldErrorKind::Forbidden => "Forbidden",
            FieldErrorKind::TooLong => "Too long",
            FieldErrorKind::TooMany => "Too many",
            FieldErrorKind::InternalError => "Internal error",
        }
    }

    /// The machine-readable reason in `status.details.causes[].reason`.
    pub fn cause_reason(self) -> &'static str {
        match self {
            FieldErrorKind::NotFound => "FieldValueNotFound",
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
            FieldErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            FieldErrorKind::InternalError => "InternalError",
        }
    }

    fn shows_value(self) -> bool {
        match self {
            FieldErrorKind::NotFound
            | FieldErrorKind::Duplicate
            | FieldErrorKind::Invalid
            | FieldErrorKind::NotSupported
            | FieldErrorKind::TooMany
            | FieldErrorKind::TypeInvalid => true,
            FieldErrorKind::Required
            | FieldErrorKind::Forbidden
            | FieldErrorKind::TooLong
            | FieldErrorKind::InternalError => false,
        }
    }
}

/// One thing wrong with one field of an object.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {}", self.body())]
pub struct FieldError {
    /// `spec.template.spec.containers[0].image`.
    pub path: String,
    pub kind: FieldErrorKind,
    /// The offending value; `Null` where there is none or where the kind does not show it.
    pub value: Value,
    pub detail: String,
}

/// Every error found in one object; empty means valid.
pub type FieldErrors = Vec<FieldError>;

impl FieldError {
    fn new(kind: FieldErrorKind, path: &Path, value: Value, detail: impl Into<String>) -> Self {
        FieldError { path: path.to_string(), kind, value, detail: detail.into() }
    }

    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, path, Value::String(String::new()), detail)
    }

    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, value.into(), detail)
    }

    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::TypeInvalid, path, value.into(), detail)
    }

    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, path, Value::String(String::new()), detail)
    }

    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, path, value.into(), "")
    }

    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, path, value.into(), "")
    }

    /// `supported` is listed in the order given, quoted.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let detail = if supported.is_empty() {
            String::new()
        } else {
            let quoted: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(FieldErrorKind::NotSupported, path, value.into(), detail)
    }

    pub fn too_long(path: &Path, bytes_max: usize) -> Self {
        let detail = format!("may not be more than {bytes_max} bytes");
        Self::new(FieldErrorKind::TooLong, path, Value::String(String::new()), detail)
    }

    pub fn too_many(path: &Path, actual: usize, items_max: usize) -> Self {
        let noun = if items_max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {items_max} {noun}");
        Self::new(FieldErrorKind::TooMany, path, Value::from(actual), detail)
    }

    pub fn internal(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::InternalError, path, Value::Null, detail)
    }

    /// The message without the path: what stands in `details.causes[].message`.
    pub fn body(&self) -> String {
        let mut body = self.kind.text().to_owned();
        if self.kind.shows_value() {
            body.push_str(": ");
            body.push_str(&shown(&self.value));
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }
}

/// The name of a field inside an object, built from the outside in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The object itself. Its children have no leading dot.
    pub fn root() -> Self {
        Path(String::new())
    }

    /// A path from its text: `Path::new("spec")`, or a prefix that is already composed.
    pub fn new(text: impl Into<String>) -> Self {
        Path(text.into())
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut text = String::with_capacity(self.0.len() + name.len() + 1);
        text.push_str(&self.0);
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(name);
        Path(text)
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Path(format!("{}[{index}]", self.0))
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Path(format!("{}[{key}]", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // COMPAT: upstream prints a nil path as <nil>; label selectors in query strings have one.
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// Any serialisable value as the value of an error. What cannot be serialised is shown as null.
pub fn shown_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn shown(value: &Value) -> String {
    match value {
        // COMPAT: Go replaces nil by the string "null" and then quotes it.
        Value::Null => "\"null\"".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_upstreams_form() {
        let spec = Path::new("spec");
        let check = |error: FieldError, expect: &str| assert_eq!(error.to_string(), expect);
        check(FieldError::invalid(&spec.child("x"), "v", "detail"), "spec.x: Invalid value: \"v\": detail");
        check(
            FieldError::invalid(&spec.child("n"), -1, "must be positive"),
            "spec.n: Invalid value: -1: must be positive",
        );
        check(
            FieldError::invalid(&spec.child("n"), Value::Null, "no"),
            "spec.n: Invalid value: \"null\": no",
        );
        check(FieldError::required(&spec.child("x"), ""), "spec.x: Required value");
        check(FieldError::required(&spec.child("x"), "why"), "spec.x: Required value: why");
        check(
            FieldError::not_supported(&spec.child("x"), "C", &["A", "B"]),
            "spec.x: Unsupported value: \"C\": supported values: \"A\", \"B\"",
        );
        check(FieldError::forbidden(&spec, "no"), "spec: Forbidden: no");
        check(FieldError::duplicate(&spec.child("a").index(1), "a"), "spec.a[1]: Duplicate value: \"a\"");
        check(FieldError::too_long(&spec.key("k"), 5), "spec[k]: Too long: may not be more than 5 bytes");
        check(FieldError::too_many(&spec, 5, 3), "spec: Too many: 5: must have at most 3 items");
        assert_eq!(Path::root().child("a").child("b").to_string(), "a.b");
        assert_eq!(Path::root().to_string(), "<nil>");
    }

    #[test]
    fn every_kind_has_a_cause_reason() {
        assert_eq!(FieldErrorKind::NotSupported.cause_reason(), "FieldValueNotSupported");
        assert_eq!(FieldErrorKind::Invalid.cause_reason(), "FieldValueInvalid");
        assert_eq!(FieldErrorKind::TooLong.cause_reason(), "FieldValueTooLong");
    }
}
