//! Node: a machine; a new one is tainted until it says that it is ready.

use std::collections::BTreeMap;

use api::well_known::taint;
use k8s_openapi::api::core::v1::{Node, Taint};

use super::Kind;
use crate::admission::Admission;
use crate::error::ApiError;

impl Kind for Node {
    const SELECTABLE: &'static [&'static str] = &["spec.unschedulable"];

    fn selectable(&self) -> BTreeMap<String, String> {
        let unschedulable = self.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        [("spec.unschedulable".to_owned(), unschedulable.to_string())].into()
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    /// TaintNodesByCondition: nothing is scheduled before the node's first Ready.
    fn admit_create(&mut self, _admission: &Admission<'_>) -> Result<(), ApiError> {
        let taints = self.spec.get_or_insert_default().taints.get_or_insert_default();
        let known = taints.iter().any(|t| t.key == taint::NOT_READY && t.effect == taint::NO_SCHEDULE);
        if !known {
            taints.push(Taint {
                key: taint::NOT_READY.to_owned(),
                effect: taint::NO_SCHEDULE.to_owned(),
                ..Taint::default()
            });
        }
        Ok(())
    }
}
