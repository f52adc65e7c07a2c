//! Pods and Pod templates.
//!
//! The rules of a Pod on its own and of a template inside another object differ in few points; `Place` says which.

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, PodSpec, PodTemplateSpec};

use super::metadata::{self, NameSyntax, Scope, object_meta_create};
use super::resources::{self, Owner};
use super::{Complaints, affinity, container, each_once, ephemeral, security, text, tolerations, volume};
use crate::affinity_annotation;
use crate::default::Place;
use crate::field::{FieldError, FieldErrors, Path};
use crate::names;
use crate::well_known::{pod_annotation, restart_policy};

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCHES_BYTES_MAX: usize = 2048;

/// A new Pod: from the API, or from a manifest once it has its name, namespace and node.
pub fn pod_create(pod: &Pod) -> FieldErrors {
    let metadata_path = Path::new("metadata");
    let mut errors =
        object_meta_create(&pod.metadata, Scope::Namespaced, NameSyntax::Subdomain, &metadata_path);
    errors.extend(whole(pod));
    let path = Path::new("spec");
    let Some(spec) = &pod.spec else { return errors };
    if !text(&spec.node_name).is_empty()
        && !spec.scheduling_gates.iter().flatten().collect::<Vec<_>>().is_empty()
    {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(&path.child("nodeName"), detail));
    }
    if spec.ephemeral_containers.iter().flatten().next().is_some() {
        errors.push(FieldError::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    each_once(errors)
}

/// The template inside a workload object; `path` is that of the template.
pub fn pod_template_spec(template: &PodTemplateSpec, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let empty = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&empty);
    let metadata = template.metadata.clone().unwrap_or_default();
    if let Some(labels) = &metadata.labels {
        // COMPAT: upstream leaves `metadata` out of the path of a template's labels and annotations.
        errors.extend(metadata::labels(labels, &path.child("labels")));
    }
    if let Some(annotations) = &metadata.annotations {
        let annotations_path = path.child("annotations");
        errors.extend(metadata::annotations(annotations, &annotations_path));
        if let Some(value) = annotations.get(pod_annotation::CONFIG_MIRROR) {
            errors.extend(mirror_annotation(value, spec, &annotations_path));
        }
        errors.extend(affinity_annotation::validate(
            annotations,
            spec,
            &path.child("metadata").child("annotations"),
        ));
    }
    let spec_path = path.child("spec");
    errors.extend(pod_spec(spec, Place::Template, &spec_path));
    if spec.ephemeral_containers.iter().flatten().next().is_some() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&spec_path.child("ephemeralContainers"), detail));
    }
    errors
}

/// What must hold for a Pod at any time, besides the syntax of its metadata.
pub(super) fn whole(pod: &Pod) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    if let Some(annotations) = &pod.metadata.annotations {
        let path = Path::new("metadata.annotations");
        if let Some(value) = annotations.get(pod_annotation::CONFIG_MIRROR) {
            errors.extend(mirror_annotation(value, spec, &path));
        }
        errors.extend(affinity_annotation::validate(annotations, spec, &path));
    }
    errors.extend(pod_spec(spec, Place::Pod, &Path::new("spec")));
    errors
}

fn mirror_annotation(value: &str, spec: &PodSpec, path: &Path) -> Option<FieldError> {
    let path = path.key(pod_annotation::CONFIG_MIRROR);
    let detail = "must set spec.nodeName if mirror pod annotation is set";
    text(&spec.node_name).is_empty().then(|| FieldError::invalid(&path, value, detail))
}

fn pod_spec(spec: &PodSpec, place: Place, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    errors.extend(volume::volumes(spec.volumes.as_deref().unwrap_or_default(), &path.child("volumes")));
    errors.extend(container::containers(spec, place, path));
    errors.extend(ephemeral::ephemeral_containers(spec, path));
    if let Some(wanted) = &spec.resources {
        errors.extend(resources::requirements(wanted, Owner::Pod, &path.child("resources")));
    }
    errors.extend(container::host_network(spec, place, path));
    let policies = [restart_policy::ALWAYS, restart_policy::ON_FAILURE, restart_policy::NEVER];
    if errors.required_text(&path.child("restartPolicy"), text(&spec.restart_policy)) {
        errors.one_of(&path.child("restartPolicy"), text(&spec.restart_policy), &policies);
    }
    errors.extend(dns(spec, path));
    if let Some(selector) = &spec.node_selector {
        errors.extend(metadata::labels(selector, &path.child("nodeSelector")));
    }
    if let Some(context) = &spec.security_context {
        errors.extend(security::pod(context, spec, path));
    }
    for (i, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        errors.required_text(&path.child("imagePullSecrets").index(i).child("name"), &secret.name);
    }
    if let Some(found) = &spec.affinity {
        errors.extend(affinity::affinity(found, &path.child("affinity")));
    }
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = path.child("readinessGates").index(i).child("conditionType");
        errors.syntax(&path, &gate.condition_type, names::qualified_name(&gate.condition_type));
    }
    let gates = spec.scheduling_gates.as_deref().unwrap_or_default();
    for (i, gate) in gates.iter().enumerate() {
        let path = path.child("schedulingGates").index(i);
        errors.syntax(&path, &gate.name, names::qualified_name(&gate.name));
        if gates[..i].iter().any(|other| other.name == gate.name) {
            errors.push(FieldError::duplicate(&path, gate.name.as_str()));
        }
    }
    if let Some(constraints) = &spec.topology_spread_constraints {
        errors.extend(affinity::topology_spread(constraints, &path.child("topologySpreadConstraints")));
    }
    errors.extend(named(spec, path));
    if let Some(seconds) = spec.active_deadline_seconds {
        errors.range(&path.child("activeDeadlineSeconds"), seconds, 1, i64::from(i32::MAX));
    }
    errors.extend(tolerations::tolerations(
        spec.tolerations.as_deref().unwrap_or_default(),
        &path.child("tolerations"),
    ));
    for alias in spec.host_aliases.iter().flatten() {
        let path = path.child("hostAliases");
        errors.syntax(&path.child("ip"), &alias.ip, names::ip(&alias.ip));
        for name in alias.hostnames.iter().flatten() {
            errors.syntax(&path.child("hostnames"), name, names::dns1123_subdomain(name));
        }
    }
    if let Some(policy) = &spec.preemption_policy {
        errors.one_of(&path.child("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]);
    }
    if let Some(overhead) = &spec.overhead {
        errors.extend(resources::list(overhead, &path.child("overhead")));
    }
    if let Some(os) = &spec.os {
        let path = path.child("os").child("name");
        if errors.required_text(&path, &os.name) {
            errors.one_of(&path, &os.name, &["linux", "windows"]);
        }
    }
    errors
}

/// Fields that hold a name, checked where they are set.
fn named(spec: &PodSpec, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    type Syntax = fn(&str) -> Vec<String>;
    let fields: [(&str, &Option<String>, Syntax); 7] = [
        ("serviceAccountName", &spec.service_account_name, names::dns1123_subdomain),
        ("nodeName", &spec.node_name, names::dns1123_subdomain),
        ("hostname", &spec.hostname, names::dns1123_label),
        ("subdomain", &spec.subdomain, names::dns1123_label),
        ("schedulerName", &spec.scheduler_name, names::qualified_name),
        ("priorityClassName", &spec.priority_class_name, names::dns1123_subdomain),
        ("runtimeClassName", &spec.runtime_class_name, names::dns1123_subdomain),
    ];
    for (field, name, syntax) in fields {
        let name = text(name);
        if !name.is_empty() {
            errors.syntax(&path.child(field), name, syntax(name));
        }
    }
    errors
}

fn dns(spec: &PodSpec, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let policy = text(&spec.dns_policy);
    let policy_path = path.child("dnsPolicy");
    if errors.required_text(&policy_path, policy) {
        errors.one_of(&policy_path, policy, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    }
    let path = path.child("dnsConfig");
    let empty = PodDNSConfig::default();
    let config = spec.dns_config.as_ref().unwrap_or(&empty);
    let servers = config.nameservers.as_deref().unwrap_or_default();
    if policy == "None" {
        if spec.dns_config.is_none() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(&path, detail));
        } else if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(&path.child("nameservers"), detail));
        }
    }
    if servers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(FieldError::invalid(&path.child("nameservers"), servers.to_vec(), detail));
    }
    for (i, server) in servers.iter().enumerate() {
        errors.syntax(&path.child("nameservers").index(i), server, names::ip(server));
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(FieldError::invalid(&path.child("searches"), searches.to_vec(), detail));
    }
    let joined = searches.join(" ").len();
    if joined > SEARCHES_BYTES_MAX {
        let detail = format!(
            "must not have more than {SEARCHES_BYTES_MAX} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(&path.child("searches"), searches.to_vec(), detail));
    }
    for (i, search) in searches.iter().enumerate() {
        let name = search.strip_suffix('.').unwrap_or(search);
        // `.` alone means the root; underscores stand in service names.
        if search != "." {
            let plain = name.replace('_', "-");
            let plain = if name.starts_with('_') { format!("a{plain}") } else { plain };
            errors.syntax(&path.child("searches").index(i), search, names::dns1123_subdomain(&plain));
        }
    }
    for (i, option) in config.options.iter().flatten().enumerate() {
        if text(&option.name).is_empty() {
            errors.push(FieldError::required(&path.child("options").index(i), "must not be empty"));
        }
    }
    errors
}
