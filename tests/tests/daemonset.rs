//! DaemonSets end to end: the handbook's manifest, rollout and undo, placement, cordon.

use blackbox::{Machine, SOON, eventually, free_port, throughout};
use std::io::Write as _;
use std::time::Duration;

fn fluentd() -> String {
    std::fs::read_to_string(blackbox::example("fluentd.yaml")).expect("example")
}

#[test]
fn the_handbooks_fluentd_manifest_runs_as_it_stands() {
    let machine = Machine::up(&["fluentd"]);
    let kubectl = machine.kubectl();
    let applied = kubectl.apply(&fluentd());
    assert!(
        applied.err.contains("extensions/v1beta1 DaemonSet is deprecated in v1.8+, unavailable in v1.16+"),
        "the deprecation warning: {}",
        applied.err
    );

    let set = kubectl.get(&["daemonsets.v1.apps", "fluentd"]).expect("read back through apps/v1");
    assert_eq!(set["apiVersion"], "apps/v1");
    let labels = serde_json::json!({"app": "logging", "id": "fluentd"});
    assert_eq!(set["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(set["metadata"]["labels"], labels);
    assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");
    assert_eq!(set["spec"]["revisionHistoryLimit"], 10);
    assert_eq!(set["metadata"]["annotations"]["deprecated.daemonset.template.generation"], "1");

    let pods = machine.ready_pods("app=logging", 1);
    let pod = pods[0]["metadata"]["name"].as_str().expect("name").to_owned();
    let line = format!("a line of {} for the collector", machine.node);
    let file = std::path::PathBuf::from(format!("/var/log/{}.log", machine.node));
    // A collector follows a file that it finds at its start from the end, and the Pod is ready before it looks: what writes
    // a log goes on writing.
    let mut written = std::fs::File::create(&file).expect("a file under /var/log");
    eventually("the collector's log shows the line", SOON, || {
        writeln!(written, "{line}").map_err(|error| error.to_string())?;
        let log = kubectl.run(&["logs", &pod]);
        if log.contains(&line) { Ok(()) } else { Err(log) }
    });
    std::fs::remove_file(&file).expect("remove");
}

#[test]
fn set_image_rolls_the_node_exporter_and_undo_brings_the_old_revision_back() {
    let machine = Machine::up(&["node-exporter"]);
    let kubectl = machine.kubectl();
    let port = free_port();
    let manifest = std::fs::read_to_string(blackbox::example("node-exporter.yaml"))
        .expect("example")
        .replace("9100", &port.to_string());
    kubectl.apply(&manifest);
    let first = machine.ready_pods("app=node-exporter", 1).remove(0);
    let metrics = http_get(port, "/metrics");
    assert!(
        metrics.contains("node_exporter_build_info"),
        "real metrics: {}",
        &metrics[..metrics.len().min(300)]
    );

    kubectl.run(&[
        "set",
        "image",
        "ds/node-exporter",
        "node-exporter=everynode.local/node-exporter:1.5.0-again",
    ]);
    kubectl.run(&["rollout", "status", "ds/node-exporter", "--timeout=60s"]);
    let second = machine.ready_pods("app=node-exporter", 1).remove(0);
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    assert_eq!(second["spec"]["containers"][0]["image"], "everynode.local/node-exporter:1.5.0-again");

    let history = kubectl.run(&["rollout", "history", "ds/node-exporter"]);
    assert!(history.contains("1 ") && history.contains("2 "), "{history}");
    kubectl.run(&["rollout", "undo", "ds/node-exporter"]);
    kubectl.run(&["rollout", "status", "ds/node-exporter", "--timeout=60s"]);
    let third = machine.ready_pods("app=node-exporter", 1).remove(0);
    assert_eq!(third["spec"]["containers"][0]["image"], "everynode.local/node-exporter:1.5.0");
    let hash = "controller-revision-hash";
    assert_eq!(third["metadata"]["labels"][hash], first["metadata"]["labels"][hash], "the old revision");
    let history = kubectl.run(&["rollout", "history", "ds/node-exporter"]);
    assert!(
        history.contains("3 ") && !history.lines().any(|line| line.starts_with("1 ")),
        "renumbered: {history}"
    );

    let name = first["metadata"]["name"].as_str().expect("name");
    let log = machine.log_text();
    let step = log.lines().find(|line| line.contains("delete") && line.contains(name));
    let step = step.unwrap_or_else(|| panic!("the log says why {name} was deleted"));
    assert!(step.contains("revision") || step.contains("template"), "with the reason: {step}");
}

const SLEEPER: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 1
      NODE_SELECTOR
      containers:
      - name: main
        image: everynode.local/busybox:1.35
        command: [sleep, "100000"]
"#;

fn sleeper(name: &str, selector: &str) -> String {
    SLEEPER.replace("NAME", name).replace("NODE_SELECTOR", selector)
}

#[test]
fn a_cordoned_node_still_gets_its_daemon() {
    let machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    kubectl.run(&["cordon", &machine.node]);
    kubectl.apply(&sleeper("on-cordoned", ""));
    machine.ready_pods("app=on-cordoned", 1);
    let set = kubectl.get(&["ds", "on-cordoned"]).expect("get");
    assert_eq!(set["status"]["desiredNumberScheduled"], 1);
}

#[test]
fn without_its_label_the_node_loses_the_pod_and_the_reason_is_shown() {
    let machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    kubectl.apply(&sleeper("on-ssd", "nodeSelector: {disktype: ssd}"));
    eventually("the DaemonSet is seen and wants no node", SOON, || {
        let set = kubectl.get(&["ds", "on-ssd"])?;
        let seen = set["status"]["observedGeneration"] == 1 && set["status"]["desiredNumberScheduled"] == 0;
        if seen { Ok(()) } else { Err(set["status"].to_string()) }
    });
    kubectl.run(&["label", "node", &machine.node, "disktype=ssd"]);
    let pod = machine.ready_pods("app=on-ssd", 1).remove(0);
    let name = pod["metadata"]["name"].as_str().expect("name").to_owned();
    kubectl.run(&["label", "node", &machine.node, "disktype-"]);
    machine.ready_pods("app=on-ssd", 0);
    let log = machine.log_text();
    let step = log.lines().find(|line| line.contains("delete") && line.contains(&name)).expect("logged");
    assert!(step.to_lowercase().contains("selector"), "the reason is the node selector: {step}");
    eventually("an event tells of the deletion", SOON, || {
        let events = kubectl.run(&["get", "events"]);
        if events.contains("SuccessfulDelete") && events.contains(&name) { Ok(()) } else { Err(events) }
    });
}

#[test]
fn the_handbooks_placement_forms_place() {
    let machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    let manifest = std::fs::read_to_string(blackbox::example("node-affinity.yaml")).expect("example");
    kubectl.apply(&manifest);
    for name in ["with-node-affinity", "with-node-affinity-annotation"] {
        eventually("seen", SOON, || {
            let set = kubectl.get(&["ds", name])?;
            let seen =
                set["status"]["observedGeneration"] == 1 && set["status"]["desiredNumberScheduled"] == 0;
            if seen { Ok(()) } else { Err(set["status"].to_string()) }
        });
    }
    kubectl.run(&["label", "node", &machine.node, "kubernetes.io/e2e-az-name=e2e-az2"]);
    machine.ready_pods("app=with-node-affinity", 1);
    let pod = machine.ready_pods("app=with-node-affinity-annotation", 1).remove(0);
    assert_eq!(pod["metadata"]["annotations"]["another-annotation-key"], "another-annotation-value");
    kubectl.run(&["label", "node", &machine.node, "--overwrite", "kubernetes.io/e2e-az-name=e2e-az3"]);
    machine.ready_pods("app=with-node-affinity", 0);
    machine.ready_pods("app=with-node-affinity-annotation", 0);
}

#[test]
fn a_deleted_daemon_comes_back_and_a_deleted_set_takes_its_pods_along() {
    let machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    kubectl.apply(&sleeper("phoenix", ""));
    let first = machine.ready_pods("app=phoenix", 1).remove(0);
    let name = first["metadata"]["name"].as_str().expect("name");
    kubectl.run(&["delete", "pod", name]);
    let second = machine.ready_pods("app=phoenix", 1).remove(0);
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
    kubectl.run(&["delete", "ds", "phoenix"]);
    machine.ready_pods("app=phoenix", 0);
    eventually("its containers are gone", SOON, || {
        let running = machine.running_containers();
        if running.is_empty() { Ok(()) } else { Err(format!("{running:?}")) }
    });
    throughout("nothing comes back", Duration::from_secs(2), || {
        let pods = kubectl.get(&["pods"])?;
        if pods["items"].as_array().is_some_and(Vec::is_empty) { Ok(()) } else { Err(pods.to_string()) }
    });
}

fn http_get(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("ask");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answer");
    String::from_utf8_lossy(&answer).into_owned()
}
