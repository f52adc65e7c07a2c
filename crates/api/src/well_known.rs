//! Names that are fixed by the Kubernetes API: labels, annotations, taints, finalizers, conditions, priorities.
//!
//! Only constants; who sets and reads them is written beside each group.

/// Labels of nodes, set by the node agent.
pub mod node_label {
    pub const HOSTNAME: &str = "kubernetes.io/hostname";
    pub const ARCH: &str = "kubernetes.io/arch";
    pub const OS: &str = "kubernetes.io/os";
    pub const BETA_ARCH: &str = "beta.kubernetes.io/arch";
    pub const BETA_OS: &str = "beta.kubernetes.io/os";
    pub const ZONE: &str = "topology.kubernetes.io/zone";
    pub const REGION: &str = "topology.kubernetes.io/region";
    pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
    pub const BETA_INSTANCE_TYPE: &str = "beta.kubernetes.io/instance-type";
    pub const LEGACY_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
    pub const LEGACY_REGION: &str = "failure-domain.beta.kubernetes.io/region";
    pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
    pub const EXCLUDE_DISRUPTION: &str = "node.kubernetes.io/exclude-disruption";
}

/// Taint keys that node lifecycle and admission put on nodes.
pub mod taint {
    pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
    pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
    pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
    pub const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
    pub const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
    pub const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
    pub const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";
    pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
    pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

    pub const NO_SCHEDULE: &str = "NoSchedule";
    pub const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
    pub const NO_EXECUTE: &str = "NoExecute";
}

/// Labels that the DaemonSet controller writes on Pods and ControllerRevisions.
pub mod daemon_set {
    pub const REVISION_HASH_LABEL: &str = "controller-revision-hash";
    pub const TEMPLATE_GENERATION_LABEL: &str = "pod-template-generation";
    /// Carries `spec.templateGeneration`, which apps/v1 has no field for.
    pub const TEMPLATE_GENERATION_ANNOTATION: &str = "deprecated.daemonset.template.generation";
    pub const KIND: &str = "DaemonSet";
    pub const API_VERSION: &str = "apps/v1";
    pub const ROLLING_UPDATE: &str = "RollingUpdate";
    pub const ON_DELETE: &str = "OnDelete";
}

/// Annotations of Pods.
pub mod pod_annotation {
    /// Marks the API's image of a static Pod; its value is the static Pod's hash.
    pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
    pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
    pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
    pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";
    /// The affinity of Kubernetes up to 1.5, as JSON.
    pub const ALPHA_AFFINITY: &str = "scheduler.alpha.kubernetes.io/affinity";
    pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
    pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
    pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
    /// Values of `CONFIG_SOURCE`.
    pub const SOURCE_FILE: &str = "file";
    pub const SOURCE_HTTP: &str = "http";
    pub const SOURCE_API: &str = "api";
}

/// Types of Pod conditions.
pub mod pod_condition {
    pub const SCHEDULED: &str = "PodScheduled";
    pub const INITIALIZED: &str = "Initialized";
    pub const CONTAINERS_READY: &str = "ContainersReady";
    pub const READY: &str = "Ready";
    pub const READY_TO_START_CONTAINERS: &str = "PodReadyToStartContainers";
    pub const DISRUPTION_TARGET: &str = "DisruptionTarget";
}

/// Types of Node conditions.
pub mod node_condition {
    pub const READY: &str = "Ready";
    pub const MEMORY_PRESSURE: &str = "MemoryPressure";
    pub const DISK_PRESSURE: &str = "DiskPressure";
    pub const PID_PRESSURE: &str = "PIDPressure";
    pub const NETWORK_UNAVAILABLE: &str = "NetworkUnavailable";
}

/// Values of `status.phase` of a Pod.
pub mod pod_phase {
    pub const PENDING: &str = "Pending";
    pub const RUNNING: &str = "Running";
    pub const SUCCEEDED: &str = "Succeeded";
    pub const FAILED: &str = "Failed";
    pub const UNKNOWN: &str = "Unknown";
}

/// Values of `restartPolicy`.
pub mod restart_policy {
    pub const ALWAYS: &str = "Always";
    pub const ON_FAILURE: &str = "OnFailure";
    pub const NEVER: &str = "Never";
}

/// Finalizers with a meaning to the API server and the garbage collector.
pub mod finalizer {
    pub const ORPHAN: &str = "orphan";
    pub const FOREGROUND: &str = "foregroundDeletion";
    /// In `spec.finalizers` of a Namespace.
    pub const KUBERNETES: &str = "kubernetes";
}

/// Priorities and the classes that the API server makes.
pub mod priority {
    pub const SYSTEM_CLUSTER_CRITICAL: &str = "system-cluster-critical";
    pub const SYSTEM_NODE_CRITICAL: &str = "system-node-critical";
    pub const SYSTEM_CLUSTER_CRITICAL_VALUE: i32 = 2_000_000_000;
    pub const SYSTEM_NODE_CRITICAL_VALUE: i32 = 2_000_001_000;
    /// The highest value that users may give a class.
    pub const USER_VALUE_MAX: i32 = 1_000_000_000;
    /// Pods from here on are critical: admitted first and not evicted under node pressure.
    pub const CRITICAL_VALUE_MIN: i32 = 2_000_000_000;
    pub const SYSTEM_PREFIX: &str = "system-";
}

/// Namespaces that always exist.
pub mod namespace {
    pub const DEFAULT: &str = "default";
    pub const KUBE_SYSTEM: &str = "kube-system";
    pub const KUBE_PUBLIC: &str = "kube-public";
    pub const KUBE_NODE_LEASE: &str = "kube-node-lease";
    /// On every Namespace, its own name.
    pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";
}

/// Resource names in requests, limits, capacity and allocatable.
pub mod resource {
    pub const CPU: &str = "cpu";
    pub const MEMORY: &str = "memory";
    pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
    pub const PODS: &str = "pods";
    pub const HUGEPAGES_PREFIX: &str = "hugepages-";
}

/// The scheduler's name where a Pod names none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// The annotation of a ServiceAccount token Secret.
pub const SERVICE_ACCOUNT_NAME_ANNOTATION: &str = "kubernetes.io/service-account.name";
/// The field that `matchFields` knows.
pub const METADATA_NAME: &str = "metadata.name";
