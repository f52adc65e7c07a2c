//! ConfigMap, Secret, ServiceAccount: content without a controller.

use std::collections::BTreeMap;

use api::field::{FieldError, FieldErrors, Path};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

use super::{Kind, Part};

const IMMUTABLE: &str = "field is immutable when `immutable` is set";

impl Kind for ConfigMap {
    fn validate_update(&self, old: &Self, _part: Part) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if old.immutable == Some(true) {
            if self.immutable != Some(true) {
                errors.push(FieldError::forbidden(&Path::new("immutable"), IMMUTABLE));
            }
            if self.data != old.data {
                errors.push(FieldError::forbidden(&Path::new("data"), IMMUTABLE));
            }
            if self.binary_data != old.binary_data {
                errors.push(FieldError::forbidden(&Path::new("binaryData"), IMMUTABLE));
            }
        }
        errors
    }
}

impl Kind for Secret {
    const SELECTABLE: &'static [&'static str] = &["type"];

    fn selectable(&self) -> BTreeMap<String, String> {
        [("type".to_owned(), self.type_.clone().unwrap_or_default())].into()
    }

    fn default(&mut self) {
        if self.type_.as_deref().is_none_or(str::is_empty) {
            self.type_ = Some("Opaque".to_owned());
        }
        // Text that is only written: it wins over data and is never read back.
        for (key, text) in self.string_data.take().unwrap_or_default() {
            let bytes = k8s_openapi::ByteString(text.into_bytes());
            self.data.get_or_insert_default().insert(key, bytes);
        }
    }

    fn validate_update(&self, old: &Self, _part: Part) -> FieldErrors {
        let mut errors = FieldErrors::new();
        if self.type_ != old.type_ {
            errors.push(FieldError::invalid(&Path::new("type"), self.type_.clone(), "field is immutable"));
        }
        if old.immutable == Some(true) {
            if self.immutable != Some(true) {
                errors.push(FieldError::forbidden(&Path::new("immutable"), IMMUTABLE));
            }
            if self.data != old.data {
                errors.push(FieldError::forbidden(&Path::new("data"), IMMUTABLE));
            }
        }
        errors
    }
}

impl Kind for ServiceAccount {}
