//! ConfigMap, Secret, ServiceAccount: content without a controller.

use std::collections::BTreeMap;

use api::field::FieldErrors;
use api::{default, validate};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

use super::{Kind, Part, Seen, fields};

impl Kind for ConfigMap {
    fn default(&mut self) {
        default::config_map(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::config_map_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::config_map_update(self, old)
    }
}

impl Kind for Secret {
    const SELECTABLE: &'static [&'static str] = &["type"];

    fn selectable(&self) -> BTreeMap<String, String> {
        fields([("type", self.type_.clone())])
    }

    fn default(&mut self) {
        default::secret(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::secret_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::secret_update(self, old)
    }
}

impl Kind for ServiceAccount {
    fn default(&mut self) {
        default::service_account(self);
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::service_account_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::service_account_update(self, old)
    }
}
