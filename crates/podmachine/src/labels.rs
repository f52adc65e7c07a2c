//! What a container carries so that an agent that knows nothing can adopt it.
//!
//! Upstream's own keys, so that `crictl` and other tools show Pods by name, and so that everynode and an upstream
//! kubelet recognise each other's containers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

pub const POD_NAME: &str = "io.kubernetes.pod.name";
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";

pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub const POD_GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
pub const POD_DELETION_GRACE_PERIOD: &str = "io.kubernetes.pod.deletionGracePeriod";

/// What the machine needs to know again after the agent was restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerLabels {
    pub pod_name: String,
    pub pod_namespace: String,
    pub pod_uid: String,
    pub container_name: String,
    pub hash: String,
    pub restart_count: u32,
    pub termination_message_path: Option<String>,
    pub termination_message_policy: Option<String>,
    pub grace_period_seconds: Option<u64>,
}

impl ContainerLabels {
    /// Reads a container's labels and annotations. `None`: not a Pod's container.
    pub fn parse(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Option<Self> {
        let number = |key: &str| annotations.get(key).and_then(|text| text.parse::<u64>().ok());
        Some(Self {
            pod_name: labels.get(POD_NAME)?.clone(),
            pod_namespace: labels.get(POD_NAMESPACE)?.clone(),
            pod_uid: labels.get(POD_UID)?.clone(),
            container_name: labels.get(CONTAINER_NAME)?.clone(),
            hash: annotations.get(CONTAINER_HASH).cloned().unwrap_or_default(),
            restart_count: number(RESTART_COUNT).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            termination_message_path: annotations.get(TERMINATION_MESSAGE_PATH).cloned(),
            termination_message_policy: annotations.get(TERMINATION_MESSAGE_POLICY).cloned(),
            grace_period_seconds: number(POD_GRACE_PERIOD),
        })
    }
}

/// Labels of a sandbox: the Pod's own and upstream's three.
pub fn sandbox_labels(pod: &Pod) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.extend(pod_labels(pod));
    labels
}

/// Labels of a container.
pub fn container_labels(pod: &Pod, container: &Container) -> BTreeMap<String, String> {
    let mut labels = pod_labels(pod);
    labels.insert(CONTAINER_NAME.to_owned(), container.name.clone());
    labels
}

/// Annotations of a container.
pub fn container_annotations(
    pod: &Pod,
    container: &Container,
    restart_count: u32,
    hash: &str,
) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    annotations.insert(CONTAINER_HASH.to_owned(), hash.to_owned());
    annotations.insert(RESTART_COUNT.to_owned(), restart_count.to_string());
    let path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    annotations.insert(TERMINATION_MESSAGE_PATH.to_owned(), path.to_owned());
    let policy = container.termination_message_policy.as_deref().unwrap_or("File");
    annotations.insert(TERMINATION_MESSAGE_POLICY.to_owned(), policy.to_owned());
    if let Some(grace) = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds) {
        annotations.insert(POD_GRACE_PERIOD.to_owned(), grace.to_string());
    }
    if let Some(grace) = pod.metadata.deletion_grace_period_seconds {
        annotations.insert(POD_DELETION_GRACE_PERIOD.to_owned(), grace.to_string());
    }
    annotations
}

fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    let meta = &pod.metadata;
    BTreeMap::from([
        (POD_NAME.to_owned(), meta.name.clone().unwrap_or_default()),
        (POD_NAMESPACE.to_owned(), meta.namespace.clone().unwrap_or_default()),
        (POD_UID.to_owned(), meta.uid.clone().unwrap_or_default()),
    ])
}
