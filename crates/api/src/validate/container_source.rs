//! Where a container's environment comes from, and references to fields and resources.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector,
};

use super::{Complaints, text};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;
use crate::quantity::Quantity;

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
pub(super) const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
/// Fields of a Pod that have a name in the downward API at all.
const KNOWN_FIELDS: [&str; 4] = ["spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host"];

pub(super) fn env(vars: &[EnvVar], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, var) in vars.iter().enumerate() {
        let path = path.index(i);
        if errors.required_text(&path.child("name"), &var.name) {
            errors.syntax(&path.child("name"), &var.name, names::env_var_name(&var.name));
        }
        if let Some(source) = &var.value_from {
            errors.extend(env_source(source, text(&var.value), &path.child("valueFrom")));
        }
    }
    errors
}

pub(super) fn env_from(sources: &[EnvFromSource], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, source) in sources.iter().enumerate() {
        let path = path.index(i);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            errors.syntax(&path.child("prefix"), prefix, names::env_var_name(prefix));
        }
        if let Some(reference) = &source.config_map_ref {
            errors.extend(object_name(&reference.name, &path.child("configMapRef").child("name")));
        }
        if let Some(reference) = &source.secret_ref {
            errors.extend(object_name(&reference.name, &path.child("secretRef").child("name")));
        }
        match (source.config_map_ref.is_some(), source.secret_ref.is_some()) {
            (false, false) => {
                let detail = "must specify one of: `configMapRef` or `secretRef`";
                errors.push(FieldError::invalid(&path, "", detail));
            }
            (true, true) => {
                let detail = "may not have more than one field specified at a time";
                errors.push(FieldError::invalid(&path, "", detail));
            }
            (true, false) | (false, true) => {}
        }
    }
    errors
}

fn env_source(source: &EnvVarSource, value: &str, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut found = 0;
    if let Some(field) = &source.field_ref {
        found += 1;
        errors.extend(field_ref(field, &ENV_FIELDS, &path.child("fieldRef")));
    }
    if let Some(resource) = &source.resource_field_ref {
        found += 1;
        errors.extend(resource_ref(resource, &path.child("resourceFieldRef")));
    }
    if let Some(key) = &source.config_map_key_ref {
        found += 1;
        errors.extend(key_ref(&key.name, &key.key, &path.child("configMapKeyRef")));
    }
    if let Some(key) = &source.secret_key_ref {
        found += 1;
        errors.extend(key_ref(&key.name, &key.key, &path.child("secretKeyRef")));
    }
    if source.file_key_ref.is_some() {
        found += 1;
        // DIFFERS: an alpha field that no agent of ours serves; upstream drops it where its gate is off.
        errors.push(FieldError::forbidden(&path.child("fileKeyRef"), "is not supported"));
    }
    if found == 0 {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.push(FieldError::invalid(path, "", detail));
    } else if !value.is_empty() {
        errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if found > 1 {
        errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time"));
    }
    errors
}

pub(super) fn field_ref(field: &ObjectFieldSelector, supported: &[&str], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let field_path = path.child("fieldPath");
    if text(&field.api_version).is_empty() {
        errors.push(FieldError::required(&path.child("apiVersion"), ""));
        return errors;
    }
    if field.field_path.is_empty() {
        errors.push(FieldError::required(&field_path, ""));
        return errors;
    }
    let full = field.field_path.as_str();
    if let Some((base, key)) = full.strip_suffix("']").and_then(|rest| rest.split_once("['")) {
        match base {
            "metadata.annotations" => {
                errors.syntax(&field_path, key, names::qualified_name(&key.to_lowercase()));
            }
            "metadata.labels" => errors.syntax(&field_path, key, names::qualified_name(key)),
            _ => {
                let detail =
                    format!("error converting fieldPath: field label does not support subscript: {full}");
                errors.push(FieldError::invalid(&field_path, full, detail));
            }
        }
        return errors;
    }
    let known = ENV_FIELDS.contains(&full) || VOLUME_FIELDS.contains(&full) || KNOWN_FIELDS.contains(&full);
    if !known {
        let detail = format!("error converting fieldPath: field label not supported: {full}");
        errors.push(FieldError::invalid(&field_path, full, detail));
    } else if !supported.contains(&full) {
        errors.push(FieldError::not_supported(&field_path, full, supported));
    }
    errors
}

/// Whose resource a file of a volume shows must be said; an environment variable means its own container.
pub(super) fn volume_resource_ref(resource: &ResourceFieldSelector, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    errors.required_text(&path.child("containerName"), text(&resource.container_name));
    errors.extend(resource_ref(resource, path));
    errors
}

fn resource_ref(resource: &ResourceFieldSelector, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let name = resource.resource.as_str();
    if !errors.required_text(&path.child("resource"), name) {
        return errors;
    }
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if !huge {
        errors.one_of(&path.child("resource"), name, &RESOURCES);
    }
    let divisor = resource.divisor.as_ref().and_then(|divisor| Quantity::try_from(divisor).ok());
    if let Some(divisor) = divisor.filter(|divisor| !divisor.is_zero()) {
        let written = divisor.to_string();
        let kind = name.split_once('.').map_or("", |(_, kind)| kind);
        let supported: BTreeSet<&str> = match kind {
            "cpu" => ["1m", "1"].into(),
            _ => ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"].into(),
        };
        // 1Ki prints as 1024.
        let written = if written == "1024" { "1Ki" } else { written.as_str() };
        if !supported.contains(written) {
            let detail =
                format!("only divisor's values {supported:?} are supported with the {kind} resource");
            errors.push(FieldError::invalid(&path.child("divisor"), written, detail));
        }
    }
    errors
}

fn key_ref(name: &str, key: &str, path: &Path) -> FieldErrors {
    let mut errors = object_name(name, &path.child("name"));
    if errors.required_text(&path.child("key"), key) {
        errors.syntax(&path.child("key"), key, names::config_map_key(key));
    }
    errors
}

fn object_name(name: &str, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if errors.required_text(path, name) {
        errors.syntax(path, name, names::dns1123_subdomain(name));
    }
    errors
}
