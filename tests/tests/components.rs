//! Controllers and scheduler as processes of their own, each by a kubeconfig of its own.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use blackbox::{Component, Kubectl, Machine, SOON, eventually, process};
use serde_json::Value;

const NODES: usize = 12;
/// What is promised: the Lease runs out, and who takes it has filled its caches.
const TAKE_OVER: Duration = Duration::from_secs(15);
/// A rolling update, one node after another.
const UPDATE_DEADLINE: Duration = Duration::from_secs(180);

/// `update` says how its Pods are replaced.
fn daemon_set(version: &str, max_unavailable: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: d}}\nspec:\n  selector: {{matchLabels: {{app: d}}}}\n  \
         updateStrategy: {{rollingUpdate: {{maxUnavailable: {max_unavailable}}}}}\n  template:\n    metadata: {{labels: \
         {{app: d}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      - {{name: main, image: \
         'none:{version}'}}\n"
    )
}

fn server(mode: &[&str]) -> Machine {
    let mut machine = Machine::prepared(mode);
    machine.start();
    machine
}

fn status(kubectl: &Kubectl) -> Result<Value, String> {
    kubectl.get(&["daemonset", "d"]).map(|set| set["status"].clone())
}

#[track_caller]
fn rolled_out(kubectl: &Kubectl, deadline: Duration) {
    eventually("every node has a ready Pod of the newest template", deadline, || {
        let set = kubectl.get(&["daemonset", "d"])?;
        let status = &set["status"];
        let done = status["numberReady"] == NODES
            && status["updatedNumberScheduled"] == NODES
            && status["observedGeneration"] == set["metadata"]["generation"];
        if done { Ok(()) } else { Err(status.to_string()) }
    });
}

fn hollow_nodes(machine: &Machine) -> Component {
    let log = machine.folder().join("nodes.log");
    Component::start(&["sim", "--nodes", &NODES.to_string()], &machine.kubeconfig(), &log)
}

#[test]
fn a_server_without_controllers_and_scheduler_is_served_by_others() {
    let machine = server(&["server", "--controllers=", "--scheduler=off"]);
    let kubectl = machine.kubectl();
    let start = |arguments: &[&str]| {
        let log = machine.folder().join(format!("{}.log", arguments[0]));
        Component::start(arguments, &machine.kubeconfig(), &log)
    };
    let _nodes = hollow_nodes(&machine);
    kubectl.apply(&daemon_set("1", 1));
    // Nobody observes it: what was just written stays as it is.
    eventually("the nodes are there", SOON, || {
        let nodes = kubectl.get(&["nodes"])?["items"].as_array().map_or(0, Vec::len);
        if nodes == NODES { Ok(()) } else { Err(format!("{nodes} nodes")) }
    });
    assert!(status(&kubectl).expect("status")["observedGeneration"].is_null());

    let _controllers = start(&["controllers", "--controllers", "*"]);
    eventually("every node has a Pod that nobody schedules", SOON, || {
        let pods = kubectl.get(&["pods", "-l", "app=d"])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let bound = pods.iter().filter(|pod| !pod["spec"]["nodeName"].is_null()).count();
        if pods.len() == NODES && bound == 0 {
            Ok(())
        } else {
            Err(format!("{} pods, {bound} bound", pods.len()))
        }
    });
    let _scheduler = start(&["scheduler"]);
    rolled_out(&kubectl, SOON);
    for lease in ["everynode-controllers", "kube-scheduler"] {
        let holder = kubectl.get(&["lease", "-n", "kube-system", lease]).expect("lease");
        assert!(holder["spec"]["holderIdentity"].is_string(), "{holder}");
    }
}

/// Credentials of the account that deploy/ makes.
fn account(machine: &Machine) -> PathBuf {
    let kubectl = machine.kubectl();
    kubectl.run(&["apply", "-f", &deployed("daemonset-controller/rbac.yaml")]);
    let token = kubectl.run(&["create", "token", "-n", "kube-system", "everynode-daemonset-controller"]);
    let file = machine.folder().join("controller.kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: u, user: {{token: {}}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
        machine.port,
        machine.data().join("pki/ca.crt").display(),
        token.trim(),
    );
    std::fs::write(&file, text).expect("a kubeconfig");
    file
}

fn deployed(path: &str) -> String {
    format!("{}/../deploy/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The process that holds the controllers' Lease is the one whose identity was the first.
fn holder(kubectl: &Kubectl) -> Result<String, String> {
    let lease = kubectl.get(&["lease", "-n", "kube-system", "everynode-controllers"])?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned).ok_or_else(|| lease.to_string())
}

#[test]
fn a_killed_controller_is_followed_within_fifteen_seconds_and_no_pod_is_made_twice() {
    let machine = server(&["server", "--controllers=*,-daemonset-controller"]);
    let kubectl = machine.kubectl();
    let account = account(&machine);
    let start = |name: &str| {
        Component::start(&["controllers"], &account, &machine.folder().join(format!("{name}.log")))
    };
    let leader = start("leader");
    let first = eventually("the first one leads", SOON, || holder(&kubectl));
    let _follower = start("follower");
    let _nodes = hollow_nodes(&machine);

    let everything = ["get", "pods", "-l", "app=d", "--watch", "--output-watch-events", "-o", "json"];
    let mut watch = kubectl.start(&everything);
    let lines = BufReader::new(watch.stdout.take().expect("piped"));
    let made = std::thread::spawn(move || {
        let events = serde_json::Deserializer::from_reader(lines).into_iter::<Value>();
        let added = events.map_while(Result::ok).filter(|event| event["type"] == "ADDED");
        added.map(|event| event["object"].clone()).collect::<Vec<Value>>()
    });
    kubectl.apply(&daemon_set("1", 1));
    rolled_out(&kubectl, SOON);
    kubectl.apply(&daemon_set("2", 1));
    let updated = |status: &Value| status["updatedNumberScheduled"].as_u64().unwrap_or(0);
    let count = || kubectl.get(&["pods", "-l", "app=d"]).map(|pods| of_version(&pods, "none:2"));
    eventually("the update is under way", SOON, || {
        let status = status(&kubectl)?;
        if status["observedGeneration"] == 2 && updated(&status) >= 2 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    leader.crash();
    let killed = Instant::now();
    let before = count().expect("pods");
    assert!(before < NODES, "the update was over before the leader was killed");
    // The dead one's last Pod may still have been on its way: two more are the other's work.
    eventually("the other goes on", TAKE_OVER, || {
        let now = count()?;
        if now >= before + 2 { Ok(()) } else { Err(format!("{now} after {before}")) }
    });
    let waited = killed.elapsed();
    assert!(waited < TAKE_OVER, "it took {waited:?}");
    assert_ne!(holder(&kubectl).expect("a holder"), first);
    kubectl.apply(&daemon_set("2", NODES));
    rolled_out(&kubectl, UPDATE_DEADLINE);

    process::kill_9(&mut watch);
    let mut by_node: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for pod in made.join().expect("the watch was read") {
        let text =
            |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let pinned = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution\
                      /nodeSelectorTerms/0/matchFields/0/values/0";
        let key = (text(pinned), text("/spec/containers/0/image"));
        by_node.entry(key).or_default().push(text("/metadata/name"));
    }
    assert_eq!(by_node.len(), 2 * NODES, "{by_node:?}");
    for (node, pods) in &by_node {
        assert_eq!(pods.len(), 1, "made twice for {node:?}: {pods:?}");
    }

    // It may what it needs and no more.
    let as_account = Kubectl::new("kubectl-current", account.clone());
    for (verb, what) in [
        ("get", "secrets"),
        ("update", "pods"),
        ("delete", "nodes"),
        ("create", "daemonsets"),
        ("list", "configmaps"),
    ] {
        let may = as_account.try_run(&["auth", "can-i", verb, what, "-A"]);
        assert!(!may.ok, "it may {verb} {what}: {}", may.out);
    }
}

fn of_version(pods: &Value, image: &str) -> usize {
    let pods = pods["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    pods.iter().filter(|pod| pod["spec"]["containers"][0]["image"] == image).count()
}

#[test]
fn the_chart_gives_the_rights_of_the_plain_manifest_and_starts_the_same() {
    let templated = |binary: &str| {
        let mut command = Command::new(blackbox::tool(binary));
        let chart = deployed("charts/everynode-daemonset-controller");
        command.args(["template", "everynode-daemonset-controller", &chart, "--namespace", "kube-system"]);
        let ran = process::run(&mut command, SOON);
        assert!(ran.status.success(), "{binary}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("text")
    };
    let plain = std::fs::read_to_string(deployed("daemonset-controller/rbac.yaml")).expect("the manifest");
    for binary in ["helm-3", "helm"] {
        let chart = templated(binary);
        for rule in rules(&plain) {
            let rule = rule.replace("everynode-controllers", "everynode-daemonset-controller");
            assert!(rules(&chart).contains(&rule), "{binary}: the chart lacks {rule}\n{chart}");
        }
        assert_eq!(rules(&chart).len(), rules(&plain).len(), "{binary}: the chart gives more");
        assert!(chart.contains("- --controllers=daemonset-controller"), "{chart}");
    }
    let path = deployed("daemonset-controller/deployment.yaml");
    let deployment = std::fs::read_to_string(Path::new(&path)).expect("the manifest");
    assert!(deployment.contains("args: [controllers, --controllers=daemonset-controller"), "{deployment}");
}

/// Each rule's lines as one.
fn rules(text: &str) -> Vec<String> {
    let mut rules = Vec::new();
    for line in text.lines() {
        if line.starts_with("- apiGroups:") {
            rules.push(line.to_owned());
        } else if ["  resources:", "  resourceNames:", "  verbs:"].iter().any(|field| line.starts_with(field))
            && let Some(rule) = rules.last_mut()
        {
            rule.push_str(line);
        }
    }
    rules
}
