//! Helm 3 and Helm 4 with a chart as charts are: installed and waited for, upgraded, rolled back, uninstalled.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use blackbox::{Kubectl, Machine, Ran, SOON, eventually, process};

/// Longer than Helm's own --timeout below.
const CALL_DEADLINE: Duration = Duration::from_secs(180);

struct Helm<'a> {
    binary: &'a str,
    machine: &'a Machine,
}

impl Helm<'_> {
    fn try_run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(blackbox::tool(self.binary));
        command
            .args(arguments)
            .env("KUBECONFIG", self.machine.kubeconfig())
            .env("HOME", self.machine.folder());
        process::run(&mut command, CALL_DEADLINE).into()
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let ran = self.try_run(arguments);
        assert!(ran.ok, "{} {arguments:?}\nstdout: {}\nstderr: {}", self.binary, ran.out, ran.err);
        ran.out
    }
}

#[test]
fn helm_3_installs_upgrades_rolls_back_and_uninstalls_a_chart() {
    life_of_a_release("helm-3", "v3.", false);
}

#[test]
fn helm_4_installs_upgrades_rolls_back_and_uninstalls_a_chart() {
    life_of_a_release("helm", "v4.", true);
}

/// `server_side` is what the release does by default.
fn life_of_a_release(binary: &str, version: &str, server_side: bool) {
    let machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    let helm = Helm { binary, machine: &machine };
    let said = helm.run(&["version", "--short"]);
    assert!(said.starts_with(version), "{said}");
    let chart = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/watcher");
    let chart = chart.to_str().expect("path");
    let waits = ["--wait", "--timeout", "120s"];
    let run = |words: &[&str]| {
        let words = words.iter().map(|word| if *word == "CHART" { chart } else { *word });
        let words: Vec<&str> = words.chain(waits).collect();
        helm.try_run(&words)
    };

    let installed = run(&["install", "watcher", "CHART"]);
    assert!(installed.ok && installed.out.contains("watcher says hello."), "{installed:?}");
    greets(&kubectl, "hello");
    eventually("its Service leads to its Pod, its budget counts it", SOON, || {
        let endpoints = kubectl.get(&["endpoints", "watcher"])?;
        let budget = kubectl.get(&["pdb", "watcher"])?;
        let port = &endpoints["subsets"][0]["ports"][0]["port"];
        let counted = &budget["status"]["expectedPods"];
        if *port == 8080 && *counted == 1 { Ok(()) } else { Err(format!("{endpoints} {budget}")) }
    });
    let applies = owners(&kubectl, &["ds", "watcher"], "helm");
    assert_eq!(applies, [if server_side { "Apply" } else { "Update" }], "who applies owns what it applied");
    let listed = helm.run(&["list"]);
    assert!(listed.contains("deployed") && listed.contains("watcher-0.1.0"), "{listed}");
    let again = run(&["install", "watcher", "CHART"]);
    assert!(!again.ok && again.err.contains("a name that is still in use"), "{again:?}");

    let upgraded = run(&["upgrade", "watcher", "CHART", "--set", "greeting=servus"]);
    assert!(upgraded.ok && upgraded.out.contains("watcher says servus."), "{upgraded:?}");
    greets(&kubectl, "servus");

    if server_side {
        // What another has set since is a conflict, and no loss, until it is forced.
        kubectl.run(&["patch", "cm", "watcher", "--type=merge", "-p", r#"{"data":{"greeting":"moin"}}"#]);
        let refused = run(&["upgrade", "watcher", "CHART", "--set", "greeting=ciao"]);
        assert!(!refused.ok && refused.err.contains("conflict with \"kubectl-patch\""), "{refused:?}");
        let forced = run(&["upgrade", "watcher", "CHART", "--set", "greeting=ciao", "--force-conflicts"]);
        assert!(forced.ok, "{forced:?}");
        greets(&kubectl, "ciao");
    }

    let rolled = run(&["rollback", "watcher", "1"]);
    assert!(rolled.ok, "{rolled:?}");
    greets(&kubectl, "hello");
    let history = helm.run(&["history", "watcher"]);
    for expected in ["superseded", "Rollback to 1", "deployed"] {
        assert!(history.contains(expected), "{expected} is missing:\n{history}");
    }
    let manifest = helm.run(&["get", "manifest", "watcher"]);
    assert!(manifest.contains("kind: PodDisruptionBudget"), "{manifest}");
    let status = helm.run(&["status", "watcher"]);
    assert!(status.contains("STATUS: deployed"), "{status}");

    let removed = run(&["uninstall", "watcher"]);
    assert!(removed.ok && removed.out.contains("uninstalled"), "{removed:?}");
    let kinds = "ds,sa,cm,secret,svc,pdb,endpoints,endpointslices,pods,clusterrole,clusterrolebinding";
    eventually("nothing of it is left", SOON, || {
        let left = kubectl.run(&["get", kinds, "-o", "name"]);
        if left.contains("watcher") { Err(left) } else { Ok(()) }
    });
}

/// The operations of this manager's entries in an object's managedFields, but for status.
fn owners(kubectl: &Kubectl, object: &[&str], manager: &str) -> Vec<String> {
    let object = kubectl.get(&[object, &["--show-managed-fields"]].concat()).expect("get");
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let own = entries.iter().filter(|entry| entry["manager"] == manager && entry["subresource"].is_null());
    own.map(|entry| entry["operation"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Soon every Pod that is not on its way out was made with this greeting, and is ready: `--wait` counts a DaemonSet as
/// ready while no more than `maxUnavailable` of its Pods, here the only one, are not.
fn greets(kubectl: &Kubectl, greeting: &str) {
    eventually(&format!("the Pod greets with {greeting}"), SOON, || {
        let set = kubectl.get(&["ds", "watcher"])?;
        let pods = kubectl.get(&["pods", "-l", "app=watcher"])?;
        let pods: Vec<_> = pods["items"]
            .as_array()
            .ok_or("no items")?
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect();
        let right = |pod: &&serde_json::Value| {
            pod["metadata"]["annotations"]["greeting"] == greeting && blackbox::machine::is_ready(pod)
        };
        let all = set["status"]["numberReady"] == 1 && pods.len() == 1 && pods.iter().all(right);
        if all { Ok(()) } else { Err(format!("{} {pods:?}", set["status"])) }
    });
}
