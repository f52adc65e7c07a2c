//! rollout status, history, undo, restart. The changes before it made revisions.

use blackbox::{SOON, eventually};

use crate::session::{Row, Session, fails, ok};

const ROWS: &[Row] = &[
    ok("rollout status ds/logger --timeout=60s", &["daemon set \"logger\" successfully rolled out"]),
    ok("rollout history ds/logger", &["REVISION  CHANGE-CAUSE"]),
    ok("rollout history ds/logger --revision=1", &["everynode.local/busybox:1.35"]),
    ok("rollout undo ds/logger --to-revision=1 --dry-run=server", &["rolled back"]),
    ok(
        "get ds logger -o jsonpath={.spec.template.spec.containers[0].image}",
        &["everynode.local/busybox:1.36"],
    ),
    ok("rollout undo ds/logger --to-revision=1", &["daemonset.apps/logger rolled back"]),
    ok(
        "get ds logger -o jsonpath={.spec.template.spec.containers[0].image}",
        &["everynode.local/busybox:1.35"],
    ),
    fails("rollout undo ds/logger --to-revision=99", &["unable to find specified revision 99 in history"]),
    ok("rollout restart ds/logger", &["daemonset.apps/logger restarted"]),
    ok("get ds logger -o yaml", &["kubectl.kubernetes.io/restartedAt"]),
    ok("rollout status ds/logger --timeout=60s", &["successfully rolled out"]),
];

pub fn run(session: &Session) {
    eventually("the last change has a revision", SOON, || {
        let images = session.call(
            "get controllerrevisions -o jsonpath={.items[*].data.spec.template.spec.serviceAccountName}",
        );
        if images.out.contains("robot") { Ok(()) } else { Err(images.out) }
    });
    session.table(ROWS);
}
