//! Node: a machine; a new one is tainted until it says that it is ready.

use std::collections::BTreeMap;

use api::field::FieldErrors;
use api::well_known::taint;
use api::{default, strategy, validate, warnings};
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{Kind, Part, Seen, fields};
use crate::access::restriction::{self, Restricted};
use crate::admission::Admission;
use crate::error::ApiError;

impl Kind for Node {
    const SELECTABLE: &'static [&'static str] = &["spec.unschedulable"];

    fn selectable(&self) -> BTreeMap<String, String> {
        let unschedulable = self.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        fields([("spec.unschedulable", Some(unschedulable.to_string()))])
    }

    fn default(&mut self) {
        default::node(self);
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

    fn prepare_update(&mut self, old: &Self, part: Part) -> Result<(), ApiError> {
        match part {
            Part::Main | Part::Own => strategy::node_update(self, old),
            Part::Status => strategy::node_status_update(self, old),
        }
        Ok(())
    }

    fn restrict(
        &self,
        node: &str,
        old: Option<&Self>,
        _part: Part,
        _admission: &Admission<'_>,
    ) -> Result<(), Restricted> {
        restriction::write_node(node, old, self)
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::node_create(self)
    }

    fn validate_update(&self, old: &Self, part: Part, _seen: &Seen<'_>) -> FieldErrors {
        match part {
            Part::Main | Part::Own => validate::node_update(self, old),
            Part::Status => validate::node_status_update(self, old),
        }
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        warnings::of_node(self)
    }
}
