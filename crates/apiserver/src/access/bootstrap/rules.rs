//! The rules of the ClusterRoles that are not a controller's, as of 1.35.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{events, named, rule, urls};

pub(super) const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const READ_AND_WRITE: &str = "create delete deletecollection get list patch update watch";

/// Paths that say what is served.
const DISCOVERY_URLS: &str =
    "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";
const PUBLIC_URLS: &str = "/healthz /livez /readyz /version /version/";
const SIGNING_REQUESTS: &str = "certificatesigningrequests";

/// A role's name, the roles it is aggregated to, and its rules.
pub(super) type RoleRules = (&'static str, &'static [&'static str], Vec<PolicyRule>);

pub(super) fn cluster_roles() -> Vec<RoleRules> {
    let mut roles = people();
    roles.extend(components());
    roles.extend(certificates());
    roles
}

fn people() -> Vec<RoleRules> {
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
        ("system:auth-delegator", &[], delegated_checks()),
        (
            "system:service-account-issuer-discovery",
            &[],
            vec![urls("get", "/.well-known/openid-configuration /openid/v1/jwks")],
        ),
    ]
}

fn components() -> Vec<RoleRules> {
    vec![
        (
            "system:kubelet-api-admin",
            &[],
            vec![
                rule(READ, "", "nodes"),
                rule("proxy", "", "nodes"),
                rule(
                    "*",
                    "",
                    "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
                ),
            ],
        ),
        (
            "system:kubelet-api-viewer",
            &[],
            vec![rule(
                READ,
                "",
                "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/stats",
            )],
        ),
        ("system:kube-controller-manager", &[], controller_manager()),
        ("system:kube-scheduler", &[], scheduler()),
        (
            "system:volume-scheduler",
            &[],
            vec![
                rule("get list patch update watch", "", "persistentvolumes"),
                rule(READ, "storage.k8s.io", "storageclasses"),
                rule("get list patch update watch", "", "persistentvolumeclaims"),
            ],
        ),
        ("system:kube-dns", &[], vec![rule("list watch", "", "endpoints services")]),
        ("system:kube-aggregator", &[], vec![rule(READ, "", "endpoints services")]),
        ("system:node", &[], node_rules()),
        (
            "system:node-bootstrapper",
            &[],
            vec![rule("create get list watch", "certificates.k8s.io", SIGNING_REQUESTS)],
        ),
        (
            "system:node-problem-detector",
            &[],
            vec![rule("get", "", "nodes"), rule("patch", "", "nodes/status"), events("create patch update")],
        ),
        (
            "system:node-proxier",
            &[],
            vec![
                rule("list watch", "", "endpoints services"),
                rule(READ, "", "nodes"),
                events("create patch update"),
                rule("list watch", "discovery.k8s.io", "endpointslices"),
                rule("list watch", "networking.k8s.io", "servicecidrs"),
            ],
        ),
        (
            "system:persistent-volume-provisioner",
            &[],
            vec![
                rule("create delete get list watch", "", "persistentvolumes"),
                rule("get list update watch", "", "persistentvolumeclaims"),
                rule(READ, "storage.k8s.io", "storageclasses"),
                rule("watch", "", "events"),
                events("create patch update"),
            ],
        ),
    ]
}

/// Who may ask for certificates that are approved by themselves, and who approves or signs by name of the signer.
fn certificates() -> Vec<RoleRules> {
    let group = "certificates.k8s.io";
    let approve = |signer: &str| vec![named(rule("approve", group, "signers"), signer)];
    vec![
        (
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            &[],
            vec![rule("create", group, "certificatesigningrequests/nodeclient")],
        ),
        (
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            &[],
            vec![rule("create", group, "certificatesigningrequests/selfnodeclient")],
        ),
        (
            "system:certificates.k8s.io:kube-apiserver-client-approver",
            &[],
            approve("kubernetes.io/kube-apiserver-client"),
        ),
        (
            "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
            &[],
            approve("kubernetes.io/kube-apiserver-client-kubelet"),
        ),
        (
            "system:certificates.k8s.io:kubelet-serving-approver",
            &[],
            approve("kubernetes.io/kubelet-serving"),
        ),
        ("system:certificates.k8s.io:legacy-unknown-approver", &[], approve("kubernetes.io/legacy-unknown")),
    ]
}

fn delegated_checks() -> Vec<PolicyRule> {
    vec![
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
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
        rule("create get list watch", "certificates.k8s.io", SIGNING_REQUESTS),
        rule("create delete get patch update", "coordination.k8s.io", "leases"),
        rule("get", "storage.k8s.io", "volumeattachments"),
        rule("create", "", "serviceaccounts/token"),
        rule("get patch update", "", "persistentvolumeclaims/status"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule("create delete get patch update", "storage.k8s.io", "csinodes"),
        rule(READ, "node.k8s.io", "runtimeclasses"),
        rule("get", "", "serviceaccounts"),
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
        rule(
            WRITE,
            "extensions",
            "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets \
             replicasets/scale replicationcontrollers/scale",
        ),
        rule(WRITE, "policy", "poddisruptionbudgets"),
        rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        rule(READ_AND_WRITE, "coordination.k8s.io", "leases"),
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
        rule(
            READ,
            "extensions",
            "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses \
             ingresses/status networkpolicies replicasets replicasets/scale replicasets/status \
             replicationcontrollers/scale",
        ),
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
        rule(READ, "", "replicationcontrollers services"),
        rule(READ, "apps extensions", "replicasets"),
        rule(READ, "apps", "statefulsets"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "", "persistentvolumeclaims persistentvolumes"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule(READ, "storage.k8s.io", "csinodes"),
        rule(READ, "", "namespaces"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule(READ, "storage.k8s.io", "csistoragecapacities"),
        rule(READ, "storage.k8s.io", "volumeattachments"),
        // DIFFERS(RBAC): our scheduler reads classes itself.
        rule(READ, "scheduling.k8s.io", "priorityclasses"),
    ]
}
