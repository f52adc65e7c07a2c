//! The list of a Pod's volumes, and the syntax of paths inside and outside of them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

use super::{Complaints, volume_source};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;

pub(super) fn volumes(volumes: &[Volume], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (i, volume) in volumes.iter().enumerate() {
        let path = path.index(i);
        errors.extend(volume_source::source(volume, &path));
        let name_path = path.child("name");
        if errors.required_text(&name_path, &volume.name) {
            errors.syntax(&name_path, &volume.name, names::dns1123_label(&volume.name));
        }
        if !seen.insert(volume.name.as_str()) {
            errors.push(FieldError::duplicate(&name_path, volume.name.as_str()));
        }
    }
    errors
}

/// A relative path that stays below its root.
pub(super) fn descending_path(path: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if path.starts_with('/') {
        complaints.push("must be a relative path".to_owned());
    }
    complaints.extend(no_back_steps(path));
    complaints
}

/// As `descending_path`, and its name is none that the agent keeps for itself.
pub(super) fn file_path(path: &str) -> Vec<String> {
    let mut complaints = descending_path(path);
    // A path that begins with a back step has been complained about already.
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
        complaints.push("must not start with '..'".to_owned());
    }
    complaints
}

pub(super) fn no_back_steps(path: &str) -> Option<String> {
    path.split('/').any(|part| part == "..").then(|| "must not contain '..'".to_owned())
}
