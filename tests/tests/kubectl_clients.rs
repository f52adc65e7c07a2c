//! What a user does with kubectl, with Debian's and with a current one.

use std::io::{BufRead, BufReader};
use std::time::Duration;

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

#[test]
fn debians_kubectl() {
    let machine = Machine::up(&["busybox"]);
    session(&machine, &machine.kubectl_debian());
}

#[test]
fn a_current_kubectl() {
    let machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    session(&machine, &kubectl);
    let whoami = kubectl.run(&["auth", "whoami"]);
    assert!(whoami.contains("kubernetes-admin") && whoami.contains("system:masters"), "{whoami}");
    let diff = kubectl.try_with_input(&["diff", "-f", "-"], &LOGGER.replace("line $i", "row $i"));
    assert!(diff.out.contains("+") && diff.out.contains("row"), "{} {}", diff.out, diff.err);
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
    assert_eq!(tail.lines().count(), 2, "{tail}");

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
