//! PodDisruptionBudgets.
//!
//! Upstream: `pkg/apis/policy/validation`.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Complaints;
use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::selector::{self, SelectorValues, label_selector};
use crate::field::{FieldError, FieldErrors, Path, shown_value};
use crate::names;

/// Longest reason and message of a metav1.Condition.
const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

pub fn pod_disruption_budget_create(budget: &PodDisruptionBudget) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&budget.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    errors.extend(spec(budget, SelectorValues::Checked));
    errors
}

pub fn pod_disruption_budget_update(new: &PodDisruptionBudget, old: &PodDisruptionBudget) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    let before = old.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let tolerated = before.is_some_and(selector::has_bad_values);
    errors.extend(spec(new, if tolerated { SelectorValues::Tolerated } else { SelectorValues::Checked }));
    errors
}

pub fn pod_disruption_budget_status_update(
    new: &PodDisruptionBudget,
    old: &PodDisruptionBudget,
) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    let status = new.status.clone().unwrap_or_default();
    let path = Path::new("status");
    errors.extend(conditions(status.conditions.as_deref().unwrap_or_default(), &path.child("conditions")));
    for (field, count) in [
        ("disruptionsAllowed", status.disruptions_allowed),
        ("currentHealthy", status.current_healthy),
        ("desiredHealthy", status.desired_healthy),
        ("expectedPods", status.expected_pods),
    ] {
        errors.non_negative(&path.child(field), i64::from(count));
    }
    errors
}

fn spec(budget: &PodDisruptionBudget, values: SelectorValues) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let path = Path::new("spec");
    let empty = PodDisruptionBudgetSpec::default();
    let spec = budget.spec.as_ref().unwrap_or(&empty);
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid(&path, shown_value(spec), detail));
    }
    for (field, amount) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)]
    {
        if let Some(amount) = amount {
            errors.extend(share(amount, &path.child(field)));
        }
    }
    if let Some(selector) = &spec.selector {
        errors.extend(label_selector(selector, &path.child("selector"), values));
    }
    if let Some(policy) = &spec.unhealthy_pod_eviction_policy {
        let supported = ["AlwaysAllow", "IfHealthyBudget"];
        errors.one_of(&path.child("unhealthyPodEvictionPolicy"), policy, &supported);
    }
    errors
}

/// A count, or a percentage up to all.
fn share(amount: &IntOrString, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    match amount {
        IntOrString::Int(count) => errors.non_negative(path, i64::from(*count)),
        IntOrString::String(percent) => {
            let complaints = names::percent(percent);
            let digits = percent.trim_end_matches('%');
            // What does not fit a number is certainly too large.
            if complaints.is_empty() && digits.parse().unwrap_or(i64::MAX) > 100 {
                errors.push(FieldError::invalid(path, percent.as_str(), "must not be greater than 100%"));
            }
            errors.syntax(path, percent, complaints);
        }
    }
    errors
}

/// A list of metav1.Condition.
pub(super) fn conditions(conditions: &[Condition], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, condition) in conditions.iter().enumerate() {
        let path = path.index(i);
        if conditions[..i].iter().any(|other| other.type_ == condition.type_) {
            errors.push(FieldError::duplicate(&path.child("type"), condition.type_.as_str()));
        }
        errors.syntax(&path.child("type"), &condition.type_, names::qualified_name(&condition.type_));
        errors.one_of(&path.child("status"), &condition.status, &["False", "True", "Unknown"]);
        let generation = condition.observed_generation.unwrap_or_default();
        errors.non_negative(&path.child("observedGeneration"), generation);
        let time = condition.last_transition_time.0;
        if time == jiff::Timestamp::UNIX_EPOCH {
            errors.push(FieldError::required(&path.child("lastTransitionTime"), "must be set"));
        }
        let reason = condition.reason.as_str();
        if reason.is_empty() {
            errors.push(FieldError::required(&path.child("reason"), "must be set"));
        } else if !is_reason(reason) {
            let detail = names::form_error(
                "a condition reason must start with alphabetic character, optionally followed by a string of \
                 alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
                "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
                &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
            );
            errors.push(FieldError::invalid(&path.child("reason"), reason, detail));
        }
        if reason.len() > REASON_BYTES_MAX {
            errors.push(FieldError::too_long(&path.child("reason"), REASON_BYTES_MAX));
        }
        if condition.message.len() > MESSAGE_BYTES_MAX {
            errors.push(FieldError::too_long(&path.child("message"), MESSAGE_BYTES_MAX));
        }
    }
    errors
}

fn is_reason(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphabetic()
                && word(*last)
                && bytes.iter().all(|b| word(*b) || matches!(b, b',' | b':'))
        }
        _ => false,
    }
}
