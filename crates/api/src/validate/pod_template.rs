//! PodTemplates: a template that stands alone.

use k8s_openapi::api::core::v1::PodTemplate;

use super::metadata::{NameSyntax, Scope, object_meta_create, object_meta_update};
use super::pod;
use crate::field::{FieldErrors, Path};

pub fn pod_template_create(template: &PodTemplate) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = object_meta_create(&template.metadata, Scope::Namespaced, NameSyntax::Subdomain, &path);
    errors.extend(contents(template));
    errors
}

pub fn pod_template_update(new: &PodTemplate, old: &PodTemplate) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(contents(new));
    errors
}

fn contents(template: &PodTemplate) -> FieldErrors {
    let template = template.template.clone().unwrap_or_default();
    pod::pod_template_spec(&template, &Path::new("template"))
}
