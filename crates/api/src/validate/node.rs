//! Nodes and Namespaces.

use k8s_openapi::api::core::v1::{Namespace, Node};

use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::{Complaints, resources, text, tolerations};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;

pub fn node_create(node: &Node) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&node.metadata, Scope::Cluster, NameSyntax::Subdomain, &path);
    errors.extend(node_contents(node));
    errors
}

pub fn node_update(new: &Node, old: &Node) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(node_contents(new));
    let path = Path::new("spec");
    let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    // Set once, by whoever knows; then it stays.
    let old_cidrs = old.pod_cidrs.unwrap_or_default();
    if !old_cidrs.is_empty() && new.pod_cidrs.unwrap_or_default() != old_cidrs {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden(&path.child("podCIDRs"), detail));
    }
    if !text(&old.provider_id).is_empty() && text(&new.provider_id) != text(&old.provider_id) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden(&path.child("providerID"), detail));
    }
    errors
}

pub fn node_status_update(new: &Node, old: &Node) -> FieldErrors {
    node_update(new, old)
}

pub fn namespace_create(namespace: &Namespace) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&namespace.metadata, Scope::Cluster, NameSyntax::Label, &path);
    errors.extend(namespace_finalizers(namespace));
    errors
}

/// `spec.finalizers` changes through the finalize subresource only; the caller has put the stored ones back.
pub fn namespace_update(new: &Namespace, old: &Namespace) -> FieldErrors {
    object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"))
}

pub fn namespace_status_update(new: &Namespace, old: &Namespace) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    let phase = new.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let path = Path::new("status.phase");
    let deleting = new.metadata.deletion_timestamp.is_some();
    if deleting && phase != "Terminating" {
        let detail = "may only be 'Terminating' if `deletionTimestamp` is not empty";
        errors.push(FieldError::invalid(&path, phase, detail));
    }
    if !deleting && phase != "Active" {
        let detail = "may only be 'Active' if `deletionTimestamp` is empty";
        errors.push(FieldError::invalid(&path, phase, detail));
    }
    errors
}

pub fn namespace_finalize_update(new: &Namespace, old: &Namespace) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(namespace_finalizers(new));
    errors
}

fn namespace_finalizers(namespace: &Namespace) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let finalizers = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    for (i, finalizer) in finalizers.enumerate() {
        let path = Path::new("spec.finalizers").index(i);
        errors.syntax(&path, finalizer, names::qualified_name(finalizer));
        if !finalizer.contains('/') && finalizer != crate::well_known::finalizer::KUBERNETES {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&path, finalizer.as_str(), detail));
        }
    }
    errors
}

fn node_contents(node: &Node) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(spec) = &node.spec {
        let path = Path::new("spec");
        let taints = spec.taints.as_deref().unwrap_or_default();
        errors.extend(tolerations::taints(taints, &path.child("taints")));
        let cidrs = spec.pod_cidrs.as_deref().unwrap_or_default();
        for (i, cidr) in cidrs.iter().enumerate() {
            if !is_cidr(cidr) {
                let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(FieldError::invalid(&path.child("podCIDRs").index(i), cidr.as_str(), detail));
            }
        }
        const CIDRS_MAX: usize = 2;
        if cidrs.len() > CIDRS_MAX {
            let detail = "may specify no more than one CIDR for each IP family";
            errors.push(FieldError::invalid(&path.child("podCIDRs"), cidrs.to_vec(), detail));
        }
        if let (Some(one), Some(first)) = (&spec.pod_cidr, cidrs.first())
            && !one.is_empty()
            && one != first
        {
            let detail = "must match the first entry of podCIDRs";
            errors.push(FieldError::invalid(&path.child("podCIDR"), one.as_str(), detail));
        }
    }
    if let Some(status) = &node.status {
        let path = Path::new("status");
        for (field, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
            if let Some(list) = list {
                errors.extend(resources::list(list, &path.child(field)));
            }
        }
        let addresses = status.addresses.as_deref().unwrap_or_default();
        for (i, address) in addresses.iter().enumerate() {
            if addresses[..i].contains(address) {
                let path = path.child("addresses").index(i);
                errors.push(FieldError::duplicate(&path, crate::field::shown_value(address)));
            }
        }
    }
    errors
}

pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    length.parse::<u8>().is_ok_and(|bits| bits <= bits_max)
}
