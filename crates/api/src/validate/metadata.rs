//! `metadata`: names, labels, annotations, owners, finalizers; and what may change about them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Complaints, text, text_value};
use crate::field::{FieldError, FieldErrors, Path, shown_value};
use crate::names;
use crate::well_known::finalizer;

/// All annotations of one object together, keys and values: upstream's limit.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Does the kind live in a namespace?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// Which names a kind allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSyntax {
    Subdomain,
    Label,
    /// A label that begins with a letter: Services.
    Dns1035,
    /// Anything that is one segment of a URL path: RBAC.
    PathSegment,
}

impl NameSyntax {
    pub fn complaints(self, name: &str) -> Vec<String> {
        match self {
            NameSyntax::Subdomain => names::dns1123_subdomain(name),
            NameSyntax::Label => names::dns1123_label(name),
            NameSyntax::Dns1035 => names::dns1035_label(name),
            NameSyntax::PathSegment => names::path_segment(name),
        }
    }

    fn prefix_complaints(self, prefix: &str) -> Vec<String> {
        match self {
            NameSyntax::Subdomain | NameSyntax::Label | NameSyntax::Dns1035 => {
                self.complaints(&names::masked_prefix(prefix))
            }
            NameSyntax::PathSegment => self.complaints(prefix),
        }
    }
}

/// The metadata of a new object, after its name has been generated.
pub fn object_meta_create(meta: &ObjectMeta, scope: Scope, syntax: NameSyntax, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let prefix = text(&meta.generate_name);
    if !prefix.is_empty() {
        errors.syntax(&path.child("generateName"), prefix, syntax.prefix_complaints(prefix));
    }
    let name = text(&meta.name);
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), "name or generateName is required"));
    } else {
        errors.syntax(&path.child("name"), name, syntax.complaints(name));
    }
    let namespace = text(&meta.namespace);
    let namespace_path = path.child("namespace");
    match (scope, namespace.is_empty()) {
        (Scope::Namespaced, true) => errors.push(FieldError::required(&namespace_path, "")),
        (Scope::Namespaced, false) => {
            errors.syntax(&namespace_path, namespace, names::dns1123_label(namespace));
        }
        (Scope::Cluster, false) => {
            errors.push(FieldError::forbidden(&namespace_path, "not allowed on this type"))
        }
        (Scope::Cluster, true) => {}
    }
    errors.non_negative(&path.child("generation"), meta.generation.unwrap_or_default());
    errors.extend(contents(meta, path));
    errors
}

/// A change of metadata. `new` carries what the system filled in (uid, timestamps); its resourceVersion is the store's
/// business and is not looked at.
pub fn object_meta_update(new: &ObjectMeta, old: &ObjectMeta, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if old.deletion_timestamp.is_some() {
        let known = old.finalizers.as_deref().unwrap_or_default();
        let added: Vec<&String> = new.finalizers.iter().flatten().filter(|f| !known.contains(f)).collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.push(FieldError::forbidden(&path.child("finalizers"), detail));
        }
    }
    let generation = new.generation.unwrap_or_default();
    if generation < old.generation.unwrap_or_default() {
        errors.push(FieldError::invalid(&path.child("generation"), generation, "must not be decremented"));
    }
    let same_text = |errors: &mut FieldErrors, field: &str, new: &Option<String>, old: &Option<String>| {
        if text(new) != text(old) {
            errors.push(FieldError::invalid(&path.child(field), text_value(new), super::IMMUTABLE));
        }
    };
    same_text(&mut errors, "name", &new.name, &old.name);
    same_text(&mut errors, "namespace", &new.namespace, &old.namespace);
    same_text(&mut errors, "uid", &new.uid, &old.uid);
    errors.immutable(&path.child("creationTimestamp"), &new.creation_timestamp, &old.creation_timestamp);
    errors.immutable(&path.child("deletionTimestamp"), &new.deletion_timestamp, &old.deletion_timestamp);
    errors.immutable(
        &path.child("deletionGracePeriodSeconds"),
        &new.deletion_grace_period_seconds,
        &old.deletion_grace_period_seconds,
    );
    errors.extend(contents(new, path));
    errors
}

fn contents(meta: &ObjectMeta, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(found) = &meta.labels {
        errors.extend(labels(found, &path.child("labels")));
    }
    if let Some(found) = &meta.annotations {
        errors.extend(annotations(found, &path.child("annotations")));
    }
    if let Some(owners) = &meta.owner_references {
        errors.extend(owner_references(owners, &path.child("ownerReferences")));
    }
    if let Some(found) = &meta.finalizers {
        errors.extend(finalizers(found, &path.child("finalizers")));
    }
    errors
}

pub(super) fn labels(labels: &BTreeMap<String, String>, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (key, value) in labels {
        errors.syntax(path, key, names::qualified_name(key));
        errors.syntax(path, value, names::label_value(value));
    }
    errors
}

pub(super) fn annotations(annotations: &BTreeMap<String, String>, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut total = 0;
    for (key, value) in annotations {
        errors.syntax(path, key, names::qualified_name(&key.to_lowercase()));
        total += key.len() + value.len();
    }
    if total > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
    errors
}

fn owner_references(owners: &[OwnerReference], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut controller: Option<&OwnerReference> = None;
    for owner in owners {
        let api_version = owner.api_version.as_str();
        if api_version.split('/').count() > 2 {
            let detail = format!("unexpected GroupVersion string: {api_version}");
            errors.push(FieldError::invalid(&path.child("apiVersion"), api_version, detail));
        } else if api_version.rsplit('/').next().unwrap_or_default().is_empty() {
            errors.push(FieldError::invalid(
                &path.child("apiVersion"),
                api_version,
                "version must not be empty",
            ));
        }
        for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                errors.push(FieldError::invalid(&path.child(field), "", "must not be empty"));
            }
        }
        if owner.kind == "Event" && matches!(api_version, "v1" | "events.k8s.io/v1") {
            let detail = format!("{api_version}, Kind=Event is disallowed from being an owner");
            errors.push(FieldError::invalid(path, shown_value(owner), detail));
        }
        if owner.controller == Some(true) {
            if let Some(first) = controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    first.name, owner.name
                );
                errors.push(FieldError::invalid(path, shown_value(&owners), detail));
            } else {
                controller = Some(owner);
            }
        }
    }
    errors
}

fn finalizers(found: &[String], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for name in found {
        errors.syntax(path, name, names::qualified_name(name));
    }
    for (i, name) in found.iter().enumerate() {
        let standard =
            [finalizer::KUBERNETES, finalizer::ORPHAN, finalizer::FOREGROUND].contains(&name.as_str());
        if !name.contains('/') && !standard {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&path.index(i), name.as_str(), detail));
        }
    }
    let has = |wanted: &str| found.iter().any(|name| name == wanted);
    if has(finalizer::ORPHAN) && has(finalizer::FOREGROUND) {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, shown_value(&found), detail));
    }
    errors
}
