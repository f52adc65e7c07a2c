//! Which field of which definition holds objects of which other definition: the way from a root definition to a
//! nested one. Only fields that lead to objects with fields of their own are listed.
//!
//! Sorted; equal to the graph of the Kubernetes types that this build is made with (checked by a test).

mod core;

/// (definition, its fields with the definition of their objects or list items).
pub(super) type Edges = &'static [(&'static str, &'static [(&'static str, &'static str)])];

/// The tables, none of which has a definition of another.
pub(super) static TABLES: [Edges; 2] = [OTHERS, core::EDGES];

static OTHERS: Edges = &[
    (
        "io.k8s.api.apps.v1.ControllerRevision",
        &[("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")],
    ),
    (
        "io.k8s.api.apps.v1.DaemonSet",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.apps.v1.DaemonSetSpec"),
            ("status", "io.k8s.api.apps.v1.DaemonSetStatus"),
        ],
    ),
    (
        "io.k8s.api.apps.v1.DaemonSetSpec",
        &[
            ("selector", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"),
            ("template", "io.k8s.api.core.v1.PodTemplateSpec"),
            ("updateStrategy", "io.k8s.api.apps.v1.DaemonSetUpdateStrategy"),
        ],
    ),
    ("io.k8s.api.apps.v1.DaemonSetStatus", &[("conditions", "io.k8s.api.apps.v1.DaemonSetCondition")]),
    (
        "io.k8s.api.apps.v1.DaemonSetUpdateStrategy",
        &[("rollingUpdate", "io.k8s.api.apps.v1.RollingUpdateDaemonSet")],
    ),
    (
        "io.k8s.api.authentication.v1.SelfSubjectReview",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("status", "io.k8s.api.authentication.v1.SelfSubjectReviewStatus"),
        ],
    ),
    (
        "io.k8s.api.authentication.v1.SelfSubjectReviewStatus",
        &[("userInfo", "io.k8s.api.authentication.v1.UserInfo")],
    ),
    (
        "io.k8s.api.authentication.v1.TokenReview",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.authentication.v1.TokenReviewSpec"),
            ("status", "io.k8s.api.authentication.v1.TokenReviewStatus"),
        ],
    ),
    ("io.k8s.api.authentication.v1.TokenReviewStatus", &[("user", "io.k8s.api.authentication.v1.UserInfo")]),
    (
        "io.k8s.api.authorization.v1.FieldSelectorAttributes",
        &[("requirements", "io.k8s.apimachinery.pkg.apis.meta.v1.FieldSelectorRequirement")],
    ),
    (
        "io.k8s.api.authorization.v1.LabelSelectorAttributes",
        &[("requirements", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement")],
    ),
    (
        "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.authorization.v1.SubjectAccessReviewSpec"),
            ("status", "io.k8s.api.authorization.v1.SubjectAccessReviewStatus"),
        ],
    ),
    (
        "io.k8s.api.authorization.v1.ResourceAttributes",
        &[
            ("fieldSelector", "io.k8s.api.authorization.v1.FieldSelectorAttributes"),
            ("labelSelector", "io.k8s.api.authorization.v1.LabelSelectorAttributes"),
        ],
    ),
    (
        "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.authorization.v1.SelfSubjectAccessReviewSpec"),
            ("status", "io.k8s.api.authorization.v1.SubjectAccessReviewStatus"),
        ],
    ),
    (
        "io.k8s.api.authorization.v1.SelfSubjectAccessReviewSpec",
        &[
            ("nonResourceAttributes", "io.k8s.api.authorization.v1.NonResourceAttributes"),
            ("resourceAttributes", "io.k8s.api.authorization.v1.ResourceAttributes"),
        ],
    ),
    (
        "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.authorization.v1.SelfSubjectRulesReviewSpec"),
            ("status", "io.k8s.api.authorization.v1.SubjectRulesReviewStatus"),
        ],
    ),
    (
        "io.k8s.api.authorization.v1.SubjectAccessReview",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.authorization.v1.SubjectAccessReviewSpec"),
            ("status", "io.k8s.api.authorization.v1.SubjectAccessReviewStatus"),
        ],
    ),
    (
        "io.k8s.api.authorization.v1.SubjectAccessReviewSpec",
        &[
            ("nonResourceAttributes", "io.k8s.api.authorization.v1.NonResourceAttributes"),
            ("resourceAttributes", "io.k8s.api.authorization.v1.ResourceAttributes"),
        ],
    ),
    (
        "io.k8s.api.authorization.v1.SubjectRulesReviewStatus",
        &[
            ("nonResourceRules", "io.k8s.api.authorization.v1.NonResourceRule"),
            ("resourceRules", "io.k8s.api.authorization.v1.ResourceRule"),
        ],
    ),
    (
        "io.k8s.api.certificates.v1.CertificateSigningRequest",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.certificates.v1.CertificateSigningRequestSpec"),
            ("status", "io.k8s.api.certificates.v1.CertificateSigningRequestStatus"),
        ],
    ),
    (
        "io.k8s.api.certificates.v1.CertificateSigningRequestStatus",
        &[("conditions", "io.k8s.api.certificates.v1.CertificateSigningRequestCondition")],
    ),
    (
        "io.k8s.api.coordination.v1.Lease",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.coordination.v1.LeaseSpec"),
        ],
    ),
    (
        "io.k8s.api.discovery.v1.Endpoint",
        &[
            ("conditions", "io.k8s.api.discovery.v1.EndpointConditions"),
            ("hints", "io.k8s.api.discovery.v1.EndpointHints"),
            ("targetRef", "io.k8s.api.core.v1.ObjectReference"),
        ],
    ),
    (
        "io.k8s.api.discovery.v1.EndpointHints",
        &[("forNodes", "io.k8s.api.discovery.v1.ForNode"), ("forZones", "io.k8s.api.discovery.v1.ForZone")],
    ),
    (
        "io.k8s.api.discovery.v1.EndpointSlice",
        &[
            ("endpoints", "io.k8s.api.discovery.v1.Endpoint"),
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("ports", "io.k8s.api.discovery.v1.EndpointPort"),
        ],
    ),
    (
        "io.k8s.api.events.v1.Event",
        &[
            ("deprecatedSource", "io.k8s.api.core.v1.EventSource"),
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("regarding", "io.k8s.api.core.v1.ObjectReference"),
            ("related", "io.k8s.api.core.v1.ObjectReference"),
            ("series", "io.k8s.api.events.v1.EventSeries"),
        ],
    ),
    (
        "io.k8s.api.node.v1.RuntimeClass",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("overhead", "io.k8s.api.node.v1.Overhead"),
            ("scheduling", "io.k8s.api.node.v1.Scheduling"),
        ],
    ),
    ("io.k8s.api.node.v1.Scheduling", &[("tolerations", "io.k8s.api.core.v1.Toleration")]),
    (
        "io.k8s.api.policy.v1.Eviction",
        &[
            ("deleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
        ],
    ),
    (
        "io.k8s.api.policy.v1.PodDisruptionBudget",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.policy.v1.PodDisruptionBudgetSpec"),
            ("status", "io.k8s.api.policy.v1.PodDisruptionBudgetStatus"),
        ],
    ),
    (
        "io.k8s.api.policy.v1.PodDisruptionBudgetSpec",
        &[("selector", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")],
    ),
    (
        "io.k8s.api.policy.v1.PodDisruptionBudgetStatus",
        &[("conditions", "io.k8s.apimachinery.pkg.apis.meta.v1.Condition")],
    ),
    (
        "io.k8s.api.rbac.v1.AggregationRule",
        &[("clusterRoleSelectors", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")],
    ),
    (
        "io.k8s.api.rbac.v1.ClusterRole",
        &[
            ("aggregationRule", "io.k8s.api.rbac.v1.AggregationRule"),
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("rules", "io.k8s.api.rbac.v1.PolicyRule"),
        ],
    ),
    (
        "io.k8s.api.rbac.v1.ClusterRoleBinding",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("roleRef", "io.k8s.api.rbac.v1.RoleRef"),
            ("subjects", "io.k8s.api.rbac.v1.Subject"),
        ],
    ),
    (
        "io.k8s.api.rbac.v1.Role",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("rules", "io.k8s.api.rbac.v1.PolicyRule"),
        ],
    ),
    (
        "io.k8s.api.rbac.v1.RoleBinding",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("roleRef", "io.k8s.api.rbac.v1.RoleRef"),
            ("subjects", "io.k8s.api.rbac.v1.Subject"),
        ],
    ),
    (
        "io.k8s.api.scheduling.v1.PriorityClass",
        &[("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")],
    ),
    (
        "io.k8s.api.storage.v1.CSIDriver",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.storage.v1.CSIDriverSpec"),
        ],
    ),
    ("io.k8s.api.storage.v1.CSIDriverSpec", &[("tokenRequests", "io.k8s.api.storage.v1.TokenRequest")]),
    (
        "io.k8s.api.storage.v1.CSINode",
        &[
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ("spec", "io.k8s.api.storage.v1.CSINodeSpec"),
        ],
    ),
    ("io.k8s.api.storage.v1.CSINodeDriver", &[("allocatable", "io.k8s.api.storage.v1.VolumeNodeResources")]),
    ("io.k8s.api.storage.v1.CSINodeSpec", &[("drivers", "io.k8s.api.storage.v1.CSINodeDriver")]),
    (
        "io.k8s.api.storage.v1.StorageClass",
        &[
            ("allowedTopologies", "io.k8s.api.core.v1.TopologySelectorTerm"),
            ("metadata", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
        ],
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
        &[("preconditions", "io.k8s.apimachinery.pkg.apis.meta.v1.Preconditions")],
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
        &[("matchExpressions", "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement")],
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        &[
            ("managedFields", "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry"),
            ("ownerReferences", "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference"),
        ],
    ),
];
