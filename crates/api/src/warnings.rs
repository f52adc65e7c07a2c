//! What is legal and most likely a mistake: texts for Warning headers. Here of Pods; other kinds have a file each.
//!
//! Asked after validation, when a Pod, a Pod template or a DaemonSet's template is written. Upstream:
//! `pkg/api/pod/warnings.go`, `pkg/api/node/util.go`. Paths and words are upstream's.

mod address;
mod node;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, PodTemplate, PodTemplateSpec,
    Volume, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::field::Path;
use crate::names;
use crate::quantity::Quantity;

pub use node::{of_node, of_runtime_class};
pub use service::{of_endpoints, of_service};

/// Labels of nodes that have other names now.
const OLD_NODE_LABELS: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
];

/// Annotations whose job a field does now.
const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const NO_SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const OLD_APP_ARMOR: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// Of a new Pod. Its updates are told of nothing: programs make them.
pub fn of_pod(pod: &Pod) -> Vec<String> {
    let mut found = Vec::new();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let wrong = names::dns1123_label(name);
    if !wrong.is_empty() {
        found.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            wrong.join(" ")
        ));
    }
    if let Some(spec) = &pod.spec {
        Search { at: "", found: &mut found }.pod(&pod.metadata, spec);
    }
    found
}

/// Of a new DaemonSet, or of one whose template has changed.
pub fn of_daemon_set(set: &DaemonSet, old: Option<&DaemonSet>) -> Vec<String> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let before = old.and_then(|old| old.spec.as_ref());
    if before.is_some_and(|before| before.template == spec.template) {
        return Vec::new();
    }
    of_template("spec.template", &spec.template)
}

pub fn of_pod_template(template: &PodTemplate) -> Vec<String> {
    template.template.as_ref().map(|template| of_template("template", template)).unwrap_or_default()
}

fn of_template(at: &str, template: &PodTemplateSpec) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(spec) = &template.spec {
        let none = ObjectMeta::default();
        Search { at, found: &mut found }.pod(template.metadata.as_ref().unwrap_or(&none), spec);
    }
    found
}

/// What has been found under a path; paths are written only when there is something to tell.
struct Search<'a> {
    /// Empty for a Pod.
    at: &'a str,
    found: &'a mut Vec<String>,
}

impl Search<'_> {
    fn path(&self, fields: &str) -> Path {
        if self.at.is_empty() { Path::new(fields) } else { Path::new(self.at).child(fields) }
    }

    fn tell(&mut self, path: &Path, text: impl std::fmt::Display) {
        self.found.push(format!("{path}: {text}"));
    }

    fn pod(&mut self, metadata: &ObjectMeta, spec: &PodSpec) {
        self.labels(spec);
        self.annotations(metadata);
        for (index, volume) in spec.volumes.iter().flatten().enumerate() {
            if let Some((field, text)) = old_volume(volume) {
                self.tell(&self.path("spec.volumes").index(index).child(field), text);
            }
        }
        self.paths_beside_tokens(spec);
        self.lists(spec);
        for (resource, amount) in fractional(&spec.overhead) {
            self.tell(&self.path("spec.overhead").key(resource), amount);
        }
        self.profiles(metadata, spec);
        for (path, container) in containers(spec) {
            self.container(&path, container);
        }
        self.ports(spec);
        if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
            self.tell(
                &self.path("spec.terminationGracePeriodSeconds"),
                "must be >= 0; negative values are invalid and will be treated as 1",
            );
        }
        self.pod_affinity(spec);
    }

    /// Node labels under names that are going.
    fn labels(&mut self, spec: &PodSpec) {
        for name in spec.node_selector.iter().flatten().map(|(name, _)| name) {
            if let Some(text) = old_label(name) {
                self.tell(&self.path("spec.nodeSelector").key(name), text);
            }
        }
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        if let Some(affinity) = affinity {
            let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
            for (index, term) in
                required.iter().flat_map(|required| &required.node_selector_terms).enumerate()
            {
                let path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
                self.node_term(term, || Path::new(path).index(index));
            }
            let preferred = &affinity.preferred_during_scheduling_ignored_during_execution;
            for (index, term) in preferred.iter().flatten().enumerate() {
                let path = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution";
                self.node_term(&term.preference, || Path::new(path).index(index).child("preference"));
            }
        }
        for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
            let at = || Path::new("spec.topologySpreadConstraints").index(index);
            if let Some(text) = old_label(&constraint.topology_key) {
                let path = self.path(at().child("topologyKey").as_str());
                self.tell(&path, format_args!("{} is {text}", constraint.topology_key));
            }
            if constraint.label_selector.is_none() {
                self.null_selector(&at().child("labelSelector"));
            }
        }
    }

    fn node_term(&mut self, term: &NodeSelectorTerm, at: impl Fn() -> Path) {
        for (index, expression) in term.match_expressions.iter().flatten().enumerate() {
            if let Some(text) = old_label(&expression.key) {
                let path = at().child("matchExpressions").index(index).child("key");
                self.tell(&self.path(path.as_str()), format_args!("{} is {text}", expression.key));
            }
        }
    }

    fn null_selector(&mut self, path: &Path) {
        self.tell(&self.path(path.as_str()), "a null labelSelector results in matching no pod");
    }

    fn annotations(&mut self, metadata: &ObjectMeta) {
        let Some(annotations) = &metadata.annotations else { return };
        for (name, text) in OLD_ANNOTATIONS {
            if annotations.contains_key(name) {
                self.tell(&self.path("metadata.annotations").key(name), text);
            }
        }
    }

    /// Files of other sources of projected volumes where a token is to be, in any of the volumes.
    fn paths_beside_tokens(&mut self, spec: &PodSpec) {
        let projected = || {
            let volumes = spec.volumes.iter().flatten().enumerate();
            let sources = volumes.filter_map(|(index, volume)| Some((index, volume.projected.as_ref()?)));
            sources.flat_map(|(index, projected)| {
                projected.sources.iter().flatten().map(move |source| (index, source))
            })
        };
        let tokens: BTreeSet<&str> = projected()
            .filter_map(|(_, source)| Some(source.service_account_token.as_ref()?.path.as_str()))
            .collect();
        if tokens.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for (index, source) in projected() {
            let mut add = |kind: &str, item: Option<usize>, path: &str| {
                if tokens.contains(path) {
                    let at = self.path("spec.volumes").index(index).child("projected.sources").child(kind);
                    let at = item.map_or(at.clone(), |item| at.index(item));
                    found.push((at, format!("has duplicated path with ServiceAccountToken {path:?}")));
                }
            };
            let maps = source.config_map.iter().flat_map(|map| map.items.iter().flatten());
            maps.enumerate().for_each(|(item, file)| add("configMap", Some(item), &file.path));
            let secrets = source.secret.iter().flat_map(|secret| secret.items.iter().flatten());
            secrets.enumerate().for_each(|(item, file)| add("secrets", Some(item), &file.path));
            let fields = source.downward_api.iter().flat_map(|api| api.items.iter().flatten());
            fields.enumerate().for_each(|(item, file)| add("downwardAPI", Some(item), &file.path));
            if let Some(bundle) = &source.cluster_trust_bundle {
                add("ClusterTrustBundle", None, &bundle.path);
            }
        }
        for (path, text) in found {
            self.tell(&path, text);
        }
    }

    /// What stands twice or is empty in lists that are merged by a key.
    fn lists(&mut self, spec: &PodSpec) {
        let mut seen = BTreeSet::new();
        for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
            if !seen.insert(alias.ip.as_str()) {
                let path = self.path("spec.hostAliases").index(index).child("ip");
                self.tell(&path, format_args!("duplicate ip {:?}", alias.ip));
            }
        }
        let mut seen = BTreeSet::new();
        let secrets =
            || spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.as_str()).enumerate();
        for (index, name) in secrets() {
            if !seen.insert(name) {
                let path = self.path("spec.imagePullSecrets").index(index).child("name");
                self.tell(&path, format_args!("duplicate name {name:?}"));
            }
        }
        for (index, name) in secrets().filter(|(_, name)| name.is_empty()) {
            let path = self.path("spec.imagePullSecrets").index(index).child("name");
            self.tell(&path, format_args!("invalid empty name {name:?}"));
        }
    }

    /// Annotations of before the fields for seccomp and AppArmor.
    fn profiles(&mut self, metadata: &ObjectMeta, spec: &PodSpec) {
        let Some(annotations) = &metadata.annotations else { return };
        let context = spec.security_context.as_ref();
        if context.is_none_or(|context| context.seccomp_profile.is_none())
            && annotations.contains_key(SECCOMP_OF_POD)
        {
            self.tell(&self.path("metadata.annotations").key(SECCOMP_OF_POD), NO_SECCOMP);
        }
        if !annotations.keys().any(|name| name.starts_with("container.")) {
            return;
        }
        let confined = context.is_some_and(|context| context.app_armor_profile.is_some());
        for (_, container) in containers(spec) {
            let own = container.security_context.as_ref();
            let key = format!("{SECCOMP_OF_CONTAINER}{}", container.name);
            if own.is_none_or(|own| own.seccomp_profile.is_none()) && annotations.contains_key(&key) {
                self.tell(&self.path("metadata.annotations").key(&key), NO_SECCOMP);
            }
            let key = format!("{APP_ARMOR}{}", container.name);
            let has_field = confined || own.is_some_and(|own| own.app_armor_profile.is_some());
            if !self.at.is_empty() && !has_field && annotations.contains_key(&key) {
                self.tell(&self.path("metadata.annotations").key(&key), OLD_APP_ARMOR);
            }
        }
    }

    fn container(&mut self, at: &ContainerAt, container: &Container) {
        if let Some(resources) = &container.resources {
            for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
                for (resource, text) in fractional(amounts) {
                    let path = self.path(at.path().child("resources").child(list).as_str()).key(resource);
                    self.tell(&path, text);
                }
            }
        }
        let mut seen = BTreeSet::new();
        for (index, variable) in container.env.iter().flatten().enumerate() {
            if seen.insert(variable.name.as_str()) {
                continue;
            }
            // Built from the one before it, it is meant so.
            let before = format!("$({})", variable.name);
            let value = variable.value.as_deref().unwrap_or_default();
            if variable.value_from.is_some() || value == before || !value.contains(&before) {
                let path = self.path(at.path().child("env").index(index).as_str());
                let text = "which may be dropped when using apply";
                self.tell(&path, format_args!("hides previous definition of {:?}, {text}", variable.name));
            }
        }
    }

    fn ports(&mut self, spec: &PodSpec) {
        let mut before: Vec<(ContainerAt, usize, &ContainerPort)> = Vec::new();
        for (at, container) in containers(spec) {
            for (index, port) in container.ports.iter().flatten().enumerate() {
                let path = |search: &Self, at: &ContainerAt, index: usize| {
                    search.path(at.path().child("ports").index(index).as_str())
                };
                let (ip, number) = (host_ip(port), port.host_port.unwrap_or(0));
                if !ip.is_empty() && number == 0 {
                    self.tell(
                        &path(self, &at, index),
                        format_args!("hostIP set without hostPort: {}", go(port)),
                    );
                }
                for (other_at, other_index, other) in &before {
                    if (other.container_port, &other.protocol) != (port.container_port, &port.protocol) {
                        continue;
                    }
                    let (other_ip, other_number) = (host_ip(other), other.host_port.unwrap_or(0));
                    let kind = if (ip, number) == (other_ip, other_number) {
                        "duplicate"
                    } else if number == 0 || other_number == 0 {
                        "overlapping"
                    } else if number == other_number && ip.is_empty() != other_ip.is_empty() {
                        "dangerously ambiguous"
                    } else {
                        continue;
                    };
                    let other = path(self, other_at, *other_index);
                    let text = format!("{kind} port definition with {other}");
                    self.tell(&path(self, &at, index), text);
                }
                before.push((at, index, port));
            }
        }
    }

    fn pod_affinity(&mut self, spec: &PodSpec) {
        let Some(affinity) = &spec.affinity else { return };
        let terms = |search: &mut Self, kind: &str, terms: &Option<Vec<PodAffinityTerm>>| {
            for (index, term) in terms.iter().flatten().enumerate() {
                if term.label_selector.is_none() {
                    let path = Path::new("spec.affinity").child(kind);
                    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").index(index);
                    search.null_selector(&path.child("labelSelector"));
                }
            }
        };
        let weighted = |search: &mut Self, kind: &str, terms: &Option<Vec<WeightedPodAffinityTerm>>| {
            for (index, term) in terms.iter().flatten().enumerate() {
                if term.pod_affinity_term.label_selector.is_none() {
                    let path = Path::new("spec.affinity").child(kind);
                    let path = path.child("preferredDuringSchedulingIgnoredDuringExecution").index(index);
                    search.null_selector(&path.child("podAffinityTerm.labelSelector"));
                }
            }
        };
        if let Some(near) = &affinity.pod_affinity {
            terms(self, "podAffinity", &near.required_during_scheduling_ignored_during_execution);
            weighted(self, "podAffinity", &near.preferred_during_scheduling_ignored_during_execution);
        }
        if let Some(far) = &affinity.pod_anti_affinity {
            terms(self, "podAntiAffinity", &far.required_during_scheduling_ignored_during_execution);
            weighted(self, "podAntiAffinity", &far.preferred_during_scheduling_ignored_during_execution);
        }
    }
}

/// Where a container stands in its Pod.
#[derive(Clone, Copy)]
struct ContainerAt {
    list: &'static str,
    index: usize,
}

impl ContainerAt {
    fn path(self) -> Path {
        Path::new(self.list).index(self.index)
    }
}

/// Init containers first, as upstream visits them.
fn containers(spec: &PodSpec) -> impl Iterator<Item = (ContainerAt, &Container)> {
    let init = spec.init_containers.iter().flatten().enumerate();
    let init = init.map(|(index, container)| (ContainerAt { list: "spec.initContainers", index }, container));
    let main = spec.containers.iter().enumerate();
    init.chain(main.map(|(index, container)| (ContainerAt { list: "spec.containers", index }, container)))
}

fn old_label(name: &str) -> Option<&'static str> {
    OLD_NODE_LABELS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Volumes of plugins that have gone or are going.
fn old_volume(volume: &Volume) -> Option<(&'static str, &'static str)> {
    let kinds = [
        (
            volume.photon_persistent_disk.is_some(),
            "photonPersistentDisk",
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        (volume.git_repo.is_some(), "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
        (volume.scale_io.is_some(), "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        (volume.flocker.is_some(), "flocker", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.storageos.is_some(), "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.quobyte.is_some(), "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
        (volume.glusterfs.is_some(), "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        (volume.cephfs.is_some(), "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        (volume.rbd.is_some(), "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ];
    kinds.into_iter().find(|(is, ..)| *is).map(|(_, field, text)| (field, text))
}

/// Amounts of bytes that are no whole numbers.
fn fractional(amounts: &Option<BTreeMap<String, WireQuantity>>) -> Vec<(&str, String)> {
    let bytes = amounts.iter().flatten();
    let bytes = bytes.filter(|(resource, _)| matches!(resource.as_str(), "memory" | "ephemeral-storage"));
    bytes
        .filter_map(|(resource, amount)| {
            let parsed = Quantity::try_from(amount).ok()?;
            let text =
                || format!("fractional byte value {:?} is invalid, must be an integer", parsed.to_string());
            (parsed.millis() % 1_000 != 0).then(|| (resource.as_str(), text()))
        })
        .collect()
}

fn host_ip(port: &ContainerPort) -> &str {
    port.host_ip.as_deref().unwrap_or_default()
}

/// A port as Go's `%+v` prints it.
fn go(port: &ContainerPort) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        port.name.as_deref().unwrap_or_default(),
        port.host_port.unwrap_or(0),
        port.container_port,
        port.protocol.as_deref().unwrap_or_default(),
        host_ip(port)
    )
}

#[cfg(test)]
mod tests;
