//! What controllers, scheduler and agent ask of a Pod: ready, available, terminal, what it requests, where it belongs.
//!
//! Answers come from the object alone and from `now`; nothing here decides what to do about them.

mod references;
mod resources;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, Toleration};

use crate::meta::Meta;
use crate::well_known::{self, pod_annotation, pod_condition, pod_phase, restart_policy};

pub use references::{environments, secret_names, volume_secrets};
pub use resources::{
    QosClass, Resources, limits, presumed_requests, qos_class, requests, spec_limits, spec_requests,
};

/// A port of the node that a Pod occupies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// `0.0.0.0` where the Pod names none: every address.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    pub port: u16,
}

impl HostPort {
    /// Two ports that cannot be on one node: same protocol and number, and the same address or all addresses on one side.
    pub fn conflicts_with(&self, other: &HostPort) -> bool {
        let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// Is a Pod long enough ready to count as available?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Not ready at all.
    NotReady,
    /// Ready, but not yet for `minReadySeconds`; it will be after this long.
    ReadyIn(SignedDuration),
    Available,
}

pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

pub fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    condition(pod, pod_condition::READY)
}

/// Ready=True, whatever else: phase and deletion are not looked at.
pub fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

/// Ready for `min_ready_seconds`, strictly: at the exact second it is not yet. Without a minimum, ready is enough.
pub fn is_available(pod: &Pod, now: Timestamp, min_ready_seconds: i32) -> bool {
    availability(pod, now, min_ready_seconds) == Availability::Available
}

pub fn availability(pod: &Pod, now: Timestamp, min_ready_seconds: i32) -> Availability {
    if !is_ready(pod) {
        return Availability::NotReady;
    }
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    let minimum = SignedDuration::from_secs(i64::from(min_ready_seconds));
    let Some(since) = ready_condition(pod).and_then(|c| c.last_transition_time.as_ref()) else {
        // COMPAT(apps/v1): a Ready condition without a time is never available; look again after the minimum.
        return Availability::ReadyIn(minimum);
    };
    let waited = now.duration_since(since.0);
    if waited > minimum { Availability::Available } else { Availability::ReadyIn(minimum - waited) }
}

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Succeeded or Failed: the Pod will never run again.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), pod_phase::SUCCEEDED | pod_phase::FAILED)
}

pub fn is_failed(pod: &Pod) -> bool {
    phase(pod) == pod_phase::FAILED
}

pub fn is_succeeded(pod: &Pod) -> bool {
    phase(pod) == pod_phase::SUCCEEDED
}

/// Someone asked for its deletion.
pub fn is_deleting(pod: &Pod) -> bool {
    pod.is_deleting()
}

/// The API's image of a static Pod.
pub fn is_mirror(pod: &Pod) -> bool {
    pod.annotation(pod_annotation::CONFIG_MIRROR).is_some()
}

/// It came from a file or URL, not from the API.
pub fn is_static(pod: &Pod) -> bool {
    pod.annotation(pod_annotation::CONFIG_SOURCE).is_some_and(|source| source != pod_annotation::SOURCE_API)
}

/// Static, mirror, or of a system priority: admitted first, never evicted by node pressure.
pub fn is_critical(pod: &Pod) -> bool {
    is_static(pod) || is_mirror(pod) || priority(pod) >= well_known::priority::CRITICAL_VALUE_MIN
}

pub fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default()
}

pub fn is_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default()
}

/// The node it is bound to, if it is.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// The node it is bound to, or else the one node that its required affinity pins it to. `None`: it belongs to no node yet.
pub fn target_node_name(pod: &Pod) -> Option<&str> {
    if let Some(name) = node_name(pod) {
        return Some(name);
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    required
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten())
        .find(|field| field.key == well_known::METADATA_NAME && field.operator == "In")
        .and_then(|field| match field.values.as_deref() {
            Some([name]) => Some(name.as_str()),
            _ => None,
        })
}

pub fn tolerations(pod: &Pod) -> &[Toleration] {
    pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
}

pub fn scheduler_name(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.scheduler_name.as_deref())
        .filter(|name| !name.is_empty())
        .unwrap_or(well_known::DEFAULT_SCHEDULER)
}

pub fn has_scheduling_gates(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

/// An init container that keeps running: `restartPolicy: Always`.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some(restart_policy::ALWAYS)
}

pub fn init_containers(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

/// Containers and init containers, in the order in which upstream's visitors see them: init first.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> + Clone {
    init_containers(spec).iter().chain(&spec.containers)
}

/// Host ports of containers and sidecars. Other init containers are gone before the Pod serves.
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    pod.spec.as_ref().map(spec_host_ports).unwrap_or_default()
}

pub fn spec_host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let host_network = spec.host_network.unwrap_or_default();
    let serving = init_containers(spec).iter().filter(|c| is_sidecar(c)).chain(&spec.containers);
    serving
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.or(host_network.then_some(port.container_port))?;
            let number = u16::try_from(number).ok().filter(|n| *n > 0)?;
            let or = |text: &Option<String>, default: &str| {
                text.clone().filter(|t| !t.is_empty()).unwrap_or_else(|| default.to_owned())
            };
            Some(HostPort {
                ip: or(&port.host_ip, "0.0.0.0"),
                protocol: or(&port.protocol, "TCP"),
                port: number,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
