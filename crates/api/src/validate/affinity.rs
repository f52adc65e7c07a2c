//! Node affinity, Pod affinity and anti-affinity, topology spread constraints.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorTerm, PodAffinityTerm, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};

use super::Complaints;
use super::selector::{SelectorValues, label_selector};
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;
use crate::well_known::METADATA_NAME;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub fn affinity(affinity: &Affinity, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(node) = &affinity.node_affinity {
        errors.extend(node_affinity(node, &path.child("nodeAffinity")));
    }
    if let Some(pod) = &affinity.pod_affinity {
        let path = path.child("podAffinity");
        errors.extend(pod_terms(
            pod.required_during_scheduling_ignored_during_execution.as_deref(),
            pod.preferred_during_scheduling_ignored_during_execution.as_deref(),
            &path,
        ));
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let path = path.child("podAntiAffinity");
        errors.extend(pod_terms(
            pod.required_during_scheduling_ignored_during_execution.as_deref(),
            pod.preferred_during_scheduling_ignored_during_execution.as_deref(),
            &path,
        ));
    }
    errors
}

pub(super) fn topology_spread(constraints: &[TopologySpreadConstraint], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, constraint) in constraints.iter().enumerate() {
        let path = path.index(i);
        if constraint.max_skew <= 0 {
            errors.push(FieldError::invalid(
                &path.child("maxSkew"),
                constraint.max_skew,
                "must be greater than zero",
            ));
        }
        let key_path = path.child("topologyKey");
        if constraint.topology_key.is_empty() {
            errors.push(FieldError::required(&key_path, "can not be empty"));
        } else {
            errors.syntax(
                &key_path,
                &constraint.topology_key,
                names::qualified_name(&constraint.topology_key),
            );
        }
        let action_path = path.child("whenUnsatisfiable");
        errors.one_of(&action_path, &constraint.when_unsatisfiable, &["DoNotSchedule", "ScheduleAnyway"]);
        let same = |other: &TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key
                && other.when_unsatisfiable == constraint.when_unsatisfiable
        };
        if constraints[..i].iter().any(same) {
            let pair = format!("{{{}, {}}}", constraint.topology_key, constraint.when_unsatisfiable);
            errors.push(FieldError::duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), pair));
        }
        if let Some(domains) = constraint.min_domains {
            let path = path.child("minDomains");
            if domains <= 0 {
                errors.push(FieldError::invalid(&path, domains, "must be greater than zero"));
            } else if constraint.when_unsatisfiable != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    constraint.when_unsatisfiable
                );
                errors.push(FieldError::invalid(&path, domains, detail));
            }
        }
        for (field, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            if let Some(policy) = policy {
                errors.one_of(&path.child(field), policy, &["Honor", "Ignore"]);
            }
        }
        if let Some(selector) = &constraint.label_selector {
            errors.extend(label_selector(selector, &path.child("labelSelector"), SelectorValues::Checked));
        }
        for (i, key) in constraint.match_label_keys.iter().flatten().enumerate() {
            errors.syntax(&path.child("matchLabelKeys").index(i), key, names::qualified_name(key));
        }
    }
    errors
}

fn node_affinity(affinity: &NodeAffinity, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        errors.extend(node_selector(required, &path.child(REQUIRED)));
    }
    for (i, preferred) in
        affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate()
    {
        let path = path.child(PREFERRED).index(i);
        weight(&mut errors, preferred.weight, &path);
        errors.extend(node_term(&preferred.preference, &path.child("preference")));
    }
    errors
}

fn node_selector(selector: &NodeSelector, path: &Path) -> FieldErrors {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        return vec![FieldError::required(&path, "must have at least one node selector term")];
    }
    let terms = selector.node_selector_terms.iter().enumerate();
    terms.flat_map(|(i, term)| node_term(term, &path.index(i))).collect()
}

fn node_term(term: &NodeSelectorTerm, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, expression) in term.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let values = expression.values.as_deref().unwrap_or_default();
        let values_path = path.child("values");
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                &values_path,
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                &values_path,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if values.len() != 1 => errors.push(FieldError::required(
                &values_path,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => {
                errors.push(FieldError::invalid(
                    &path.child("operator"),
                    other,
                    "not a valid selector operator",
                ));
            }
        }
        errors.syntax(&path.child("key"), &expression.key, names::qualified_name(&expression.key));
        for (i, value) in values.iter().enumerate() {
            errors.syntax(&values_path.index(i), value, names::label_value(value));
        }
    }
    for (i, field) in term.match_fields.iter().flatten().enumerate() {
        let path = path.child("matchFields").index(i);
        let values = field.values.as_deref().unwrap_or_default();
        match field.operator.as_str() {
            "In" | "NotIn" if values.len() != 1 => errors.push(FieldError::required(
                &path.child("values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )),
            "In" | "NotIn" => {}
            other => {
                errors.push(FieldError::invalid(
                    &path.child("operator"),
                    other,
                    "not a valid selector operator",
                ));
            }
        }
        if field.key == METADATA_NAME {
            for (i, value) in values.iter().enumerate() {
                errors.syntax(&path.child("values").index(i), value, names::dns1123_subdomain(value));
            }
        } else {
            let detail = "not a valid field selector key";
            errors.push(FieldError::invalid(&path.child("key"), field.key.as_str(), detail));
        }
    }
    errors
}

fn pod_terms(
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
    path: &Path,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, term) in required.into_iter().flatten().enumerate() {
        errors.extend(pod_term(term, &path.child(REQUIRED).index(i)));
    }
    for (i, preferred) in preferred.into_iter().flatten().enumerate() {
        let path = path.child(PREFERRED).index(i);
        weight(&mut errors, preferred.weight, &path);
        errors.extend(pod_term(&preferred.pod_affinity_term, &path.child("podAffinityTerm")));
    }
    errors
}

fn pod_term(term: &PodAffinityTerm, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (field, selector) in
        [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)]
    {
        if let Some(selector) = selector {
            errors.extend(label_selector(selector, &path.child(field), SelectorValues::Checked));
        }
    }
    for namespace in term.namespaces.iter().flatten() {
        // COMPAT: upstream names the field in the singular and without an index.
        errors.syntax(&path.child("namespace"), namespace, names::dns1123_label(namespace));
    }
    for (field, keys) in
        [("matchLabelKeys", &term.match_label_keys), ("mismatchLabelKeys", &term.mismatch_label_keys)]
    {
        for (i, key) in keys.iter().flatten().enumerate() {
            let path = path.child(field).index(i);
            errors.syntax(&path, key, names::qualified_name(key));
            if term.label_selector.is_none() {
                let detail = "must not be specified when labelSelector is not set";
                errors.push(FieldError::forbidden(&path, detail));
            }
        }
    }
    let key = term.topology_key.as_str();
    if key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    }
    errors.syntax(&path.child("topologyKey"), key, names::qualified_name(key));
    errors
}

fn weight(errors: &mut FieldErrors, weight: i32, path: &Path) {
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}
