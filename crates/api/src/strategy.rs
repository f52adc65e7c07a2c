//! What the server sets itself when an object is created or changed: generations, and the half that the other endpoint owns.
//!
//! Called between defaulting and validation. The main endpoint owns spec and leaves status alone; `/status` the reverse.
//! Generation counts changes of what is wanted, never of metadata. Upstream: the `strategy.go` files of the registries.

mod certificate;
mod counted;
mod service;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, PodCondition, PodStatus, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use crate::convert::{TemplateGenerationError, template_generation};
use crate::meta::Meta;
use crate::pod;
use crate::well_known::daemon_set::TEMPLATE_GENERATION_ANNOTATION;
use crate::well_known::{finalizer, pod_condition, pod_phase};

pub use certificate::{
    certificate_signing_request_approval_update, certificate_signing_request_create,
    certificate_signing_request_status_update, certificate_signing_request_update,
};
pub use counted::{
    csi_driver_update, endpoint_slice_update, pod_disruption_budget_create,
    pod_disruption_budget_status_update, pod_disruption_budget_update, pod_template_update,
};
pub use service::{service_create, service_status_update, service_update};

/// Fields of maps where Go does not tell an empty map from none.
const MAPS: [&str; 9] = [
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "limits",
    "requests",
    "overhead",
    "data",
    "volumeAttributes",
];

/// Puts back what clients leave out of an update or cannot change, before the change is validated.
pub fn keep_system_metadata(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.generation = old.generation;
    if new.uid.as_deref().unwrap_or_default().is_empty() {
        new.uid.clone_from(&old.uid);
    }
    if new.creation_timestamp.is_none() {
        new.creation_timestamp.clone_from(&old.creation_timestamp);
    }
    if old.deletion_timestamp.is_some() {
        new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    if old.deletion_grace_period_seconds.is_some() && new.deletion_grace_period_seconds.is_none() {
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
}

/// Equal for the API: absent and empty lists and maps are the same.
pub fn semantically_equal<T: Serialize + PartialEq>(a: &T, b: &T) -> bool {
    a == b || pruned(a) == pruned(b)
}

/// Would this change roll out? Absent and empty count as the same.
pub fn template_changed(new: &PodTemplateSpec, old: &PodTemplateSpec) -> bool {
    !semantically_equal(new, old)
}

pub fn daemon_set_create(daemon_set: &mut DaemonSet) -> Result<(), TemplateGenerationError> {
    let given = template_generation(daemon_set.annotations())?.unwrap_or_default();
    daemon_set.status = Some(Default::default());
    daemon_set.metadata.generation = Some(1);
    write_template_generation(&mut daemon_set.metadata, given.max(1));
    Ok(())
}

/// `old` is the stored object. The template generation cannot be changed by clients, only a garbled one is refused.
pub fn daemon_set_update(new: &mut DaemonSet, old: &DaemonSet) -> Result<(), TemplateGenerationError> {
    template_generation(new.annotations())?;
    let mut template = template_generation(old.annotations()).ok().flatten().unwrap_or(1);
    let mut generation = old.generation();
    new.status.clone_from(&old.status);
    let (new_spec, old_spec) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    if template_changed(&new_spec.template, &old_spec.template) {
        template += 1;
        generation += 1;
    } else if !semantically_equal(&new_spec, &old_spec) {
        generation += 1;
    }
    new.metadata.generation = Some(generation);
    write_template_generation(&mut new.metadata, template);
    Ok(())
}

pub fn daemon_set_status_update(new: &mut DaemonSet, old: &DaemonSet) {
    new.spec.clone_from(&old.spec);
    new.metadata.generation = old.metadata.generation;
    let template = template_generation(old.annotations()).ok().flatten().unwrap_or(1);
    write_template_generation(&mut new.metadata, template);
}

pub fn pod_create(pod: &mut Pod) {
    pod.metadata.generation = Some(1);
    let qos = pod.spec.as_ref().map(pod::qos_class);
    let mut status = PodStatus {
        phase: Some(pod_phase::PENDING.to_owned()),
        qos_class: qos.map(|class| class.as_str().to_owned()),
        ..PodStatus::default()
    };
    if pod::has_scheduling_gates(pod) {
        status.conditions = Some(vec![PodCondition {
            type_: pod_condition::SCHEDULED.to_owned(),
            status: "False".to_owned(),
            reason: Some("SchedulingGated".to_owned()),
            message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
            ..PodCondition::default()
        }]);
    }
    pod.status = Some(status);
}

pub fn pod_update(new: &mut Pod, old: &Pod) {
    new.status.clone_from(&old.status);
    let changed = !semantically_equal(&new.spec, &old.spec);
    new.metadata.generation = Some(old.generation() + i64::from(changed));
}

/// Owners and the class of service are not the agent's to change.
pub fn pod_status_update(new: &mut Pod, old: &Pod) {
    // Most agents send what is there: comparing costs less than copying.
    if new.spec != old.spec {
        new.spec.clone_from(&old.spec);
    }
    new.metadata.generation = old.metadata.generation;
    new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    let qos = old.status.as_ref().and_then(|status| status.qos_class.clone());
    if let Some(qos) = qos {
        new.status.get_or_insert_default().qos_class = Some(qos);
    }
}

/// Of all that a client sends there, only the ephemeral containers count.
pub fn pod_ephemeral_containers_update(new: &mut Pod, old: &Pod) {
    let given = new.spec.take().and_then(|spec| spec.ephemeral_containers);
    let mut spec = old.spec.clone().unwrap_or_default();
    spec.ephemeral_containers = given;
    *new = Pod { spec: Some(spec), ..old.clone() };
    let changed = !semantically_equal(&new.spec, &old.spec);
    new.metadata.generation = Some(old.generation() + i64::from(changed));
}

pub fn node_update(new: &mut Node, old: &Node) {
    new.status.clone_from(&old.status);
}

pub fn node_status_update(new: &mut Node, old: &Node) {
    new.spec.clone_from(&old.spec);
}

pub fn namespace_create(namespace: &mut Namespace) {
    namespace.status = Some(Default::default());
    namespace.status.get_or_insert_default().phase = Some("Active".to_owned());
    let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|name| name == finalizer::KUBERNETES) {
        finalizers.push(finalizer::KUBERNETES.to_owned());
    }
}

pub fn namespace_update(new: &mut Namespace, old: &Namespace) {
    new.spec.clone_from(&old.spec);
    new.status.clone_from(&old.status);
}

pub fn namespace_status_update(new: &mut Namespace, old: &Namespace) {
    new.spec.clone_from(&old.spec);
}

pub fn namespace_finalize_update(new: &mut Namespace, old: &Namespace) {
    new.status.clone_from(&old.status);
}

fn write_template_generation(metadata: &mut ObjectMeta, generation: i64) {
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION_ANNOTATION.to_owned(), generation.to_string());
}

fn pruned(value: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or(Value::Null);
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|name, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(inner) => !inner.is_empty() || !MAPS.contains(&name.as_str()),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored() -> DaemonSet {
        let mut object: DaemonSet = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}}}))
        .unwrap();
        daemon_set_create(&mut object).unwrap();
        object
    }

    fn generations(object: &DaemonSet) -> (i64, i64) {
        (object.generation(), template_generation(object.annotations()).unwrap().unwrap())
    }

    #[test]
    fn a_new_daemon_set_starts_at_one_without_status() {
        let mut object = stored();
        assert_eq!(generations(&object), (1, 1));
        write_template_generation(&mut object.metadata, 5);
        object.status = serde_json::from_value(json!({"numberReady": 5})).unwrap();
        daemon_set_create(&mut object).unwrap();
        assert_eq!(generations(&object), (1, 5), "a given template generation is kept");
        assert_eq!(object.status, Some(Default::default()));
    }

    #[test]
    fn generations_follow_what_changed() {
        let old = stored();
        let changed = |edit: &dyn Fn(&mut DaemonSet)| {
            let mut new = old.clone();
            edit(&mut new);
            daemon_set_update(&mut new, &old).unwrap();
            generations(&new)
        };
        assert_eq!(changed(&|_| {}), (1, 1));
        assert_eq!(changed(&|new| new.metadata.labels = Some([("x".into(), "y".into())].into())), (1, 1));
        assert_eq!(changed(&|new| new.metadata.annotations = None), (1, 1));
        assert_eq!(changed(&|new| new.spec.as_mut().unwrap().min_ready_seconds = Some(5)), (2, 1));
        assert_eq!(
            changed(&|new| write_template_generation(&mut new.metadata, 9)),
            (1, 1),
            "clients cannot set it"
        );
        let image = |new: &mut DaemonSet| {
            new.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some("j".into());
        };
        assert_eq!(changed(&image), (2, 2));
        let empty = |new: &mut DaemonSet| {
            let template = &mut new.spec.as_mut().unwrap().template;
            template.metadata.as_mut().unwrap().annotations = Some(Default::default());
            template.spec.as_mut().unwrap().tolerations = Some(Vec::new());
        };
        assert_eq!(changed(&empty), (1, 1), "empty is absent");
    }

    #[test]
    fn a_garbled_template_generation_is_refused() {
        let mut object = stored();
        object.metadata.annotations =
            Some([(TEMPLATE_GENERATION_ANNOTATION.to_owned(), "x".to_owned())].into());
        assert!(daemon_set_create(&mut object.clone()).is_err());
        assert!(daemon_set_update(&mut object, &stored()).is_err());
    }

    #[test]
    fn each_endpoint_leaves_the_others_half_alone() {
        let old = stored();
        let mut new = old.clone();
        new.spec.as_mut().unwrap().min_ready_seconds = Some(5);
        new.status = serde_json::from_value(json!({"numberReady": 5})).unwrap();
        let mut status = new.clone();
        daemon_set_status_update(&mut status, &old);
        assert_eq!((status.spec, status.status.unwrap().number_ready), (old.spec.clone(), 5));
        daemon_set_update(&mut new, &old).unwrap();
        assert_eq!(new.status, old.status);
    }

    #[test]
    fn a_new_pod_is_pending_with_its_class_of_service() {
        let mut pod: Pod =
            serde_json::from_value(json!({"spec": {"containers": [], "schedulingGates": [{"name": "g"}]},
            "status": {"phase": "Running"}}))
            .unwrap();
        pod_create(&mut pod);
        let status = pod.status.unwrap();
        assert_eq!(
            (status.phase.as_deref(), status.qos_class.as_deref()),
            (Some("Pending"), Some("BestEffort"))
        );
        assert_eq!(status.conditions.unwrap()[0].reason.as_deref(), Some("SchedulingGated"));
    }

    #[test]
    fn a_new_namespace_waits_for_its_content_when_deleted() {
        let mut namespace = Namespace::default();
        namespace_create(&mut namespace);
        namespace_create(&mut namespace);
        assert_eq!(namespace.spec.unwrap().finalizers.unwrap(), ["kubernetes"]);
    }
}
