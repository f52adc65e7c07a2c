//! Requests and limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

use super::Complaints;
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;
use crate::quantity::Quantity;
use crate::well_known::resource;

/// Whose amounts these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Container,
    /// `spec.resources` of the Pod: CPU, memory and huge pages only.
    Pod,
}

pub(super) fn requirements(resources: &ResourceRequirements, owner: Owner, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let limits_path = path.child("limits");
    let requests_path = path.child("requests");
    let none = BTreeMap::new();
    let limits = resources.limits.as_ref().unwrap_or(&none);
    let requests = resources.requests.as_ref().unwrap_or(&none);
    for (name, amount) in limits {
        let path = limits_path.key(name);
        errors.extend(resource_name(name, owner, &path));
        errors.extend(self::amount(name, amount, &path));
    }
    for (name, request) in requests {
        let path = requests_path.key(name);
        errors.extend(resource_name(name, owner, &path));
        errors.extend(amount(name, request, &path));
        let (Some(limit), Ok(requested)) = (limits.get(name), Quantity::try_from(request)) else {
            if !limits.contains_key(name) && !is_overcommittable(name) {
                let detail = "Limit must be set for non overcommitable resources";
                errors.push(FieldError::required(&limits_path, detail));
            }
            continue;
        };
        let Ok(allowed) = Quantity::try_from(limit) else { continue };
        // COMPAT: the path is the list, not the entry.
        if is_overcommittable(name) && requested > allowed {
            let detail = format!("must be less than or equal to {name} limit of {allowed}");
            errors.push(FieldError::invalid(&requests_path, requested.to_string(), detail));
        } else if !is_overcommittable(name) && requested != allowed {
            let detail = format!("must be equal to {name} limit of {allowed}");
            errors.push(FieldError::invalid(&requests_path, requested.to_string(), detail));
        }
    }
    errors
}

/// A list of amounts outside of containers: node capacity, overhead.
pub(super) fn list(list: &BTreeMap<String, WireQuantity>, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (name, amount) in list {
        let path = path.key(name);
        errors.syntax(&path, name, names::qualified_name(name));
        errors.extend(self::amount(name, amount, &path));
    }
    errors
}

fn amount(name: &str, amount: &WireQuantity, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    match Quantity::try_from(amount) {
        Err(problem) => errors.push(FieldError::invalid(path, amount.0.as_str(), problem.to_string())),
        Ok(amount) => {
            if amount.is_negative() {
                errors.push(FieldError::invalid(path, amount.to_string(), super::NON_NEGATIVE));
            }
            let counted = name == resource::PODS || is_extended(name);
            if counted && !amount.is_whole() {
                errors.push(FieldError::invalid(path, amount.to_string(), "must be an integer"));
            }
        }
    }
    errors
}

fn resource_name(name: &str, owner: Owner, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    errors.syntax(path, name, names::qualified_name(name));
    if !errors.is_empty() {
        return errors;
    }
    let computed =
        matches!(name, resource::CPU | resource::MEMORY) || name.starts_with(resource::HUGEPAGES_PREFIX);
    match owner {
        Owner::Pod if !computed => {
            let supported = [resource::CPU, resource::HUGEPAGES_PREFIX, resource::MEMORY];
            errors.push(FieldError::not_supported(path, name, &supported));
        }
        Owner::Container if !name.contains('/') && !computed && name != resource::EPHEMERAL_STORAGE => {
            errors.push(FieldError::invalid(path, name, "must be a standard resource for containers"));
        }
        Owner::Container if name.contains('/') && !is_native(name) && !is_extended(name) => {
            errors.push(FieldError::invalid(path, name, "doesn't follow extended resource name standard"));
        }
        Owner::Pod | Owner::Container => {}
    }
    errors
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_overcommittable(name: &str) -> bool {
    is_native(name) && !name.starts_with(resource::HUGEPAGES_PREFIX)
}
