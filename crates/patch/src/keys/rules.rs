//! Which fields of which definition merge, and by what key: facts of Kubernetes 1.35's published API, one row a field.
//!
//! Sorted by definition and field (checked by a test), so that a lookup is a binary search.

use super::{FieldRule, Strategy, Structure};

use Structure::{AtomicList, AtomicMap, MapList, SetList};

const MERGE: &[Strategy] = &[Strategy::Merge];
const MERGE_RETAIN_KEYS: &[Strategy] = &[Strategy::Merge, Strategy::RetainKeys];

const fn field(field: &'static str, structure: Structure) -> FieldRule {
    FieldRule { field, strategies: &[], merge_key: None, structure }
}

const fn merged(field: &'static str, key: &'static str, structure: Structure) -> FieldRule {
    FieldRule { field, strategies: MERGE, merge_key: Some(key), structure }
}

const fn retained(field: &'static str, key: &'static str, structure: Structure) -> FieldRule {
    FieldRule { field, strategies: MERGE_RETAIN_KEYS, merge_key: Some(key), structure }
}

const fn primitives(field: &'static str) -> FieldRule {
    FieldRule { field, strategies: MERGE, merge_key: None, structure: SetList }
}

/// Rows of fields, by definition.
pub(super) static RULES: &[(&str, &[FieldRule])] = &[
    // Free-form, and owned as a whole (`__untyped_atomic_` in upstream's schema).
    ("io.k8s.api.apps.v1.ControllerRevision", &[field("data", AtomicMap)]),
    ("io.k8s.api.apps.v1.DaemonSetStatus", &[merged("conditions", "type", MapList(&["type"]))]),
    ("io.k8s.api.authentication.v1.TokenReviewSpec", &[field("audiences", AtomicList)]),
    ("io.k8s.api.authentication.v1.TokenReviewStatus", &[field("audiences", AtomicList)]),
    ("io.k8s.api.authentication.v1.UserInfo", &[field("groups", AtomicList)]),
    ("io.k8s.api.authorization.v1.FieldSelectorAttributes", &[field("requirements", AtomicList)]),
    ("io.k8s.api.authorization.v1.LabelSelectorAttributes", &[field("requirements", AtomicList)]),
    ("io.k8s.api.authorization.v1.SubjectAccessReviewSpec", &[field("groups", AtomicList)]),
    (
        "io.k8s.api.certificates.v1.CertificateSigningRequestSpec",
        &[field("groups", AtomicList), field("usages", AtomicList)],
    ),
    (
        "io.k8s.api.certificates.v1.CertificateSigningRequestStatus",
        &[field("conditions", MapList(&["type"]))],
    ),
    ("io.k8s.api.core.v1.Capabilities", &[field("add", AtomicList), field("drop", AtomicList)]),
    ("io.k8s.api.core.v1.CephFSVolumeSource", &[field("monitors", AtomicList)]),
    ("io.k8s.api.core.v1.ConfigMapProjection", &[field("items", AtomicList)]),
    ("io.k8s.api.core.v1.ConfigMapVolumeSource", &[field("items", AtomicList)]),
    (
        "io.k8s.api.core.v1.Container",
        &[
            field("args", AtomicList),
            field("command", AtomicList),
            merged("env", "name", MapList(&["name"])),
            field("envFrom", AtomicList),
            merged("ports", "containerPort", MapList(&["containerPort", "protocol"])),
            field("resizePolicy", AtomicList),
            field("restartPolicyRules", AtomicList),
            merged("volumeDevices", "devicePath", MapList(&["devicePath"])),
            merged("volumeMounts", "mountPath", MapList(&["mountPath"])),
        ],
    ),
    ("io.k8s.api.core.v1.ContainerImage", &[field("names", AtomicList)]),
    ("io.k8s.api.core.v1.ContainerRestartRuleOnExitCodes", &[field("values", SetList)]),
    (
        "io.k8s.api.core.v1.ContainerStatus",
        &[
            merged("allocatedResourcesStatus", "name", MapList(&["name"])),
            merged("volumeMounts", "mountPath", MapList(&["mountPath"])),
        ],
    ),
    ("io.k8s.api.core.v1.DownwardAPIProjection", &[field("items", AtomicList)]),
    ("io.k8s.api.core.v1.DownwardAPIVolumeSource", &[field("items", AtomicList)]),
    (
        "io.k8s.api.core.v1.EndpointSubset",
        &[field("addresses", AtomicList), field("notReadyAddresses", AtomicList), field("ports", AtomicList)],
    ),
    ("io.k8s.api.core.v1.Endpoints", &[field("subsets", AtomicList)]),
    (
        "io.k8s.api.core.v1.EphemeralContainer",
        &[
            field("args", AtomicList),
            field("command", AtomicList),
            merged("env", "name", MapList(&["name"])),
            field("envFrom", AtomicList),
            merged("ports", "containerPort", MapList(&["containerPort", "protocol"])),
            field("resizePolicy", AtomicList),
            field("restartPolicyRules", AtomicList),
            merged("volumeDevices", "devicePath", MapList(&["devicePath"])),
            merged("volumeMounts", "mountPath", MapList(&["mountPath"])),
        ],
    ),
    ("io.k8s.api.core.v1.ExecAction", &[field("command", AtomicList)]),
    ("io.k8s.api.core.v1.FCVolumeSource", &[field("targetWWNs", AtomicList), field("wwids", AtomicList)]),
    ("io.k8s.api.core.v1.HTTPGetAction", &[field("httpHeaders", AtomicList)]),
    ("io.k8s.api.core.v1.HostAlias", &[field("hostnames", AtomicList)]),
    ("io.k8s.api.core.v1.ISCSIVolumeSource", &[field("portals", AtomicList)]),
    ("io.k8s.api.core.v1.LinuxContainerUser", &[field("supplementalGroups", AtomicList)]),
    ("io.k8s.api.core.v1.LoadBalancerIngress", &[field("ports", AtomicList)]),
    ("io.k8s.api.core.v1.LoadBalancerStatus", &[field("ingress", AtomicList)]),
    ("io.k8s.api.core.v1.NamespaceSpec", &[field("finalizers", AtomicList)]),
    ("io.k8s.api.core.v1.NamespaceStatus", &[merged("conditions", "type", MapList(&["type"]))]),
    (
        "io.k8s.api.core.v1.NodeAffinity",
        &[field("preferredDuringSchedulingIgnoredDuringExecution", AtomicList)],
    ),
    ("io.k8s.api.core.v1.NodeSelector", &[field("nodeSelectorTerms", AtomicList)]),
    ("io.k8s.api.core.v1.NodeSelectorRequirement", &[field("values", AtomicList)]),
    (
        "io.k8s.api.core.v1.NodeSelectorTerm",
        &[field("matchExpressions", AtomicList), field("matchFields", AtomicList)],
    ),
    ("io.k8s.api.core.v1.NodeSpec", &[primitives("podCIDRs"), field("taints", AtomicList)]),
    (
        "io.k8s.api.core.v1.NodeStatus",
        &[
            merged("addresses", "type", MapList(&["type"])),
            merged("conditions", "type", MapList(&["type"])),
            field("declaredFeatures", AtomicList),
            field("images", AtomicList),
            field("runtimeHandlers", AtomicList),
            field("volumesAttached", AtomicList),
            field("volumesInUse", AtomicList),
        ],
    ),
    ("io.k8s.api.core.v1.PersistentVolumeClaimSpec", &[field("accessModes", AtomicList)]),
    (
        "io.k8s.api.core.v1.PodAffinity",
        &[
            field("preferredDuringSchedulingIgnoredDuringExecution", AtomicList),
            field("requiredDuringSchedulingIgnoredDuringExecution", AtomicList),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodAffinityTerm",
        &[
            field("matchLabelKeys", AtomicList),
            field("mismatchLabelKeys", AtomicList),
            field("namespaces", AtomicList),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodAntiAffinity",
        &[
            field("preferredDuringSchedulingIgnoredDuringExecution", AtomicList),
            field("requiredDuringSchedulingIgnoredDuringExecution", AtomicList),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodDNSConfig",
        &[field("nameservers", AtomicList), field("options", AtomicList), field("searches", AtomicList)],
    ),
    ("io.k8s.api.core.v1.PodExtendedResourceClaimStatus", &[field("requestMappings", AtomicList)]),
    (
        "io.k8s.api.core.v1.PodSecurityContext",
        &[field("supplementalGroups", AtomicList), field("sysctls", AtomicList)],
    ),
    (
        "io.k8s.api.core.v1.PodSpec",
        &[
            merged("containers", "name", MapList(&["name"])),
            merged("ephemeralContainers", "name", MapList(&["name"])),
            merged("hostAliases", "ip", MapList(&["ip"])),
            merged("imagePullSecrets", "name", MapList(&["name"])),
            merged("initContainers", "name", MapList(&["name"])),
            field("nodeSelector", AtomicMap),
            field("readinessGates", AtomicList),
            retained("resourceClaims", "name", MapList(&["name"])),
            merged("schedulingGates", "name", MapList(&["name"])),
            field("tolerations", AtomicList),
            merged(
                "topologySpreadConstraints",
                "topologyKey",
                MapList(&["topologyKey", "whenUnsatisfiable"]),
            ),
            retained("volumes", "name", MapList(&["name"])),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodStatus",
        &[
            merged("conditions", "type", MapList(&["type"])),
            field("containerStatuses", AtomicList),
            field("ephemeralContainerStatuses", AtomicList),
            merged("hostIPs", "ip", AtomicList),
            field("initContainerStatuses", AtomicList),
            merged("podIPs", "ip", MapList(&["ip"])),
            retained("resourceClaimStatuses", "name", MapList(&["name"])),
        ],
    ),
    ("io.k8s.api.core.v1.ProjectedVolumeSource", &[field("sources", AtomicList)]),
    ("io.k8s.api.core.v1.RBDVolumeSource", &[field("monitors", AtomicList)]),
    ("io.k8s.api.core.v1.ResourceRequirements", &[field("claims", MapList(&["name"]))]),
    ("io.k8s.api.core.v1.ResourceStatus", &[field("resources", MapList(&["resourceID"]))]),
    ("io.k8s.api.core.v1.SecretProjection", &[field("items", AtomicList)]),
    ("io.k8s.api.core.v1.SecretVolumeSource", &[field("items", AtomicList)]),
    (
        "io.k8s.api.core.v1.ServiceAccount",
        &[field("imagePullSecrets", AtomicList), merged("secrets", "name", MapList(&["name"]))],
    ),
    (
        "io.k8s.api.core.v1.ServiceSpec",
        &[
            field("clusterIPs", AtomicList),
            field("externalIPs", AtomicList),
            field("ipFamilies", AtomicList),
            field("loadBalancerSourceRanges", AtomicList),
            merged("ports", "port", MapList(&["port", "protocol"])),
            field("selector", AtomicMap),
        ],
    ),
    ("io.k8s.api.core.v1.ServiceStatus", &[merged("conditions", "type", MapList(&["type"]))]),
    ("io.k8s.api.core.v1.TopologySelectorLabelRequirement", &[field("values", AtomicList)]),
    ("io.k8s.api.core.v1.TopologySelectorTerm", &[field("matchLabelExpressions", AtomicList)]),
    ("io.k8s.api.core.v1.TopologySpreadConstraint", &[field("matchLabelKeys", AtomicList)]),
    ("io.k8s.api.discovery.v1.Endpoint", &[field("addresses", SetList)]),
    (
        "io.k8s.api.discovery.v1.EndpointHints",
        &[field("forNodes", AtomicList), field("forZones", AtomicList)],
    ),
    ("io.k8s.api.discovery.v1.EndpointSlice", &[field("endpoints", AtomicList), field("ports", AtomicList)]),
    ("io.k8s.api.node.v1.Scheduling", &[field("nodeSelector", AtomicMap), field("tolerations", AtomicList)]),
    ("io.k8s.api.policy.v1.PodDisruptionBudgetStatus", &[merged("conditions", "type", MapList(&["type"]))]),
    ("io.k8s.api.rbac.v1.AggregationRule", &[field("clusterRoleSelectors", AtomicList)]),
    ("io.k8s.api.rbac.v1.ClusterRole", &[field("rules", AtomicList)]),
    ("io.k8s.api.rbac.v1.ClusterRoleBinding", &[field("subjects", AtomicList)]),
    (
        "io.k8s.api.rbac.v1.PolicyRule",
        &[
            field("apiGroups", AtomicList),
            field("nonResourceURLs", AtomicList),
            field("resourceNames", AtomicList),
            field("resources", AtomicList),
            field("verbs", AtomicList),
        ],
    ),
    ("io.k8s.api.rbac.v1.Role", &[field("rules", AtomicList)]),
    ("io.k8s.api.rbac.v1.RoleBinding", &[field("subjects", AtomicList)]),
    (
        "io.k8s.api.storage.v1.CSIDriverSpec",
        &[field("tokenRequests", AtomicList), field("volumeLifecycleModes", SetList)],
    ),
    ("io.k8s.api.storage.v1.CSINodeDriver", &[field("topologyKeys", AtomicList)]),
    ("io.k8s.api.storage.v1.CSINodeSpec", &[merged("drivers", "name", MapList(&["name"]))]),
    (
        "io.k8s.api.storage.v1.StorageClass",
        &[field("allowedTopologies", AtomicList), field("mountOptions", AtomicList)],
    ),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", &[field("dryRun", AtomicList)]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldSelectorRequirement", &[field("values", AtomicList)]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector", &[field("matchExpressions", AtomicList)]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement", &[field("values", AtomicList)]),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        &[
            primitives("finalizers"),
            field("managedFields", AtomicList),
            merged("ownerReferences", "uid", MapList(&["uid"])),
        ],
    ),
];

/// Definitions whose objects are replaced as a whole by server-side apply.
pub(super) static ATOMIC_DEFINITIONS: &[&str] = &[
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.EndpointAddress",
    "io.k8s.api.core.v1.EndpointPort",
    "io.k8s.api.core.v1.FileKeySelector",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.TopologySelectorTerm",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.api.discovery.v1.EndpointPort",
    "io.k8s.api.rbac.v1.RoleRef",
    "io.k8s.api.rbac.v1.Subject",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
];
