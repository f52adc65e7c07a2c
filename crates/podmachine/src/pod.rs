//! A Pod's spec as the machine reads it: members in order, their roles, the restart policy, hashes.

use std::hash::Hasher;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, EphemeralContainer, LifecycleHandler, Pod, PodSpec, Probe,
};

use crate::action::ProbeKind;

/// Where upstream's default is not in the object.
const GRACE_SECONDS_DEFAULT: u64 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Init,
    /// An init container with restartPolicy Always.
    Sidecar,
    Main,
    /// For looking at a Pod that runs: started once, counts for nothing.
    Ephemeral,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// A container of the spec with its role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub container: &'a Container,
    pub role: Role,
}

impl<'a> Member<'a> {
    pub fn name(&self) -> &'a str {
        &self.container.name
    }

    pub fn image(&self) -> &'a str {
        self.container.image.as_deref().unwrap_or_default()
    }

    pub fn post_start(&self) -> Option<&'a LifecycleHandler> {
        self.container.lifecycle.as_ref()?.post_start.as_ref()
    }

    pub fn pre_stop(&self) -> Option<&'a LifecycleHandler> {
        self.container.lifecycle.as_ref()?.pre_stop.as_ref()
    }

    pub fn probe(&self, kind: ProbeKind) -> Option<&'a Probe> {
        match self.role {
            Role::Init | Role::Ephemeral => return None,
            Role::Sidecar | Role::Main => (),
        }
        match kind {
            ProbeKind::Startup => self.container.startup_probe.as_ref(),
            ProbeKind::Liveness => self.container.liveness_probe.as_ref(),
            ProbeKind::Readiness => self.container.readiness_probe.as_ref(),
        }
    }

    /// Whether it is started again after it ended with this code.
    pub fn restarts(&self, policy: RestartPolicy, exit_code: i32) -> bool {
        match (self.role, policy) {
            (Role::Sidecar, _) => true,
            (Role::Init, RestartPolicy::Always | RestartPolicy::OnFailure) => exit_code != 0,
            (Role::Main, RestartPolicy::Always) => true,
            (Role::Main, RestartPolicy::OnFailure) => exit_code != 0,
            (Role::Init | Role::Main, RestartPolicy::Never) | (Role::Ephemeral, _) => false,
        }
    }
}

/// Init containers and sidecars in order, then the others in order.
pub(crate) fn members(spec: &PodSpec) -> impl DoubleEndedIterator<Item = Member<'_>> {
    let role =
        |container: &Container| if api::pod::is_sidecar(container) { Role::Sidecar } else { Role::Init };
    let inits = spec.init_containers.iter().flatten().map(move |c| Member { container: c, role: role(c) });
    inits.chain(spec.containers.iter().map(|container| Member { container, role: Role::Main }))
}

pub(crate) fn mains(spec: &PodSpec) -> impl DoubleEndedIterator<Item = Member<'_>> {
    members(spec).filter(|member| member.role == Role::Main)
}

pub(crate) fn member<'a>(spec: &'a PodSpec, name: &str) -> Option<Member<'a>> {
    members(spec).find(|member| member.name() == name)
}

/// A Pod's ephemeral containers as containers: what they have in common with the others.
pub fn ephemeral_containers(pod: &Pod) -> Vec<Container> {
    let listed = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let plain = |one: &EphemeralContainer| Container {
        name: one.name.clone(),
        image: one.image.clone(),
        image_pull_policy: one.image_pull_policy.clone(),
        command: one.command.clone(),
        args: one.args.clone(),
        working_dir: one.working_dir.clone(),
        env: one.env.clone(),
        env_from: one.env_from.clone(),
        volume_mounts: one.volume_mounts.clone(),
        volume_devices: one.volume_devices.clone(),
        security_context: one.security_context.clone(),
        stdin: one.stdin,
        stdin_once: one.stdin_once,
        tty: one.tty,
        termination_message_path: one.termination_message_path.clone(),
        termination_message_policy: one.termination_message_policy.clone(),
        ..Container::default()
    };
    listed.map(plain).collect()
}

pub(crate) fn restart_policy(spec: &PodSpec) -> RestartPolicy {
    match spec.restart_policy.as_deref() {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some(_) | None => RestartPolicy::Always,
    }
}

/// The Pod's own grace, at least a second.
pub(crate) fn grace_seconds(pod: &Pod) -> u64 {
    let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    spec.map_or(GRACE_SECONDS_DEFAULT, |seconds| u64::try_from(seconds).unwrap_or(1)).max(1)
}

/// Changes when a container must be replaced because its spec changed. Kept as annotation on the container.
///
/// DIFFERS(upstream ≥ 1.31): upstream hashes name and image only; here everything but the resources counts, so that
/// a manifest with a fixed uid is followed in place. Through the API only the image can change anyway.
pub fn container_hash(container: &Container) -> String {
    let mut counted = container.clone();
    counted.resources = None;
    counted.resize_policy = None;
    let bytes = serde_json::to_vec(&counted).unwrap_or_default();
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(&bytes);
    format!("{:016x}", hasher.finish())
}

/// The last status of a container by name, init containers too.
pub(crate) fn last_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = status.container_statuses.iter().chain(status.init_container_statuses.iter());
    lists.flatten().find(|status| status.name == name)
}

pub(crate) fn start_time(pod: &Pod) -> Option<Timestamp> {
    Some(pod.status.as_ref()?.start_time.as_ref()?.0)
}

/// `name_namespace(uid)`, as upstream names a Pod in messages.
pub(crate) fn title(pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!(
        "{}_{}({})",
        meta.name.as_deref().unwrap_or_default(),
        meta.namespace.as_deref().unwrap_or_default(),
        meta.uid.as_deref().unwrap_or_default()
    )
}
