//! get in every form of output, describe, explain, api-resources, events, a watch.

use std::io::{BufRead, BufReader};

use blackbox::{SOON, eventually, process};

use crate::session::{Row, Session, fails, ok, since};

const ROWS: &[Row] = &[
    ok("get daemonsets", &["NAME", "DESIRED", "NODE SELECTOR", "logger", "nowhere=true"]),
    ok(
        "get ds logger -o wide",
        &["CONTAINERS", "IMAGES", "SELECTOR", "everynode.local/busybox:1.35", "app=logger"],
    ),
    ok("get ds/logger -o yaml", &["apiVersion: apps/v1", "kind: DaemonSet", "revisionHistoryLimit: 10"]),
    ok("get ds logger -o json", &["\"kind\": \"DaemonSet\"", "\"maxUnavailable\": 1"]),
    ok("get ds -o name", &["daemonset.apps/logger"]),
    ok("get ds -o 'jsonpath={.items[*].spec.selector.matchLabels.app}'", &["logger"]),
    ok("get ds logger -o jsonpath-as-json={.spec.selector}", &["\"matchLabels\""]),
    ok("get ds -o 'go-template={{range .items}}<{{.metadata.name}}>{{end}}'", &["<logger>"]),
    ok(
        "get ds -o custom-columns=WHO:.metadata.name,OF:.metadata.namespace",
        &["WHO", "OF", "logger   default"],
    ),
    ok("get ds logger -o jsonpath-file=path.txt", &["<logger>"]),
    ok("get ds logger -o go-template-file=path.tmpl", &["<logger>"]),
    ok("get ds -o custom-columns-file=columns.txt", &["WHO", "logger"]),
    since(35, "get ds logger -o kyaml", &["kind: \"DaemonSet\",", "maxUnavailable: 1,"]),
    ok("label ds logger --list", &["app=logger"]),
    ok("get ds,cm,secret -o name", &["daemonset.apps/logger", "configmap/settings", "secret/token"]),
    ok("get all", &["daemonset.apps/logger", "pod/once", "service/web"]),
    ok("get cm -A --sort-by=.metadata.name", &["NAMESPACE", "DATA", "AGE", "applied", "kube-root-ca.crt"]),
    ok("get cm --field-selector=metadata.name=settings --no-headers", &["settings   2"]),
    ok("get pods --field-selector=status.phase=Pending -o name", &["pod/once"]),
    fails("get pods --field-selector=spec.colour=red", &["field label not supported: spec.colour"]),
    ok("get ds -l 'app in (logger,other)' -o name", &["daemonset.apps/logger"]),
    ok("get ds -L app", &["APP", "logger"]),
    ok("get ds --show-labels --show-kind", &["LABELS", "app=logger", "daemonset.apps/logger"]),
    ok("get cm -A --chunk-size=1 -o name", &["configmap/applied", "configmap/settings"]),
    ok("get cm none --ignore-not-found", &[]),
    fails("get cm none", &["Error from server (NotFound): configmaps \"none\" not found"]),
    fails("get sheep", &["the server doesn't have a resource type \"sheep\""]),
    ok("get ns", &["STATUS", "kube-node-lease", "Active"]),
    ok("get nodes -o wide", &["VERSION", "INTERNAL-IP", "made"]),
    ok("get svc web kubernetes", &["CLUSTER-IP", "80/TCP", "443/TCP"]),
    ok("get sa robot", &["robot"]),
    ok("get endpoints web -o name", &["endpoints/web"]),
    ok("get endpointslices -l kubernetes.io/service-name=web", &["ADDRESSTYPE", "web-"]),
    ok("get role,rolebinding", &["role.rbac.authorization.k8s.io/reader", "Role/reader"]),
    ok("get priorityclass high system-node-critical", &["VALUE", "GLOBAL-DEFAULT", "2000001000"]),
    since(23, "get pdb", &["MIN AVAILABLE", "ALLOWED DISRUPTIONS", "guard"]),
    ok("get --raw /version", &["gitVersion"]),
    ok("get --raw '/readyz?verbose'", &["readyz check passed"]),
    ok("api-versions", &["apps/v1", "rbac.authorization.k8s.io/v1", "policy/v1"]),
    ok("api-resources -o wide", &["daemonsets", "ds", "DaemonSet", "poddisruptionbudgets"]),
    ok(
        "api-resources --namespaced=false --verbs=list -o name",
        &["nodes", "clusterroles.rbac.authorization.k8s.io"],
    ),
    ok("cluster-info", &["is running at"]),
    ok("describe ds logger", &["Selector:", "Node-Selector:", "Desired Number of Nodes Scheduled: 0"]),
    ok("describe pod once", &["Status:", "Pending", "QoS Class:", "Node-Selectors:"]),
    ok("describe node made", &["Name:", "made", "Taints:", "Non-terminated Pods:"]),
    ok("describe cm settings", &["Data", "before"]),
    ok("describe secret token", &["Opaque", "user:", "2 bytes"]),
    ok("describe sa robot", &["Name:", "robot"]),
    ok("describe ns extra", &["Status:", "Active"]),
    ok("describe svc web", &["Selector:", "app=web", "TargetPort:", "8080/TCP"]),
    ok("describe role reader", &["PolicyRule", "pods", "[get list]"]),
    ok("describe clusterrole watcher", &["nodes", "[watch]"]),
    ok("describe rolebinding reader", &["ServiceAccount", "robot"]),
    ok("describe priorityclass high", &["Value:", "1000"]),
    since(23, "describe pdb guard", &["Min available:", "Status:"]),
    ok("explain daemonset", &["KIND:", "DaemonSet", "VERSION:", "spec"]),
    ok(
        "explain ds --recursive",
        &["updateStrategy", "rollingUpdate", "maxSurge", "livenessProbe", "tolerations"],
    ),
    ok("explain pods.spec.containers.livenessProbe.httpGet", &["path", "port", "scheme"]),
    ok("explain pdb.spec", &["minAvailable", "unhealthyPodEvictionPolicy"]),
    ok("explain ds.spec --api-version=apps/v1", &["KIND:", "updateStrategy"]),
    fails("explain ds.spec.none", &["field \"none\" does not exist"]),
    ok("get events", &["FailedScheduling", "pod/once"]),
    ok("get events --field-selector=involvedObject.name=once,type=Warning", &["FailedScheduling"]),
    since(26, "events --for=pod/once", &["FailedScheduling"]),
];

pub fn run(session: &Session) {
    eventually("the scheduler has spoken", SOON, || {
        let said = session.call("get events").out;
        if said.contains("FailedScheduling") { Ok(()) } else { Err(said) }
    });
    session.file("path.txt", "<{.spec.selector.matchLabels.app}>");
    session.file("path.tmpl", "<{{.spec.selector.matchLabels.app}}>");
    session.file("columns.txt", "WHO            OF\n.metadata.name .metadata.namespace\n");
    session.table(ROWS);
    every_kind(session);
    watch(session);
}

/// Whatever discovery says can be listed, in the narrow form and the wide one.
fn every_kind(session: &Session) {
    let kinds = session.call("api-resources --verbs=list -o name").out;
    let kinds: Vec<&str> = kinds.lines().collect();
    assert!(kinds.len() > 25 && kinds.contains(&"endpointslices.discovery.k8s.io"), "{kinds:?}");
    for form in ["", " -o wide", " -o yaml"] {
        let all = session.call(&format!("get {} -A{form}", kinds.join(",")));
        assert!(all.ok && !all.err.contains("rror"), "{form}: {}", all.err);
    }
}

/// `get -w` shows what is there and then what comes.
fn watch(session: &Session) {
    for (words, first, then) in [
        ("get cm -w --field-selector=metadata.name=late", None, "late"),
        (
            "get cm -w --output-watch-events --field-selector=metadata.name=settings",
            Some("ADDED"),
            "MODIFIED",
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let mut child = session.kubectl.start(&words);
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        if let Some(first) = first {
            assert!(lines.any(|line| line.contains(first)), "no {first}: {words:?}");
            session.call("annotate cm settings seen=yes --overwrite");
        } else {
            session.call("create configmap late --from-literal=a=b");
        }
        assert!(lines.any(|line| line.contains(then)), "no {then}: {words:?}");
        process::kill_9(&mut child);
    }
}
