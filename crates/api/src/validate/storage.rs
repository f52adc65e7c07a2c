//! StorageClasses, CSIDrivers and CSINodes: what charts and upstream's agents store; nothing here mounts anything.
//!
//! Upstream: `pkg/apis/storage/validation`.

use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, CSINode, CSINodeDriver, StorageClass};

use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::{Complaints, text};
use crate::field::{FieldError, FieldErrors, Path, shown_value};
use crate::names;

const PARAMETERS_MAX: usize = 512;
const PARAMETER_BYTES_MAX: usize = 256 * 1024;
const DRIVER_NAME_BYTES_MAX: usize = 63;
const NODE_ID_BYTES_MAX: usize = 192;
/// Seconds that a token for a driver lives at least and at most.
const TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 600..=1 << 32;

pub fn storage_class_create(class: &StorageClass) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&class.metadata, Scope::Cluster, NameSyntax::Subdomain, &path);
    errors.extend(storage_class(class));
    errors
}

pub fn storage_class_update(new: &StorageClass, old: &StorageClass) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    if new.parameters.clone().unwrap_or_default() != old.parameters.clone().unwrap_or_default() {
        let detail = "updates to parameters are forbidden.";
        errors.push(FieldError::forbidden(&Path::new("parameters"), detail));
    }
    if new.provisioner != old.provisioner {
        let detail = "updates to provisioner are forbidden.";
        errors.push(FieldError::forbidden(&Path::new("provisioner"), detail));
    }
    if new.reclaim_policy != old.reclaim_policy {
        let detail = "updates to reclaimPolicy are forbidden.";
        errors.push(FieldError::forbidden(&Path::new("reclaimPolicy"), detail));
    }
    errors.immutable(&Path::new("volumeBindingMode"), &new.volume_binding_mode, &old.volume_binding_mode);
    errors.extend(storage_class(new));
    errors
}

fn storage_class(class: &StorageClass) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let path = Path::new("provisioner");
    if errors.required_text(&path, &class.provisioner) {
        let complaints = names::qualified_name(&class.provisioner.to_lowercase());
        errors.syntax(&path, &class.provisioner, complaints);
    }
    let path = Path::new("parameters");
    let parameters = class.parameters.clone().unwrap_or_default();
    if parameters.len() > PARAMETERS_MAX {
        errors.push(FieldError::too_long(&path, PARAMETERS_MAX));
    } else {
        if parameters.contains_key("") {
            errors.push(FieldError::invalid(&path, "", "field can not be empty."));
        }
        let total: usize = parameters.iter().map(|(key, value)| key.len() + value.len()).sum();
        if total > PARAMETER_BYTES_MAX {
            errors.push(FieldError::too_long(&path, PARAMETER_BYTES_MAX));
        }
    }
    let policy = text(&class.reclaim_policy);
    if !policy.is_empty() {
        errors.one_of(&Path::new("reclaimPolicy"), policy, &["Delete", "Retain"]);
    }
    let path = Path::new("volumeBindingMode");
    match &class.volume_binding_mode {
        None => errors.push(FieldError::required(&path, "")),
        Some(mode) => errors.one_of(&path, mode, &["Immediate", "WaitForFirstConsumer"]),
    }
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    for (i, term) in terms.iter().enumerate() {
        let path = Path::new("allowedTopologies").index(i);
        if terms[..i].contains(term) {
            errors.push(FieldError::duplicate(&path.child("matchLabelExpressions"), ""));
        }
        let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
        for (i, expression) in expressions.iter().enumerate() {
            let path = path.child("matchLabelExpressions").index(i);
            if expressions[..i].iter().any(|other| other.key == expression.key) {
                errors.push(FieldError::duplicate(&path.child("key"), expression.key.as_str()));
            }
            if expression.values.is_empty() {
                errors.push(FieldError::required(&path.child("values"), ""));
            }
            for (i, value) in expression.values.iter().enumerate() {
                if expression.values[..i].contains(value) {
                    errors.push(FieldError::duplicate(&path.child("values").index(i), value.as_str()));
                }
            }
            let complaints = names::qualified_name(&expression.key);
            errors.syntax(&path.child("key"), &expression.key, complaints);
        }
    }
    errors
}

pub fn csi_driver_create(driver: &CSIDriver) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&driver.metadata, Scope::Cluster, NameSyntax::Subdomain, &path);
    errors.extend(driver_name(text(&driver.metadata.name), &path.child("name")));
    errors.extend(driver_spec(&driver.spec));
    errors
}

pub fn csi_driver_update(new: &CSIDriver, old: &CSIDriver) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(driver_spec(&new.spec));
    let path = Path::new("spec");
    // COMPAT(v1): upstream's path has `attachedRequired`.
    let attach = path.child("attachedRequired");
    errors.immutable(&attach, &new.spec.attach_required, &old.spec.attach_required);
    let modes = path.child("volumeLifecycleModes");
    errors.immutable(&modes, &new.spec.volume_lifecycle_modes, &old.spec.volume_lifecycle_modes);
    errors
}

fn driver_name(name: &str, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if !errors.required_text(path, name) {
        return errors;
    }
    if name.len() > DRIVER_NAME_BYTES_MAX {
        errors.push(FieldError::too_long(path, DRIVER_NAME_BYTES_MAX));
    }
    errors.syntax(path, name, names::dns1123_subdomain(&name.to_lowercase()));
    errors
}

fn driver_spec(spec: &CSIDriverSpec) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let path = Path::new("spec");
    for (field, value) in [
        ("attachedRequired", spec.attach_required),
        ("podInfoOnMount", spec.pod_info_on_mount),
        ("storageCapacity", spec.storage_capacity),
        ("seLinuxMount", spec.se_linux_mount),
    ] {
        if value.is_none() {
            errors.push(FieldError::required(&path.child(field), ""));
        }
    }
    let policy_path = path.child("fsGroupPolicy");
    match &spec.fs_group_policy {
        None => errors.push(FieldError::required(&policy_path, "")),
        Some(policy) => errors.one_of(&policy_path, policy, &["File", "None", "ReadWriteOnceWithFSType"]),
    }
    for mode in spec.volume_lifecycle_modes.iter().flatten() {
        errors.one_of(&path.child("volumeLifecycleModes"), mode, &["Ephemeral", "Persistent"]);
    }
    let requests = spec.token_requests.as_deref().unwrap_or_default();
    for (i, request) in requests.iter().enumerate() {
        let path = path.child("tokenRequests").index(i);
        if requests[..i].iter().any(|other| other.audience == request.audience) {
            errors.push(FieldError::duplicate(&path.child("audience"), request.audience.as_str()));
        }
        if let Some(seconds) = request.expiration_seconds.filter(|seconds| !TOKEN_SECONDS.contains(seconds)) {
            let detail = if seconds < *TOKEN_SECONDS.start() {
                "may not specify a duration less than 10 minutes"
            } else {
                "may not specify a duration larger than 2^32 seconds"
            };
            errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, detail));
        }
    }
    errors
}

pub fn csi_node_create(node: &CSINode) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&node.metadata, Scope::Cluster, NameSyntax::Subdomain, &path);
    errors.extend(node_drivers(node));
    errors
}

/// A driver that is known on a node stays as it is until it goes.
pub fn csi_node_update(new: &CSINode, old: &CSINode) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(node_drivers(new));
    let fixed = |driver: &CSINodeDriver| {
        let same = |other: &&CSINodeDriver| other.name == driver.name;
        old.spec.drivers.iter().find(same).is_none_or(|before| {
            before.node_id == driver.node_id
                && before.topology_keys.clone().unwrap_or_default()
                    == driver.topology_keys.clone().unwrap_or_default()
        })
    };
    for driver in new.spec.drivers.iter().filter(|driver| !fixed(driver)) {
        errors.push(FieldError::invalid(&Path::new("CSINode"), shown_value(driver), super::IMMUTABLE));
    }
    errors
}

fn node_drivers(node: &CSINode) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let drivers = &node.spec.drivers;
    for (i, driver) in drivers.iter().enumerate() {
        let path = Path::new("spec.drivers").index(i);
        errors.extend(driver_name(&driver.name, &path.child("name")));
        let id_path = path.child("nodeID");
        errors.required_text(&id_path, &driver.node_id);
        if driver.node_id.len() > NODE_ID_BYTES_MAX {
            let detail = format!("must be {NODE_ID_BYTES_MAX} characters or less");
            errors.push(FieldError::invalid(&id_path, driver.node_id.as_str(), detail));
        }
        if let Some(count) = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count)
            && count < 0
        {
            errors.non_negative(&path.child("allocatable").child("count"), i64::from(count));
        }
        let keys = driver.topology_keys.as_deref().unwrap_or_default();
        for (i, key) in keys.iter().enumerate() {
            let path = path.child("topologyKeys").index(i);
            if keys[..i].contains(key) {
                errors.push(FieldError::duplicate(&path, key.as_str()));
            }
            errors.syntax(&path, key, names::qualified_name(key));
        }
        if drivers[..i].iter().any(|other| other.name == driver.name) {
            errors.push(FieldError::duplicate(&path.child("name"), driver.name.as_str()));
        }
    }
    errors
}
