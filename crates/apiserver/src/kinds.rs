//! What is particular to each kind: defaults, admission, validation, what a write may change, what can be selected by.
//!
//! One implementation of [`Kind`] each; [`strategy`] hands them out without their types. The steps of a write are the same
//! for all and stand in [`crate::pipeline`]. Upstream: `pkg/registry/*/strategy.go`.

mod config;
mod controller_revision;
mod daemon_set;
mod event;
mod lease;
mod namespace;
mod node;
mod pod;
mod priority_class;
mod rbac;

use std::collections::BTreeMap;

use api::field::FieldErrors;
use api::scheme::Resource;
use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::Referenced;
use crate::admission::Admission;
use crate::error::ApiError;
use crate::pipeline::{Of, Strategy};

pub use pod::assign as assign_pod;

/// How a header writes that an object needs another: `secret/name`.
pub fn reference(kind: Referenced, name: &str) -> String {
    let kind = match kind {
        Referenced::Secret => "secret",
        Referenced::ConfigMap => "configmap",
        Referenced::ServiceAccount => "serviceaccount",
        Referenced::Pod => "pod",
    };
    format!("{kind}/{name}")
}

/// Which part of an object an update is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Main,
    Status,
    /// A namespace's spec.finalizers.
    Finalize,
}

/// A served, stored kind.
pub trait Kind:
    Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static
{
    /// Fields of field selectors beside metadata.name and metadata.namespace.
    const SELECTABLE: &'static [&'static str] = &[];

    /// Their values.
    fn selectable(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Objects that this one needs, as [`reference`] writes them.
    fn references(&self) -> Vec<String> {
        Vec::new()
    }

    fn default(&mut self) {}

    /// Fields that a client does not set at creation.
    fn prepare_create(&mut self, _now: Timestamp) -> Result<(), ApiError> {
        Ok(())
    }

    /// Fields that an update of the main part does not change.
    fn prepare_update(&mut self, _old: &Self) {}

    /// Fields that an update of the status does not change.
    fn prepare_status(&mut self, _old: &Self) {}

    /// Whether the change is one that `metadata.generation` counts; nothing for kinds that have none.
    fn generation_changed(&self, _old: &Self) -> Option<bool> {
        None
    }

    /// The seconds that an object is granted to end in; nothing for kinds that end at once.
    fn grace_seconds(&self, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether something beside metadata.finalizers keeps a deleted object.
    fn is_held(&self) -> bool {
        false
    }

    fn admit_create(&mut self, _admission: &Admission<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    fn admit_update(&mut self, _old: &Self, _admission: &Admission<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    fn validate_create(&self) -> FieldErrors {
        FieldErrors::new()
    }

    fn validate_update(&self, _old: &Self, _part: Part) -> FieldErrors {
        FieldErrors::new()
    }

    /// Whether names may hold what a path segment may, and not only what a DNS name may.
    const NAMES: Names = Names::Subdomain;
}

/// Which names a kind's objects may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Subdomain,
    Label,
    PathSegment,
}

/// The strategy of a stored resource.
pub fn strategy(storage: &Resource) -> Option<&'static dyn Strategy> {
    use k8s_openapi::api::{apps, coordination, core, rbac, scheduling};
    let strategy: &'static dyn Strategy = match (storage.group, storage.plural) {
        ("", "configmaps") => &Of::<core::v1::ConfigMap>::NEW,
        ("", "events") => &Of::<core::v1::Event>::NEW,
        ("", "namespaces") => &Of::<core::v1::Namespace>::NEW,
        ("", "nodes") => &Of::<core::v1::Node>::NEW,
        ("", "pods") => &Of::<core::v1::Pod>::NEW,
        ("", "secrets") => &Of::<core::v1::Secret>::NEW,
        ("", "serviceaccounts") => &Of::<core::v1::ServiceAccount>::NEW,
        ("apps", "controllerrevisions") => &Of::<apps::v1::ControllerRevision>::NEW,
        ("apps", "daemonsets") => &Of::<apps::v1::DaemonSet>::NEW,
        ("coordination.k8s.io", "leases") => &Of::<coordination::v1::Lease>::NEW,
        ("rbac.authorization.k8s.io", "clusterrolebindings") => &Of::<rbac::v1::ClusterRoleBinding>::NEW,
        ("rbac.authorization.k8s.io", "clusterroles") => &Of::<rbac::v1::ClusterRole>::NEW,
        ("rbac.authorization.k8s.io", "rolebindings") => &Of::<rbac::v1::RoleBinding>::NEW,
        ("rbac.authorization.k8s.io", "roles") => &Of::<rbac::v1::Role>::NEW,
        ("scheduling.k8s.io", "priorityclasses") => &Of::<scheduling::v1::PriorityClass>::NEW,
        _ => return None,
    };
    Some(strategy)
}
