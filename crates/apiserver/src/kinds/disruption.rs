//! PodDisruptionBudget: how many Pods may be gone at once by somebody's wish. Evictions ask it.

use api::field::FieldErrors;
use api::{strategy, validate};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::{Kind, Part, Seen};
use crate::error::ApiError;

impl Kind for PodDisruptionBudget {
    fn prepare_create(&mut self) -> Result<(), ApiError> {
        strategy::pod_disruption_budget_create(self);
        Ok(())
    }

    fn prepare_update(&mut self, old: &Self, part: Part) -> Result<(), ApiError> {
        match part {
            Part::Main | Part::Own => strategy::pod_disruption_budget_update(self, old),
            Part::Status => strategy::pod_disruption_budget_status_update(self, old),
        }
        Ok(())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::pod_disruption_budget_create(self)
    }

    fn validate_update(&self, old: &Self, part: Part, _seen: &Seen<'_>) -> FieldErrors {
        match part {
            Part::Main | Part::Own => validate::pod_disruption_budget_update(self, old),
            Part::Status => validate::pod_disruption_budget_status_update(self, old),
        }
    }
}
