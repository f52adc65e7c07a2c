//! Tolerations and taints.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::{Complaints, text, text_value};
use crate::field::{FieldError, FieldErrors, Path, shown_value};
use crate::names;
use crate::well_known::taint::{NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE};

const EFFECTS: [&str; 3] = [NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE];

pub fn tolerations(tolerations: &[Toleration], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = path.index(i);
        let key = text(&toleration.key);
        let operator = text(&toleration.operator);
        let effect = text(&toleration.effect);
        let value = text(&toleration.value);
        if !key.is_empty() {
            errors.syntax(&path.child("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&path.child("operator"), operator, detail));
        }
        if toleration.toleration_seconds.is_some() && effect != NO_EXECUTE {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&path.child("effect"), effect, detail));
        }
        match operator {
            "" | "Equal" => {
                let complaints = names::label_value(value);
                if !complaints.is_empty() {
                    let detail = complaints.join(";");
                    errors.push(FieldError::invalid(&path.child("operator"), value, detail));
                }
            }
            "Exists" if !value.is_empty() => errors.push(FieldError::invalid(
                &path.child("operator"),
                shown_value(toleration),
                "value must be empty when `operator` is 'Exists'",
            )),
            "Exists" => {}
            other => {
                errors.push(FieldError::not_supported(&path.child("operator"), other, &["Equal", "Exists"]));
            }
        }
        if !effect.is_empty() {
            errors.one_of(&path.child("effect"), effect, &EFFECTS);
        }
    }
    errors
}

pub(super) fn taints(taints: &[Taint], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, taint) in taints.iter().enumerate() {
        let path = path.index(i);
        errors.syntax(&path.child("key"), &taint.key, names::qualified_name(&taint.key));
        let complaints = names::label_value(text(&taint.value));
        if !complaints.is_empty() {
            let detail = complaints.join(";");
            errors.push(FieldError::invalid(&path.child("value"), text_value(&taint.value), detail));
        }
        if errors.required_text(&path.child("effect"), &taint.effect) {
            errors.one_of(&path.child("effect"), &taint.effect, &EFFECTS);
        }
        let same = |other: &Taint| other.key == taint.key && other.effect == taint.effect;
        if taints[..i].iter().any(same) {
            let mut error = FieldError::duplicate(&path, shown_value(taint));
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
    errors
}
