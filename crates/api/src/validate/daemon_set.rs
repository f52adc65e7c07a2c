//! DaemonSets: selector, template, update strategy, status.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::selector::{SelectorValues, has_bad_values, label_selector};
use super::{Complaints, each_once, pod, text, text_value};
use crate::field::{FieldError, FieldErrors, Path, shown_value};
use crate::label::Selector;
use crate::names;
use crate::well_known::{daemon_set as daemon, restart_policy};

/// Did the request carry `spec.selector`? The typed object cannot tell an absent selector from an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorPresence {
    Absent,
    Present,
}

impl SelectorPresence {
    /// From the raw request: an explicit null counts as absent.
    pub fn of(daemon_set: &serde_json::Value) -> Self {
        match daemon_set.pointer("/spec/selector") {
            None | Some(serde_json::Value::Null) => SelectorPresence::Absent,
            Some(_) => SelectorPresence::Present,
        }
    }
}

/// May an update change the selector? Only through extensions/v1beta1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorChange {
    Refused,
    Allowed,
}

pub fn daemon_set_create(daemon_set: &DaemonSet, presence: SelectorPresence) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors =
        object_meta_create(&daemon_set.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    let empty = DaemonSetSpec::default();
    errors.extend(spec(daemon_set.spec.as_ref().unwrap_or(&empty), presence, SelectorValues::Checked));
    each_once(errors)
}

pub fn daemon_set_update(
    new: &DaemonSet,
    old: &DaemonSet,
    presence: SelectorPresence,
    change: SelectorChange,
) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    let empty = DaemonSetSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let values =
        if has_bad_values(&old.selector) { SelectorValues::Tolerated } else { SelectorValues::Checked };
    errors.extend(spec(new, presence, values));
    if change == SelectorChange::Refused && new.selector != old.selector {
        let shown = match presence {
            SelectorPresence::Absent => serde_json::Value::Null,
            SelectorPresence::Present => shown_value(&new.selector),
        };
        errors.push(FieldError::invalid(&Path::new("spec.selector"), shown, super::IMMUTABLE));
    }
    each_once(errors)
}

pub fn daemon_set_status_update(new: &DaemonSet, old: &DaemonSet) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    let status = new.status.clone().unwrap_or_default();
    let path = Path::new("status");
    let counters = [
        ("currentNumberScheduled", i64::from(status.current_number_scheduled)),
        ("numberMisscheduled", i64::from(status.number_misscheduled)),
        ("desiredNumberScheduled", i64::from(status.desired_number_scheduled)),
        ("numberReady", i64::from(status.number_ready)),
        ("observedGeneration", status.observed_generation.unwrap_or_default()),
        ("updatedNumberScheduled", i64::from(status.updated_number_scheduled.unwrap_or_default())),
        ("numberAvailable", i64::from(status.number_available.unwrap_or_default())),
        ("numberUnavailable", i64::from(status.number_unavailable.unwrap_or_default())),
        ("collisionCount", i64::from(status.collision_count.unwrap_or_default())),
    ];
    for (field, value) in counters {
        errors.non_negative(&path.child(field), value);
    }
    let before = old.status.as_ref().and_then(|status| status.collision_count);
    let after = status.collision_count;
    if before.is_some_and(|before| after.is_none_or(|after| after < before)) {
        let value = i64::from(after.unwrap_or_default());
        errors.push(FieldError::invalid(&path.child("collisionCount"), value, "cannot be decremented"));
    }
    errors
}

fn spec(spec: &DaemonSetSpec, presence: SelectorPresence, values: SelectorValues) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let path = Path::new("spec");
    let template = path.child("template");
    errors.extend(label_selector(&spec.selector, &path.child("selector"), values));

    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let selector = match presence {
        SelectorPresence::Absent => Ok(Selector::Nothing),
        SelectorPresence::Present => Selector::from_label_selector(&spec.selector),
    };
    if selector.as_ref().is_ok_and(|selector| !selector.matches(&labels)) {
        // COMPAT(apps/v1): an absent selector selects nothing, so it is told here and not at spec.selector.
        errors.push(FieldError::invalid(
            &template.child("metadata").child("labels"),
            if labels.is_empty() { serde_json::Value::Null } else { shown_value(&labels) },
            "`selector` does not match template `labels`",
        ));
    }
    if presence == SelectorPresence::Present && selector.as_ref().is_ok_and(Selector::is_everything) {
        let detail = "empty selector is invalid for daemonset";
        errors.push(FieldError::invalid(&path.child("selector"), shown_value(&spec.selector), detail));
    }

    errors.extend(pod::pod_template_spec(&spec.template, &template));
    let pod_path = template.child("spec");
    let empty = Default::default();
    let pod = spec.template.spec.as_ref().unwrap_or(&empty);
    for (i, volume) in pod.volumes.iter().flatten().enumerate() {
        if let Some(disk) = &volume.gce_persistent_disk
            && disk.read_only != Some(true)
        {
            let path = pod_path.child("volumes").index(i).child("gcePersistentDisk").child("readOnly");
            let detail = "must be true for replicated pods > 1; GCE PD can only be mounted on multiple machines if it \
                          is read-only";
            errors.push(FieldError::invalid(&path, false, detail));
        }
    }
    if text(&pod.restart_policy) != restart_policy::ALWAYS {
        errors.push(FieldError::not_supported(
            &pod_path.child("restartPolicy"),
            text_value(&pod.restart_policy),
            &[restart_policy::ALWAYS],
        ));
    }
    if pod.active_deadline_seconds.is_some() {
        errors.push(FieldError::forbidden(
            &pod_path.child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in DaemonSet is not Supported",
        ));
    }
    errors
        .non_negative(&path.child("minReadySeconds"), i64::from(spec.min_ready_seconds.unwrap_or_default()));
    errors.extend(update_strategy(spec.update_strategy.as_ref(), &path.child("updateStrategy")));
    errors.non_negative(
        &path.child("revisionHistoryLimit"),
        i64::from(spec.revision_history_limit.unwrap_or_default()),
    );
    errors
}

fn update_strategy(strategy: Option<&DaemonSetUpdateStrategy>, path: &Path) -> FieldErrors {
    let empty = DaemonSetUpdateStrategy::default();
    let strategy = strategy.unwrap_or(&empty);
    match (text(&strategy.type_), &strategy.rolling_update) {
        // A block under OnDelete is kept and ignored.
        (daemon::ON_DELETE, _) => FieldErrors::new(),
        (daemon::ROLLING_UPDATE, None) => vec![FieldError::required(&path.child("rollingUpdate"), "")],
        (daemon::ROLLING_UPDATE, Some(block)) => rolling_update(block, &path.child("rollingUpdate")),
        // COMPAT(apps/v1): told at the struct, not at its type.
        _ => {
            let supported = [daemon::ROLLING_UPDATE, daemon::ON_DELETE];
            vec![FieldError::not_supported(path, shown_value(strategy), &supported)]
        }
    }
}

fn rolling_update(block: &RollingUpdateDaemonSet, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let zero = IntOrString::Int(0);
    let unavailable = block.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = block.max_surge.as_ref().unwrap_or(&zero);
    let unavailable_path = path.child("maxUnavailable");
    let surge_path = path.child("maxSurge");
    for (value, path) in [(unavailable, &unavailable_path), (surge, &surge_path)] {
        match value {
            IntOrString::Int(count) => errors.non_negative(path, i64::from(*count)),
            IntOrString::String(percent) => errors.syntax(path, percent, names::percent(percent)),
        }
    }
    for (value, path) in [(unavailable, &unavailable_path), (surge, &surge_path)] {
        if let IntOrString::String(percent) = value
            && names::percent(percent).is_empty()
            && percentage(percent) > 100
        {
            errors.push(FieldError::invalid(path, percent.as_str(), "must not be greater than 100%"));
        }
    }
    match (amount(unavailable) != 0, amount(surge) != 0) {
        (true, true) => errors.push(FieldError::invalid(
            &surge_path,
            shown_value(surge),
            "may not be set when maxUnavailable is non-zero",
        )),
        (false, false) => {
            errors.push(FieldError::required(&unavailable_path, "cannot be 0 when maxSurge is 0"));
        }
        (true, false) | (false, true) => {}
    }
    errors
}

/// A percentage of any length; what does not fit is certainly too large.
fn percentage(percent: &str) -> i64 {
    percent.trim_end_matches('%').parse().unwrap_or(i64::MAX)
}

/// The number in a count or percentage; a malformed text counts as zero.
fn amount(value: &IntOrString) -> i64 {
    match value {
        IntOrString::Int(count) => i64::from(*count),
        IntOrString::String(percent) if names::percent(percent).is_empty() => percentage(percent),
        IntOrString::String(digits) => digits.parse().unwrap_or_default(),
    }
}
