//! DaemonSets of extensions/v1beta1 and apps/v1beta2.
//!
//! They differ from apps/v1 in `spec.templateGeneration`, which apps/v1 carries in an annotation, and the oldest one in
//! its defaults: selector and labels come from the template, and updates wait for deletion.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::well_known::daemon_set::{ON_DELETE, TEMPLATE_GENERATION_ANNOTATION};

const TEMPLATE_GENERATION: &str = "templateGeneration";

/// Which of the versions that upstream no longer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Legacy {
    Extensions,
    AppsBeta,
}

/// The annotation does not hold a number: upstream answers 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {TEMPLATE_GENERATION_ANNOTATION} is not a number: {value:?}")]
pub struct TemplateGenerationError {
    pub value: String,
}

/// The template generation that annotations carry.
pub fn template_generation(
    annotations: &BTreeMap<String, String>,
) -> Result<Option<i64>, TemplateGenerationError> {
    let Some(value) = annotations.get(TEMPLATE_GENERATION_ANNOTATION) else { return Ok(None) };
    value.parse().map(Some).map_err(|_| TemplateGenerationError { value: value.clone() })
}

pub(super) fn from_legacy(object: &mut Map<String, Value>, version: Legacy) {
    let generation = object
        .get_mut("spec")
        .and_then(Value::as_object_mut)
        .and_then(|spec| spec.remove(TEMPLATE_GENERATION));
    if let Some(generation) = generation.filter(|generation| !generation.is_null()) {
        // Anything but a number goes into the annotation as it is and is refused there.
        let text = generation.as_i64().map_or_else(|| generation.to_string(), |number| number.to_string());
        if let Some(annotations) = annotations(object) {
            annotations.insert(TEMPLATE_GENERATION_ANNOTATION.to_owned(), Value::from(text));
        }
    }
    if version == Legacy::Extensions {
        extensions_defaults(object);
    }
}

pub(super) fn to_legacy(object: &mut Map<String, Value>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    let carried = annotations.remove(TEMPLATE_GENERATION_ANNOTATION);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    let number = carried.as_ref().and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok());
    if let (Some(number), Some(spec)) = (number, object.get_mut("spec").and_then(Value::as_object_mut)) {
        spec.insert(TEMPLATE_GENERATION.to_owned(), Value::from(number));
    }
}

fn extensions_defaults(object: &mut Map<String, Value>) {
    let labels = object
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"))
        .filter(|labels| labels.as_object().is_some_and(|labels| !labels.is_empty()))
        .cloned();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(labels) = &labels
            && spec.get("selector").is_none_or(Value::is_null)
        {
            spec.insert("selector".to_owned(), json!({ "matchLabels": labels }));
        }
        let strategy = spec.entry("updateStrategy").or_insert(Value::Null);
        if strategy.is_null() {
            *strategy = json!({});
        }
        if let Some(strategy) = strategy.as_object_mut() {
            let type_ = strategy.entry("type").or_insert(Value::Null);
            if type_.is_null() || type_ == "" {
                *type_ = Value::from(ON_DELETE);
            }
        }
    }
    let Some(labels) = labels else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        let own = metadata.entry("labels").or_insert(Value::Null);
        if own.is_null() || own.as_object().is_some_and(Map::is_empty) {
            *own = labels;
        }
    }
}

fn annotations(object: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let metadata = object.entry("metadata").or_insert_with(|| json!({})).as_object_mut()?;
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = json!({});
    }
    annotations.as_object_mut()
}
