//! Events: little is asked of those of core/v1, which any program writes; much of those of events.k8s.io/v1.
//!
//! Paths are core/v1's for both, but for the one field whose name upstream tells by the version. Upstream:
//! `pkg/apis/core/validation/events.go`.

use k8s_openapi::api::core::v1::{Event, EventSeries};

use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::{Complaints, text};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;
use crate::well_known::namespace;

/// The version that an Event is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventVersion {
    Core,
    Events,
}

/// Longest reason, action and reporting instance in bytes, as upstream.
const WORD_BYTES_MAX: usize = 128;
/// Longest message in bytes, as upstream.
const MESSAGE_BYTES_MAX: usize = 1024;

pub fn event_create(event: &Event, version: EventVersion) -> FieldErrors {
    let path = Path::new("metadata");
    // COMPAT(v1): events of core/v1 may have any name that fits into a URL.
    let syntax = match version {
        EventVersion::Core => NameSyntax::PathSegment,
        EventVersion::Events => NameSyntax::Subdomain,
    };
    let mut errors = object_meta_create(&event.metadata, Scope::Namespaced, syntax, &path);
    errors.extend(always(event, version));
    if version == EventVersion::Core {
        return errors;
    }
    errors.extend(series(event.series.as_ref()));
    if event.event_time.is_none() {
        errors.push(FieldError::required(&Path::new("eventTime"), ""));
    }
    let kind = text(&event.type_);
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid(&Path::new("type"), "", format!("has invalid value: {kind}")));
    }
    let source = event.source.as_ref();
    for (field, is_set) in [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", event.count.unwrap_or(0) != 0),
        ("source", source.is_some_and(|s| !text(&s.component).is_empty() || !text(&s.host).is_empty())),
    ] {
        if is_set {
            errors.push(FieldError::invalid(&Path::new(field), "", "needs to be unset"));
        }
    }
    errors
}

pub fn event_update(new: &Event, old: &Event, version: EventVersion) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(always(new, version));
    if version == EventVersion::Core {
        return errors;
    }
    if new.series != old.series {
        errors.extend(series(new.series.as_ref()));
    }
    errors.immutable(&Path::new("involvedObject"), &new.involved_object, &old.involved_object);
    let mut same_text = |field: &str, new: &Option<String>, old: &Option<String>| {
        errors.immutable(&Path::new(field), &text(new), &text(old));
    };
    same_text("reason", &new.reason, &old.reason);
    same_text("message", &new.message, &old.message);
    same_text("type", &new.type_, &old.type_);
    same_text("action", &new.action, &old.action);
    same_text("reportingController", &new.reporting_component, &old.reporting_component);
    same_text("reportingInstance", &new.reporting_instance, &old.reporting_instance);
    errors.immutable(&Path::new("source"), &new.source, &old.source);
    errors.immutable(&Path::new("firstTimestamp"), &new.first_timestamp, &old.first_timestamp);
    errors.immutable(&Path::new("lastTimestamp"), &new.last_timestamp, &old.last_timestamp);
    errors.immutable(&Path::new("count"), &new.count.unwrap_or(0), &old.count.unwrap_or(0));
    errors.immutable(&Path::new("eventTime"), &new.event_time, &old.event_time);
    errors.immutable(&Path::new("related"), &new.related, &old.related);
    errors
}

/// What is asked in both versions: more of an event that says when it happened, as only newer programs do.
fn always(event: &Event, version: EventVersion) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (own, object) = (text(&event.metadata.namespace), text(&event.involved_object.namespace));
    let says_when = event.event_time.is_some();
    // An event lies beside its object; those about objects without a namespace lie in `default`.
    let fits = match object.is_empty() {
        true => own == namespace::DEFAULT || (says_when && own == namespace::KUBE_SYSTEM),
        false => says_when || own == object,
    };
    if !fits {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid(&Path::new("involvedObject.namespace"), object, detail));
    }
    if !says_when {
        return errors;
    }
    let controller = Path::new(match version {
        EventVersion::Core => "reportingComponent",
        EventVersion::Events => "reportingController",
    });
    let name = text(&event.reporting_component);
    errors.required_text(&controller, name);
    errors.syntax(&controller, name, names::qualified_name(name));
    for (field, value) in [
        ("reportingInstance", &event.reporting_instance),
        ("action", &event.action),
        ("reason", &event.reason),
    ] {
        errors.required_text(&Path::new(field), text(value));
        errors.extend(too_long(field, text(value), WORD_BYTES_MAX));
    }
    errors.extend(too_long("message", text(&event.message), MESSAGE_BYTES_MAX));
    errors
}

fn too_long(field: &str, value: &str, bytes_max: usize) -> Option<FieldError> {
    let detail = || format!("can have at most {bytes_max} characters");
    (value.len() > bytes_max).then(|| FieldError::invalid(&Path::new(field), "", detail()))
}

fn series(series: Option<&EventSeries>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let Some(series) = series else { return errors };
    if series.count.unwrap_or(0) < 2 {
        errors.push(FieldError::invalid(&Path::new("series.count"), "", "should be at least 2"));
    }
    if series.last_observed_time.is_none() {
        errors.push(FieldError::required(&Path::new("series.lastObservedTime"), ""));
    }
    errors
}
