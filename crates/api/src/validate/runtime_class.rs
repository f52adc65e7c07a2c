//! RuntimeClasses.
//!
//! Upstream: `pkg/apis/node/validation`.

use k8s_openapi::api::node::v1::RuntimeClass;

use super::metadata::{self, NameSyntax, Scope, object_meta_create, object_meta_update};
use super::{Complaints, resources, tolerations};
use crate::field::{FieldError, FieldErrors, Path, shown_value};
use crate::names;

pub fn runtime_class_create(class: &RuntimeClass) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&class.metadata, Scope::Cluster, NameSyntax::Subdomain, &path);
    errors.syntax(&Path::new("handler"), &class.handler, names::dns1123_label(&class.handler));
    let overhead = class.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.as_ref());
    if let Some(overhead) = overhead {
        errors.extend(resources::list(overhead, &Path::new("overhead.podFixed.limits")));
    }
    if let Some(scheduling) = &class.scheduling {
        let path = Path::new("scheduling");
        if let Some(selector) = &scheduling.node_selector {
            errors.extend(metadata::labels(selector, &path.child("nodeSelector")));
        }
        let path = path.child("tolerations");
        let given = scheduling.tolerations.as_deref().unwrap_or_default();
        errors.extend(tolerations::tolerations(given, &path));
        for (i, toleration) in given.iter().enumerate() {
            if given[..i].contains(toleration) {
                errors.push(FieldError::duplicate(&path.index(i), shown_value(toleration)));
            }
        }
    }
    errors
}

/// What runs under a class would change with its handler.
pub fn runtime_class_update(new: &RuntimeClass, old: &RuntimeClass) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.immutable(&Path::new("handler"), &new.handler, &old.handler);
    errors
}
