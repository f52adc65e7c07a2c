//! ConfigMap, Secret, ServiceAccount: content without a controller.

use std::collections::BTreeMap;

use api::field::FieldErrors;
use api::{default, validate};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret, ServiceAccount};

use super::{Kind, Part, Seen, fields};
use crate::admission::service_account::ENFORCE_MOUNTABLE_SECRETS;
use crate::error::ApiError;

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

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        secrets_by_name_alone(self);
        Ok(())
    }

    fn prepare_update(&mut self, _old: &Self, _part: Part) -> Result<(), ApiError> {
        secrets_by_name_alone(self);
        Ok(())
    }

    /// Told to who sets the annotation, not to who finds it there.
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let annotated = |account: &Self| {
            account.metadata.annotations.iter().any(|all| all.contains_key(ENFORCE_MOUNTABLE_SECRETS))
        };
        if !annotated(self) || old.is_some_and(annotated) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ENFORCE_MOUNTABLE_SECRETS}]: deprecated in v1.32+; prefer separate namespaces to isolate \
             access to mounted secrets"
        )]
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::service_account_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::service_account_update(self, old)
    }
}

/// An account's Secrets are in its namespace: of what refers to one, the name is all that counts.
fn secrets_by_name_alone(account: &mut ServiceAccount) {
    for secret in account.secrets.iter_mut().flatten() {
        *secret = ObjectReference { name: secret.name.take(), ..ObjectReference::default() };
    }
}
