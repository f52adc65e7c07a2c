//! Defaults of a container: pull policy by tag, ports, probes, environment, termination message.

use k8s_openapi::api::core::v1::{
    Container, EnvVarSource, EphemeralContainer, HTTPGetAction, LifecycleHandler, ObjectFieldSelector, Probe,
    ResourceFieldSelector,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

use super::{canonical, canonical_requirements, or_text};

pub(super) fn container(container: &mut Container) {
    or_text(&mut container.termination_message_path, "/dev/termination-log");
    or_text(&mut container.termination_message_policy, "File");
    let policy = pull_policy(container.image.as_deref().unwrap_or_default());
    or_text(&mut container.image_pull_policy, policy);
    for port in container.ports.iter_mut().flatten() {
        or_text(&mut port.protocol, "TCP");
    }
    for probe in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe]
        .into_iter()
        .flatten()
    {
        self::probe(probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        for hook in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
            handler(hook);
        }
    }
    for source in container.env.iter_mut().flatten().filter_map(|var| var.value_from.as_mut()) {
        env_source(source);
    }
    // COMPAT: Go's struct is never absent; stored containers show `resources: {}`.
    canonical_requirements(container.resources.get_or_insert_default());
}

/// A container that is put into a running Pod has what a container has, as far as it may be set.
pub(super) fn ephemeral(container: &mut EphemeralContainer) {
    or_text(&mut container.termination_message_path, "/dev/termination-log");
    or_text(&mut container.termination_message_policy, "File");
    let policy = pull_policy(container.image.as_deref().unwrap_or_default());
    or_text(&mut container.image_pull_policy, policy);
    for source in container.env.iter_mut().flatten().filter_map(|var| var.value_from.as_mut()) {
        env_source(source);
    }
    canonical_requirements(container.resources.get_or_insert_default());
}

/// `Always` where the image can change under its name: the tag is `latest`, or there is neither tag nor digest.
pub(super) fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest"), _) => "Always",
        (None, None) if !image.is_empty() => "Always",
        _ => "IfNotPresent",
    }
}

fn probe(probe: &mut Probe) {
    let or_number = |field: &mut Option<i32>, default: i32| {
        if field.unwrap_or_default() == 0 {
            *field = Some(default);
        }
    };
    or_number(&mut probe.timeout_seconds, 1);
    or_number(&mut probe.period_seconds, 10);
    or_number(&mut probe.success_threshold, 1);
    or_number(&mut probe.failure_threshold, 3);
    if let Some(action) = &mut probe.http_get {
        http_get(action);
    }
    if let Some(action) = &mut probe.grpc {
        action.service.get_or_insert_default();
    }
}

fn handler(handler: &mut LifecycleHandler) {
    if let Some(action) = &mut handler.http_get {
        http_get(action);
    }
}

fn http_get(action: &mut HTTPGetAction) {
    or_text(&mut action.path, "/");
    or_text(&mut action.scheme, "HTTP");
}

fn env_source(source: &mut EnvVarSource) {
    if let Some(field) = &mut source.field_ref {
        field_ref(field);
    }
    if let Some(resource) = &mut source.resource_field_ref {
        resource_ref(resource);
    }
    if let Some(file) = &mut source.file_key_ref {
        file.optional.get_or_insert(false);
    }
}

pub(super) fn field_ref(field: &mut ObjectFieldSelector) {
    or_text(&mut field.api_version, "v1");
}

pub(super) fn resource_ref(resource: &mut ResourceFieldSelector) {
    canonical(resource.divisor.get_or_insert_with(|| WireQuantity("0".to_owned())));
}
