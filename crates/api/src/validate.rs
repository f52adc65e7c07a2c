//! Validation: everything that is wrong with an object that decoded, by field.
//!
//! Two functions a kind: `…_create` for a new object and `…_update` for a change (which includes what a create
//! checks). They run after defaulting and see nothing but the objects. Errors come back in upstream's order where it is
//! fixed, each once. An empty list means valid.
//!
//! DIFFERS: upstream's update path validates twice and lists errors twice; clients see a set either way.
//! Upstream: `pkg/apis/*/validation`.

mod address;
mod affinity;
mod authorization;
mod certificate;
mod configuration;
mod container;
mod container_source;
mod daemon_set;
mod disruption;
mod endpoints;
mod ephemeral;
mod event;
mod handler;
mod metadata;
mod node;
mod pod;
mod pod_template;
mod pod_update;
mod records;
mod resources;
mod runtime_class;
mod security;
mod selector;
mod service;
mod storage;
mod tolerations;
mod volume;
mod volume_source;

pub use affinity::affinity;
pub use authorization::{
    cluster_role_binding_create, cluster_role_binding_update, cluster_role_create, cluster_role_update,
    role_binding_create, role_binding_update, role_create, role_update,
};
pub use certificate::{
    CertificateDoor, certificate_signing_request_create, certificate_signing_request_update,
};
pub use configuration::{
    config_map_create, config_map_update, secret_create, secret_update, service_account_create,
    service_account_update,
};
pub use daemon_set::{
    SelectorChange, SelectorPresence, daemon_set_create, daemon_set_status_update, daemon_set_update,
};
pub use disruption::{
    pod_disruption_budget_create, pod_disruption_budget_status_update, pod_disruption_budget_update,
};
pub use endpoints::{endpoint_slice_create, endpoint_slice_update, endpoints_create, endpoints_update};
pub use ephemeral::pod_ephemeral_containers_update;
pub use event::{EventVersion, event_create, event_update};
pub use metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
pub use node::{
    namespace_create, namespace_finalize_update, namespace_status_update, namespace_update, node_create,
    node_status_update, node_update,
};
pub use pod::{pod_create, pod_template_spec};
pub use pod_template::{pod_template_create, pod_template_update};
pub use pod_update::{pod_status_update, pod_update};
pub use records::{
    controller_revision_create, controller_revision_update, lease_create, lease_update,
    priority_class_create, priority_class_update,
};
pub use runtime_class::{runtime_class_create, runtime_class_update};
pub use selector::{SelectorValues, label_selector};
pub use service::{service_create, service_status_update, service_update};
pub use storage::{
    csi_driver_create, csi_driver_update, csi_node_create, csi_node_update, storage_class_create,
    storage_class_update,
};
pub use tolerations::tolerations;

use serde_json::Value;

use crate::field::{FieldError, FieldErrors, Path};

const IMMUTABLE: &str = "field is immutable";
const NON_NEGATIVE: &str = "must be greater than or equal to 0";

/// Collects errors; the small checks that every kind needs.
trait Complaints {
    fn required_text(&mut self, path: &Path, text: &str) -> bool;
    fn syntax(&mut self, path: &Path, value: &str, complaints: Vec<String>);
    fn non_negative(&mut self, path: &Path, value: i64);
    fn immutable<T: PartialEq + serde::Serialize>(&mut self, path: &Path, new: &T, old: &T);
    fn one_of(&mut self, path: &Path, value: &str, supported: &[&str]);
    fn range(&mut self, path: &Path, value: i64, min: i64, max: i64);
}

impl Complaints for FieldErrors {
    /// True if the text is there.
    fn required_text(&mut self, path: &Path, text: &str) -> bool {
        if text.is_empty() {
            self.push(FieldError::required(path, ""));
        }
        !text.is_empty()
    }

    fn syntax(&mut self, path: &Path, value: &str, complaints: Vec<String>) {
        self.extend(complaints.into_iter().map(|detail| FieldError::invalid(path, value, detail)));
    }

    fn non_negative(&mut self, path: &Path, value: i64) {
        if value < 0 {
            self.push(FieldError::invalid(path, value, NON_NEGATIVE));
        }
    }

    fn immutable<T: PartialEq + serde::Serialize>(&mut self, path: &Path, new: &T, old: &T) {
        if new != old {
            self.push(FieldError::invalid(path, crate::field::shown_value(new), IMMUTABLE));
        }
    }

    fn one_of(&mut self, path: &Path, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.push(FieldError::not_supported(path, value, supported));
        }
    }

    fn range(&mut self, path: &Path, value: i64, min: i64, max: i64) {
        if !(min..=max).contains(&value) {
            self.push(FieldError::invalid(
                path,
                value,
                format!("must be between {min} and {max}, inclusive"),
            ));
        }
    }
}

/// The text of an optional field; absent is empty.
fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// An optional text as the value of an error.
fn text_value(field: &Option<String>) -> Value {
    Value::from(text(field))
}

/// Drops errors that say the same about the same field, keeping the first.
fn each_once(errors: FieldErrors) -> FieldErrors {
    let mut seen: FieldErrors = Vec::with_capacity(errors.len());
    for error in errors {
        if !seen.contains(&error) {
            seen.push(error);
        }
    }
    seen
}

#[cfg(test)]
mod tests;
