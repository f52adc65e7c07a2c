//! ControllerRevision: a snapshot that never changes but for its number.

use api::field::{FieldError, FieldErrors, Path};
use k8s_openapi::api::apps::v1::ControllerRevision;

use super::{Kind, Part};

impl Kind for ControllerRevision {
    fn validate_create(&self) -> FieldErrors {
        revision_errors(self)
    }

    fn validate_update(&self, old: &Self, _part: Part) -> FieldErrors {
        let mut errors = revision_errors(self);
        if self.data != old.data {
            let value = self.data.as_ref().map(|data| data.0.clone()).unwrap_or_default();
            errors.push(FieldError::invalid(&Path::new("data"), value, "field is immutable"));
        }
        errors
    }
}

fn revision_errors(revision: &ControllerRevision) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if revision.data.is_none() {
        errors.push(FieldError::required(&Path::new("data"), "data is mandatory"));
    }
    if revision.revision < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&Path::new("revision"), revision.revision, detail));
    }
    errors
}
