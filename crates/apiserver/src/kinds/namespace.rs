//! Namespace: its content goes before it does, so its spec's finalizers have a door of their own.

use std::collections::BTreeMap;

use api::field::FieldErrors;
use api::{default, strategy, validate};
use k8s_openapi::api::core::v1::Namespace;

use super::{Kind, Part, Seen, fields};
use crate::error::ApiError;

impl Kind for Namespace {
    const SELECTABLE: &'static [&'static str] = &["status.phase"];

    fn selectable(&self) -> BTreeMap<String, String> {
        let phase = self.status.as_ref().and_then(|status| status.phase.clone());
        fields([("status.phase", phase)])
    }

    fn default(&mut self) {
        default::namespace(self);
    }

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        strategy::namespace_create(self);
        Ok(())
    }

    fn prepare_update(&mut self, old: &Self, part: Part) -> Result<(), ApiError> {
        match part {
            Part::Main => strategy::namespace_update(self, old),
            Part::Status => strategy::namespace_status_update(self, old),
            Part::Own => strategy::namespace_finalize_update(self, old),
        }
        Ok(())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::namespace_create(self)
    }

    fn validate_update(&self, old: &Self, part: Part, _seen: &Seen<'_>) -> FieldErrors {
        match part {
            Part::Main => validate::namespace_update(self, old),
            Part::Status => validate::namespace_status_update(self, old),
            Part::Own => validate::namespace_finalize_update(self, old),
        }
    }

    fn is_held(&self) -> bool {
        let finalizers = self.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
        finalizers.is_some_and(|finalizers| !finalizers.is_empty())
    }
}
