//! StorageClass, CSIDriver, CSINode: stored as charts and upstream's agents expect them.

use api::field::FieldErrors;
use api::{default, strategy, validate};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, StorageClass};

use super::{Kind, Part, Seen};
use crate::access::restriction::{self, Restricted};
use crate::admission::Admission;
use crate::error::ApiError;

impl Kind for StorageClass {
    fn default(&mut self) {
        default::storage_class(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::storage_class_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::storage_class_update(self, old)
    }
}

impl Kind for CSIDriver {
    fn default(&mut self) {
        default::csi_driver(self);
    }

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        self.metadata.generation = Some(1);
        Ok(())
    }

    fn prepare_update(&mut self, old: &Self, _part: Part) -> Result<(), ApiError> {
        strategy::csi_driver_update(self, old);
        Ok(())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::csi_driver_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::csi_driver_update(self, old)
    }
}

impl Kind for CSINode {
    fn restrict(
        &self,
        node: &str,
        _old: Option<&Self>,
        _part: Part,
        _admission: &Admission<'_>,
    ) -> Result<(), Restricted> {
        restriction::write_csi_node(node, self.metadata.name.as_deref().unwrap_or_default())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::csi_node_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::csi_node_update(self, old)
    }
}
