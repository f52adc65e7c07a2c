//! What a user does with kubectl and needs containers for, with every release: roll-outs, logs, exec, drain. What a server
//! alone answers is in `kubectl_matrix`.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use blackbox::kubectl::RELEASES;
use blackbox::{Kubectl, Machine, SOON, eventually};

const LOGGER: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: logger}
spec:
  selector: {matchLabels: {app: logger}}
  template:
    metadata: {labels: {app: logger}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: everynode.local/busybox:1.35
        command: [sh, -c, 'i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done']
"#;

/// A Pod of nobody's, and a budget that keeps it.
const KEPT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: bare}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: everynode.local/busybox:1.35
    command: [sleep, "100000"]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: bare}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: bare}}
"#;

#[test]
fn debians_kubectl() {
    with_release(20);
}

#[test]
fn kubectl_1_23() {
    with_release(23);
}

#[test]
fn kubectl_1_31() {
    with_release(31);
}

#[test]
fn a_current_kubectl() {
    with_release(35);
}

#[test]
fn kubectl_1_37() {
    with_release(37);
}

fn with_release(minor: u32) {
    let machine = Machine::up(&["busybox"]);
    let binary = RELEASES.iter().find(|(_, known)| *known == minor).expect("a known release").0;
    session(&machine, &Kubectl::new(binary, machine.kubeconfig()));
}

fn session(machine: &Machine, kubectl: &Kubectl) {
    let version = kubectl.run(&["version", "-o", "json"]);
    assert!(version.contains("v1.35.0+everynode"), "{version}");
    let resources = kubectl.run(&["api-resources"]);
    for expected in ["daemonsets", "pods", "leases", "controllerrevisions", "clusterroles"] {
        assert!(resources.contains(expected), "{resources}");
    }

    kubectl.apply(LOGGER);
    // Only its defaults changed nothing: applying again is no change.
    let again = kubectl.apply(LOGGER);
    assert!(again.out.contains("unchanged"), "{}", again.out);
    kubectl.run(&["rollout", "status", "ds/logger", "--timeout=60s"]);
    let pod = machine.ready_pods("app=logger", 1).remove(0);
    let name = pod["metadata"]["name"].as_str().expect("name").to_owned();

    let table = kubectl.run(&["get", "ds,pods", "-A", "-o", "wide"]);
    for expected in
        ["DESIRED", "NODE SELECTOR", "daemonset.apps/logger", "READY", "1/1", "Running", &machine.node]
    {
        assert!(table.contains(expected), "{expected} is missing:\n{table}");
    }
    let nodes = kubectl.run(&["get", "nodes", "-o", "wide"]);
    assert!(nodes.contains("Ready") && nodes.contains("containerd://"), "{nodes}");

    let described = kubectl.run(&["describe", "ds", "logger"]);
    for expected in ["Selector:", "Desired Number of Nodes Scheduled: 1", "SuccessfulCreate"] {
        assert!(described.contains(expected), "{expected} is missing:\n{described}");
    }
    let described = kubectl.run(&["describe", "pod", &name]);
    for expected in ["Controlled By:", "DaemonSet/logger", "Scheduled", "Started"] {
        assert!(described.contains(expected), "{expected} is missing:\n{described}");
    }
    kubectl.run(&["describe", "node", &machine.node]);

    let mut follow = kubectl.start(&["logs", "-f", &name]);
    let (send, receive) = std::sync::mpsc::channel();
    let out = follow.stdout.take().expect("piped");
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let first = receive.recv_timeout(SOON).expect("a line");
    assert_eq!(first, "line 0");
    for number in 1..5 {
        assert_eq!(
            receive.recv_timeout(Duration::from_secs(10)).expect("lines go on"),
            format!("line {number}")
        );
    }
    follow.kill().expect("end following");
    follow.wait().expect("reap");
    let tail = kubectl.run(&["logs", "--tail=2", "ds/logger"]);
    // A third may be written while they are read.
    assert!((2..=3).contains(&tail.lines().count()), "{tail}");

    let said = kubectl.run(&["exec", &name, "--", "sh", "-c", "echo out; hostname"]);
    assert!(said.starts_with("out\n") && said.contains(&name), "{said}");
    let failed = kubectl.try_run(&["exec", &name, "--", "sh", "-c", "echo bad >&2; exit 7"]);
    assert!(!failed.ok && failed.err.contains("bad") && failed.err.contains("exit code 7"), "{}", failed.err);
    let echoed = kubectl.try_with_input(&["exec", "-i", &name, "--", "cat"], "through and back\n");
    assert_eq!(echoed.out, "through and back\n", "{}", echoed.err);

    let explained = kubectl.run(&["explain", "ds.spec.updateStrategy"]);
    assert!(explained.contains("rollingUpdate") && explained.contains("update strategy"), "{explained}");

    kubectl.run(&["label", "ds", "logger", "tier=logs"]);
    kubectl.run(&["annotate", "ds", "logger", "note=kept"]);
    let set = kubectl.get(&["ds", "logger"]).expect("get");
    assert_eq!(
        (&set["metadata"]["labels"]["tier"], &set["metadata"]["annotations"]["note"]),
        (&"logs".into(), &"kept".into())
    );
    kubectl.run(&["patch", "ds", "logger", "--type=merge", "-p", r#"{"spec":{"minReadySeconds":1}}"#]);
    kubectl.run(&[
        "patch",
        "ds",
        "logger",
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/spec/minReadySeconds","value":0}]"#,
    ]);
    kubectl.run(&[
        "patch",
        "ds",
        "logger",
        "-p",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"A","value":"b"}]}]}}}}"#,
    ]);
    kubectl.run(&["rollout", "status", "ds/logger", "--timeout=60s"]);
    let set = kubectl.get(&["ds", "logger"]).expect("get");
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "everynode.local/busybox:1.35", "merged by name");
    assert_eq!(container["env"][0]["value"], "b");
    kubectl.run(&["rollout", "restart", "ds/logger"]);
    kubectl.run(&["rollout", "status", "ds/logger", "--timeout=60s"]);

    drained(machine, kubectl);

    kubectl.run(&["delete", "ds", "logger"]);
    eventually("its Pods are gone", SOON, || {
        let pods = kubectl.get(&["pods"])?;
        if pods["items"].as_array().is_some_and(Vec::is_empty) {
            Ok(())
        } else {
            Err(pods["items"].to_string())
        }
    });
}

/// Daemons stay, a Pod with a spent budget is kept, and goes when the budget lets it.
fn drained(machine: &Machine, kubectl: &Kubectl) {
    kubectl.apply(KEPT);
    kubectl.run(&["wait", "--for=condition=Ready", "pod/bare", "--timeout=60s"]);
    let daemon = machine.ready_pods("app=logger", 1).remove(0);
    let node = machine.node.as_str();
    let drain = |more: &[&str]| kubectl.try_run(&[&["drain", node], more].concat());

    let refused = drain(&[]);
    assert!(!refused.ok && refused.err.contains("use --ignore-daemonsets to ignore"), "{}", refused.err);
    assert!(refused.err.contains("use --force to override"), "{}", refused.err);
    let held = drain(&["--ignore-daemonsets", "--force", "--timeout=7s"]);
    let said = "Cannot evict pod as it would violate the pod's disruption budget.";
    assert!(!held.ok && held.err.contains(said), "{} {}", held.out, held.err);
    let nodes = kubectl.run(&["get", "nodes"]);
    assert!(nodes.contains("Ready,SchedulingDisabled"), "{nodes}");

    kubectl.run(&["delete", "poddisruptionbudgets.v1.policy", "bare"]);
    let done = drain(&["--ignore-daemonsets", "--force", "--timeout=60s"]);
    assert!(done.ok && done.out.contains("pod/bare evicted"), "{} {}", done.out, done.err);
    assert!(kubectl.get(&["pod", "bare"]).is_err(), "it has gone");
    let stayed = machine.ready_pods("app=logger", 1).remove(0);
    assert_eq!(stayed["metadata"]["uid"], daemon["metadata"]["uid"], "daemons stay");
    kubectl.run(&["uncordon", node]);
}
