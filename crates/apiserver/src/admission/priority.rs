//! Priority: from a class's name to its number.

use api::well_known::priority;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{Admission, pods};
use crate::error::ApiError;

/// Resolves `priorityClassName`; without one the global default class counts, or zero.
pub fn admit(pod: &mut Pod, admission: &Admission<'_>) -> Result<(), ApiError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    let class_name = spec.priority_class_name.clone().filter(|class| !class.is_empty());
    let (value, policy) = match class_name {
        Some(class_name) => {
            let Some(class) = class(admission, &class_name) else {
                let why = format!("no PriorityClass with name {class_name} was found");
                return Err(ApiError::forbidden(pods(), &name, why));
            };
            (class.value, class.preemption_policy)
        }
        None => match global_default(admission) {
            Some(class) => {
                spec.priority_class_name.clone_from(&class.metadata.name);
                (class.value, class.preemption_policy)
            }
            None => (0, Some("PreemptLowerPriority".to_owned())),
        },
    };
    if let Some(given) = spec.priority.filter(|given| *given != value) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(ApiError::forbidden(pods(), &name, why));
    }
    spec.priority = Some(value);
    spec.preemption_policy = policy.or_else(|| Some("PreemptLowerPriority".to_owned()));
    Ok(())
}

fn class(admission: &Admission<'_>, name: &str) -> Option<PriorityClass> {
    let built_in = match name {
        priority::SYSTEM_CLUSTER_CRITICAL => Some(priority::SYSTEM_CLUSTER_CRITICAL_VALUE),
        priority::SYSTEM_NODE_CRITICAL => Some(priority::SYSTEM_NODE_CRITICAL_VALUE),
        _ => None,
    };
    if let Some(value) = built_in {
        return Some(PriorityClass { value, ..PriorityClass::default() });
    }
    let object = admission.windows.window("priorityclasses")?.get(name)?;
    serde_json::from_slice(&object.json()).ok()
}

/// The default class with the least value, as upstream chooses among several.
fn global_default(admission: &Admission<'_>) -> Option<PriorityClass> {
    let classes = admission.windows.window("priorityclasses")?.list("", |_| true).objects;
    classes
        .iter()
        .filter_map(|object| serde_json::from_slice::<PriorityClass>(&object.json()).ok())
        .filter(|class| class.global_default == Some(true))
        .min_by_key(|class| class.value)
}
