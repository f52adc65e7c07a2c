//! Event: what happened to an object; kept for an hour.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Event;

use super::Kind;

impl Kind for Event {
    const SELECTABLE: &'static [&'static str] = &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];

    fn selectable(&self) -> BTreeMap<String, String> {
        let object = &self.involved_object;
        // Upstream: the old component, or the new one where there is none.
        let source =
            self.source.as_ref().and_then(|source| source.component.clone()).filter(|c| !c.is_empty());
        let source = source.or_else(|| self.reporting_component.clone());
        [
            ("involvedObject.kind", object.kind.clone()),
            ("involvedObject.namespace", object.namespace.clone()),
            ("involvedObject.name", object.name.clone()),
            ("involvedObject.uid", object.uid.clone()),
            ("involvedObject.apiVersion", object.api_version.clone()),
            ("involvedObject.resourceVersion", object.resource_version.clone()),
            ("involvedObject.fieldPath", object.field_path.clone()),
            ("reason", self.reason.clone()),
            ("reportingComponent", self.reporting_component.clone()),
            ("source", source),
            ("type", self.type_.clone()),
        ]
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), value.filter(|value| !value.is_empty())?)))
        .collect()
    }
}
