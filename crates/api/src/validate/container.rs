//! Containers and init containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, Volume, VolumeMount};

use super::handler::{self, ProbeKind};
use super::resources::{self, Owner};
use super::{Complaints, container_source, security, text, volume};
use crate::default::Place;
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;
use crate::pod::is_sidecar;
use crate::well_known::restart_policy;

const GRACE_SECONDS_DEFAULT: i64 = 30;
const NOT_FOR_INIT: &str = "may not be set for init containers without restartPolicy=Always";

/// Containers, then init containers, as upstream orders their errors.
pub(super) fn containers(spec: &PodSpec, place: Place, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let grace_seconds = spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS_DEFAULT);
    let regular_path = path.child("containers");
    if spec.containers.is_empty() {
        errors.push(FieldError::required(&regular_path, ""));
    }
    let mut names_seen: BTreeSet<&str> = BTreeSet::new();
    for (i, container) in spec.containers.iter().enumerate() {
        let path = regular_path.index(i);
        errors.extend(common(container, volumes, place, &path));
        if !names_seen.insert(&container.name) {
            errors.push(FieldError::duplicate(&path.child("name"), container.name.as_str()));
        }
        errors.extend(hooks_and_probes(container, grace_seconds, &path));
        if container.restart_policy.is_some() || container.restart_policy_rules.is_some() {
            // DIFFERS: per-container policies of regular containers (beta in 1.35) are refused, not ignored.
            let path = path.child("restartPolicy");
            errors.push(FieldError::forbidden(&path, "may not be set for non-init containers"));
        }
    }
    errors.extend(host_port_conflicts(spec.containers.iter().enumerate(), &regular_path));

    let init_path = path.child("initContainers");
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (i, container) in init.iter().enumerate() {
        let path = init_path.index(i);
        errors.extend(common(container, volumes, place, &path));
        if !names_seen.insert(&container.name) {
            errors.push(FieldError::duplicate(&path.child("name"), container.name.as_str()));
        }
        // Init containers run one after another, so each may use the same port.
        errors.extend(host_port_conflicts([(i, container)], &init_path));
        if is_sidecar(container) {
            errors.extend(hooks_and_probes(container, grace_seconds, &path));
            continue;
        }
        if let Some(policy) = &container.restart_policy {
            let path = path.child("restartPolicy");
            errors.push(FieldError::not_supported(&path, policy.as_str(), &[restart_policy::ALWAYS]));
        }
        let set = [
            ("lifecycle", container.lifecycle.is_some()),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
        ];
        for (field, _) in set.into_iter().filter(|(_, set)| *set) {
            errors.push(FieldError::forbidden(&path.child(field), NOT_FOR_INIT));
        }
    }
    errors
}

/// In the host's network a host port can only be the container's own.
pub(super) fn host_network(spec: &PodSpec, place: Place, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if spec.host_network != Some(true) {
        return errors;
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (field, containers) in [("containers", spec.containers.as_slice()), ("initContainers", init)] {
        for (i, container) in containers.iter().enumerate() {
            for (j, port) in container.ports.iter().flatten().enumerate() {
                let host = port.host_port.unwrap_or_default();
                let may_be_absent = place == Place::Template && host == 0;
                if host != port.container_port && !may_be_absent {
                    let path = path.child(field).index(i).child("ports").index(j).child("hostPort");
                    let detail = "must match `containerPort` when `hostNetwork` is true";
                    errors.push(FieldError::invalid(&path, host, detail));
                }
            }
        }
    }
    errors
}

pub(super) fn common(container: &Container, volumes: &[Volume], place: Place, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let name_path = path.child("name");
    if errors.required_text(&name_path, &container.name) {
        errors.syntax(&name_path, &container.name, names::dns1123_label(&container.name));
    }
    let image = text(&container.image);
    let image_path = path.child("image");
    if errors.required_text(&image_path, image) && place == Place::Pod && image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&image_path, image, detail));
    }
    let message_path = path.child("terminationMessagePolicy");
    if errors.required_text(&message_path, text(&container.termination_message_policy)) {
        let policies = ["File", "FallbackToLogsOnError"];
        errors.one_of(&message_path, text(&container.termination_message_policy), &policies);
    }
    errors.extend(ports(container.ports.as_deref().unwrap_or_default(), &path.child("ports")));
    errors.extend(container_source::env(container.env.as_deref().unwrap_or_default(), &path.child("env")));
    let env_from = container.env_from.as_deref().unwrap_or_default();
    errors.extend(container_source::env_from(env_from, &path.child("envFrom")));
    errors.extend(mounts(container, volumes, &path.child("volumeMounts")));
    errors.extend(devices(container, volumes, &path.child("volumeDevices")));
    let pull_path = path.child("imagePullPolicy");
    if errors.required_text(&pull_path, text(&container.image_pull_policy)) {
        errors.one_of(&pull_path, text(&container.image_pull_policy), &["Always", "IfNotPresent", "Never"]);
    }
    if let Some(wanted) = &container.resources {
        errors.extend(resources::requirements(wanted, Owner::Container, &path.child("resources")));
    }
    if let Some(context) = &container.security_context {
        errors.extend(security::container(context, &path.child("securityContext")));
    }
    errors
}

fn hooks_and_probes(container: &Container, grace_seconds: i64, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(lifecycle) = &container.lifecycle {
        errors.extend(handler::lifecycle(lifecycle, grace_seconds, &path.child("lifecycle")));
    }
    let probes = [
        ("livenessProbe", &container.liveness_probe, ProbeKind::Liveness),
        ("readinessProbe", &container.readiness_probe, ProbeKind::Readiness),
        ("startupProbe", &container.startup_probe, ProbeKind::Startup),
    ];
    for (field, probe, kind) in probes {
        if let Some(probe) = probe {
            errors.extend(handler::probe(probe, kind, &path.child(field)));
        }
    }
    errors
}

fn ports(ports: &[ContainerPort], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = text(&port.name);
        if !name.is_empty() {
            let complaints = names::port_name(name);
            if !complaints.is_empty() {
                errors.syntax(&path.child("name"), name, complaints);
            } else if !seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        let number = |errors: &mut FieldErrors, field: &str, port: i32| {
            for detail in names::port_number(i64::from(port)) {
                errors.push(FieldError::invalid(&path.child(field), port, detail));
            }
        };
        if port.container_port == 0 {
            errors.push(FieldError::required(&path.child("containerPort"), ""));
        } else {
            number(&mut errors, "containerPort", port.container_port);
        }
        if let Some(host) = port.host_port.filter(|host| *host != 0) {
            number(&mut errors, "hostPort", host);
        }
        let host_ip = text(&port.host_ip);
        if !host_ip.is_empty() {
            errors.syntax(&path.child("hostIP"), host_ip, names::ip(host_ip));
        }
        let protocol_path = path.child("protocol");
        if errors.required_text(&protocol_path, text(&port.protocol)) {
            errors.one_of(&protocol_path, text(&port.protocol), &["SCTP", "TCP", "UDP"]);
        }
    }
    errors
}

fn host_port_conflicts<'a>(
    containers: impl IntoIterator<Item = (usize, &'a Container)>,
    path: &Path,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (i, container) in containers {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let Some(host) = port.host_port.filter(|host| *host != 0) else { continue };
            let taken = format!("{}/{}/{host}", text(&port.protocol), text(&port.host_ip));
            if !seen.insert(taken.clone()) {
                let path = path.index(i).child("ports").index(j).child("hostPort");
                errors.push(FieldError::duplicate(&path, taken));
            }
        }
    }
    errors
}

fn mounts(container: &Container, volumes: &[Volume], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (i, mount) in mounts.iter().enumerate() {
        let path = path.index(i);
        errors.required_text(&path.child("name"), &mount.name);
        if !volumes.iter().any(|volume| volume.name == mount.name) {
            errors.push(FieldError::not_found(&path.child("name"), mount.name.as_str()));
        }
        let mount_path = path.child("mountPath");
        errors.required_text(&mount_path, &mount.mount_path);
        if !seen.insert(mount.mount_path.as_str()) {
            errors.push(FieldError::invalid(&mount_path, mount.mount_path.as_str(), "must be unique"));
        }
        if devices.iter().any(|device| device.name == mount.name) {
            let detail = "must not already exist in volumeDevices";
            errors.push(FieldError::invalid(&path.child("name"), mount.name.as_str(), detail));
        }
        if devices.iter().any(|device| device.device_path == mount.mount_path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.push(FieldError::invalid(&mount_path, mount.mount_path.as_str(), detail));
        }
        errors.extend(sub_paths(mount, &path));
        let privileged =
            container.security_context.as_ref().and_then(|context| context.privileged).unwrap_or_default();
        if let Some(propagation) = &mount.mount_propagation {
            let path = path.child("mountPropagation");
            errors.one_of(&path, propagation, &["Bidirectional", "HostToContainer", "None"]);
            if propagation == "Bidirectional" && !privileged {
                let detail = "Bidirectional mount propagation is available only to privileged containers";
                errors.push(FieldError::forbidden(&path, detail));
            }
        }
        if let Some(mode) = mount.recursive_read_only.as_deref().filter(|mode| *mode != "Disabled") {
            let path = path.child("recursiveReadOnly");
            errors.one_of(&path, mode, &["Disabled", "Enabled", "IfPossible"]);
            if mount.read_only != Some(true) {
                let detail = "may only be specified when readOnly is true";
                errors.push(FieldError::forbidden(&path, detail));
            }
        }
    }
    errors
}

fn sub_paths(mount: &VolumeMount, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let sub_path = text(&mount.sub_path);
    if !sub_path.is_empty() {
        errors.syntax(&path.child("subPath"), sub_path, volume::descending_path(sub_path));
    }
    let expression = text(&mount.sub_path_expr);
    if !expression.is_empty() {
        let path = path.child("subPathExpr");
        if !sub_path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(&path, expression, detail));
        }
        errors.syntax(&path, expression, volume::descending_path(expression));
    }
    errors
}

fn devices(container: &Container, volumes: &[Volume], path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (i, device) in container.volume_devices.iter().flatten().enumerate() {
        let path = path.index(i);
        errors.required_text(&path.child("name"), &device.name);
        errors.required_text(&path.child("devicePath"), &device.device_path);
        match volumes.iter().find(|volume| volume.name == device.name) {
            None => errors.push(FieldError::not_found(&path.child("name"), device.name.as_str())),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(FieldError::invalid(&path.child("name"), device.name.as_str(), detail));
            }
            Some(_) => {}
        }
    }
    errors
}
