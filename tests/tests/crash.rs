//! kill -9: no container restarts, no acknowledged write is lost.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use blackbox::machine::{containers, is_ready};
use blackbox::{Machine, SOON, eventually};

const PODS: usize = 20;

fn twenty_daemons() -> String {
    (0..PODS)
        .map(|i| {
            format!(
                "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: d{i}}}\nspec:\n  selector: {{matchLabels: \
                 {{set: d{i}}}}}\n  template:\n    metadata: {{labels: {{set: d{i}, all: twenty}}}}\n    spec:\n      \
                 hostNetwork: true\n      terminationGracePeriodSeconds: 1\n      containers:\n      - name: main\n        \
                 image: everynode.local/busybox:1.35\n        command: [sleep, \"100000\"]\n---\n"
            )
        })
        .collect()
}

#[test]
fn killed_with_twenty_pods_running_nothing_restarts_and_the_status_is_right_at_the_next_start() {
    let mut machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    kubectl.apply(&twenty_daemons());
    let before = machine.ready_pods("all=twenty", PODS);
    let tasks = machine.running_containers();
    assert_eq!(tasks.len(), 2 * PODS);

    machine.crash();
    assert_eq!(machine.running_containers(), tasks, "containers go on without everynode");
    machine.start();
    let ready_at = Instant::now();
    let after = eventually("every Pod has the status it had", Duration::from_secs(5), || {
        let list = kubectl.get(&["pods", "-l", "all=twenty"])?;
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        if pods.len() == PODS && ready == PODS {
            Ok(pods)
        } else {
            Err(format!("{ready} of {} ready", pods.len()))
        }
    });
    assert!(ready_at.elapsed() < Duration::from_secs(5));
    let facts = |pods: &[serde_json::Value]| {
        let mut facts: Vec<_> =
            pods.iter().map(|pod| (pod["metadata"]["uid"].to_string(), containers(pod))).collect();
        facts.sort();
        facts
    };
    assert_eq!(facts(&before), facts(&after), "same Pods, same container ids, restartCount 0");
    assert!(
        facts(&after).iter().all(|(_, containers)| containers.iter().all(|(_, _, restarts)| *restarts == 0))
    );
    assert_eq!(machine.running_containers(), tasks);
    let sets = kubectl.get(&["ds"]).expect("get");
    let ready: i64 = sets["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|s| s["status"]["numberReady"].as_i64().unwrap_or(0))
        .sum();
    assert_eq!(ready, PODS as i64);

    // A container that ended while everynode was away is noticed and restarted, the others are left alone.
    machine.crash();
    let victim = containers(&after[0])[0].1.rsplit('/').next().expect("an id").to_owned();
    let socket = machine.data().join("agent/containerd/containerd.sock");
    let killed = Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", &victim])
        .status()
        .expect("ctr");
    assert!(killed.success());
    machine.start();
    let uid = after[0]["metadata"]["uid"].clone();
    eventually("the ended one is restarted once", SOON, || {
        let list = kubectl.get(&["pods", "-l", "all=twenty"])?;
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let restarts: Vec<_> = pods
            .iter()
            .map(|pod| {
                (pod["metadata"]["uid"] == uid, containers(pod).first().map_or(-1, |c| c.2), is_ready(pod))
            })
            .collect();
        let right = restarts.iter().all(|(victim, count, ready)| *ready && *count == i64::from(*victim));
        if right && pods.len() == PODS { Ok(()) } else { Err(format!("{restarts:?}")) }
    });
}

#[test]
fn killed_in_the_middle_of_a_thousand_creates_ten_times_every_acknowledged_one_is_there() {
    let mut machine = Machine::server();
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    let material = ClientMaterial::of(&machine);
    for round in 0..10 {
        // curl reports each answer as it comes; the server is killed while they come.
        let mut curl = material.thousand_creates(&machine, round);
        let mut answers = BufReader::new(curl.stdout.take().expect("piped")).lines();
        let kill_after = 20 + round * 80;
        let mut seen = 0;
        for line in answers.by_ref().map_while(Result::ok) {
            if let Some(name) = line.strip_prefix("201 ") {
                acknowledged.insert(name.to_owned());
                seen += 1;
            }
            if seen == kill_after {
                machine.crash();
            }
        }
        let _ = curl.wait();
        assert!(
            seen >= kill_after,
            "round {round}: only {seen} creates before the kill\n{}",
            machine.log_text()
        );
        machine.start();
        let list = machine.kubectl().get(&["configmaps"]).expect("list");
        let there: BTreeSet<String> = list["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["metadata"]["name"].as_str().expect("name").to_owned())
            .collect();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
    }
    assert!(acknowledged.len() > 1000);
}

/// The admin's certificate as files, for curl.
struct ClientMaterial {
    folder: tempfile::TempDir,
}

impl ClientMaterial {
    fn of(machine: &Machine) -> ClientMaterial {
        let folder = tempfile::tempdir().expect("folder");
        let view = machine.kubectl().run(&["config", "view", "--raw", "-o", "json"]);
        let view: serde_json::Value = serde_json::from_str(&view).expect("json");
        let parts = [
            ("ca.crt", &view["clusters"][0]["cluster"]["certificate-authority-data"]),
            ("tls.crt", &view["users"][0]["user"]["client-certificate-data"]),
            ("tls.key", &view["users"][0]["user"]["client-key-data"]),
        ];
        for (file, data) in parts {
            let out = blackbox::process::run_with_input(
                Command::new("base64").arg("-d"),
                data.as_str().map(str::as_bytes),
                SOON,
            );
            std::fs::write(folder.path().join(file), out.stdout).expect("write");
        }
        ClientMaterial { folder }
    }

    /// One curl that POSTs a thousand ConfigMaps, several at a time, and prints `CODE NAME` for each.
    fn thousand_creates(&self, machine: &Machine, round: usize) -> std::process::Child {
        let mut config = String::new();
        for i in 0..1000 {
            let name = format!("r{round}-{i}");
            config.push_str(&format!(
                "next\nurl = \"https://127.0.0.1:{}/api/v1/namespaces/default/configmaps\"\ncacert = \"{c}/ca.crt\"\n\
                 cert = \"{c}/tls.crt\"\nkey = \"{c}/tls.key\"\nheader = \"Content-Type: application/json\"\n\
                 data = \"{{\\\"metadata\\\":{{\\\"name\\\":\\\"{name}\\\"}},\\\"data\\\":{{\\\"k\\\":\\\"v\\\"}}}}\"\n\
                 write-out = \"%{{http_code}} {name}\\n\"\noutput = \"/dev/null\"\nsilent\nmax-time = 5\n",
                machine.port,
                c = self.folder.path().display(),
            ));
        }
        let file = self.folder.path().join("curl.conf");
        let mut out = std::fs::File::create(&file).expect("config");
        out.write_all(config.trim_start_matches("next\n").as_bytes()).expect("write");
        Command::new("curl")
            .args(["--parallel", "--parallel-max", "8", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("curl")
    }
}
