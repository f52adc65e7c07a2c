//! What may change about a Pod that exists: images, tolerations (more), deadline (less), gates (fewer); and in its
//! status: a container that has ended for good stays so.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, NodeSelector, Pod, PodSpec, Toleration};

use super::metadata::object_meta_update;
use super::{Complaints, each_once, pod, text};
use crate::field::{FieldError, FieldErrors, Path};
use crate::meta::Meta;
use crate::names;
use crate::well_known::pod_annotation;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                         `spec.tolerations` (only additions to existing tolerations),\
                         `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn pod_update(new: &Pod, old: &Pod) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(mirror_annotation_kept(new, old));
    errors.extend(pod::whole(new));
    let path = Path::new("spec");
    let empty = PodSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    if new.containers.len() != old.containers.len() {
        let detail = "pod updates may not add or remove containers";
        errors.push(FieldError::forbidden(&path.child("containers"), detail));
        return each_once(errors);
    }
    if init(new).len() != init(old).len() {
        let detail = "pod updates may not add or remove containers";
        errors.push(FieldError::forbidden(&path.child("initContainers"), detail));
        return each_once(errors);
    }
    errors.extend(active_deadline(new, old, &path));
    errors.extend(tolerations_only_added(new, old, &path));
    errors.extend(gates_only_removed(new, old, &path));
    errors.extend(nothing_else(new, old, &path));
    each_once(errors)
}

pub fn pod_status_update(new: &Pod, old: &Pod) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(mirror_annotation_kept(new, old));
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    if node(new) != node(old) {
        errors.push(FieldError::forbidden(&Path::new("status.nodeName"), "may not be changed directly"));
    }
    let Some(status) = &new.status else { return errors };
    let path = Path::new("status");
    for (i, address) in status.pod_ips.iter().flatten().enumerate() {
        errors.syntax(&path.child("podIPs").index(i), &address.ip, names::ip(&address.ip));
    }
    for (i, address) in status.host_ips.iter().flatten().enumerate() {
        errors.syntax(&path.child("hostIPs").index(i), &address.ip, names::ip(&address.ip));
    }
    for (i, condition) in status.conditions.iter().flatten().enumerate() {
        let path = path.child("conditions").index(i);
        errors.required_text(&path.child("type"), &condition.type_);
        errors.one_of(&path.child("status"), &condition.status, &["False", "True", "Unknown"]);
    }
    if let (Some(old_status), Some(spec)) = (&old.status, &old.spec) {
        for (field, new, old) in [
            ("containerStatuses", &status.container_statuses, &old_status.container_statuses),
            ("initContainerStatuses", &status.init_container_statuses, &old_status.init_container_statuses),
            (
                "ephemeralContainerStatuses",
                &status.ephemeral_container_statuses,
                &old_status.ephemeral_container_statuses,
            ),
        ] {
            let (new, old) = (new.as_deref().unwrap_or_default(), old.as_deref().unwrap_or_default());
            errors.extend(ended_stays_ended(new, old, &path.child(field), spec));
        }
    }
    errors
}

/// What is not to be restarted does not run again, whoever says so.
fn ended_stays_ended(
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    path: &Path,
    spec: &PodSpec,
) -> FieldErrors {
    let policy = text(&spec.restart_policy);
    if !matches!(policy, "Never" | "OnFailure") {
        return FieldErrors::new();
    }
    let exit_code = |status: &ContainerStatus| Some(status.state.as_ref()?.terminated.as_ref()?.exit_code);
    let is_sidecar = |name: &str| init(spec).iter().any(|c| c.name == name && crate::pod::is_sidecar(c));
    let ended_for_good = |status: &ContainerStatus| {
        let code = exit_code(status);
        code.is_some_and(|code| code == 0 || policy == "Never") && !is_sidecar(&status.name)
    };
    let detail = "may not be transitioned to non-terminated state";
    let comes_back = |old: &ContainerStatus| {
        new.iter().any(|new| new.name == old.name && exit_code(new).is_none()) && ended_for_good(old)
    };
    let back = old.iter().enumerate().filter(|(_, old)| comes_back(old));
    back.map(|(i, _)| FieldError::forbidden(&path.index(i).child("state"), detail)).collect()
}

pub(super) fn mirror_annotation_kept(new: &Pod, old: &Pod) -> Option<FieldError> {
    let key = pod_annotation::CONFIG_MIRROR;
    let detail = match (new.annotation(key), old.annotation(key)) {
        (new, old) if new == old => return None,
        (Some(_), Some(_)) => "may not update mirror pod annotation",
        (Some(_), None) => "may not add mirror pod annotation",
        (None, _) => "may not remove mirror pod annotation",
    };
    Some(FieldError::forbidden(&Path::new("metadata.annotations").key(key), detail))
}

fn active_deadline(new: &PodSpec, old: &PodSpec, path: &Path) -> Option<FieldError> {
    let path = path.child("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            Some(FieldError::invalid(&path, new, "must be between 0 and 2147483647, inclusive"))
        }
        (Some(new), Some(old)) if new > old => {
            Some(FieldError::invalid(&path, new, "must be less than or equal to previous value"))
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            Some(FieldError::invalid(&path, serde_json::Value::Null, detail))
        }
        (Some(_) | None, _) => None,
    }
}

fn tolerations_only_added(new: &PodSpec, old: &PodSpec, path: &Path) -> Option<FieldError> {
    let kept = |old: &Toleration| {
        // How long a taint is tolerated may change; whether it is tolerated may not.
        let timeless = Toleration { toleration_seconds: None, ..old.clone() };
        tolerations(new).iter().any(|new| Toleration { toleration_seconds: None, ..new.clone() } == timeless)
    };
    let all_kept = tolerations(old).iter().all(kept);
    let detail = "existing toleration can not be modified except its tolerationSeconds";
    (!all_kept).then(|| FieldError::forbidden(&path.child("tolerations"), detail))
}

fn gates_only_removed(new: &PodSpec, old: &PodSpec, path: &Path) -> FieldErrors {
    let old_gates = old.scheduling_gates.as_deref().unwrap_or_default();
    let new_gates = new.scheduling_gates.iter().flatten();
    let added = new_gates.filter(|gate| !old_gates.contains(gate));
    let path = path.child("schedulingGates");
    let detail = |name: &str| format!("only deletion is allowed, but found new scheduling gate '{name}'");
    added.map(|gate| FieldError::forbidden(&path, detail(&gate.name))).collect()
}

/// The new spec with every field that may change set back must be the old one.
fn nothing_else(new: &PodSpec, old: &PodSpec, path: &Path) -> Option<FieldError> {
    let mut back = new.clone();
    images_back(&mut back.containers, &old.containers);
    if let (Some(new), Some(old)) = (&mut back.init_containers, &old.init_containers) {
        images_back(new, old);
    }
    back.active_deadline_seconds = old.active_deadline_seconds;
    back.tolerations.clone_from(&old.tolerations);
    back.scheduling_gates.clone_from(&old.scheduling_gates);
    let negative = old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0);
    if negative && new.termination_grace_period_seconds == Some(1) {
        back.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if old.scheduling_gates.iter().flatten().next().is_some() {
        tightened_back(&mut back, old);
    }
    if back == *old {
        return None;
    }
    let changed = changed_fields(&back, old);
    let detail = format!("pod updates may not change fields other than {UPDATABLE}\n{}", changed.join("\n"));
    Some(FieldError::forbidden(path, detail))
}

/// While a Pod is gated, where it may run can be narrowed.
fn tightened_back(back: &mut PodSpec, old: &PodSpec) {
    let empty = BTreeMap::new();
    let old_labels = old.node_selector.as_ref().unwrap_or(&empty);
    let new_labels = back.node_selector.as_ref().unwrap_or(&empty);
    if old_labels.iter().all(|(key, value)| new_labels.get(key) == Some(value)) {
        back.node_selector.clone_from(&old.node_selector);
    }
    let required = |spec: &PodSpec| -> Option<NodeSelector> {
        spec.affinity
            .as_ref()?
            .node_affinity
            .as_ref()?
            .required_during_scheduling_ignored_during_execution
            .clone()
    };
    let narrowed = match (required(back), required(old)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(new), Some(old)) => {
            let (new, old) = (new.node_selector_terms, old.node_selector_terms);
            let within = |old: &Option<Vec<_>>, new: &Option<Vec<_>>| {
                let new = new.as_deref().unwrap_or_default();
                old.iter().flatten().all(|term| new.contains(term))
            };
            new.len() == old.len()
                && old.iter().zip(&new).all(|(old, new)| {
                    within(&old.match_expressions, &new.match_expressions)
                        && within(&old.match_fields, &new.match_fields)
                })
        }
    };
    if !narrowed {
        return;
    }
    let Some(affinity) = &mut back.affinity else { return };
    let old_node = old.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    if let Some(node) = &mut affinity.node_affinity {
        node.required_during_scheduling_ignored_during_execution = required(old);
        if *node == Default::default() && old_node.is_none() {
            affinity.node_affinity = None;
        }
    }
    if *affinity == Default::default() && old.affinity.is_none() {
        back.affinity = None;
    }
}

fn images_back(new: &mut [Container], old: &[Container]) {
    for (new, old) in new.iter_mut().zip(old) {
        if !text(&new.image).is_empty() {
            new.image.clone_from(&old.image);
        }
    }
}

/// The names of the top-level fields that differ: enough to find the mistake.
fn changed_fields(new: &PodSpec, old: &PodSpec) -> Vec<String> {
    let object = |spec: &PodSpec| match serde_json::to_value(spec) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (new, old) = (object(new), object(old));
    let mut fields: Vec<&String> = new.keys().chain(old.keys()).collect();
    fields.sort();
    fields.dedup();
    let differ = fields.into_iter().filter(|field| new.get(*field) != old.get(*field));
    differ.map(|field| format!("changed: spec.{field}")).collect()
}

fn init(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

fn tolerations(spec: &PodSpec) -> &[Toleration] {
    spec.tolerations.as_deref().unwrap_or_default()
}
