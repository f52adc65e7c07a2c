//! PodTemplate: a template without a controller.

use api::field::FieldErrors;
use api::{default, strategy, validate, warnings};
use k8s_openapi::api::core::v1::PodTemplate;

use super::{Kind, Part, Seen};
use crate::error::ApiError;

impl Kind for PodTemplate {
    fn default(&mut self) {
        default::pod_template(self);
    }

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        self.metadata.generation = Some(1);
        Ok(())
    }

    fn prepare_update(&mut self, old: &Self, _part: Part) -> Result<(), ApiError> {
        strategy::pod_template_update(self, old);
        Ok(())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::pod_template_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::pod_template_update(self, old)
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings::of_pod_template(self)
    }
}
