//! Endpoints and EndpointSlice: where a Service leads; stored, and read by whoever proxies.

use api::field::FieldErrors;
use api::{default, strategy, validate, warnings};
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{Kind, Part, Seen};
use crate::error::ApiError;

impl Kind for Endpoints {
    fn default(&mut self) {
        default::endpoints(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::endpoints_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::endpoints_update(self, old)
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings::of_endpoints(self)
    }
}

impl Kind for EndpointSlice {
    fn default(&mut self) {
        default::endpoint_slice(self);
    }

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        self.metadata.generation = Some(1);
        Ok(())
    }

    fn prepare_update(&mut self, old: &Self, _part: Part) -> Result<(), ApiError> {
        strategy::endpoint_slice_update(self, old);
        Ok(())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::endpoint_slice_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::endpoint_slice_update(self, old)
    }
}
