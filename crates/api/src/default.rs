//! Defaults: what the API server fills into an object on every decode, so that stored objects always show them.
//!
//! One function a kind, each idempotent and each total on bad input: what cannot be understood is left for `validate`.
//! What depends on other objects (service account, priority, node) is admission and not here.
//! Upstream: the `defaults.go` files of core/v1, apps/v1, rbac/v1 and scheduling/v1.

mod container;
mod service;
mod storage;
mod volume;

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, DaemonSetUpdateStrategy, RollingUpdateDaemonSet,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, Namespace, Node, Pod, PodSpec, PodTemplate, PodTemplateSpec, ResourceRequirements,
    Secret, ServiceAccount,
};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub use service::{endpoint_slice, endpoints, service};
pub use storage::{csi_driver, storage_class};

use crate::pod::{self, Resources};
use crate::quantity::Quantity;
use crate::well_known::{self, daemon_set as daemon, namespace as ns, resource, restart_policy};

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
const TERMINATION_GRACE_SECONDS: i64 = 30;
const REVISION_HISTORY_LIMIT: i32 = 10;

/// Where a PodSpec stands: some defaults are set on Pods only, so that a stored template stays as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Pod,
    Template,
}

pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec, Place::Pod);
}

pub fn pod_template_spec(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    pod_spec(template.spec.get_or_insert_default(), Place::Template);
}

pub fn pod_template(template: &mut PodTemplate) {
    pod_template_spec(template.template.get_or_insert_default());
}

pub fn runtime_class(class: &mut RuntimeClass) {
    canonical_list(class.overhead.as_mut().and_then(|overhead| overhead.pod_fixed.as_mut()));
}

pub fn daemon_set(daemon_set: &mut DaemonSet) {
    let spec = daemon_set.spec.get_or_insert_default();
    pod_template_spec(&mut spec.template);
    let strategy = spec.update_strategy.get_or_insert_default();
    or_text(&mut strategy.type_, daemon::ROLLING_UPDATE);
    rolling_update(strategy);
    spec.revision_history_limit.get_or_insert(REVISION_HISTORY_LIMIT);
}

fn rolling_update(strategy: &mut DaemonSetUpdateStrategy) {
    if strategy.type_.as_deref() != Some(daemon::ROLLING_UPDATE) {
        return;
    }
    let RollingUpdateDaemonSet { max_surge, max_unavailable } =
        strategy.rolling_update.get_or_insert_default();
    max_unavailable.get_or_insert(IntOrString::Int(1));
    max_surge.get_or_insert(IntOrString::Int(0));
}

pub fn pod_spec(spec: &mut PodSpec, place: Place) {
    or_text(&mut spec.dns_policy, "ClusterFirst");
    or_text(&mut spec.restart_policy, restart_policy::ALWAYS);
    or_text(&mut spec.scheduler_name, well_known::DEFAULT_SCHEDULER);
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(TERMINATION_GRACE_SECONDS);
    one_service_account(spec);
    for volume in spec.volumes.iter_mut().flatten() {
        volume::volume(volume);
    }
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        container::container(container);
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        container::ephemeral(container);
    }
    canonical_list(spec.overhead.as_mut());
    if let Some(resources) = &mut spec.resources {
        canonical_requirements(resources);
    }
    if place == Place::Template {
        return;
    }
    spec.enable_service_links.get_or_insert(true);
    if spec.host_network == Some(true) {
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            for port in container.ports.iter_mut().flatten() {
                if port.host_port.unwrap_or_default() == 0 {
                    port.host_port = Some(port.container_port);
                }
            }
        }
    }
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        if let Some(resources) = &mut container.resources {
            requests_from_limits(resources);
        }
    }
    pod_level_requests(spec);
}

pub fn namespace(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone().filter(|name| !name.is_empty()) {
        namespace.metadata.labels.get_or_insert_default().insert(ns::NAME_LABEL.to_owned(), name);
    }
    or_text(&mut namespace.status.get_or_insert_default().phase, "Active");
}

pub fn node(node: &mut Node) {
    let Some(status) = &mut node.status else { return };
    canonical_list(status.capacity.as_mut());
    canonical_list(status.allocatable.as_mut());
    if status.allocatable.is_none() {
        status.allocatable.clone_from(&status.capacity);
    }
}

pub fn config_map(_: &mut ConfigMap) {}

/// `stringData` is write-only: it goes into `data` and wins over it.
pub fn secret(secret: &mut Secret) {
    or_text(&mut secret.type_, "Opaque");
    if let Some(texts) = secret.string_data.take() {
        let data = secret.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
}

pub fn service_account(_: &mut ServiceAccount) {}

pub fn lease(_: &mut Lease) {}

pub fn event(_: &mut Event) {}

pub fn controller_revision(_: &mut ControllerRevision) {}

pub fn role(_: &mut Role) {}

pub fn cluster_role(_: &mut ClusterRole) {}

pub fn priority_class(class: &mut PriorityClass) {
    or_text(&mut class.preemption_policy, "PreemptLowerPriority");
}

pub fn role_binding(binding: &mut RoleBinding) {
    role_ref(&mut binding.role_ref);
    subjects(binding.subjects.as_mut());
}

pub fn cluster_role_binding(binding: &mut ClusterRoleBinding) {
    role_ref(&mut binding.role_ref);
    subjects(binding.subjects.as_mut());
}

fn role_ref(role_ref: &mut RoleRef) {
    if role_ref.api_group.is_empty() {
        role_ref.api_group = RBAC_GROUP.to_owned();
    }
}

fn subjects(subjects: Option<&mut Vec<Subject>>) {
    for subject in subjects.into_iter().flatten() {
        if matches!(subject.kind.as_str(), "User" | "Group") {
            or_text(&mut subject.api_group, RBAC_GROUP);
        }
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`: stored objects show both.
fn one_service_account(spec: &mut PodSpec) {
    let given = |name: &Option<String>| name.clone().filter(|text| !text.is_empty());
    let name = given(&spec.service_account_name).or_else(|| given(&spec.service_account));
    spec.service_account.clone_from(&name);
    spec.service_account_name = name;
}

fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    if requests.is_empty() {
        resources.requests = None;
    }
}

/// A Pod with amounts of its own gets the missing requests from its containers, or else from its own limits.
fn pod_level_requests(spec: &mut PodSpec) {
    let containers: Resources = {
        let bare = PodSpec { resources: None, overhead: None, ..spec.clone() };
        match &spec.resources {
            Some(resources) if resources.limits.is_some() || resources.requests.is_some() => {
                pod::spec_requests(&bare)
            }
            _ => return,
        }
    };
    let Some(own) = &mut spec.resources else { return };
    let supported = |name: &str| {
        matches!(name, resource::CPU | resource::MEMORY) || name.starts_with(resource::HUGEPAGES_PREFIX)
    };
    let requests = own.requests.get_or_insert_default();
    for (name, amount) in containers.into_iter().filter(|(name, _)| supported(name)) {
        requests.entry(name).or_insert_with(|| amount.into());
    }
    for (name, limit) in own.limits.iter().flatten().filter(|(name, _)| supported(name)) {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// Sets a text that is absent or empty: Go does not tell the two apart.
fn or_text(field: &mut Option<String>, default: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(default.to_owned());
    }
}

fn canonical_requirements(resources: &mut ResourceRequirements) {
    canonical_list(resources.limits.as_mut());
    canonical_list(resources.requests.as_mut());
}

/// Amounts in lists are rounded up to thousandths and written canonically.
fn canonical_list(list: Option<&mut BTreeMap<String, WireQuantity>>) {
    for amount in list.into_iter().flat_map(|list| list.values_mut()) {
        if let Ok(parsed) = Quantity::try_from(&*amount) {
            *amount = parsed.rounded_to_millis().into();
        }
    }
}

fn canonical(amount: &mut WireQuantity) {
    if let Ok(parsed) = Quantity::try_from(&*amount) {
        *amount = parsed.into();
    }
}

#[cfg(test)]
mod tests;
