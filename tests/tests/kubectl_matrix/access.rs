//! auth can-i, whoami, reconcile, impersonation, create token.

use crate::session::{Row, Session, fails, ok, since};

const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules:
- {apiGroups: [""], resources: [pods, configmaps], verbs: [get, list, watch]}
"#;

const ROWS: &[Row] = &[
    ok("auth can-i create daemonsets", &["yes"]),
    ok("auth can-i --list", &["Resources", "*.*", "Non-Resource URLs"]),
    ok("auth can-i list pods --as=system:serviceaccount:default:robot", &["yes"]),
    fails("auth can-i list secrets --as=system:serviceaccount:default:robot", &["no"]),
    fails("auth can-i get pods --subresource=log --as=system:serviceaccount:default:robot", &["no"]),
    ok(
        "auth can-i --list --as=system:serviceaccount:default:robot",
        &["daemonsets.apps", "[get list]", "/version"],
    ),
    fails(
        "get nodes --as=jane",
        &[
            "nodes is forbidden: User \"jane\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
        ],
    ),
    ok("auth reconcile -f role.yaml", &["role.rbac.authorization.k8s.io/reader reconciled"]),
    ok("get cm settings -o name --as=system:serviceaccount:default:robot", &["configmap/settings"]),
    since(24, "create token robot", &["eyJ"]),
    since(24, "create token robot --duration=10m --audience=somebody", &["eyJ"]),
    since(27, "auth whoami", &["kubernetes-admin", "system:masters"]),
    since(27, "auth whoami --as=jane --as-group=people", &["jane", "people"]),
];

pub fn run(session: &Session) {
    session.file("role.yaml", ROLE);
    session.table(ROWS);
}
