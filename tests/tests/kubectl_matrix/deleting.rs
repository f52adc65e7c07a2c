//! delete with every --cascade, by label, all, forced, a namespace.

use blackbox::{SOON, eventually};

use crate::session::{Row, Session, fails, ok};

const BEFORE: &[Row] = &[
    ok("delete cm applied", &["configmap \"applied\" deleted"]),
    fails("delete cm applied", &["Error from server (NotFound)"]),
    ok("delete cm applied --ignore-not-found", &[]),
    ok("label cm settings going=yes", &["labeled"]),
    ok("delete cm -l going=yes", &["configmap \"settings\" deleted"]),
    ok("delete pod once --force --grace-period=0", &["pod \"once\" force deleted"]),
    ok("-n extra create configmap inside --from-literal=a=b", &["created"]),
    ok("delete ns extra --timeout=60s", &["namespace \"extra\" deleted"]),
    fails("get ns extra", &["namespaces \"extra\" not found"]),
    fails("delete ns default", &["this namespace may not be deleted"]),
    ok("delete csr,clusterrole,clusterrolebinding -l none=none", &["No resources found"]),
    ok("delete role,rolebinding --all", &["reader"]),
];

pub fn run(session: &Session) {
    session.table(BEFORE);
    session.call("delete ds logger --cascade=background");
    eventually("the old set's revisions are gone", SOON, || gone(session));
    for (cascade, left) in [("orphan", true), ("background", false), ("foreground", false)] {
        session.table(&[ok("create -f set.yaml", &["daemonset.apps/logger created"])]);
        let owned = || {
            session
                .call("get controllerrevisions -o jsonpath={.items[*].metadata.ownerReferences[*].kind}")
                .out
        };
        eventually("the set has a revision", SOON, || match owned().as_str() {
            "DaemonSet" => Ok(()),
            other => Err(other.to_owned()),
        });
        let deleted = session.call(&format!("delete ds logger --cascade={cascade} --timeout=60s"));
        assert!(
            deleted.ok && deleted.out.contains("daemonset.apps \"logger\" deleted"),
            "{cascade}: {deleted:?}"
        );
        let none = session.call("get ds logger");
        assert!(none.err.contains("NotFound"), "{cascade}: {none:?}");
        if left {
            let orphans = session.call("get controllerrevisions -o name").out;
            assert!(orphans.contains("controllerrevision.apps/logger-") && owned().is_empty(), "{orphans}");
            session.call("delete controllerrevisions --all");
        } else {
            eventually("its revisions go with it", SOON, || gone(session));
        }
    }
}

fn gone(session: &Session) -> Result<(), String> {
    let left = session.call("get controllerrevisions -o name");
    if left.ok && left.out.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
}
