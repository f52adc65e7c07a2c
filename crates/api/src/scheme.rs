//! Every kind that everynode serves, as data: one row a resource and version.
//!
//! Discovery, routing, OpenAPI, Table and RBAC are computed from these rows. A kind that is not here is
//! absent from every one of them. Adding a kind is one row here and one file in `apiserver::kinds`.

/// One served resource in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// API group, `""` for core.
    pub group: &'static str,
    pub version: &'static str,
    /// Plural, lower case, as in the URL.
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    pub verbs: &'static [&'static str],
    pub subresources: &'static [Subresource],
    /// The definition in the OpenAPI documents, e.g. `io.k8s.api.apps.v1.DaemonSet`.
    pub definition: &'static str,
    /// Another row holds the objects: this version is converted on read and write.
    /// (`events` of both groups share a store; the legacy DaemonSet versions are stored as apps/v1.)
    pub stored_as: Option<(&'static str, &'static str)>,
    /// Set for versions that upstream no longer serves: the text of the `Warning` header.
    pub deprecation: Option<&'static str>,
    /// An update without a resourceVersion overwrites; elsewhere it is refused.
    pub unconditional_update: bool,
    /// PUT to a name that does not exist creates it.
    pub create_on_update: bool,
}

/// A subresource of a resource: `pods/log` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    pub name: &'static str,
    /// Kind of its body where it is not the parent's, with its group and version.
    pub kind: &'static str,
    pub group_version: Option<(&'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods` or `daemonsets.apps`: how upstream names a resource in messages.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Pod` or `DaemonSet.apps`: how upstream names a kind in validation messages.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// The row under which the objects are stored: itself, or the one that `stored_as` names.
    pub fn storage(&'static self) -> &'static Resource {
        match self.stored_as {
            None => self,
            Some((group, version)) => find(group, version, self.plural).unwrap_or(self),
        }
    }
}

/// The row of a resource by its URL parts.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The row of a kind by its apiVersion and kind.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    RESOURCES.iter().find(|r| r.group == group && r.version == version && r.kind == kind)
}

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
/// Of what is passed on with whatever method it comes.
const PROXIED: &[&str] = &["create", "delete", "get", "patch", "update"];
const STATUS: Subresource =
    Subresource { name: "status", kind: "", group_version: None, verbs: GET_PATCH_UPDATE };

const BASE: Resource = Resource {
    group: "",
    version: "v1",
    plural: "",
    singular: "",
    kind: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: ALL,
    subresources: &[],
    definition: "",
    stored_as: None,
    deprecation: None,
    unconditional_update: true,
    create_on_update: false,
};

/// Every served resource, in the order in which discovery lists them.
pub static RESOURCES: &[Resource] = &[
    // Never stored: what it says is written into the Pod that it names.
    Resource {
        plural: "bindings",
        singular: "binding",
        kind: "Binding",
        verbs: &["create"],
        definition: "io.k8s.api.core.v1.Binding",
        ..BASE
    },
    Resource {
        plural: "configmaps",
        singular: "configmap",
        kind: "ConfigMap",
        short_names: &["cm"],
        definition: "io.k8s.api.core.v1.ConfigMap",
        ..BASE
    },
    Resource {
        plural: "endpoints",
        singular: "endpoints",
        kind: "Endpoints",
        short_names: &["ep"],
        definition: "io.k8s.api.core.v1.Endpoints",
        create_on_update: true,
        ..BASE
    },
    Resource {
        plural: "events",
        singular: "event",
        kind: "Event",
        short_names: &["ev"],
        definition: "io.k8s.api.core.v1.Event",
        create_on_update: true,
        ..BASE
    },
    Resource {
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        short_names: &["ns"],
        namespaced: false,
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: &[
            Subresource { name: "finalize", kind: "", group_version: None, verbs: &["update"] },
            STATUS,
        ],
        definition: "io.k8s.api.core.v1.Namespace",
        ..BASE
    },
    Resource {
        plural: "nodes",
        singular: "node",
        kind: "Node",
        short_names: &["no"],
        namespaced: false,
        subresources: &[
            Subresource { name: "proxy", kind: "NodeProxyOptions", group_version: None, verbs: PROXIED },
            STATUS,
        ],
        definition: "io.k8s.api.core.v1.Node",
        ..BASE
    },
    Resource {
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Subresource {
                name: "attach",
                kind: "PodAttachOptions",
                group_version: None,
                verbs: &["create", "get"],
            },
            Subresource { name: "binding", kind: "Binding", group_version: None, verbs: &["create"] },
            Subresource {
                name: "ephemeralcontainers",
                kind: "",
                group_version: None,
                verbs: GET_PATCH_UPDATE,
            },
            Subresource {
                name: "eviction",
                kind: "Eviction",
                group_version: Some(("policy", "v1")),
                verbs: &["create"],
            },
            Subresource {
                name: "exec",
                kind: "PodExecOptions",
                group_version: None,
                verbs: &["create", "get"],
            },
            Subresource { name: "log", kind: "Pod", group_version: None, verbs: &["get"] },
            Subresource {
                name: "portforward",
                kind: "PodPortForwardOptions",
                group_version: None,
                verbs: &["create", "get"],
            },
            Subresource { name: "proxy", kind: "PodProxyOptions", group_version: None, verbs: PROXIED },
            STATUS,
        ],
        definition: "io.k8s.api.core.v1.Pod",
        ..BASE
    },
    Resource {
        plural: "podtemplates",
        singular: "podtemplate",
        kind: "PodTemplate",
        definition: "io.k8s.api.core.v1.PodTemplate",
        ..BASE
    },
    Resource {
        plural: "secrets",
        singular: "secret",
        kind: "Secret",
        definition: "io.k8s.api.core.v1.Secret",
        ..BASE
    },
    Resource {
        plural: "serviceaccounts",
        singular: "serviceaccount",
        kind: "ServiceAccount",
        short_names: &["sa"],
        subresources: &[Subresource {
            name: "token",
            kind: "TokenRequest",
            group_version: Some(("authentication.k8s.io", "v1")),
            verbs: &["create"],
        }],
        definition: "io.k8s.api.core.v1.ServiceAccount",
        ..BASE
    },
    Resource {
        plural: "services",
        singular: "service",
        kind: "Service",
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[STATUS],
        definition: "io.k8s.api.core.v1.Service",
        create_on_update: true,
        ..BASE
    },
    Resource {
        group: "apps",
        plural: "controllerrevisions",
        singular: "controllerrevision",
        kind: "ControllerRevision",
        definition: "io.k8s.api.apps.v1.ControllerRevision",
        ..BASE
    },
    Resource {
        group: "apps",
        plural: "daemonsets",
        singular: "daemonset",
        kind: "DaemonSet",
        short_names: &["ds"],
        categories: &["all"],
        subresources: &[STATUS],
        definition: "io.k8s.api.apps.v1.DaemonSet",
        ..BASE
    },
    Resource {
        group: "apps",
        version: "v1beta2",
        plural: "daemonsets",
        singular: "daemonset",
        kind: "DaemonSet",
        short_names: &["ds"],
        categories: &["all"],
        subresources: &[STATUS],
        definition: "io.k8s.api.apps.v1beta2.DaemonSet",
        stored_as: Some(("apps", "v1")),
        deprecation: Some(
            "apps/v1beta2 DaemonSet is deprecated in v1.9+, unavailable in v1.16+; use apps/v1 DaemonSet",
        ),
        ..BASE
    },
    Resource {
        group: "extensions",
        version: "v1beta1",
        plural: "daemonsets",
        singular: "daemonset",
        kind: "DaemonSet",
        short_names: &["ds"],
        categories: &["all"],
        subresources: &[STATUS],
        definition: "io.k8s.api.extensions.v1beta1.DaemonSet",
        stored_as: Some(("apps", "v1")),
        deprecation: Some(
            "extensions/v1beta1 DaemonSet is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 DaemonSet",
        ),
        ..BASE
    },
    Resource {
        group: "certificates.k8s.io",
        plural: "certificatesigningrequests",
        singular: "certificatesigningrequest",
        kind: "CertificateSigningRequest",
        short_names: &["csr"],
        namespaced: false,
        subresources: &[
            Subresource { name: "approval", kind: "", group_version: None, verbs: GET_PATCH_UPDATE },
            STATUS,
        ],
        definition: "io.k8s.api.certificates.v1.CertificateSigningRequest",
        ..BASE
    },
    Resource {
        group: "coordination.k8s.io",
        plural: "leases",
        singular: "lease",
        kind: "Lease",
        definition: "io.k8s.api.coordination.v1.Lease",
        unconditional_update: false,
        create_on_update: true,
        ..BASE
    },
    Resource {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        singular: "endpointslice",
        kind: "EndpointSlice",
        definition: "io.k8s.api.discovery.v1.EndpointSlice",
        ..BASE
    },
    Resource {
        group: "events.k8s.io",
        plural: "events",
        singular: "event",
        kind: "Event",
        short_names: &["ev"],
        definition: "io.k8s.api.events.v1.Event",
        stored_as: Some(("", "v1")),
        create_on_update: true,
        ..BASE
    },
    Resource {
        group: "node.k8s.io",
        plural: "runtimeclasses",
        singular: "runtimeclass",
        kind: "RuntimeClass",
        namespaced: false,
        definition: "io.k8s.api.node.v1.RuntimeClass",
        unconditional_update: false,
        ..BASE
    },
    Resource {
        group: "policy",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        kind: "PodDisruptionBudget",
        short_names: &["pdb"],
        subresources: &[STATUS],
        definition: "io.k8s.api.policy.v1.PodDisruptionBudget",
        unconditional_update: false,
        ..BASE
    },
    Resource {
        group: "rbac.authorization.k8s.io",
        plural: "clusterrolebindings",
        singular: "clusterrolebinding",
        kind: "ClusterRoleBinding",
        namespaced: false,
        definition: "io.k8s.api.rbac.v1.ClusterRoleBinding",
        create_on_update: true,
        ..BASE
    },
    Resource {
        group: "rbac.authorization.k8s.io",
        plural: "clusterroles",
        singular: "clusterrole",
        kind: "ClusterRole",
        namespaced: false,
        definition: "io.k8s.api.rbac.v1.ClusterRole",
        create_on_update: true,
        ..BASE
    },
    Resource {
        group: "rbac.authorization.k8s.io",
        plural: "rolebindings",
        singular: "rolebinding",
        kind: "RoleBinding",
        definition: "io.k8s.api.rbac.v1.RoleBinding",
        create_on_update: true,
        ..BASE
    },
    Resource {
        group: "rbac.authorization.k8s.io",
        plural: "roles",
        singular: "role",
        kind: "Role",
        definition: "io.k8s.api.rbac.v1.Role",
        create_on_update: true,
        ..BASE
    },
    Resource {
        group: "scheduling.k8s.io",
        plural: "priorityclasses",
        singular: "priorityclass",
        kind: "PriorityClass",
        short_names: &["pc"],
        namespaced: false,
        definition: "io.k8s.api.scheduling.v1.PriorityClass",
        ..BASE
    },
    Resource {
        group: "storage.k8s.io",
        plural: "csidrivers",
        singular: "csidriver",
        kind: "CSIDriver",
        namespaced: false,
        definition: "io.k8s.api.storage.v1.CSIDriver",
        unconditional_update: false,
        ..BASE
    },
    Resource {
        group: "storage.k8s.io",
        plural: "csinodes",
        singular: "csinode",
        kind: "CSINode",
        namespaced: false,
        definition: "io.k8s.api.storage.v1.CSINode",
        unconditional_update: false,
        ..BASE
    },
    Resource {
        group: "storage.k8s.io",
        plural: "storageclasses",
        singular: "storageclass",
        kind: "StorageClass",
        short_names: &["sc"],
        namespaced: false,
        definition: "io.k8s.api.storage.v1.StorageClass",
        ..BASE
    },
    // Reviews that kubectl asks for: never stored, create only.
    Resource {
        group: "authorization.k8s.io",
        plural: "localsubjectaccessreviews",
        singular: "localsubjectaccessreview",
        kind: "LocalSubjectAccessReview",
        verbs: &["create"],
        definition: "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
        ..BASE
    },
    Resource {
        group: "authorization.k8s.io",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        kind: "SelfSubjectAccessReview",
        namespaced: false,
        verbs: &["create"],
        definition: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        ..BASE
    },
    Resource {
        group: "authorization.k8s.io",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        kind: "SelfSubjectRulesReview",
        namespaced: false,
        verbs: &["create"],
        definition: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
        ..BASE
    },
    Resource {
        group: "authorization.k8s.io",
        plural: "subjectaccessreviews",
        singular: "subjectaccessreview",
        kind: "SubjectAccessReview",
        namespaced: false,
        verbs: &["create"],
        definition: "io.k8s.api.authorization.v1.SubjectAccessReview",
        ..BASE
    },
    Resource {
        group: "authentication.k8s.io",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        kind: "SelfSubjectReview",
        namespaced: false,
        verbs: &["create"],
        definition: "io.k8s.api.authentication.v1.SelfSubjectReview",
        ..BASE
    },
    Resource {
        group: "authentication.k8s.io",
        plural: "tokenreviews",
        singular: "tokenreview",
        kind: "TokenReview",
        namespaced: false,
        verbs: &["create"],
        definition: "io.k8s.api.authentication.v1.TokenReview",
        ..BASE
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_complete_and_unique() {
        for (i, row) in RESOURCES.iter().enumerate() {
            assert!(!row.plural.is_empty() && !row.singular.is_empty() && !row.kind.is_empty());
            assert!(row.definition.ends_with(row.kind), "{}", row.definition);
            assert_eq!(find(row.group, row.version, row.plural), Some(&RESOURCES[i]));
        }
    }

    #[test]
    fn legacy_daemon_sets_are_stored_as_apps_v1() {
        let legacy = find_kind("extensions/v1beta1", "DaemonSet").unwrap();
        assert_eq!(legacy.storage().api_version(), "apps/v1");
    }
}
