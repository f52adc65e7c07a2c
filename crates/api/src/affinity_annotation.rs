//! The annotation `scheduler.alpha.kubernetes.io/affinity`: affinity as JSON, as Kubernetes up to 1.5 read it.
//!
//! Where a Pod or template has the annotation and no `spec.affinity`, the annotation's affinity applies; where it has
//! both, the field wins. What the annotation holds must be a well-formed affinity either way.
//!
//! DIFFERS: later upstream versions store the annotation and ignore it. Here it works as its authors meant it, and a
//! mistake in it is refused, so that no Pod silently runs elsewhere than it says.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Pod, PodSpec, PodTemplateSpec};

use crate::field::{FieldError, FieldErrors, Path};
use crate::validate;
use crate::well_known::pod_annotation::ALPHA_AFFINITY;

/// Sets `spec.affinity` of a Pod from its annotation. A malformed annotation changes nothing: `validate` refuses it.
pub fn apply_to_pod(pod: &mut Pod) {
    let Some(annotations) = &pod.metadata.annotations else { return };
    let affinity = parsed(annotations);
    apply(pod.spec.as_mut(), affinity);
}

/// As `apply_to_pod`, for the template inside a workload object.
pub fn apply_to_template(template: &mut PodTemplateSpec) {
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    let Some(annotations) = annotations else { return };
    let affinity = parsed(annotations);
    apply(template.spec.as_mut(), affinity);
}

/// As `apply_to_template`, when a stored template is changed: an affinity that came from the old annotation follows the
/// new one, and goes when the annotation goes. Otherwise a changed annotation would lose against its own past.
pub fn reapply_to_template(new: &mut PodTemplateSpec, old: &PodTemplateSpec) {
    let of = |template: &PodTemplateSpec| {
        template.metadata.as_ref().and_then(|metadata| parsed(metadata.annotations.as_ref()?))
    };
    let before = of(old);
    if before != of(new)
        && let Some(spec) = &mut new.spec
        && spec.affinity.is_some()
        && spec.affinity == before
    {
        spec.affinity = None;
    }
    apply_to_template(new);
}

/// The affinity that the annotation holds. `path` is that of the annotations.
pub fn parse(annotations: &BTreeMap<String, String>, path: &Path) -> Result<Option<Affinity>, FieldError> {
    let Some(text) = annotations.get(ALPHA_AFFINITY) else { return Ok(None) };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let malformed = |problem: serde_json::Error| {
        let detail = format!("must be the JSON of an affinity: {problem}");
        FieldError::invalid(&path.key(ALPHA_AFFINITY), text.as_str(), detail)
    };
    serde_json::from_str(text).map(Some).map_err(malformed)
}

/// Everything wrong with the annotation: its JSON, or the affinity in it.
pub fn validate(annotations: &BTreeMap<String, String>, spec: &PodSpec, path: &Path) -> FieldErrors {
    match parse(annotations, path) {
        Err(error) => vec![error],
        // Where it became the spec's own affinity, its errors are told there.
        Ok(Some(affinity)) if spec.affinity.as_ref() != Some(&affinity) => {
            validate::affinity(&affinity, &path.key(ALPHA_AFFINITY))
        }
        Ok(Some(_) | None) => FieldErrors::new(),
    }
}

fn parsed(annotations: &BTreeMap<String, String>) -> Option<Affinity> {
    parse(annotations, &Path::root()).ok().flatten()
}

fn apply(spec: Option<&mut PodSpec>, affinity: Option<Affinity>) {
    if let (Some(spec), Some(affinity)) = (spec, affinity)
        && spec.affinity.is_none()
    {
        spec.affinity = Some(affinity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldErrorKind;
    use serde_json::{Value, json};

    const ON_ZONE: &str = r#"{
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/e2e-az-name", "operator": "In", "values": ["e2e-az1"]}]}]}}}"#;

    fn annotated(annotation: &str, spec: Value) -> Pod {
        let annotations = json!({ALPHA_AFFINITY: annotation, "another-annotation-key": "value"});
        serde_json::from_value(json!({"metadata": {"name": "p", "annotations": annotations}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn the_annotation_becomes_the_affinity_of_a_pod_that_has_none() {
        let mut pod = annotated(ON_ZONE, json!({"containers": []}));
        apply_to_pod(&mut pod);
        let affinity = pod.spec.unwrap().affinity.unwrap().node_affinity.unwrap();
        let terms = affinity.required_during_scheduling_ignored_during_execution.unwrap().node_selector_terms;
        assert_eq!(terms[0].match_expressions.as_ref().unwrap()[0].key, "kubernetes.io/e2e-az-name");
    }

    #[test]
    fn the_field_wins_over_the_annotation() {
        let mut pod = annotated(ON_ZONE, json!({"containers": [], "affinity": {}}));
        apply_to_pod(&mut pod);
        assert_eq!(pod.spec.unwrap().affinity, Some(Affinity::default()));
    }

    #[test]
    fn a_changed_annotation_replaces_the_affinity_it_gave() {
        let template = |annotation: &str| {
            let pod = annotated(annotation, json!({"containers": []}));
            PodTemplateSpec { metadata: Some(pod.metadata), spec: pod.spec }
        };
        let mut old = template(ON_ZONE);
        apply_to_template(&mut old);
        let mut new = PodTemplateSpec { spec: old.spec.clone(), ..template(&ON_ZONE.replace("az1", "az2")) };
        reapply_to_template(&mut new, &old);
        let affinity = serde_json::to_string(&new.spec).unwrap();
        assert!(affinity.contains("e2e-az2") && !affinity.contains("e2e-az1"), "{affinity}");
        let mut gone = PodTemplateSpec { metadata: None, ..old.clone() };
        reapply_to_template(&mut gone, &old);
        assert_eq!(gone.spec.unwrap().affinity, None);
        let mut same = old.clone();
        reapply_to_template(&mut same, &old);
        assert_eq!(same, old);
    }

    #[test]
    fn what_is_no_affinity_is_refused_where_it_stands() {
        let path = Path::new("spec.template.metadata.annotations");
        for bad in ["{", "[]", "\"x\"", "{\"nodeAffinity\": 1}"] {
            let pod = annotated(bad, json!({"containers": []}));
            let errors = validate(pod.metadata.annotations.as_ref().unwrap(), &PodSpec::default(), &path);
            assert_eq!(errors.len(), 1, "{bad}");
            assert_eq!(
                errors[0].path,
                "spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/affinity]"
            );
            assert_eq!(errors[0].kind, FieldErrorKind::Invalid);
        }
    }

    #[test]
    fn the_affinity_in_it_is_checked_like_any_other() {
        let bad = r#"{"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}"#;
        let pod = annotated(bad, json!({"containers": []}));
        let path = Path::new("metadata.annotations");
        let errors = validate(pod.metadata.annotations.as_ref().unwrap(), &PodSpec::default(), &path);
        assert_eq!(
            errors[0].path,
            "metadata.annotations[scheduler.alpha.kubernetes.io/affinity].nodeAffinity.\
             requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        );
    }
}
