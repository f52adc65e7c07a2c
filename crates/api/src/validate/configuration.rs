//! ConfigMaps, Secrets and ServiceAccounts.

use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::{Complaints, text, text_value};
use crate::field::{FieldError, FieldErrors, Path};
use crate::meta::Meta;
use crate::names;
use crate::well_known::SERVICE_ACCOUNT_NAME_ANNOTATION;

/// All values of one ConfigMap or Secret together.
const DATA_BYTES_MAX: usize = 1024 * 1024;
const KEPT: &str = "field is immutable when `immutable` is set";

pub fn config_map_create(map: &ConfigMap) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&map.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    errors.extend(config_map_data(map));
    errors
}

pub fn config_map_update(new: &ConfigMap, old: &ConfigMap) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    if old.immutable == Some(true) {
        if new.immutable != Some(true) {
            errors.push(FieldError::forbidden(&Path::new("immutable"), KEPT));
        }
        if new.data != old.data {
            errors.push(FieldError::forbidden(&Path::new("data"), KEPT));
        }
        if new.binary_data != old.binary_data {
            errors.push(FieldError::forbidden(&Path::new("binaryData"), KEPT));
        }
    }
    errors.extend(config_map_data(new));
    errors
}

fn config_map_data(map: &ConfigMap) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut total = 0;
    for (key, value) in map.data.iter().flatten() {
        let path = Path::new("data").key(key);
        errors.syntax(&path, key, names::config_map_key(key));
        if map.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
            errors.push(FieldError::invalid(&path, key.as_str(), "duplicate of key present in binaryData"));
        }
        total += value.len();
    }
    for (key, value) in map.binary_data.iter().flatten() {
        errors.syntax(&Path::new("binaryData").key(key), key, names::config_map_key(key));
        total += value.0.len();
    }
    if total > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(&Path::root(), DATA_BYTES_MAX));
    }
    errors
}

pub fn secret_create(secret: &Secret) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&secret.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    errors.extend(secret_data(secret));
    errors
}

pub fn secret_update(new: &Secret, old: &Secret) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    if text(&new.type_) != text(&old.type_) {
        errors.push(FieldError::invalid(&Path::new("type"), text_value(&new.type_), super::IMMUTABLE));
    }
    if old.immutable == Some(true) {
        if new.immutable != Some(true) {
            errors.push(FieldError::forbidden(&Path::new("immutable"), KEPT));
        }
        if new.data != old.data {
            errors.push(FieldError::forbidden(&Path::new("data"), KEPT));
        }
    }
    errors.extend(secret_data(new));
    errors
}

fn secret_data(secret: &Secret) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let data_path = Path::new("data");
    let mut total = 0;
    for (key, value) in secret.data.iter().flatten() {
        errors.syntax(&data_path.key(key), key, names::config_map_key(key));
        total += value.0.len();
    }
    if total > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(&data_path, DATA_BYTES_MAX));
    }
    let value =
        |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let required = |errors: &mut FieldErrors, key: &str| {
        if value(key).is_none() {
            errors.push(FieldError::required(&data_path.key(key), ""));
        }
    };
    let json = |errors: &mut FieldErrors, key: &str| match value(key) {
        None => errors.push(FieldError::required(&data_path.key(key), "")),
        Some(bytes) => {
            if let Err(problem) = serde_json::from_slice::<serde_json::Value>(bytes) {
                let path = data_path.key(key);
                errors.push(FieldError::invalid(&path, "<secret contents redacted>", problem.to_string()));
            }
        }
    };
    match text(&secret.type_) {
        "kubernetes.io/service-account-token"
            if secret.annotation(SERVICE_ACCOUNT_NAME_ANNOTATION).unwrap_or_default().is_empty() =>
        {
            let path = Path::new("metadata.annotations").key(SERVICE_ACCOUNT_NAME_ANNOTATION);
            errors.push(FieldError::required(&path, ""));
        }
        "kubernetes.io/dockercfg" => json(&mut errors, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json(&mut errors, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            required(&mut errors, "username");
            required(&mut errors, "password");
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").unwrap_or_default().is_empty() => {
            errors.push(FieldError::required(&data_path.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            required(&mut errors, "tls.crt");
            required(&mut errors, "tls.key");
        }
        _ => {}
    }
    errors
}

pub fn service_account_create(account: &ServiceAccount) -> FieldErrors {
    let path = Path::new("metadata");
    object_meta_create(&account.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path)
}

pub fn service_account_update(new: &ServiceAccount, old: &ServiceAccount) -> FieldErrors {
    object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"))
}
