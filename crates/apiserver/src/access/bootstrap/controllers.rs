//! One role for each of upstream's controllers, `system:controller:*`, as of 1.35: those that we run and those that may be
//! run against us.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::rules::READ;
use super::{events, named, rule};

const WRITE_EVENTS: &str = "create patch update";
const WORKLOADS: &str = "apps extensions";

/// The controller's name and what it may do.
pub(super) type Controller = (&'static str, Vec<PolicyRule>);

/// Those that others run against this server.
pub(super) fn of_others() -> Vec<Controller> {
    let mut all = workloads();
    all.extend(network_and_nodes());
    all.extend(storage());
    all.extend(policy());
    all
}

/// Those that everynode runs.
pub(super) fn ours() -> Vec<Controller> {
    vec![
        (
            "daemon-set-controller",
            vec![
                rule(READ, WORKLOADS, "daemonsets"),
                rule("patch update", WORKLOADS, "daemonsets/status"),
                rule("update", WORKLOADS, "daemonsets/finalizers"),
                rule("get list watch", "", "nodes"),
                rule("create delete get list patch watch", "", "pods"),
                rule("create", "", "pods/binding"),
                rule("create delete get list patch update watch", "apps", "controllerrevisions"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "generic-garbage-collector",
            // Everything, because owners and dependents may be of every kind.
            vec![rule("delete get list patch update watch", "*", "*"), events(WRITE_EVENTS)],
        ),
        (
            "namespace-controller",
            vec![
                rule("delete get list watch", "", "namespaces"),
                rule("patch update", "", "namespaces/finalize namespaces/status"),
                rule("delete deletecollection get list", "*", "*"),
            ],
        ),
        (
            "node-controller",
            vec![
                rule("delete get list patch update watch", "", "nodes"),
                rule("patch update", "", "nodes/status"),
                rule("patch update", "", "pods/status"),
                rule("delete get list patch watch", "", "pods"),
                rule(READ, "coordination.k8s.io", "leases"),
                events(WRITE_EVENTS),
                rule("get list update", "networking.k8s.io", "clustercidrs"),
            ],
        ),
        (
            "pod-garbage-collector",
            vec![
                rule("delete get list watch", "", "pods"),
                rule(READ, "", "nodes"),
                rule("patch update", "", "pods/status"),
            ],
        ),
        (
            "service-account-controller",
            vec![
                rule("create", "", "serviceaccounts"),
                rule("get list watch", "", "serviceaccounts"),
                rule(READ, "", "namespaces"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "root-ca-cert-publisher",
            vec![
                rule("create update", "", "configmaps"),
                rule(READ, "", "configmaps"),
                rule(READ, "", "namespaces"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "clusterrole-aggregation-controller",
            vec![rule("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles")],
        ),
        ("certificate-controller", certificates()),
        (
            "disruption-controller",
            vec![
                rule(READ, WORKLOADS, "deployments"),
                rule(READ, WORKLOADS, "replicasets"),
                rule(READ, "", "replicationcontrollers"),
                rule(READ, "policy", "poddisruptionbudgets"),
                rule(READ, "apps", "statefulsets"),
                rule("patch update", "policy", "poddisruptionbudgets/status"),
                rule("patch update", "", "pods/status"),
                rule("get", "*", "*/scale"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "endpointslice-controller",
            vec![
                rule(READ, "", "nodes pods services"),
                rule("update", "", "services/finalizers"),
                rule("create delete get list update", "discovery.k8s.io", "endpointslices"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "endpoint-controller",
            vec![
                rule(READ, "", "pods services"),
                rule("create delete get list update", "", "endpoints"),
                rule("create", "", "endpoints/restricted"),
                events(WRITE_EVENTS),
            ],
        ),
    ]
}

/// Approves, signs and cleans certificate signing requests.
fn certificates() -> Vec<PolicyRule> {
    let group = "certificates.k8s.io";
    let signers = |verb: &str, signers: &str| named(rule(verb, group, "signers"), signers);
    vec![
        rule("delete get list watch", group, "certificatesigningrequests"),
        rule("update", group, "certificatesigningrequests/approval certificatesigningrequests/status"),
        // DIFFERS(serving-approval): upstream's approves no serving certificates.
        signers("approve", "kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving"),
        signers(
            "sign",
            "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet \
             kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown",
        ),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        events(WRITE_EVENTS),
    ]
}

fn workloads() -> Vec<Controller> {
    vec![
        (
            "cronjob-controller",
            vec![
                rule("get list update watch", "batch", "cronjobs"),
                rule("create delete get list patch update watch", "batch", "jobs"),
                rule("update", "batch", "cronjobs/status"),
                rule("update", "batch", "cronjobs/finalizers"),
                rule("delete list", "", "pods"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "deployment-controller",
            vec![
                rule("get list update watch", WORKLOADS, "deployments"),
                rule("update", WORKLOADS, "deployments/status"),
                rule("update", WORKLOADS, "deployments/finalizers"),
                rule("create delete get list patch update watch", WORKLOADS, "replicasets"),
                rule("get list update watch", "", "pods"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "job-controller",
            vec![
                rule("get list patch update watch", "batch", "jobs"),
                rule("patch update", "batch", "jobs/status"),
                rule("update", "batch", "jobs/finalizers"),
                rule("create delete list patch update watch", "", "pods"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "replicaset-controller",
            vec![
                rule("get list update watch", WORKLOADS, "replicasets"),
                rule("update", WORKLOADS, "replicasets/status"),
                rule("update", WORKLOADS, "replicasets/finalizers"),
                rule("create delete list patch watch", "", "pods"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "replication-controller",
            vec![
                rule("get list update watch", "", "replicationcontrollers"),
                rule("update", "", "replicationcontrollers/status"),
                rule("update", "", "replicationcontrollers/finalizers"),
                rule("create delete list patch watch", "", "pods"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "statefulset-controller",
            vec![
                rule("list watch", "", "pods"),
                rule(READ, "apps", "statefulsets"),
                rule("update", "apps", "statefulsets/status"),
                rule("update", "apps", "statefulsets/finalizers"),
                rule("create delete get patch update", "", "pods"),
                rule("create delete get list patch update watch", "apps", "controllerrevisions"),
                rule("create get", "", "persistentvolumeclaims"),
                events(WRITE_EVENTS),
                rule("delete update", "", "persistentvolumeclaims"),
            ],
        ),
        (
            "ttl-after-finished-controller",
            vec![rule("delete get list watch", "batch", "jobs"), events(WRITE_EVENTS)],
        ),
        (
            "horizontal-pod-autoscaler",
            vec![
                rule(READ, "autoscaling", "horizontalpodautoscalers"),
                rule("update", "autoscaling", "horizontalpodautoscalers/status"),
                rule("get update", "*", "*/scale"),
                rule("list", "", "pods"),
                rule("list", "metrics.k8s.io", "pods"),
                rule("get list", "custom.metrics.k8s.io", "*"),
                rule("get list", "external.metrics.k8s.io", "*"),
                events(WRITE_EVENTS),
            ],
        ),
    ]
}

fn network_and_nodes() -> Vec<Controller> {
    vec![
        (
            "endpointslicemirroring-controller",
            vec![
                rule(READ, "", "endpoints services"),
                rule("update", "", "services/finalizers"),
                rule("update", "", "endpoints/finalizers"),
                rule("create delete get list update", "discovery.k8s.io", "endpointslices"),
                rule("create", "discovery.k8s.io", "endpointslices/restricted"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "route-controller",
            vec![rule("list watch", "", "nodes"), rule("patch", "", "nodes/status"), events(WRITE_EVENTS)],
        ),
        (
            "service-controller",
            vec![
                rule(READ, "", "services"),
                rule("patch update", "", "services/status"),
                rule("list watch", "", "nodes"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "service-cidrs-controller",
            vec![
                rule("get list patch update watch", "networking.k8s.io", "servicecidrs"),
                rule("patch update", "networking.k8s.io", "servicecidrs/finalizers"),
                rule("patch update", "networking.k8s.io", "servicecidrs/status"),
                rule(READ, "networking.k8s.io", "ipaddresses"),
                events(WRITE_EVENTS),
            ],
        ),
        ("ttl-controller", vec![rule("list patch update watch", "", "nodes"), events(WRITE_EVENTS)]),
    ]
}

fn storage() -> Vec<Controller> {
    vec![
        (
            "attachdetach-controller",
            vec![
                rule("list watch", "", "persistentvolumeclaims persistentvolumes"),
                rule(READ, "", "nodes"),
                rule("patch update", "", "nodes/status"),
                rule("list watch", "", "pods"),
                rule("create delete get list watch", "storage.k8s.io", "volumeattachments"),
                rule(READ, "storage.k8s.io", "csidrivers"),
                rule(READ, "storage.k8s.io", "csinodes"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "ephemeral-volume-controller",
            vec![
                rule(READ, "", "pods"),
                rule("update", "", "pods/finalizers"),
                rule("create get list watch", "", "persistentvolumeclaims"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "expand-controller",
            vec![
                rule("get list patch update watch", "", "persistentvolumes"),
                rule("patch update", "", "persistentvolumeclaims/status"),
                rule(READ, "", "persistentvolumeclaims"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "persistent-volume-binder",
            vec![
                rule("create delete get list update watch", "", "persistentvolumes"),
                rule("update", "", "persistentvolumes/status"),
                rule("get list update watch", "", "persistentvolumeclaims"),
                rule("update", "", "persistentvolumeclaims/status"),
                rule("create delete get list watch", "", "pods"),
                rule(READ, "storage.k8s.io", "storageclasses"),
                rule("create delete get", "", "endpoints services"),
                rule("get list", "", "secrets"),
                rule("get list", "", "nodes"),
                events(WRITE_EVENTS),
                rule("watch", "", "events"),
            ],
        ),
        (
            "pv-protection-controller",
            vec![rule("get list update watch", "", "persistentvolumes"), events(WRITE_EVENTS)],
        ),
        (
            "pvc-protection-controller",
            vec![
                rule("get list update watch", "", "persistentvolumeclaims"),
                rule(READ, "", "pods"),
                events(WRITE_EVENTS),
            ],
        ),
    ]
}

fn policy() -> Vec<Controller> {
    vec![
        (
            "legacy-service-account-token-cleaner",
            vec![
                named(rule("get", "", "configmaps"), "kube-apiserver-legacy-service-account-token-tracking"),
                rule("delete patch", "", "secrets"),
            ],
        ),
        (
            "resourcequota-controller",
            vec![
                rule("list watch", "*", "*"),
                rule("update", "", "resourcequotas/status"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "validatingadmissionpolicy-status-controller",
            vec![
                rule(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
                rule(
                    "get patch update",
                    "admissionregistration.k8s.io",
                    "validatingadmissionpolicies/status",
                ),
                events(WRITE_EVENTS),
            ],
        ),
    ]
}
