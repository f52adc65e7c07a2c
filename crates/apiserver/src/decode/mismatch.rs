//! What in a body does not have its field's type, in the words of upstream's decoder.
//!
//! Asked only when typed decoding has failed, so it may cost a walk. Upstream decodes in Go, whose error names the
//! innermost struct, the path without indexes and the Go type (`encoding/json` `UnmarshalTypeError`, kept by
//! `sigs.k8s.io/json`). Go's own names of strings with few values (`v1.RestartPolicy`) are not in the schema: they are
//! told as `string`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use crate::openapi;

/// A type as far as JSON can miss it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Bool,
    Int32,
    Int64,
    Float,
    Bytes,
    Time,
    /// Another definition.
    Object(String),
    List(Box<Type>),
    Map(Box<Type>),
    /// Anything, or a type that decodes itself (quantities, numbers or strings).
    Any,
}

/// Fields by name, of each definition that has any.
pub(super) type Definitions = BTreeMap<String, BTreeMap<String, Type>>;

/// The first value of `body` that does not have its field's type: upstream's text. Nothing where the schema sees no fault.
pub fn told(definition: &str, body: &Value) -> Option<String> {
    let root = Type::Object(definition.to_owned());
    Walk { definitions: definitions(), path: Vec::new(), within: "" }.value(&root, body).err()
}

/// Those of all served kinds.
pub(super) fn definitions() -> &'static Definitions {
    static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
    DEFINITIONS.get_or_init(|| read(&openapi::definitions()))
}

fn read(schemas: &BTreeMap<String, Value>) -> Definitions {
    let fields = |schema: &Value| {
        let properties = schema.get("properties")?.as_object()?;
        Some(properties.iter().map(|(field, property)| (field.clone(), type_of(property))).collect())
    };
    schemas.iter().filter_map(|(name, schema)| Some((name.clone(), fields(schema)?))).collect()
}

fn type_of(property: &Value) -> Type {
    if let Some(name) = openapi::referred(property) {
        return match name.rsplit_once('.').map_or(name, |(_, last)| last) {
            "Time" | "MicroTime" => Type::Time,
            "Quantity" | "IntOrString" | "RawExtension" | "FieldsV1" => Type::Any,
            _ => Type::Object(name.to_owned()),
        };
    }
    let word = |key: &str| property.get(key).and_then(Value::as_str).unwrap_or_default();
    match (word("type"), word("format")) {
        ("string", "byte") => Type::Bytes,
        ("string", "date-time") => Type::Time,
        ("string", "int-or-string") => Type::Any,
        ("string", _) => Type::String,
        ("boolean", _) => Type::Bool,
        ("integer", "int32") => Type::Int32,
        ("integer", _) => Type::Int64,
        ("number", _) => Type::Float,
        ("array", _) => Type::List(Box::new(property.get("items").map_or(Type::Any, type_of))),
        ("object", _) => match property.get("additionalProperties") {
            Some(values) if values.is_object() => Type::Map(Box::new(type_of(values))),
            _ => Type::Any,
        },
        _ => Type::Any,
    }
}

impl Type {
    /// As Go prints it.
    fn go(&self) -> String {
        match self {
            Type::String => "string".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Int32 => "int32".to_owned(),
            Type::Int64 => "int64".to_owned(),
            Type::Float => "float64".to_owned(),
            Type::Bytes => "[]uint8".to_owned(),
            Type::Time => "v1.Time".to_owned(),
            // `io.k8s.api.apps.v1.DaemonSetSpec`: its package is the version.
            Type::Object(name) => match name.rmatch_indices('.').nth(1) {
                Some((dot, _)) => name[dot + 1..].to_owned(),
                None => name.clone(),
            },
            Type::List(item) => format!("[]{}", item.go()),
            Type::Map(value) => format!("map[string]{}", value.go()),
            Type::Any => "interface {}".to_owned(),
        }
    }
}

/// A place in the body.
struct Walk<'a> {
    definitions: &'a Definitions,
    path: Vec<&'a str>,
    /// The innermost object's kind.
    within: &'a str,
}

impl<'a> Walk<'a> {
    fn value(&mut self, wanted: &'a Type, found: &'a Value) -> Result<(), String> {
        match (wanted, found) {
            (_, Value::Null) | (Type::Any, _) => Ok(()),
            (Type::Object(name), Value::Object(fields)) => {
                let Some(types) = self.definitions.get(name) else { return Ok(()) };
                let outer = self.within;
                for (field, value) in fields {
                    // Fields that the kind does not have are the business of fieldValidation.
                    let Some(wanted) = types.get(field) else { continue };
                    self.within = name.rsplit_once('.').map_or(name, |(_, last)| last);
                    self.path.push(field);
                    self.value(wanted, value)?;
                    self.path.pop();
                }
                self.within = outer;
                Ok(())
            }
            (Type::List(wanted), Value::Array(items)) => {
                items.iter().try_for_each(|item| self.value(wanted, item))
            }
            (Type::Map(wanted), Value::Object(values)) => {
                values.values().try_for_each(|value| self.value(wanted, value))
            }
            (Type::String | Type::Bytes, Value::String(_)) | (Type::Bool, Value::Bool(_)) => Ok(()),
            (Type::Float, Value::Number(_)) => Ok(()),
            (Type::Time, Value::String(text)) => match text.parse::<jiff::Timestamp>() {
                Ok(_) => Ok(()),
                Err(_) => Err(format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
                )),
            },
            (Type::Time, other) => {
                Err(format!("json: cannot unmarshal {} into Go value of type string", word(other)))
            }
            (Type::Int32, Value::Number(number)) => match number.as_i64() {
                Some(whole) if i32::try_from(whole).is_ok() => Ok(()),
                _ => Err(self.told(wanted, &format!("number {number}"))),
            },
            (Type::Int64, Value::Number(number)) => match number.as_i64() {
                Some(_) => Ok(()),
                None => Err(self.told(wanted, &format!("number {number}"))),
            },
            (_, other) => Err(self.told(wanted, word(other))),
        }
    }

    fn told(&self, wanted: &Type, found: &str) -> String {
        let into = if self.path.is_empty() {
            "Go value".to_owned()
        } else {
            format!("Go struct field {}.{}", self.within, self.path.join("."))
        };
        format!("json: cannot unmarshal {found} into {into} of type {}", wanted.go())
    }
}

/// What a value is, in the decoder's words.
pub(super) fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn first_fault_is_told_as_upstreams_decoder_does() {
        let daemon_set = "io.k8s.api.apps.v1.DaemonSet";
        let pod_spec = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
        for (body, text) in [
            (json!({"spec": "..."}), "string into Go struct field DaemonSet.spec of type v1.DaemonSetSpec"),
            (json!({"metadata": []}), "array into Go struct field DaemonSet.metadata of type v1.ObjectMeta"),
            (
                json!({"metadata": {"labels": {"a": 5}}}),
                "number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                json!({"metadata": {"labels": "a"}}),
                "string into Go struct field ObjectMeta.metadata.labels of type map[string]string",
            ),
            (
                json!({"spec": {"minReadySeconds": "3"}}),
                "string into Go struct field DaemonSetSpec.spec.minReadySeconds of type int32",
            ),
            (
                json!({"spec": {"minReadySeconds": 1.5}}),
                "number 1.5 into Go struct field DaemonSetSpec.spec.minReadySeconds of type int32",
            ),
            (
                pod_spec(json!({"containers": {"name": "a"}})),
                "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
            ),
            (
                pod_spec(json!({"containers": [{"name": "a"}, {"env": [{"value": true}]}]})),
                "bool into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
            ),
            (
                pod_spec(json!({"hostNetwork": "yes"})),
                "string into Go struct field PodSpec.spec.template.spec.hostNetwork of type bool",
            ),
        ] {
            assert_eq!(told(daemon_set, &body).unwrap(), format!("json: cannot unmarshal {text}"), "{body}");
        }
        assert_eq!(
            told(daemon_set, &json!([])).unwrap(),
            "json: cannot unmarshal array into Go value of type v1.DaemonSet"
        );
        let time = json!({"metadata": {"creationTimestamp": "yesterday"}});
        assert_eq!(
            told(daemon_set, &time).unwrap(),
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""
        );
        let fine = json!({"metadata": {"name": null}, "spec": {"unknown": 1, "updateStrategy": {"rollingUpdate": {"maxSurge": "10%"}}}});
        assert_eq!(told(daemon_set, &fine), None);
    }
}
