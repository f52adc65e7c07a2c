//! A Pod → what the container runtime is told: one sandbox, and its containers.
//!
//! Pure translation: what has to be fetched or mounted was fetched and mounted before and is handed in.
//! Names, labels, log paths and the cgroup's place are the same each time, so that a restarted agent finds what it
//! made.

pub mod container;
pub mod resources;
pub mod sandbox;
mod security;

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

/// Name, namespace and uid, which everything on the node is named after.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl PodId {
    pub fn of(pod: &Pod) -> PodId {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        PodId {
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
        }
    }

    /// `name_namespace`: two static Pods with the same one never run at once.
    pub fn full_name(&self) -> String {
        format!("{}_{}", self.name, self.namespace)
    }

    /// `<log_root>/<namespace>_<name>_<uid>`.
    pub fn log_folder(&self, log_root: &Path) -> PathBuf {
        log_root.join(format!("{}_{}_{}", self.namespace, self.name, self.uid))
    }
}

impl std::fmt::Display for PodId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
