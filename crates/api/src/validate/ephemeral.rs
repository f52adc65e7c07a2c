//! Ephemeral containers: they are only added, to a Pod that exists, and have little of what a container may have.
//!
//! Upstream: `ValidatePodEphemeralContainersUpdate`, `validateEphemeralContainers`.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

use super::metadata::object_meta_update;
use super::{container, each_once, pod, pod_update, text};
use crate::default::Place;
use crate::field::{FieldError, FieldErrors, Path};
use crate::pod::is_mirror;

const NOT_HERE: &str = "cannot be set for an Ephemeral Container";

pub fn pod_ephemeral_containers_update(new: &Pod, old: &Pod) -> FieldErrors {
    let mut errors = object_meta_update(&new.metadata, &old.metadata, &Path::new("metadata"));
    errors.extend(pod::whole(new));
    errors.extend(pod_update::mirror_annotation_kept(new, old));
    if is_mirror(old) {
        let detail = "static pods do not support ephemeral containers";
        return vec![FieldError::forbidden(&Path::root(), detail)];
    }
    let path = Path::new("spec.ephemeralContainers");
    let list =
        |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.clone()).unwrap_or_default();
    let after = list(new);
    for before in list(old) {
        let name = before.name.as_str();
        match after.iter().find(|container| container.name == name) {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(FieldError::forbidden(&path, detail));
            }
            Some(now) if *now != before => {
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.push(FieldError::forbidden(&path, detail));
            }
            Some(_) => {}
        }
    }
    each_once(errors)
}

/// The ephemeral containers of a Pod, beside its other containers.
pub(super) fn ephemeral_containers(spec: &PodSpec, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let all = spec.ephemeral_containers.as_deref().unwrap_or_default();
    let others: Vec<&str> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|container| container.name.as_str())
        .collect();
    for (i, one) in all.iter().enumerate() {
        let path = path.child("ephemeralContainers").index(i);
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        errors.extend(container::common(&as_container(one), volumes, Place::Pod, &path));
        if others.contains(&one.name.as_str()) || all[..i].iter().any(|other| other.name == one.name) {
            errors.push(FieldError::duplicate(&path.child("name"), one.name.as_str()));
        }
        let target = text(&one.target_container_name);
        if !target.is_empty() && !others.contains(&target) {
            errors.push(FieldError::not_found(&path.child("targetContainerName"), target));
        }
        for (field, _) in unwanted(one).into_iter().filter(|(_, set)| *set) {
            errors.push(FieldError::forbidden(&path.child(field), NOT_HERE));
        }
        for (j, mount) in one.volume_mounts.iter().flatten().enumerate() {
            let path = path.child("volumeMounts").index(j);
            for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
                if !text(value).is_empty() {
                    errors.push(FieldError::forbidden(&path.child(field), NOT_HERE));
                }
            }
        }
    }
    errors
}

/// What a Pod's service would rest on.
fn unwanted(one: &EphemeralContainer) -> [(&'static str, bool); 7] {
    let resources = one.resources.clone().unwrap_or_default();
    [
        ("ports", one.ports.as_ref().is_some_and(|ports| !ports.is_empty())),
        ("resources", resources != Default::default()),
        ("livenessProbe", one.liveness_probe.is_some()),
        ("readinessProbe", one.readiness_probe.is_some()),
        ("startupProbe", one.startup_probe.is_some()),
        ("lifecycle", one.lifecycle.is_some()),
        ("restartPolicy", one.restart_policy.is_some()),
    ]
}

fn as_container(one: &EphemeralContainer) -> Container {
    let one = one.clone();
    Container {
        args: one.args,
        command: one.command,
        env: one.env,
        env_from: one.env_from,
        image: one.image,
        image_pull_policy: one.image_pull_policy,
        name: one.name,
        security_context: one.security_context,
        stdin: one.stdin,
        stdin_once: one.stdin_once,
        termination_message_path: one.termination_message_path,
        termination_message_policy: one.termination_message_policy,
        tty: one.tty,
        volume_devices: one.volume_devices,
        volume_mounts: one.volume_mounts,
        working_dir: one.working_dir,
        ..Container::default()
    }
}
