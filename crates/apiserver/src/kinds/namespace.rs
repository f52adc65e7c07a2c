//! Namespace: its content goes before it does, so its spec's finalizers have a door of their own.
//!
//! Upstream: `pkg/registry/core/namespace/strategy.go`.

use std::collections::BTreeMap;

use api::well_known::finalizer;
use api::well_known::namespace::NAME_LABEL;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus};

use super::{Kind, Names};
use crate::error::ApiError;

impl Kind for Namespace {
    const SELECTABLE: &'static [&'static str] = &["status.phase", "name"];
    const NAMES: Names = Names::Label;

    fn selectable(&self) -> BTreeMap<String, String> {
        let phase = self.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let name = self.metadata.name.clone().unwrap_or_default();
        [("status.phase".to_owned(), phase), ("name".to_owned(), name)].into()
    }

    fn default(&mut self) {
        if let Some(name) = self.metadata.name.clone().filter(|name| !name.is_empty()) {
            self.metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_owned(), name);
        }
    }

    fn prepare_create(&mut self, _now: Timestamp) -> Result<(), ApiError> {
        // After the name has been generated.
        self.default();
        self.status = Some(NamespaceStatus { phase: Some("Active".to_owned()), ..Default::default() });
        let finalizers =
            self.spec.get_or_insert_with(NamespaceSpec::default).finalizers.get_or_insert_default();
        if !finalizers.iter().any(|known| known == finalizer::KUBERNETES) {
            finalizers.push(finalizer::KUBERNETES.to_owned());
        }
        Ok(())
    }

    fn is_held(&self) -> bool {
        let finalizers = self.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
        finalizers.is_some_and(|finalizers| !finalizers.is_empty())
    }

    fn prepare_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }
}
