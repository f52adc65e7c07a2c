//! Pod: status through its subresource, deletion with grace, assignment to a node through its binding.
//!
//! Upstream: `pkg/registry/core/pod/strategy.go`, `storage.go` (binding).

use std::collections::{BTreeMap, BTreeSet};

use api::field::FieldErrors;
use api::pod::{is_terminal, node_name};
use api::well_known::pod_annotation::CONFIG_MIRROR;
use api::well_known::pod_condition;
use api::{affinity_annotation, default, strategy, validate, warnings};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Kind, Part, Seen, fields, reference};
use crate::access::Referenced;
use crate::access::restriction::{self, Restricted};
use crate::admission::{Admission, priority, runtime_class, service_account, toleration};
use crate::error::ApiError;

impl Kind for Pod {
    const SELECTABLE: &'static [&'static str] = &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ];

    fn selectable(&self) -> BTreeMap<String, String> {
        let spec = self.spec.as_ref();
        let status = self.status.as_ref();
        let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
        let address = status.and_then(|status| status.pod_ip.clone());
        fields([
            ("spec.nodeName", spec.and_then(|spec| spec.node_name.clone())),
            ("spec.restartPolicy", spec.and_then(|spec| spec.restart_policy.clone())),
            ("spec.schedulerName", spec.and_then(|spec| spec.scheduler_name.clone())),
            ("spec.serviceAccountName", spec.and_then(|spec| spec.service_account_name.clone())),
            ("spec.hostNetwork", Some(host_network.to_string())),
            ("status.phase", status.and_then(|status| status.phase.clone())),
            ("status.podIP", address.clone()),
            ("status.podIPs", address),
            ("status.nominatedNodeName", status.and_then(|status| status.nominated_node_name.clone())),
        ])
    }

    /// A mirror's pod reads nothing through the API, so its mirror makes nothing readable.
    fn references(&self) -> Vec<String> {
        let annotations = self.metadata.annotations.as_ref();
        if annotations.is_some_and(|all| all.contains_key(CONFIG_MIRROR)) {
            return Vec::new();
        }
        self.spec.as_ref().map(needs).unwrap_or_default()
    }

    fn default(&mut self) {
        default::pod(self);
    }

    fn admit_create(&mut self, admission: &Admission<'_>) -> Result<(), ApiError> {
        affinity_annotation::apply_to_pod(self);
        service_account::admit(self, admission)?;
        priority::admit(self, admission)?;
        toleration::admit(self);
        runtime_class::admit(self, admission)
    }

    fn admit_update(&mut self, old: &Self, _admission: &Admission<'_>) -> Result<(), ApiError> {
        // Resolved at creation; a client that sends the manifest again does not unset them.
        if let (Some(spec), Some(old)) = (&mut self.spec, &old.spec) {
            if spec.priority.is_none() {
                spec.priority = old.priority;
            }
            if spec.preemption_policy.is_none() {
                spec.preemption_policy.clone_from(&old.preemption_policy);
            }
            if spec.service_account_name.is_none() {
                spec.service_account_name.clone_from(&old.service_account_name);
                spec.service_account.clone_from(&old.service_account);
            }
            if spec.affinity.is_none() {
                spec.affinity.clone_from(&old.affinity);
            }
        }
        toleration::admit(self);
        Ok(())
    }

    fn prepare_create(&mut self) -> Result<(), ApiError> {
        strategy::pod_create(self);
        Ok(())
    }

    fn prepare_update(&mut self, old: &Self, part: Part) -> Result<(), ApiError> {
        match part {
            Part::Main => strategy::pod_update(self, old),
            Part::Status => strategy::pod_status_update(self, old),
            Part::Own => strategy::pod_ephemeral_containers_update(self, old),
        }
        Ok(())
    }

    fn restrict(
        &self,
        node: &str,
        old: Option<&Self>,
        part: Part,
        admission: &Admission<'_>,
    ) -> Result<(), Restricted> {
        match (old, part) {
            (None, _) => {
                let own = admission.windows.window("nodes").and_then(|window| window.get(node));
                restriction::create_pod(node, own.as_ref().map(|own| own.header.uid()), self)
            }
            (Some(old), Part::Status) => restriction::update_pod_status(node, old, self),
            (Some(_), Part::Main | Part::Own) => restriction::other_pod_write(node, "UPDATE"),
        }
    }

    fn validate_create(&self, _seen: &Seen<'_>) -> FieldErrors {
        validate::pod_create(self)
    }

    fn validate_update(&self, old: &Self, part: Part, _seen: &Seen<'_>) -> FieldErrors {
        match part {
            Part::Main => validate::pod_update(self, old),
            Part::Status => validate::pod_status_update(self, old),
            Part::Own => validate::pod_ephemeral_containers_update(self, old),
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        if old.is_some() { Vec::new() } else { warnings::of_pod(self) }
    }

    fn grace_seconds(&self, asked: Option<i64>) -> Option<i64> {
        Some(grace_seconds(self, asked))
    }
}

/// How long a pod's deletion may take: as asked, or as the pod says; at once where nothing runs.
fn grace_seconds(pod: &Pod, asked: Option<i64>) -> i64 {
    let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    // COMPAT(v1): the system's default where an old object has none.
    let grace = asked.or(own).unwrap_or(30);
    if node_name(pod).is_none() || is_terminal(pod) {
        return 0;
    }
    if grace < 0 { 1 } else { grace }
}

/// Carries out a binding: the pod is on the node from now on. An error text becomes a 409.
pub fn assign(pod: &mut Pod, binding: &Binding, now: Timestamp) -> Result<(), String> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let spec = pod.spec.get_or_insert_default();
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return Err(format!("pod {name} is already assigned to node {node:?}"));
    }
    if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    spec.node_name = Some(binding.target.name.clone().unwrap_or_default());
    if let Some(annotations) = binding.metadata.annotations.clone() {
        pod.metadata.annotations.get_or_insert_default().extend(annotations);
    }
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != pod_condition::SCHEDULED);
    conditions.push(PodCondition {
        type_: pod_condition::SCHEDULED.to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
    Ok(())
}

/// The secrets, config maps and service account that a pod on a node makes readable there.
fn needs(spec: &PodSpec) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut add = |kind: Referenced, name: &str| {
        if !name.is_empty() {
            found.insert(reference(kind, name));
        }
    };
    for secret in api::pod::secret_names(spec) {
        add(Referenced::Secret, secret);
    }
    add(Referenced::ServiceAccount, spec.service_account_name.as_deref().unwrap_or_default());
    for volume in spec.volumes.iter().flatten() {
        if let Some(map) = &volume.config_map {
            add(Referenced::ConfigMap, &map.name);
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            add(Referenced::VolumeClaim, &claim.claim_name);
        }
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            if let Some(map) = &source.config_map {
                add(Referenced::ConfigMap, &map.name);
            }
        }
    }
    for (sources, variables) in api::pod::environments(spec) {
        for map in sources.iter().filter_map(|source| source.config_map_ref.as_ref()) {
            add(Referenced::ConfigMap, &map.name);
        }
        let values = variables.iter().filter_map(|variable| variable.value_from.as_ref());
        for map in values.filter_map(|source| source.config_map_key_ref.as_ref()) {
            add(Referenced::ConfigMap, &map.name);
        }
    }
    found.into_iter().collect()
}
