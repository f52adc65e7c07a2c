//! create, run, expose, apply, diff, replace.

use crate::session::{Row, Session, fails, ok, since};

/// Of no node: nothing has to run for it.
pub const SET: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: logger, labels: {app: logger}}
spec:
  selector: {matchLabels: {app: logger}}
  template:
    metadata: {labels: {app: logger}}
    spec:
      nodeSelector: {nowhere: "true"}
      containers:
      - {name: main, image: "everynode.local/busybox:1.35"}
"#;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: before}\n";

/// A node that nobody runs.
const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: made}\n";

const ROWS: &[Row] = &[
    ok("version", &["v1.35.0+everynode"]),
    ok("create -f set.yaml", &["daemonset.apps/logger created"]),
    fails(
        "create -f set.yaml",
        &["Error from server (AlreadyExists)", "daemonsets.apps \"logger\" already exists"],
    ),
    ok("create -f node.yaml", &["node/made created"]),
    ok(
        "create configmap settings --from-literal=a=b --from-literal=text=before",
        &["configmap/settings created"],
    ),
    ok("create secret generic token --from-literal=user=me", &["secret/token created"]),
    ok("create serviceaccount robot", &["serviceaccount/robot created"]),
    ok("create namespace extra", &["namespace/extra created"]),
    ok(
        "create role reader --verb=get,list --resource=pods,daemonsets",
        &["role.rbac.authorization.k8s.io/reader created"],
    ),
    ok(
        "create clusterrole watcher --verb=watch --resource=nodes",
        &["clusterrole.rbac.authorization.k8s.io/watcher created"],
    ),
    ok(
        "create rolebinding reader --role=reader --serviceaccount=default:robot",
        &["rolebinding.rbac.authorization.k8s.io/reader created"],
    ),
    ok(
        "create clusterrolebinding watcher --clusterrole=watcher --user=jane",
        &["clusterrolebinding.rbac.authorization.k8s.io/watcher created"],
    ),
    ok("create priorityclass high --value=1000", &["priorityclass.scheduling.k8s.io/high created"]),
    // Before 1.21 it asks for policy/v1beta1, which no server of today has.
    since(
        23,
        "create poddisruptionbudget guard --selector=app=logger --min-available=1",
        &["poddisruptionbudget.policy/guard created"],
    ),
    ok("create service clusterip web --tcp=80:8080", &["service/web created"]),
    ok(
        "create configmap tried --from-literal=a=b --dry-run=server",
        &["configmap/tried created (server dry run)"],
    ),
    fails("get configmap tried", &["Error from server (NotFound): configmaps \"tried\" not found"]),
    ok("run once --image=busybox:1.35 --restart=Never", &["pod/once created"]),
    ok("expose pod once --port=80", &["service/once exposed"]),
    ok("apply -f map.yaml", &["configmap/applied created"]),
    ok("apply -f map.yaml", &["configmap/applied unchanged"]),
    ok("diff -f map.yaml", &[]),
    fails("diff -f changed.yaml", &["-  a: before", "+  a: after"]),
    ok("apply -f changed.yaml --dry-run=server", &["configmap/applied configured (server dry run)"]),
    ok("apply -f changed.yaml", &["configmap/applied configured"]),
    ok("apply view-last-applied configmap applied", &["a: after"]),
    ok("replace -f map.yaml", &["configmap/applied replaced"]),
    ok("replace --force -f map.yaml", &["configmap \"applied\" deleted", "configmap/applied replaced"]),
    // DaemonSets' own warning is nobody's error.
    ok("apply -f set.yaml", &["daemonset.apps/logger configured"]),
];

pub fn run(session: &Session) {
    session.file("set.yaml", SET);
    session.file("node.yaml", NODE);
    session.file("map.yaml", MAP);
    session.file("changed.yaml", &MAP.replace("before", "after"));
    session.table(ROWS);
}
