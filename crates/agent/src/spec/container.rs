//! One container: command, environment, mounts, limits, security.

use std::path::Path;

use cri::{ContainerConfig, Mount, Propagation};
use indexmap::IndexMap;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

pub use super::security::ImageUser;
use super::{resources, sandbox, security};
use crate::environment::expand;

/// What was found and prepared for one start of a container.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Also CRI's attempt and the log file's name.
    pub restart_count: u32,
    pub hash: String,
    /// What to create it from.
    pub image_ref: String,
    pub image_user: ImageUser,
    pub variables: IndexMap<String, String>,
    /// In the order of the container's volumeMounts, then the agent's own.
    pub mounts: Vec<Mount>,
    pub node_memory_bytes: i64,
}

/// Why the configuration cannot be made: CreateContainerConfigError with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

pub fn container_config(
    pod: &Pod,
    container: &Container,
    prepared: Prepared,
) -> Result<ContainerConfig, Refused> {
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, &prepared.variables)).collect()
    };
    let namespaces = sandbox::namespaces(spec);
    let security =
        security::container_security(pod, container, namespaces, &prepared.image_user).map_err(Refused)?;
    Ok(ContainerConfig {
        name: container.name.clone(),
        attempt: prepared.restart_count,
        image: prepared.image_ref,
        user_image: container.image.clone().unwrap_or_default(),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        env: prepared.variables.clone().into_iter().collect(),
        mounts: prepared.mounts,
        devices: Vec::new(),
        labels: podmachine::labels::container_labels(pod, container),
        annotations: podmachine::labels::container_annotations(
            pod,
            container,
            prepared.restart_count,
            &prepared.hash,
        ),
        log_path: log_path(&container.name, prepared.restart_count),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        resources: resources::container_resources(pod, container, prepared.node_memory_bytes),
        security,
    })
}

/// Relative to the Pod's log folder.
pub fn log_path(container: &str, restart_count: u32) -> String {
    format!("{container}/{restart_count}.log")
}

pub fn propagation(wanted: Option<&str>) -> Propagation {
    match wanted {
        Some("HostToContainer") => Propagation::HostToContainer,
        Some("Bidirectional") => Propagation::Bidirectional,
        _ => Propagation::Private,
    }
}

/// A bind mount of a file or folder of the agent's.
pub fn own_mount(container_path: &str, host_path: &Path) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.display().to_string(),
        read_only: false,
        recursive_read_only: false,
        propagation: Propagation::Private,
        selinux_relabel: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_and_arguments_see_the_variables() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "c", "image": "i:1", "command": ["run", "$(A)"], "args": ["$$(A)", "$(B)"]}]},
        }))
        .unwrap();
        let prepared = Prepared {
            restart_count: 2,
            hash: "h".to_owned(),
            image_ref: "sha256:1".to_owned(),
            image_user: ImageUser::default(),
            variables: IndexMap::from([("A".to_owned(), "1".to_owned())]),
            mounts: Vec::new(),
            node_memory_bytes: 1 << 30,
        };
        let config = container_config(&pod, &pod.spec.as_ref().unwrap().containers[0], prepared).unwrap();
        assert_eq!(config.command, ["run", "1"]);
        assert_eq!(config.args, ["$(A)", "$(B)"]);
        assert_eq!((config.image.as_str(), config.user_image.as_str()), ("sha256:1", "i:1"));
        assert_eq!(config.log_path, "c/2.log");
        assert_eq!(config.labels["io.kubernetes.pod.uid"], "u");
    }
}
