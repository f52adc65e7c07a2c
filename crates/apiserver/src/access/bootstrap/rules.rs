//! The rules of the ClusterRoles that are not a controller's.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{events, named, rule, urls};

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const READ_AND_WRITE: &str = "create delete deletecollection get list patch update watch";

/// Paths that say what is served.
const DISCOVERY_URLS: &str =
    "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";
const PUBLIC_URLS: &str = "/healthz /livez /readyz /version /version/";

/// A role's name, the roles it is aggregated to, and its rules.
pub(super) type RoleRules = (&'static str, &'static [&'static str], Vec<PolicyRule>);

pub(super) fn cluster_roles() -> Vec<RoleRules> {
    vec![
        ("cluster-admin", &[], vec![rule("*", "*", "*"), urls("*", "*")]),
        ("system:aggregate-to-admin", &["admin"], aggregate_to_admin()),
        ("system:aggregate-to-edit", &["edit"], aggregate_to_edit()),
        ("system:aggregate-to-view", &["view"], aggregate_to_view()),
        ("system:discovery", &[], vec![urls("get", DISCOVERY_URLS)]),
        ("system:public-info-viewer", &[], vec![urls("get", PUBLIC_URLS)]),
        (
            "system:monitoring",
            &[],
            vec![urls("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")],
        ),
        (
            "system:basic-user",
            &[],
            vec![
                rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
                rule("create", "authentication.k8s.io", "selfsubjectreviews"),
            ],
        ),
        (
            "system:auth-delegator",
            &[],
            vec![
                rule("create", "authentication.k8s.io", "tokenreviews"),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
        (
            "system:kubelet-api-admin",
            &[],
            vec![
                rule(READ, "", "nodes"),
                rule("proxy", "", "nodes"),
                rule("*", "", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
            ],
        ),
        (
            "system:service-account-issuer-discovery",
            &[],
            vec![urls("get", "/.well-known/openid-configuration /openid/v1/jwks")],
        ),
        ("system:kube-controller-manager", &[], controller_manager()),
        ("system:kube-scheduler", &[], scheduler()),
        ("system:node", &[], node_rules()),
        (
            "system:node-bootstrapper",
            &[],
            vec![rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests")],
        ),
        (
            "system:node-problem-detector",
            &[],
            vec![rule("get", "", "nodes"), rule("patch", "", "nodes/status"), events("create patch update")],
        ),
    ]
}

/// What a node's agent may do, before the node authorizer narrows it to its own objects.
pub fn node_rules() -> Vec<PolicyRule> {
    vec![
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
        rule(READ, "", "services"),
        rule("create get list watch", "", "nodes"),
        rule("patch update", "", "nodes/status"),
        rule("patch update", "", "nodes"),
        // DIFFERS(RBAC): upstream's role names the core group only; both are served from one storage.
        events("create patch update"),
        rule(READ, "", "pods"),
        rule("create delete", "", "pods"),
        rule("patch update", "", "pods/status"),
        rule("create", "", "pods/eviction"),
        rule(READ, "", "configmaps secrets"),
        rule("get", "", "persistentvolumeclaims persistentvolumes"),
        rule("get", "", "endpoints"),
        rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        rule("create delete get patch update", "coordination.k8s.io", "leases"),
        rule("get", "storage.k8s.io", "volumeattachments"),
        rule("create", "", "serviceaccounts/token"),
        rule("get", "", "serviceaccounts"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule("create delete get patch update", "storage.k8s.io", "csinodes"),
        rule(READ, "node.k8s.io", "runtimeclasses"),
    ]
}

fn aggregate_to_admin() -> Vec<PolicyRule> {
    vec![
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        rule(READ_AND_WRITE, "rbac.authorization.k8s.io", "rolebindings roles"),
    ]
}

fn aggregate_to_edit() -> Vec<PolicyRule> {
    vec![
        rule(READ, "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        rule("impersonate", "", "serviceaccounts"),
        rule(WRITE, "", "pods pods/attach pods/exec pods/portforward pods/proxy"),
        rule("create", "", "pods/eviction"),
        rule(
            WRITE,
            "",
            "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale \
             secrets serviceaccounts services services/proxy",
        ),
        rule("create", "", "serviceaccounts/token"),
        rule(
            WRITE,
            "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale \
             statefulsets statefulsets/scale",
        ),
        rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
        rule(WRITE, "batch", "cronjobs jobs"),
        rule(WRITE, "extensions", "daemonsets deployments deployments/scale ingresses networkpolicies"),
        rule(WRITE, "policy", "poddisruptionbudgets"),
        rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        rule("create delete deletecollection get list patch update watch", "coordination.k8s.io", "leases"),
    ]
}

fn aggregate_to_view() -> Vec<PolicyRule> {
    vec![
        rule(
            READ,
            "",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods \
             replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        ),
        rule(
            READ,
            "",
            "bindings events limitranges namespaces/status pods/log pods/status \
             replicationcontrollers/status resourcequotas resourcequotas/status",
        ),
        rule(READ, "", "namespaces"),
        rule(READ, "discovery.k8s.io", "endpointslices"),
        rule(
            READ,
            "apps",
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale \
             deployments/status replicasets replicasets/scale replicasets/status statefulsets \
             statefulsets/scale statefulsets/status",
        ),
        rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        rule(READ, "extensions", "daemonsets daemonsets/status deployments deployments/scale ingresses"),
        rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    ]
}

fn controller_manager() -> Vec<PolicyRule> {
    vec![
        events("create patch update"),
        rule("create", "coordination.k8s.io", "leases"),
        named(rule("get update", "coordination.k8s.io", "leases"), "kube-controller-manager"),
        rule("create", "", "secrets serviceaccounts"),
        rule("delete", "", "secrets"),
        rule("get", "", "configmaps namespaces secrets serviceaccounts"),
        rule("update", "", "secrets serviceaccounts"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        // Informers of every kind.
        rule("list watch", "*", "*"),
        rule("create", "", "serviceaccounts/token"),
    ]
}

fn scheduler() -> Vec<PolicyRule> {
    vec![
        events("create patch update"),
        rule("create", "coordination.k8s.io", "leases"),
        named(rule("get list update watch", "coordination.k8s.io", "leases"), "kube-scheduler"),
        rule(READ, "", "nodes"),
        rule("delete get list watch", "", "pods"),
        rule("create", "", "bindings pods/binding"),
        rule("patch update", "", "pods/status"),
        rule(READ, "", "namespaces replicationcontrollers services"),
        rule(READ, "apps", "replicasets statefulsets"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "", "persistentvolumeclaims persistentvolumes"),
        rule(READ, "scheduling.k8s.io", "priorityclasses"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule(
            READ,
            "storage.k8s.io",
            "csidrivers csinodes csistoragecapacities storageclasses volumeattachments",
        ),
    ]
}
