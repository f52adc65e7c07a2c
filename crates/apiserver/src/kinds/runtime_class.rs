//! RuntimeClass: a way to run Pods, with what it costs and where it is to be had.

use api::field::FieldErrors;
use api::{default, validate, warnings};
use k8s_openapi::api::node::v1::RuntimeClass;

use super::{Kind, Part, Seen};

impl Kind for RuntimeClass {
    fn default(&mut self) {
        default::runtime_class(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::runtime_class_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::runtime_class_update(self, old)
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings::of_runtime_class(self)
    }
}
