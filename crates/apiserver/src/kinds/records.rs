//! Event, Lease, PriorityClass: small objects that others write about.

use std::collections::BTreeMap;

use api::field::FieldErrors;
use api::validate::EventVersion;
use api::{default, validate};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{AgesFrom, Kind, Part, Seen, fields};
use crate::access::restriction::{self, Restricted};
use crate::admission::Admission;
use crate::error::ApiError;

impl Kind for Event {
    const AGES_FROM: AgesFrom = AgesFrom::LastWrite;

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
        let source = self.source.as_ref().and_then(|source| source.component.clone());
        let source =
            source.filter(|component| !component.is_empty()).or_else(|| self.reporting_component.clone());
        fields([
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
        ])
    }

    fn default(&mut self) {
        default::event(self);
    }

    fn validate_create(&self, seen: &Seen<'_>) -> FieldErrors {
        validate::event_create(self, version(seen))
    }

    fn validate_update(&self, old: &Self, _part: Part, seen: &Seen<'_>) -> FieldErrors {
        validate::event_update(self, old, version(seen))
    }
}

fn version(seen: &Seen<'_>) -> EventVersion {
    if seen.requested.group == "events.k8s.io" { EventVersion::Events } else { EventVersion::Core }
}

impl Kind for Lease {
    fn default(&mut self) {
        default::lease(self);
    }

    fn restrict(
        &self,
        node: &str,
        _old: Option<&Self>,
        _part: Part,
        _admission: &Admission<'_>,
    ) -> Result<(), Restricted> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        restriction::write_lease(node, &text(&self.metadata.namespace), &text(&self.metadata.name))
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::lease_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::lease_update(self, old)
    }
}

impl Kind for PriorityClass {
    fn default(&mut self) {
        default::priority_class(self);
    }

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        self.metadata.generation = Some(1);
        Ok(())
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::priority_class_create(self)
    }

    fn validate_update(&self, old: &Self, _part: Part, _seen: &Seen<'_>) -> FieldErrors {
        validate::priority_class_update(self, old)
    }
}
