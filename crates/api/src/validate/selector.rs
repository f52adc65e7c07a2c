//! `LabelSelector` objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Complaints, metadata};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;

/// Are values that are no label values refused? A stored selector that has some stays usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorValues {
    Checked,
    Tolerated,
}

/// A selector's keys, operators and values.
pub fn label_selector(selector: &LabelSelector, path: &Path, values: SelectorValues) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(labels) = &selector.match_labels {
        errors.extend(metadata::labels(labels, &path.child("matchLabels")));
    }
    for (i, term) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let given = term.values.as_deref().unwrap_or_default();
        match term.operator.as_str() {
            "In" | "NotIn" if given.is_empty() => errors.push(FieldError::required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !given.is_empty() => errors.push(FieldError::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                errors.push(FieldError::invalid(
                    &path.child("operator"),
                    other,
                    "not a valid selector operator",
                ));
            }
        }
        errors.syntax(&path.child("key"), &term.key, names::qualified_name(&term.key));
        if values == SelectorValues::Checked {
            for (i, value) in given.iter().enumerate() {
                errors.syntax(&path.child("values").index(i), value, names::label_value(value));
            }
        }
    }
    errors
}

/// True if the selector holds a value that `Checked` would refuse.
pub(super) fn has_bad_values(selector: &LabelSelector) -> bool {
    let values = selector.match_expressions.iter().flatten().flat_map(|term| term.values.iter().flatten());
    values.into_iter().any(|value| !names::label_value(value).is_empty())
}
