//! RuntimeClass: what a pod's runtime costs and where it is, from the class that the pod names.
//!
//! Upstream: plugin/pkg/admission/runtimeclass. A pod does not say its overhead itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Admission, pods};
use crate::error::ApiError;
use crate::pipeline::typed;

const NO_CLASS: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
const OTHER: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

pub fn admit(pod: &mut Pod, admission: &Admission<'_>) -> Result<(), ApiError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    let refused = |why: String| ApiError::forbidden(pods(), &name, why);
    let Some(class_name) = spec.runtime_class_name.clone().filter(|name| !name.is_empty()) else {
        return overhead(spec, None).map_err(refused);
    };
    let found = admission.windows.window("runtimeclasses").and_then(|window| window.get(&class_name));
    let Some(found) = found else {
        return Err(refused(format!("pod rejected: RuntimeClass \"{class_name}\" not found")));
    };
    let class: RuntimeClass = typed(&found)?;
    overhead(spec, class.overhead.and_then(|overhead| overhead.pod_fixed)).map_err(&refused)?;
    match &class.scheduling {
        Some(scheduling) => schedule(spec, scheduling).map_err(refused),
        None => Ok(()),
    }
}

fn overhead(spec: &mut PodSpec, defined: Option<BTreeMap<String, Quantity>>) -> Result<(), String> {
    let Some(defined) = defined else {
        return if spec.overhead.is_some() { Err(NO_CLASS.to_owned()) } else { Ok(()) };
    };
    // Both have been brought to their canonical form.
    if spec.overhead.as_ref().is_some_and(|own| *own != defined) {
        return Err(OTHER.to_owned());
    }
    spec.overhead = Some(defined);
    Ok(())
}

fn schedule(spec: &mut PodSpec, scheduling: &Scheduling) -> Result<(), String> {
    for (key, value) in scheduling.node_selector.iter().flatten() {
        let own = spec.node_selector.get_or_insert_default();
        if let Some(other) = own.get(key).filter(|other| *other != value) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {other}"
            ));
        }
        own.insert(key.clone(), value.clone());
    }
    for toleration in scheduling.tolerations.iter().flatten() {
        let own = spec.tolerations.get_or_insert_default();
        if !own.contains(toleration) {
            own.push(toleration.clone());
        }
    }
    Ok(())
}
