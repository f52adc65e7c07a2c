//! apply on the server: who owns what, conflicts, what is applied no more, status, the way over from client-side apply.

use crate::session::{Row, Session, fails, ok, since};

const MAP: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ours, labels: {part: one}}\ndata: {a: one, b: two}\n";

/// What somebody else wants of it.
const THEIRS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ours}\ndata: {a: theirs, c: three}\n";

const SET: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: served}
spec:
  selector: {matchLabels: {app: served}}
  template:
    metadata: {labels: {app: served}}
    spec:
      nodeSelector: {nowhere: "true"}
      containers:
      - name: main
        image: "everynode.local/busybox:1.35"
        ports:
        - {containerPort: 53}
        - {containerPort: 53, protocol: UDP}
"#;

/// A further container, by somebody who knows nothing of the first.
const BESIDE: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: served}
spec:
  template:
    spec:
      containers:
      - {name: beside, image: "everynode.local/busybox:1.36"}
"#;

/// The handbook's way of saying it.
const LEGACY: &str = r#"
apiVersion: extensions/v1beta1
kind: DaemonSet
metadata: {name: legacy}
spec:
  template:
    metadata: {labels: {app: legacy}}
    spec:
      nodeSelector: {nowhere: "true"}
      containers:
      - {name: main, image: "everynode.local/busybox:1.35"}
"#;

/// Of several kinds, in one file.
const SEVERAL: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: several}
---
apiVersion: v1
kind: Secret
metadata: {name: several}
stringData: {password: first}
---
apiVersion: v1
kind: Service
metadata: {name: several}
spec:
  selector: {app: several}
  ports:
  - {name: dns, port: 53}
  - {name: dns-udp, port: 53, protocol: UDP}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: several}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: several}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: several}
subjects:
- {kind: ServiceAccount, name: several, namespace: default}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: several}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: several}}
"#;

const STATUS: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: made}\nstatus: {conditions: [{type: Odd, status: \"True\", reason: Seen, message: here}]}\n";

const MAPS: &[Row] = &[
    ok(
        "apply --server-side --dry-run=server -f ours.yaml",
        &["configmap/ours serverside-applied (server dry run)"],
    ),
    fails("get cm ours", &["NotFound"]),
    ok("apply --server-side -f ours.yaml", &["configmap/ours serverside-applied"]),
    ok("diff --server-side -f ours.yaml", &[]),
    fails("diff --server-side -f less.yaml", &["-  b: two"]),
    ok("apply --server-side -f less.yaml", &["configmap/ours serverside-applied"]),
    ok("get cm ours -o 'jsonpath=<{.data.a}{.data.b}{.metadata.labels.part}>'", &["<oneone>"]),
    fails(
        "apply --server-side --field-manager=theirs -f theirs.yaml",
        &[
            "Apply failed with 1 conflict: conflict with \"kubectl\": .data.a",
            "currently have other managers",
            "`--force-conflicts` flag",
        ],
    ),
    fails(
        "diff --server-side --field-manager=theirs -f theirs.yaml",
        &["Apply failed with 1 conflict: conflict with \"kubectl\": .data.a"],
    ),
    fails(
        "diff --server-side --field-manager=theirs --force-conflicts -f theirs.yaml",
        &["-  a: one", "+  a: theirs"],
    ),
    ok(
        "apply --server-side --field-manager=theirs --force-conflicts -f theirs.yaml",
        &["configmap/ours serverside-applied"],
    ),
    ok("get cm ours -o 'jsonpath=<{.data.a}{.data.b}{.data.c}>'", &["<theirsthree>"]),
    ok("get cm ours -o jsonpath={.metadata.managedFields[*].manager}", &["kubectl theirs"]),
    since(
        23,
        "get cm ours -o yaml --show-managed-fields",
        &["manager: theirs", "operation: Apply", "f:data:"],
    ),
    // What another changes by hand is a conflict for who applied it.
    ok("patch cm ours --type=merge -p '{\"data\":{\"c\":\"patched\"}}'", &["configmap/ours patched"]),
    fails(
        "apply --server-side --field-manager=theirs -f theirs.yaml",
        &["Apply failed with 1 conflict: conflict with \"kubectl-patch\" using v1: .data.c"],
    ),
    fails("apply --server-side --validate=false -f nonsense.yaml", &[".dat: field not declared in schema"]),
];

const SETS: &[Row] = &[
    ok("apply --server-side -f served.yaml", &["daemonset.apps/served serverside-applied"]),
    ok(
        "apply --server-side --validate=false --field-manager=beside -f beside.yaml",
        &["daemonset.apps/served serverside-applied"],
    ),
    ok("get ds served -o 'jsonpath={.spec.template.spec.containers[*].name}'", &["main beside"]),
    ok("set image ds/served main=everynode.local/busybox:1.36", &["daemonset.apps/served image updated"]),
    fails(
        "apply --server-side -f served.yaml",
        &["Apply failed with 1 conflict: conflict with \"kubectl-set\" using apps/v1: \
           .spec.template.spec.containers[name=\"main\"].image"],
    ),
    ok("apply --server-side --force-conflicts -f served.yaml", &["daemonset.apps/served serverside-applied"]),
    ok("rollout restart ds/served", &["daemonset.apps/served restarted"]),
    ok("apply --server-side -f served.yaml", &["daemonset.apps/served serverside-applied"]),
    ok("get ds served -o yaml", &["kubectl.kubernetes.io/restartedAt", "name: beside"]),
    ok("apply --server-side -f one-port.yaml", &["daemonset.apps/served serverside-applied"]),
    ok("get ds served -o 'jsonpath={.spec.template.spec.containers[0].ports[*].protocol}'", &["UDP"]),
    ok(
        "apply --server-side -f legacy.yaml",
        &["extensions/v1beta1 DaemonSet is deprecated", "daemonset.extensions/legacy serverside-applied"],
    ),
    ok("apply --server-side -f legacy.yaml", &["daemonset.extensions/legacy serverside-applied"]),
    ok("get daemonsets.apps legacy -o jsonpath={.spec.updateStrategy.type}", &["OnDelete"]),
    ok("delete ds served legacy", &["\"served\" deleted"]),
];

/// From the client's apply to the server's and back.
const MOVED: &[Row] = &[
    ok("apply -f moved.yaml", &["configmap/moved created"]),
    ok("apply --server-side -f moved-changed.yaml", &["configmap/moved serverside-applied"]),
    ok("get cm moved -o 'jsonpath=<{.data.a}{.data.b}>'", &["<newtwo>"]),
    ok("apply view-last-applied cm moved", &["a: new"]),
    ok("apply --server-side -f moved-less.yaml", &["configmap/moved serverside-applied"]),
    // Since 1.26 kubectl hands over what it applied itself.
    since(26, "get cm moved -o 'jsonpath=<{.data.a}{.data.b}>'", &["<new>"]),
    since(
        26,
        "get cm moved -o 'jsonpath=<{.metadata.managedFields[?(@.manager==\"kubectl-client-side-apply\")].operation}>'",
        &["<>"],
    ),
    ok("apply -f moved.yaml", &["configmap/moved configured"]),
    ok("get cm moved -o 'jsonpath=<{.data.a}{.data.b}>'", &["<onetwo>"]),
];

const STATUSES: &[Row] = &[
    since(
        35,
        "apply --server-side --subresource=status --field-manager=watcher -f status.yaml",
        &["node/made serverside-applied"],
    ),
    since(35, "get node made -o 'jsonpath={.status.conditions[?(@.type==\"Odd\")].reason}'", &["Seen"]),
    since(
        35,
        "apply --server-side --subresource=status --field-manager=watcher -f no-status.yaml",
        &["node/made"],
    ),
    since(35, "get node made -o 'jsonpath=<{.status.conditions[?(@.type==\"Odd\")].reason}>'", &["<>"]),
];

pub fn run(session: &Session) {
    for (file, text) in [
        ("ours.yaml", MAP.to_owned()),
        ("less.yaml", MAP.replace(", b: two", "")),
        ("theirs.yaml", THEIRS.to_owned()),
        ("nonsense.yaml", MAP.replace("\ndata:", "\ndat:")),
        ("served.yaml", SET.to_owned()),
        ("one-port.yaml", SET.replace("        - {containerPort: 53}\n", "")),
        ("beside.yaml", BESIDE.to_owned()),
        ("legacy.yaml", LEGACY.to_owned()),
        ("moved.yaml", MAP.replace("ours", "moved")),
        ("moved-changed.yaml", MAP.replace("ours", "moved").replace("a: one", "a: new")),
        ("moved-less.yaml", MAP.replace("ours", "moved").replace("a: one, b: two", "a: new")),
        ("status.yaml", STATUS.to_owned()),
        ("no-status.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: made}\nstatus: {}\n".to_owned()),
        // Debian's kubectl is older than policy/v1, which matters to nobody who applies on the server.
        ("several.yaml", SEVERAL.to_owned()),
        ("several-changed.yaml", SEVERAL.replace("first", "second").replace("port: 53}", "port: 54}")),
    ] {
        session.file(file, &text);
    }
    session.table(MAPS);
    let conflict = session.call("apply --server-side -f theirs.yaml");
    assert_eq!(conflict.code, Some(1), "{conflict:?}");
    session.table(SETS);
    session.table(MOVED);
    session.table(STATUSES);
    several(session);
}

/// Objects of several kinds keep their versions when they are applied again, and change where something was changed.
fn several(session: &Session) {
    let versions = || {
        let kinds = "sa/several secret/several svc/several role/several rolebinding/several";
        session.call(&format!("get {kinds} -o jsonpath={{.items[*].metadata.resourceVersion}}")).out
    };
    session.table(&[ok("apply --server-side -f several.yaml", &["service/several serverside-applied"])]);
    let made = versions();
    assert_eq!(made.split(' ').count(), 5, "{made}");
    session.table(&[ok("apply --server-side -f several.yaml", &["poddisruptionbudget.policy/several"])]);
    assert_eq!(versions(), made, "nothing has changed");
    session.table(&[
        ok("apply --server-side -f several-changed.yaml", &["secret/several serverside-applied"]),
        ok("get secret several -o jsonpath={.data.password}", &["c2Vjb25k"]),
        ok("get svc several -o jsonpath={.spec.ports[*].port}", &["54 53"]),
        ok("delete -f several.yaml", &["deleted"]),
    ]);
}
