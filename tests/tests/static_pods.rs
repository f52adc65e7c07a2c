//! Static Pods: what is in the folder runs, whatever the API server says or whether there is one.

use std::path::Path;
use std::time::Duration;

use blackbox::machine::{containers, is_ready};
use blackbox::{Machine, SOON, eventually, throughout};
use serde_json::Value;

fn manifest(name: &str, text: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  \
         terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: everynode.local/busybox:1.35\n    \
         command: [sh, -c, 'echo {text}; exec sleep 100000']\n"
    )
}

/// As an operator should: written beside, then renamed into the folder.
fn put(folder: &Path, file: &str, text: &str) {
    let draft = folder.join(format!(".{file}"));
    std::fs::write(&draft, text).expect("write");
    std::fs::rename(&draft, folder.join(file)).expect("rename");
}

fn mirror(machine: &Machine, name: &str) -> Result<Value, String> {
    let pod = machine.kubectl().get(&["pod", &format!("{name}-{}", machine.node)])?;
    if is_ready(&pod) { Ok(pod) } else { Err(pod["status"].to_string()) }
}

fn no_mirror(machine: &Machine, name: &str) -> Result<(), String> {
    match machine.kubectl().get(&["pod", &format!("{name}-{}", machine.node)]) {
        Err(error) if error.contains("NotFound") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn running(machine: &Machine, count: usize) -> Result<Vec<String>, String> {
    // A Pod is two tasks: its sandbox and its container.
    let ids = machine.running_containers();
    if ids.len() == 2 * count { Ok(ids) } else { Err(format!("{} tasks", ids.len())) }
}

#[test]
fn added_edited_deleted_through_the_api_and_removed() {
    let machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    put(&machine.manifests(), "web.yaml", &manifest("web", "one"));
    let first = eventually("the mirror is ready", SOON, || mirror(&machine, "web"));
    let annotations = &first["metadata"]["annotations"];
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    assert_eq!(annotations["kubernetes.io/config.mirror"], annotations["kubernetes.io/config.hash"]);
    assert_eq!(first["metadata"]["ownerReferences"][0]["kind"], "Node");
    let name = first["metadata"]["name"].as_str().expect("name").to_owned();
    eventually("its log", SOON, || {
        let log = kubectl.run(&["logs", &name]);
        if log == "one\n" { Ok(()) } else { Err(log) }
    });

    put(&machine.manifests(), "web.yaml", &manifest("web", "two"));
    let second = eventually("the edit is in the mirror", SOON, || {
        let pod = mirror(&machine, "web")?;
        if pod["metadata"]["uid"] == first["metadata"]["uid"] {
            Err("still the old one".into())
        } else {
            Ok(pod)
        }
    });
    assert_ne!(containers(&first)[0].1, containers(&second)[0].1, "another container");
    eventually("its log", SOON, || {
        let log = kubectl.run(&["logs", &name]);
        if log == "two\n" { Ok(()) } else { Err(log) }
    });

    kubectl.run(&["delete", "pod", &name, "--wait=false"]);
    let third = eventually("the mirror is back", SOON, || {
        let pod = mirror(&machine, "web")?;
        if pod["metadata"]["uid"] == second["metadata"]["uid"] {
            Err("not deleted yet".into())
        } else {
            Ok(pod)
        }
    });
    assert_eq!(containers(&second), containers(&third), "the container was left alone");
    kubectl.run(&["delete", "pod", &name, "--grace-period=0", "--force", "--wait=false"]);
    let fourth = eventually("the mirror is back again", SOON, || {
        let pod = mirror(&machine, "web")?;
        if pod["metadata"]["uid"] == third["metadata"]["uid"] {
            Err("not deleted yet".into())
        } else {
            Ok(pod)
        }
    });
    assert_eq!(containers(&second), containers(&fourth), "the container was left alone");

    std::fs::remove_file(machine.manifests().join("web.yaml")).expect("remove");
    eventually("the mirror is gone", SOON, || no_mirror(&machine, "web"));
    eventually("the container is gone", SOON, || running(&machine, 0));
}

#[test]
fn with_the_server_down_files_are_obeyed_and_the_mirror_comes_when_it_returns() {
    // Server and agent as separate processes, so that one can be down without the other.
    let mut server = Machine::server();
    let mut agent = Agent::start(&server);
    eventually("the node is ready", SOON, || {
        let node = server.kubectl().get(&["node", &server.node])?;
        if is_ready(&node) { Ok(()) } else { Err(node["status"]["conditions"].to_string()) }
    });
    server.load(&["busybox"]);
    server.crash();

    put(&server.manifests(), "lone.yaml", &manifest("lone", "one"));
    let first = eventually("runs without a server", SOON, || running(&server, 1));
    put(&server.manifests(), "lone.yaml", &manifest("lone", "two"));
    let second = eventually("replaced without a server", SOON, || {
        let now = running(&server, 1)?;
        if now.iter().any(|id| first.contains(id)) { Err("still the old one".into()) } else { Ok(now) }
    });

    server.start();
    eventually("the mirror appears when the server returns", SOON, || mirror(&server, "lone"));
    assert_eq!(server.running_containers(), second, "nothing restarted for it");

    server.crash();
    std::fs::remove_file(server.manifests().join("lone.yaml")).expect("remove");
    eventually("ends without a server", SOON, || running(&server, 0));
    server.start();
    eventually("its mirror goes when the server returns", SOON, || no_mirror(&server, "lone"));
    agent.stop();
}

#[test]
fn an_agent_alone_runs_static_pods_without_any_server_and_adopts_them_after_a_crash() {
    let mut machine = Machine::prepared(&["agent"]);
    machine.start();
    machine.load(&["busybox"]);
    put(&machine.manifests(), "alone.yaml", &manifest("alone", "one"));
    let ids = eventually("it runs", SOON, || running(&machine, 1));
    let told = |what: &str| {
        let data = machine.data();
        let output = machine.everynode(&["static", what, "--data-dir", data.to_str().expect("text")]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    eventually("the list", SOON, || match told("list").1 {
        list if list.contains("alone.yaml") && list.contains("Running  1/1") => Ok(()),
        list => Err(list),
    });
    assert_eq!(told("status").0, Some(0));
    put(&machine.manifests(), "alone.yaml", "kind: [");
    eventually("the fault", SOON, || match told("status") {
        (Some(1), text) if text.contains("alone.yaml: neither YAML nor JSON") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(running(&machine, 1), Ok(ids.clone()), "a broken file ends nothing");
    put(&machine.manifests(), "alone.yaml", &manifest("alone", "one"));
    machine.crash();
    throughout("it goes on without the agent", Duration::from_secs(1), || running(&machine, 1).map(|_| ()));
    machine.start();
    throughout("it was adopted", Duration::from_secs(3), || {
        let now = machine.running_containers();
        if now == ids { Ok(()) } else { Err(format!("{ids:?} became {now:?}")) }
    });
    std::fs::remove_file(machine.manifests().join("alone.yaml")).expect("remove");
    eventually("it ends with its file", SOON, || running(&machine, 0));
}

#[test]
fn broken_yaml_in_the_folder_leaves_the_others_running() {
    let machine = Machine::up(&["busybox"]);
    put(&machine.manifests(), "good.yaml", &manifest("good", "one"));
    let good = eventually("the good one is ready", SOON, || mirror(&machine, "good"));
    put(&machine.manifests(), "broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: [broken\n");
    put(&machine.manifests(), "other.yaml", &manifest("other", "one"));
    eventually("another one starts beside the broken file", SOON, || mirror(&machine, "other"));
    // What stops parsing keeps its last known good Pod.
    put(&machine.manifests(), "good.yaml", "apiVersion: v1\nkind: Pod\nspec: ...\n");
    eventually("the log names the broken file", SOON, || {
        let log = machine.log_text();
        if log.contains("broken.yaml") && log.contains("good.yaml") { Ok(()) } else { Err("not yet".into()) }
    });
    throughout("the good one runs on", Duration::from_secs(3), || {
        let pod = mirror(&machine, "good")?;
        if containers(&pod) == containers(&good) { Ok(()) } else { Err(pod["status"].to_string()) }
    });
}

#[test]
fn a_single_file_is_a_manifest_path_too() {
    let mut machine = Machine::prepared(&["agent"]);
    let file = machine.folder().join("one.yaml");
    std::fs::write(&file, manifest("single", "one")).expect("write");
    std::fs::remove_dir(machine.manifests()).expect("the folder");
    std::fs::rename(&file, machine.manifests()).expect("a file in its place");
    machine.start();
    machine.load(&["busybox"]);
    eventually("it runs", SOON, || running(&machine, 1));
    std::fs::remove_file(machine.manifests()).expect("remove");
    eventually("it ends with its file", SOON, || running(&machine, 0));
}

/// An agent process beside a server on the same data folder.
struct Agent {
    child: Option<std::process::Child>,
}

impl Agent {
    fn start(server: &Machine) -> Agent {
        let child = std::process::Command::new(blackbox::everynode())
            .args(["agent", "--node-name", &server.node, "--data-dir"])
            .arg(server.data())
            .arg("--pod-manifest-path")
            .arg(server.manifests())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::fs::File::create(server.folder().join("agent.log")).expect("log"))
            .spawn()
            .expect("start");
        Agent { child: Some(child) }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}
