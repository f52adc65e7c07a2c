//! The body of an apply: JSON or YAML that fits the kind's schema.
//!
//! Upstream's apply decodes without a type and then checks against the schema: a field that the kind does not have is an
//! error, whatever `fieldValidation` says, and so is an item that cannot be told from its neighbours.
//! Texts follow `structured-merge-diff/typed/validate.go`.

use std::collections::BTreeMap;

use api::scheme::Resource;
use patch::keys::{self, Structure};
use patch::managed::item_element;
use serde_json::Value;

use super::mismatch::{Definitions, Type, definitions};
use super::{duplicates, yaml_error};
use crate::error::ApiError;
use crate::options::FieldValidation;

/// Faults that one answer tells of; more do not help anybody.
const FAULTS_MAX: usize = 32;

/// A configuration of this kind, without managedFields.
pub fn read(
    body: &[u8],
    resource: &Resource,
    validation: FieldValidation,
    warn: &mut dyn FnMut(String),
) -> Result<Value, ApiError> {
    let config = parse(body, validation, warn)?;
    let text = |field: &str| config.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version != resource.api_version() || kind != resource.kind {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        return Err(ApiError::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|managed| !managed.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let mut check = Check { definitions: definitions(), path: String::new(), faults: Vec::new() };
    check.value(&Type::Object(resource.definition.to_owned()), None, &config);
    if check.faults.is_empty() {
        return Ok(config);
    }
    let metadata = |field: &str| config["metadata"][field].as_str().unwrap_or_default().to_owned();
    let told = match check.faults.as_slice() {
        [one] => one.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    // COMPAT(SSA): upstream's error has no class of its own, so that its answer is a 500.
    Err(ApiError::unclassified(format!(
        "failed to create typed patch object ({}/{}; {}/{}, Kind={kind}): {told}",
        metadata("namespace"),
        metadata("name"),
        resource.group,
        resource.version,
    )))
}

fn parse(body: &[u8], validation: FieldValidation, warn: &mut dyn FnMut(String)) -> Result<Value, ApiError> {
    let mut twice = Vec::new();
    // What kubectl sends is JSON, which YAML's parser would read the same way, at many times the cost.
    let config = match serde_json::from_slice::<Value>(body) {
        Ok(config) => {
            duplicates::find(body, &mut twice);
            config
        }
        Err(_) => {
            let last_wins = serde_saphyr::options! {
                duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
            };
            let told = |error: serde_saphyr::Error| {
                format!("error converting YAML to JSON: {}", yaml_error(&error.to_string()))
            };
            let config = serde_saphyr::from_slice_with_options::<Value>(body, last_wins)
                .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {}", told(error))))?;
            if let Err(error) = serde_saphyr::from_slice::<Value>(body) {
                twice.push(told(error));
            }
            config
        }
    };
    if !config.is_object() {
        return Err(ApiError::bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: the configuration is not an object",
        ));
    }
    match validation {
        FieldValidation::Strict if !twice.is_empty() => {
            Err(ApiError::bad_request(format!("error strict decoding YAML: {}", twice.join(", "))))
        }
        FieldValidation::Warn => {
            twice.into_iter().for_each(warn);
            Ok(config)
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(config),
    }
}

struct Check<'a> {
    definitions: &'a Definitions,
    /// `.spec.containers[name="a"]`.
    path: String,
    faults: Vec<String>,
}

impl Check<'_> {
    fn fault(&mut self, text: &str) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(if self.path.is_empty() {
                text.to_owned()
            } else {
                format!("{}: {text}", self.path)
            });
        }
    }

    fn within(&mut self, step: &str, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        check(self);
        self.path.truncate(length);
    }

    /// `list` says how the field's items are told apart.
    fn value(&mut self, wanted: &Type, list: Option<Structure>, found: &Value) {
        match (wanted, found) {
            (_, Value::Null) | (Type::Any, _) => {}
            (Type::Object(name), Value::Object(fields)) => {
                let definitions = self.definitions;
                let Some(types) = definitions.get(name) else { return };
                for (field, value) in fields {
                    self.within(&format!(".{field}"), |check| match types.get(field) {
                        Some(wanted) => {
                            let structure = keys::rule(name, field).map(|rule| rule.structure);
                            check.value(wanted, structure, value);
                        }
                        None => check.fault("field not declared in schema"),
                    });
                }
            }
            (Type::Map(wanted), Value::Object(values)) => {
                for (name, value) in values {
                    self.within(&format!(".{name}"), |check| check.value(wanted, None, value));
                }
            }
            (Type::List(wanted), Value::Array(items)) => self.items(wanted, list, items),
            (Type::String | Type::Bytes | Type::Time, Value::String(_))
            | (Type::Bool, Value::Bool(_))
            | (Type::Int32 | Type::Int64 | Type::Float, Value::Number(_)) => {}
            (Type::Object(_) | Type::Map(_), other) => {
                self.fault(&format!("expected map, got {}", go(other)))
            }
            (Type::List(_), other) => self.fault(&format!("expected list, got {}", go(other))),
            (Type::String | Type::Bytes | Type::Time, other) => {
                self.fault(&format!("expected string, got {}", go(other)));
            }
            (Type::Bool, other) => self.fault(&format!("expected boolean, got {}", go(other))),
            (Type::Int32 | Type::Int64 | Type::Float, other) => {
                self.fault(&format!("expected numeric (int or float), got {}", go_type(other)));
            }
        }
    }

    fn items(&mut self, wanted: &Type, list: Option<Structure>, items: &[Value]) {
        let definition = match wanted {
            Type::Object(name) => Some(name.as_str()),
            _ => None,
        };
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let step = match list {
                Some(structure @ (Structure::MapList(_) | Structure::SetList)) => {
                    match item_element(definition, structure, item) {
                        Ok(element) => element.to_string(),
                        Err(why) => {
                            self.fault(&format!("element {index}: {why}"));
                            continue;
                        }
                    }
                }
                _ => format!("[{index}]"),
            };
            let times = seen.entry(step.clone()).or_default();
            *times += 1;
            if *times == 2 {
                self.fault(&format!("duplicate entries for key {step}"));
            }
            self.within(&step, |check| check.value(wanted, None, item));
        }
    }
}

/// A value as Go's `%v` prints the parser's.
fn go(value: &Value) -> String {
    let shown = match value {
        Value::String(text) => format!("{text:?}"),
        Value::Object(_) => "map[string]interface {}{…}".to_owned(),
        Value::Array(_) => "[]interface {}{…}".to_owned(),
        other => other.to_string(),
    };
    format!("&value.valueUnstructured{{Value:{shown}}}")
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
