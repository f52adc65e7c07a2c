//! The columns of each kind. Their order is that of the cells in [`super::cells`].

use api::scheme::Resource;
use serde_json::{Value, json};

/// One column; priority 1 is shown by `-o wide` only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    priority: u8,
    description: &'static str,
}

const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 0, description }
}

const fn integer(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "integer", format: "", priority: 0, description }
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 1, description }
}

const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
    description: "Name must be unique within a namespace.",
};
const AGE: Column = text("Age", "Time since the object was created.");
const CREATED_AT: Column = Column {
    name: "Created At",
    kind: "date",
    format: "",
    priority: 0,
    description: "When the object was created.",
};

const POD: &[Column] = &[
    NAME,
    text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    text("Status", "The aggregate status of the containers in this pod."),
    text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    wide("IP", "The first address allocated to the pod."),
    wide("Node", "The node that the pod is bound to."),
    wide("Nominated Node", "The node on which preemption makes room for the pod."),
    wide("Readiness Gates", "How many of the pod's readiness gates are true."),
];

const NODE: &[Column] = &[
    NAME,
    text("Status", "The status of the node"),
    text("Roles", "The roles of the node"),
    AGE,
    text("Version", "Version of the node's agent."),
    wide("Internal-IP", "The node's address inside the cluster."),
    wide("External-IP", "The node's address outside the cluster."),
    wide("OS-Image", "The operating system that the node reports."),
    wide("Kernel-Version", "The kernel that the node reports."),
    wide("Container-Runtime", "The container runtime and its version."),
];

const DAEMON_SET: &[Column] = &[
    NAME,
    integer("Desired", "The number of nodes that should be running the daemon pod."),
    integer("Current", "The number of nodes that run a daemon pod and are supposed to."),
    integer("Ready", "The number of nodes whose daemon pod is ready."),
    integer("Up-to-date", "The number of nodes that run an updated daemon pod."),
    integer("Available", "The number of nodes whose daemon pod is available."),
    text("Node Selector", "Labels that a node must have."),
    AGE,
    wide("Containers", "Names of each container in the template."),
    wide("Images", "Images referenced by each container in the template."),
    wide("Selector", "Label query over pods that are managed by the daemon set."),
];

const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    text("Controller", "Controller of the object"),
    integer("Revision", "Revision indicates the revision of the state represented by Data."),
    AGE,
];

const NAMESPACE: &[Column] = &[NAME, text("Status", "The status of the namespace"), AGE];
const CONFIG_MAP: &[Column] = &[NAME, text("Data", "The number of entries."), AGE];
const SECRET: &[Column] =
    &[NAME, text("Type", "What the secret is for."), text("Data", "The number of entries."), AGE];
const SERVICE_ACCOUNT: &[Column] = &[NAME, text("Secrets", "The number of secrets it may use."), AGE];

const EVENT: &[Column] = &[
    text("Last Seen", "Time since the event last happened."),
    text("Type", "Normal or Warning."),
    text("Reason", "Why it happened, for machines."),
    text("Object", "What it happened to."),
    wide("Subobject", "The part of the object."),
    wide("Source", "Who reported it."),
    text("Message", "What happened, for people."),
    wide("First Seen", "Time since the event first happened."),
    wide("Count", "How often it happened."),
    Column { priority: 1, ..NAME },
];

const LEASE: &[Column] = &[NAME, text("Holder", "The holder of the lease."), AGE];

const PRIORITY_CLASS: &[Column] = &[
    NAME,
    integer("Value", "The priority that pods of this class get."),
    Column {
        name: "Global-Default",
        kind: "boolean",
        format: "",
        priority: 0,
        description: "Whether pods without a class get this one.",
    },
    AGE,
    text("PreemptionPolicy", "Whether pods of this class preempt others."),
];

const BINDING: &[Column] = &[
    NAME,
    text("Role", "The role that is granted."),
    AGE,
    wide("Users", "Users in the binding."),
    wide("Groups", "Groups in the binding."),
    wide("ServiceAccounts", "Service accounts in the binding."),
];

const SERVICE: &[Column] = &[
    NAME,
    text("Type", "How the service is reached."),
    text("Cluster-IP", "The address that stands for the service inside the cluster."),
    text("External-IP", "Addresses from outside the cluster."),
    text("Port(s)", "Ports of the service, with those of the nodes behind a colon."),
    AGE,
    wide("Selector", "Labels of the pods that serve."),
];

const ENDPOINTS: &[Column] = &[NAME, text("Endpoints", "Addresses and ports that serve."), AGE];

const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    text("AddressType", "The type of the addresses."),
    text("Ports", "The ports of every endpoint."),
    text("Endpoints", "Addresses that serve."),
    AGE,
];

const POD_TEMPLATE: &[Column] = &[
    NAME,
    text("Containers", "Names of each container in the template."),
    text("Images", "Images referenced by each container in the template."),
    text("Pod Labels", "Labels of the pods."),
];

const POD_DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    text("Min Available", "How many pods must stay."),
    text("Max Unavailable", "How many pods may be gone."),
    integer("Allowed Disruptions", "How many pods may be evicted now."),
    AGE,
];

const RUNTIME_CLASS: &[Column] = &[NAME, text("Handler", "What the nodes' runtimes call it."), AGE];

const CERTIFICATE_SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    text("SignerName", "Whose signature is asked for."),
    text("Requestor", "Who asks."),
    text("RequestedDuration", "How long the certificate is to be good for."),
    text("Condition", "What has become of it."),
];

const STORAGE_CLASS: &[Column] = &[
    NAME,
    text("Provisioner", "Who makes the volumes."),
    text("ReclaimPolicy", "What happens to a volume that is given back."),
    text("VolumeBindingMode", "When a volume is bound."),
    boolean("AllowVolumeExpansion", "Whether volumes may grow."),
    AGE,
];

const CSI_NODE: &[Column] = &[NAME, integer("Drivers", "How many drivers the node has."), AGE];

const fn boolean(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "boolean", format: "", priority: 0, description }
}

const CSI_DRIVER: &[Column] = &[
    NAME,
    boolean("AttachRequired", "Whether volumes are attached before they are mounted."),
    boolean("PodInfoOnMount", "Whether the driver is told about the pod."),
    boolean("StorageCapacity", "Whether the driver says how much room it has."),
    text("TokenRequests", "Audiences of the tokens that the driver is given."),
    boolean("RequiresRepublish", "Whether volumes are published again and again."),
    text("Modes", "Kinds of volumes that the driver has."),
    AGE,
];

const DEFAULT: &[Column] = &[NAME, CREATED_AT];

/// The columns of a kind.
pub(super) fn of(resource: &Resource) -> &'static [Column] {
    match (resource.group, resource.kind) {
        ("", "Pod") => POD,
        ("", "Node") => NODE,
        ("", "Namespace") => NAMESPACE,
        ("", "ConfigMap") => CONFIG_MAP,
        ("", "Secret") => SECRET,
        ("", "ServiceAccount") => SERVICE_ACCOUNT,
        ("" | "events.k8s.io", "Event") => EVENT,
        ("apps" | "extensions", "DaemonSet") => DAEMON_SET,
        ("apps", "ControllerRevision") => CONTROLLER_REVISION,
        ("coordination.k8s.io", "Lease") => LEASE,
        ("scheduling.k8s.io", "PriorityClass") => PRIORITY_CLASS,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => BINDING,
        ("", "Service") => SERVICE,
        ("", "Endpoints") => ENDPOINTS,
        ("", "PodTemplate") => POD_TEMPLATE,
        ("discovery.k8s.io", "EndpointSlice") => ENDPOINT_SLICE,
        ("policy", "PodDisruptionBudget") => POD_DISRUPTION_BUDGET,
        ("node.k8s.io", "RuntimeClass") => RUNTIME_CLASS,
        ("certificates.k8s.io", "CertificateSigningRequest") => CERTIFICATE_SIGNING_REQUEST,
        ("storage.k8s.io", "StorageClass") => STORAGE_CLASS,
        ("storage.k8s.io", "CSINode") => CSI_NODE,
        ("storage.k8s.io", "CSIDriver") => CSI_DRIVER,
        _ => DEFAULT,
    }
}

pub(super) fn definitions(resource: &Resource) -> Value {
    let columns = of(resource).iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    });
    columns.collect()
}
