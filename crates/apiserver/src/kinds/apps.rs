//! DaemonSet and ControllerRevision.

use api::field::FieldErrors;
use api::{affinity_annotation, convert, default, strategy, validate, warnings};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};

use super::{Kind, Part, Seen};
use crate::admission::Admission;
use crate::error::ApiError;

impl Kind for DaemonSet {
    fn default(&mut self) {
        default::daemon_set(self);
    }

    fn admit_create(&mut self, _admission: &Admission<'_>) -> Result<(), ApiError> {
        self.spec.iter_mut().for_each(|spec| affinity_annotation::apply_to_template(&mut spec.template));
        Ok(())
    }

    fn admit_update(&mut self, old: &Self, _admission: &Admission<'_>) -> Result<(), ApiError> {
        if let (Some(spec), Some(old)) = (&mut self.spec, &old.spec) {
            affinity_annotation::reapply_to_template(&mut spec.template, &old.template);
        }
        Ok(())
    }

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        strategy::daemon_set_create(self).map_err(|error| unreadable(&error))
    }

    fn prepare_update(&mut self, old: &Self, part: Part) -> Result<(), ApiError> {
        match part {
            Part::Main | Part::Own => {
                strategy::daemon_set_update(self, old).map_err(|error| unreadable(&error))
            }
            Part::Status => {
                strategy::daemon_set_status_update(self, old);
                Ok(())
            }
        }
    }

    fn validate_create(&self, seen: &Seen<'_>) -> FieldErrors {
        validate::daemon_set_create(self, seen.selector())
    }

    fn validate_update(&self, old: &Self, part: Part, seen: &Seen<'_>) -> FieldErrors {
        match part {
            Part::Main | Part::Own => {
                validate::daemon_set_update(self, old, seen.selector(), seen.selector_change())
            }
            Part::Status => validate::daemon_set_status_update(self, old),
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::of_daemon_set(self, old)
    }
}

/// Upstream's conversion fails on the annotation, which is a body that cannot be decoded.
fn unreadable(error: &convert::TemplateGenerationError) -> ApiError {
    ApiError::bad_request(format!("DaemonSet in version \"v1\" cannot be handled as a DaemonSet: {error}"))
}

impl Kind for ControllerRevision {
    fn default(&mut self) {
        default::controller_revision(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::controller_revision_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::controller_revision_update(self, old)
    }
}
