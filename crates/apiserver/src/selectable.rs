//! Which fields a field selector may name, and as what they are stored.
//!
//! Each version of a kind has its own words, and its own of refusing others. Upstream: the conversion functions for field
//! labels in `pkg/apis/*/*/conversion.go`, and `DefaultMetaV1FieldSelectorConversion` for kinds that have none.

use api::scheme::Resource;

use crate::error::ApiError;

/// The stored field that `field` means, if it is stored under another name; refused if the version does not have it.
/// `selectable` are the stored fields beside metadata.name and metadata.namespace.
pub fn stored_field(
    requested: &Resource,
    selectable: &[&str],
    field: &str,
) -> Result<Option<String>, ApiError> {
    // COMPAT(v1): only a kind without fields of its own takes the namespace of what has none.
    let has_namespace = requested.namespaced || selectable.is_empty();
    match (requested.group, requested.plural, field) {
        (_, _, "metadata.name") => Ok(None),
        (_, _, "metadata.namespace") if has_namespace => Ok(None),
        // COMPAT(v1): the field's first name.
        ("", "pods", "spec.host") => Ok(Some("spec.nodeName".to_owned())),
        ("events.k8s.io", _, "reportingController") => Ok(Some("reportingComponent".to_owned())),
        ("events.k8s.io", _, "reason" | "source" | "type") => Ok(None),
        ("events.k8s.io", ..) => match field.strip_prefix("regarding.") {
            Some(of_object) => known(selectable, &format!("involvedObject.{of_object}"), field).map(Some),
            None => Err(not_supported(field)),
        },
        _ if selectable.is_empty() => Err(ApiError::bad_request(format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ))),
        _ => known(selectable, field, field).map(|_| None),
    }
}

fn known(selectable: &[&str], stored: &str, field: &str) -> Result<String, ApiError> {
    if selectable.contains(&stored) { Ok(stored.to_owned()) } else { Err(not_supported(field)) }
}

fn not_supported(field: &str) -> ApiError {
    ApiError::bad_request(format!("field label not supported: {field}"))
}
