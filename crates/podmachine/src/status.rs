//! The PodStatus that a look and the memory amount to.
//!
//! Upstream's rules (kubelet_pods.go, status manager): phases are sticky and never go back, a condition's time
//! changes with its status only, lists have one order, so that the same state is the same bytes.

mod condition;
mod container;
mod phase;

use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::machine::last_status;
use crate::pod::{self, Role};
use crate::state::State;
use crate::turn::Turn;

pub(crate) use phase::is_terminal;

pub(crate) fn compute(turn: &mut Turn<'_>, state: State) -> PodStatus {
    let mut status = last_status(turn);
    status.start_time =
        pod::start_time(turn.pod).or(status.start_time.map(|time| time.0)).or(Some(turn.now)).map(Time);
    status.observed_generation = turn.pod.metadata.generation.or(status.observed_generation);
    if status.qos_class.is_none() {
        status.qos_class = Some(api::pod::qos_class(turn.spec).as_str().to_owned());
    }
    let statuses = |roles: &[Role]| -> Vec<ContainerStatus> {
        let members = pod::members(turn.spec).filter(|member| roles.contains(&member.role));
        members.map(|member| container::status(turn, state, member)).collect()
    };
    let inits = statuses(&[Role::Init, Role::Sidecar]);
    let mut mains = statuses(&[Role::Main]);
    mains.sort_by(|a, b| a.name.cmp(&b.name));
    status.phase = Some(phase::phase(turn, state, status.phase.as_deref(), &mains, &inits).to_owned());
    if let Some((reason, message)) = &turn.memory.failed
        && status.phase.as_deref() == Some("Failed")
    {
        status.reason = Some(reason.clone());
        status.message = Some(message.clone());
    }
    addresses(turn, &mut status);
    status.conditions = Some(condition::conditions(turn, &status, &mains, &inits));
    let ephemeral: Vec<ContainerStatus> =
        turn.ephemeral().map(|member| container::status(turn, state, member)).collect();
    status.ephemeral_container_statuses = (!ephemeral.is_empty()).then_some(ephemeral);
    status.init_container_statuses = (!inits.is_empty()).then_some(inits);
    status.container_statuses = Some(mains);
    status
}

fn addresses(turn: &Turn<'_>, status: &mut PodStatus) {
    let host = &turn.desired.host.ips;
    status.host_ip = host.first().cloned().or_else(|| status.host_ip.take());
    if !host.is_empty() {
        status.host_ips = Some(host.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    }
    let Some(sandbox) = turn.view.ready_sandbox() else { return };
    let ips = if api::pod::is_host_network(turn.pod) { host } else { &sandbox.ips };
    status.pod_ip = ips.first().cloned();
    status.pod_ips = (!ips.is_empty()).then(|| ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect());
}
