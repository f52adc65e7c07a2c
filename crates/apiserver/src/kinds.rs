//! What is particular to each kind: defaults, admission, validation, what a write may change, what can be selected by.
//!
//! One implementation of [`Kind`] each; [`strategy`] hands them out without their types. The steps of a write are the same
//! for all and stand in [`crate::pipeline`]; the rules themselves are `api::{default, strategy, validate}`'s.
//! Upstream: `pkg/registry/*/strategy.go`.

mod apps;
mod certificate;
mod configuration;
mod disruption;
mod endpoints;
mod namespace;
mod node;
mod pod;
mod pod_template;
mod records;
mod role;
mod runtime_class;
mod service;
mod storage;

use std::collections::BTreeMap;

use api::field::FieldErrors;
use api::scheme::Resource;
use api::validate::{SelectorChange, SelectorPresence};
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Referenced, restriction::Restricted};
use crate::admission::Admission;
use crate::decode::Payload;
use crate::error::ApiError;
use crate::pipeline::{Of, Strategy};

pub use pod::assign as assign_pod;

/// Which part of an object an update is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Main,
    Status,
    /// What the kind's own subresource writes: a namespace's finalizers, a pod's ephemeral containers, a verdict.
    Own,
}

/// What validation must know of a request beside the objects.
pub struct Seen<'a> {
    /// As asked for, which may be a legacy version.
    pub requested: &'static Resource,
    pub payload: &'a Payload,
}

impl Seen<'_> {
    pub fn selector(&self) -> SelectorPresence {
        #[derive(serde::Deserialize)]
        struct Probe {
            spec: Option<SpecProbe>,
        }
        #[derive(serde::Deserialize)]
        struct SpecProbe {
            selector: Option<serde::de::IgnoredAny>,
        }
        match self.payload {
            Payload::Value(value) => SelectorPresence::of(value),
            Payload::Patched(patched) => SelectorPresence::of(patched.value()),
            Payload::Json(json) => {
                let probe = serde_json::from_slice::<Probe>(json).ok();
                let found = probe.and_then(|probe| probe.spec).and_then(|spec| spec.selector).is_some();
                if found { SelectorPresence::Present } else { SelectorPresence::Absent }
            }
        }
    }

    pub fn selector_change(&self) -> SelectorChange {
        if self.requested.group == "extensions" { SelectorChange::Allowed } else { SelectorChange::Refused }
    }
}

/// From when on an object is kept, where it is kept for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgesFrom {
    Creation,
    LastWrite,
}

/// A served, stored kind.
pub trait Kind:
    Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static
{
    /// Fields of field selectors beside metadata.name and metadata.namespace.
    const SELECTABLE: &'static [&'static str] = &[];

    const AGES_FROM: AgesFrom = AgesFrom::Creation;

    /// Their values.
    fn selectable(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Objects that this one needs, as [`reference`] writes them, or numbers that it alone has.
    fn references(&self) -> Vec<String> {
        Vec::new()
    }

    fn default(&mut self) {}

    /// What the cluster adds to a new object, or refuses.
    fn admit_create(&mut self, _admission: &Admission<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// As for creation, for an update of the main part.
    fn admit_update(&mut self, _old: &Self, _admission: &Admission<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// As for an update, of any part: the main one is [`Kind::admit_update`]'s.
    fn admit_part(&mut self, old: &Self, part: Part, admission: &Admission<'_>) -> Result<(), ApiError> {
        match part {
            Part::Main => self.admit_update(old, admission),
            Part::Status | Part::Own => Ok(()),
        }
    }

    /// Fields that a client does not set at creation.
    fn prepare_create(&mut self) -> Result<(), ApiError> {
        Ok(())
    }

    /// Fields that an update of one part does not change, and the generation.
    fn prepare_update(&mut self, _old: &Self, _part: Part) -> Result<(), ApiError> {
        Ok(())
    }

    /// What a node's agent may not write, even where its role lets it.
    fn restrict(
        &self,
        _node: &str,
        _old: Option<&Self>,
        _part: Part,
        _admission: &Admission<'_>,
    ) -> Result<(), Restricted> {
        Ok(())
    }

    fn validate_create(&self, seen: &Seen<'_>) -> FieldErrors;

    fn validate_update(&self, old: &Self, part: Part, seen: &Seen<'_>) -> FieldErrors;

    /// What is legal and most likely a mistake, in a new object or in a new state of its main part.
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        Vec::new()
    }

    /// The seconds that an object is granted to end in; nothing for kinds that end at once.
    fn grace_seconds(&self, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether something beside metadata.finalizers keeps a deleted object.
    fn is_held(&self) -> bool {
        false
    }
}

/// How a header writes that an object needs another: `secret/name`.
pub fn reference(kind: Referenced, name: &str) -> String {
    let kind = match kind {
        Referenced::Secret => "secret",
        Referenced::ConfigMap => "configmap",
        Referenced::ServiceAccount => "serviceaccount",
        Referenced::VolumeClaim => "claim",
        Referenced::Pod => "pod",
    };
    format!("{kind}/{name}")
}

/// Selectable fields by name, without those that are empty.
fn fields<const N: usize>(all: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    let filled = all
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), value.filter(|value| !value.is_empty())?)));
    filled.collect()
}

/// The strategy of a stored resource.
pub fn strategy(storage: &Resource) -> Option<&'static dyn Strategy> {
    use k8s_openapi::api::{apps, certificates, coordination, core, discovery, node, policy};
    use k8s_openapi::api::{rbac, scheduling, storage};
    let strategy: &'static dyn Strategy = match (storage.group, storage.plural) {
        ("", "configmaps") => &Of::<core::v1::ConfigMap>::NEW,
        ("", "endpoints") => &Of::<core::v1::Endpoints>::NEW,
        ("", "events") => &Of::<core::v1::Event>::NEW,
        ("", "namespaces") => &Of::<core::v1::Namespace>::NEW,
        ("", "nodes") => &Of::<core::v1::Node>::NEW,
        ("", "pods") => &Of::<core::v1::Pod>::NEW,
        ("", "podtemplates") => &Of::<core::v1::PodTemplate>::NEW,
        ("", "secrets") => &Of::<core::v1::Secret>::NEW,
        ("", "serviceaccounts") => &Of::<core::v1::ServiceAccount>::NEW,
        ("", "services") => &Of::<core::v1::Service>::NEW,
        ("apps", "controllerrevisions") => &Of::<apps::v1::ControllerRevision>::NEW,
        ("apps", "daemonsets") => &Of::<apps::v1::DaemonSet>::NEW,
        ("certificates.k8s.io", "certificatesigningrequests") => {
            &Of::<certificates::v1::CertificateSigningRequest>::NEW
        }
        ("coordination.k8s.io", "leases") => &Of::<coordination::v1::Lease>::NEW,
        ("discovery.k8s.io", "endpointslices") => &Of::<discovery::v1::EndpointSlice>::NEW,
        ("node.k8s.io", "runtimeclasses") => &Of::<node::v1::RuntimeClass>::NEW,
        ("policy", "poddisruptionbudgets") => &Of::<policy::v1::PodDisruptionBudget>::NEW,
        ("rbac.authorization.k8s.io", "clusterrolebindings") => &Of::<rbac::v1::ClusterRoleBinding>::NEW,
        ("rbac.authorization.k8s.io", "clusterroles") => &Of::<rbac::v1::ClusterRole>::NEW,
        ("rbac.authorization.k8s.io", "rolebindings") => &Of::<rbac::v1::RoleBinding>::NEW,
        ("rbac.authorization.k8s.io", "roles") => &Of::<rbac::v1::Role>::NEW,
        ("scheduling.k8s.io", "priorityclasses") => &Of::<scheduling::v1::PriorityClass>::NEW,
        ("storage.k8s.io", "csidrivers") => &Of::<storage::v1::CSIDriver>::NEW,
        ("storage.k8s.io", "csinodes") => &Of::<storage::v1::CSINode>::NEW,
        ("storage.k8s.io", "storageclasses") => &Of::<storage::v1::StorageClass>::NEW,
        _ => return None,
    };
    Some(strategy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_resource_has_a_strategy() {
        for resource in api::scheme::RESOURCES {
            let stored = resource.verbs.contains(&"get");
            assert_eq!(strategy(resource.storage()).is_some(), stored, "{}", resource.qualified());
        }
    }
}
