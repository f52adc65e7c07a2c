//! Service: an address and ports are allotted to it, and given back with it.

use std::collections::BTreeMap;

use api::field::FieldErrors;
use api::{default, strategy, validate, warnings};
use k8s_openapi::api::core::v1::Service;

use super::{Kind, Part, Seen, fields};
use crate::admission::Admission;
use crate::allotment::Claim;
use crate::error::ApiError;

impl Kind for Service {
    const SELECTABLE: &'static [&'static str] = &["spec.clusterIP", "spec.type"];

    fn selectable(&self) -> BTreeMap<String, String> {
        let spec = self.spec.as_ref();
        fields([
            ("spec.clusterIP", spec.and_then(|spec| spec.cluster_ip.clone())),
            ("spec.type", spec.and_then(|spec| spec.type_.clone())),
        ])
    }

    /// The numbers that it has: two Services never have the same.
    fn references(&self) -> Vec<String> {
        Claim::of(self).into_iter().map(Claim::text).collect()
    }

    fn default(&mut self) {
        default::service(self);
    }

    /// What was there or is understood comes before what is allotted.
    fn admit_create(&mut self, admission: &Admission<'_>) -> Result<(), ApiError> {
        strategy::service_create(self);
        admission.allotment.propose(self, None)
    }

    fn admit_update(&mut self, old: &Self, admission: &Admission<'_>) -> Result<(), ApiError> {
        strategy::service_update(self, old);
        admission.allotment.propose(self, Some(old))
    }

    fn prepare_update(&mut self, old: &Self, part: Part) -> Result<(), ApiError> {
        if part == Part::Status {
            strategy::service_status_update(self, old);
        }
        Ok(())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::service_create(self)
    }

    fn validate_update(&self, old: &Self, part: Part, _seen: &Seen<'_>) -> FieldErrors {
        match part {
            Part::Main | Part::Own => validate::service_update(self, old),
            Part::Status => validate::service_status_update(self, old),
        }
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings::of_service(self)
    }
}
