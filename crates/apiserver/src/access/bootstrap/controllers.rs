//! One role for each controller that we run, upstream's `system:controller:*`.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{events, rule};

const WRITE_EVENTS: &str = "create patch update";

/// The controller's name and what it may do.
pub(super) fn rules() -> Vec<(&'static str, Vec<PolicyRule>)> {
    vec![
        (
            "daemon-set-controller",
            vec![
                rule("get list watch", "apps", "daemonsets"),
                rule("update patch", "apps", "daemonsets/status"),
                rule("update", "apps", "daemonsets/finalizers"),
                rule("list watch get", "", "nodes"),
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
                rule("update patch", "", "namespaces/finalize namespaces/status"),
                rule("delete deletecollection get list", "*", "*"),
            ],
        ),
        (
            "node-controller",
            vec![
                rule("get list update delete patch watch", "", "nodes"),
                rule("patch update", "", "nodes/status"),
                rule("patch update", "", "pods/status"),
                rule("list get delete watch patch", "", "pods"),
                rule("get list watch", "coordination.k8s.io", "leases"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "pod-garbage-collector",
            vec![
                rule("list watch delete get", "", "pods"),
                rule("get list watch", "", "nodes"),
                rule("patch update", "", "pods/status"),
            ],
        ),
        (
            "service-account-controller",
            vec![
                rule("create get list watch", "", "serviceaccounts"),
                rule("get list watch", "", "namespaces"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "root-ca-cert-publisher",
            vec![
                rule("create update get list watch", "", "configmaps"),
                rule("get list watch", "", "namespaces"),
                events(WRITE_EVENTS),
            ],
        ),
        (
            "clusterrole-aggregation-controller",
            vec![rule("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles")],
        ),
        (
            "certificate-controller",
            vec![
                rule("delete get list watch", "certificates.k8s.io", "certificatesigningrequests"),
                rule(
                    "update patch",
                    "certificates.k8s.io",
                    "certificatesigningrequests/status certificatesigningrequests/approval",
                ),
                rule("create", "authorization.k8s.io", "subjectaccessreviews"),
                events(WRITE_EVENTS),
            ],
        ),
    ]
}
