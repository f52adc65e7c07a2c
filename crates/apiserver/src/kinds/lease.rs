//! Lease: a heartbeat, or who leads.

use api::field::{FieldError, FieldErrors, Path};
use k8s_openapi::api::coordination::v1::Lease;

use super::{Kind, Part};

impl Kind for Lease {
    fn validate_create(&self) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let Some(spec) = &self.spec else { return errors };
        if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
            let path = Path::new("spec").child("leaseDurationSeconds");
            errors.push(FieldError::invalid(&path, seconds, "must be greater than 0"));
        }
        if let Some(transitions) = spec.lease_transitions.filter(|transitions| *transitions < 0) {
            let path = Path::new("spec").child("leaseTransitions");
            errors.push(FieldError::invalid(&path, transitions, "must be greater than or equal to 0"));
        }
        errors
    }

    fn validate_update(&self, _old: &Self, _part: Part) -> FieldErrors {
        self.validate_create()
    }
}
