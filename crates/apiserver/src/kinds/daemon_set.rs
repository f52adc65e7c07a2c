//! DaemonSet: status only through its subresource, the template's generation in an annotation.
//!
//! Upstream: `pkg/registry/apps/daemonset/strategy.go`; the annotation is that of `pkg/apis/apps/v1/conversion.go`.

use api::well_known::daemon_set::TEMPLATE_GENERATION_ANNOTATION;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;

use super::Kind;
use crate::error::ApiError;

impl Kind for DaemonSet {
    fn prepare_create(&mut self, _now: Timestamp) -> Result<(), ApiError> {
        self.status = Some(Default::default());
        let given = match self.metadata.annotations.as_ref().and_then(|all| all.get(TEMPLATE_GENERATION_ANNOTATION)) {
            None => 0,
            Some(text) => text.parse::<i64>().map_err(|_| {
                ApiError::bad_request(format!(
                    "DaemonSet in version \"v1\" cannot be handled as a DaemonSet: strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })?,
        };
        set_template_generation(self, given.max(1));
        Ok(())
    }

    fn prepare_update(&mut self, old: &Self) {
        self.status.clone_from(&old.status);
        let generation = template_generation(old);
        let same = template(self) == template(old);
        set_template_generation(self, if same { generation } else { generation + 1 });
    }

    fn prepare_status(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
        set_template_generation(self, template_generation(old));
    }

    fn generation_changed(&self, old: &Self) -> Option<bool> {
        Some(self.spec != old.spec)
    }
}

fn template(object: &DaemonSet) -> Option<&k8s_openapi::api::core::v1::PodTemplateSpec> {
    object.spec.as_ref().map(|spec| &spec.template)
}

/// What stands in the annotation; the first generation where nothing readable does.
pub fn template_generation(object: &DaemonSet) -> i64 {
    let annotations = object.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(TEMPLATE_GENERATION_ANNOTATION))
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

fn set_template_generation(object: &mut DaemonSet, generation: i64) {
    let annotations = object.metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION_ANNOTATION.to_owned(), generation.to_string());
}
