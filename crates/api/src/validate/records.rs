//! Leases, PriorityClasses and ControllerRevisions.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::{Complaints, text, text_value};
use crate::field::{FieldError, FieldErrors, Path};
use crate::well_known::priority;

pub fn lease_create(lease: &Lease) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&lease.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    errors.extend(lease_spec(lease));
    errors
}

pub fn lease_update(new: &Lease, old: &Lease) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(lease_spec(new));
    errors
}

fn lease_spec(lease: &Lease) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let path = Path::new("spec");
    let Some(spec) = &lease.spec else { return errors };
    if let Some(seconds) = spec.lease_duration_seconds
        && seconds <= 0
    {
        let detail = "must be greater than 0";
        errors.push(FieldError::invalid(&path.child("leaseDurationSeconds"), seconds, detail));
    }
    if let Some(count) = spec.lease_transitions {
        errors.non_negative(&path.child("leaseTransitions"), i64::from(count));
    }
    if let Some(holder) = &spec.holder_identity
        && holder.is_empty()
    {
        let detail = "must not be empty";
        errors.push(FieldError::invalid(&path.child("holderIdentity"), "", detail));
    }
    errors
}

pub fn priority_class_create(class: &PriorityClass) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&class.metadata, Scope::Cluster, NameSyntax::Subdomain, &path);
    let name = text(&class.metadata.name);
    if name.starts_with(priority::SYSTEM_PREFIX) {
        if system_value(name) != Some(class.value) {
            let detail = "priority class names with 'system-' prefix are reserved for system use only";
            let mut error = FieldError::forbidden(&path.child("name"), detail);
            if let Some(value) = system_value(name) {
                error.detail = format!("{detail}. error: value of {name} PriorityClass must be {value}");
            }
            errors.push(error);
        }
    } else if class.value > priority::USER_VALUE_MAX {
        let detail =
            format!("maximum allowed value of a user defined priority is {}", priority::USER_VALUE_MAX);
        errors.push(FieldError::forbidden(&Path::new("value"), detail));
    }
    if let Some(policy) = &class.preemption_policy {
        errors.one_of(&Path::new("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]);
    }
    errors
}

pub fn priority_class_update(new: &PriorityClass, old: &PriorityClass) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    if new.value != old.value {
        errors.push(FieldError::forbidden(&Path::new("value"), "may not be changed in an update."));
    }
    if text(&new.preemption_policy) != text(&old.preemption_policy) {
        let path = Path::new("preemptionPolicy");
        errors.push(FieldError::invalid(&path, text_value(&new.preemption_policy), super::IMMUTABLE));
    }
    errors
}

fn system_value(name: &str) -> Option<i32> {
    match name {
        priority::SYSTEM_CLUSTER_CRITICAL => Some(priority::SYSTEM_CLUSTER_CRITICAL_VALUE),
        priority::SYSTEM_NODE_CRITICAL => Some(priority::SYSTEM_NODE_CRITICAL_VALUE),
        _ => None,
    }
}

pub fn controller_revision_create(revision: &ControllerRevision) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&revision.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    errors.extend(revision_contents(revision));
    errors
}

pub fn controller_revision_update(new: &ControllerRevision, old: &ControllerRevision) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(revision_contents(new));
    errors.immutable(&Path::new("data"), &new.data, &old.data);
    errors
}

fn revision_contents(revision: &ControllerRevision) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if revision.data.as_ref().is_none_or(|data| data.0.is_null()) {
        errors.push(FieldError::required(&Path::new("data"), "data is mandatory"));
    }
    errors.non_negative(&Path::new("revision"), revision.revision);
    errors
}
