//! Kinds whose generation counts what they say, and that have no rules of their own beside it.

use k8s_openapi::api::core::v1::PodTemplate;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::CSIDriver;

use super::semantically_equal;
use crate::meta::Meta;

pub fn pod_disruption_budget_create(budget: &mut PodDisruptionBudget) {
    budget.status = Some(Default::default());
    budget.metadata.generation = Some(1);
}

pub fn pod_disruption_budget_update(new: &mut PodDisruptionBudget, old: &PodDisruptionBudget) {
    new.status.clone_from(&old.status);
    let changed = !semantically_equal(&new.spec, &old.spec);
    new.metadata.generation = Some(old.generation() + i64::from(changed));
}

pub fn pod_disruption_budget_status_update(new: &mut PodDisruptionBudget, old: &PodDisruptionBudget) {
    new.spec.clone_from(&old.spec);
    new.metadata.generation = old.metadata.generation;
}

/// Labels count as well: they say whose slice it is.
pub fn endpoint_slice_update(new: &mut EndpointSlice, old: &EndpointSlice) {
    let bare = |slice: &EndpointSlice| EndpointSlice { metadata: Default::default(), ..slice.clone() };
    let changed = !semantically_equal(&bare(new), &bare(old)) || new.labels() != old.labels();
    new.metadata.generation = Some(old.generation() + i64::from(changed));
}

pub fn csi_driver_update(new: &mut CSIDriver, old: &CSIDriver) {
    let changed = !semantically_equal(&new.spec, &old.spec);
    new.metadata.generation = Some(old.generation() + i64::from(changed));
}

pub fn pod_template_update(new: &mut PodTemplate, old: &PodTemplate) {
    let changed = !semantically_equal(&new.template, &old.template);
    new.metadata.generation = Some(old.generation() + i64::from(changed));
}
