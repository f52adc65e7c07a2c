//! One machine that runs everynode for a test, and its end.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Kubectl, SOON, eventually, everynode, free_port, image, process};

/// Longer than the slowest start on a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(120);
const DOWN_DEADLINE: Duration = Duration::from_secs(120);

/// What runs here has nothing to do with how full the disk of the test's machine is.
const KUBELET_CONFIG: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nevictionHard: \
    {memory.available: 50Mi}\nimageGCHighThresholdPercent: 100\n";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A machine with its own data folder, port, node and Pod network. Dropping it removes all of that.
pub struct Machine {
    folder: TempDir,
    pub node: String,
    /// Of the API server; stays the same over restarts, as a user's would.
    pub port: u16,
    /// The address that the API server listens on.
    address: String,
    /// The network namespace that it runs in, if not the test's.
    namespace: Option<String>,
    /// What runs: `up`, `server` or `agent`.
    mode: Vec<String>,
    child: Option<Child>,
}

impl Machine {
    /// `everynode up`, ready, with the named images loaded.
    #[track_caller]
    pub fn up(images: &[&str]) -> Machine {
        let mut machine = Machine::prepared(&["up"]);
        machine.start();
        machine.load(images);
        machine
    }

    /// `everynode server` alone, ready.
    #[track_caller]
    pub fn server() -> Machine {
        let mut machine = Machine::prepared(&["server"]);
        machine.start();
        machine
    }

    /// `everynode server …` on this address, ready.
    #[track_caller]
    pub fn server_at(address: &str, flags: &[&str]) -> Machine {
        let mode = [&["server"], flags].concat();
        let mut machine = Machine::prepared(&mode);
        machine.address = address.to_owned();
        machine.start();
        machine
    }

    /// A machine of its own network namespace, on which nothing runs yet.
    pub fn in_namespace(namespace: String, mode: &[&str]) -> Machine {
        let mut machine = Machine::prepared(mode);
        machine.namespace = Some(namespace);
        machine
    }

    /// A machine on which nothing runs yet.
    pub fn prepared(mode: &[&str]) -> Machine {
        let folder = tempfile::Builder::new().prefix("en").tempdir_in("/tmp").expect("a folder");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let node = format!("node-{}-{number}", std::process::id());
        let mode = mode.iter().map(ToString::to_string).collect();
        let address = "127.0.0.1".to_owned();
        let machine =
            Machine { folder, node, port: free_port(), address, namespace: None, mode, child: None };
        std::fs::create_dir_all(machine.manifests()).expect("the manifest folder");
        std::fs::write(machine.kubelet_config(), KUBELET_CONFIG).expect("the kubelet configuration");
        machine
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Outside the data folder: what survives `down --purge`.
    pub fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    fn kubelet_config(&self) -> PathBuf {
        self.folder.path().join("kubelet.yaml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("admin.kubeconfig")
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new("kubectl-current", self.kubeconfig())
    }

    pub fn kubectl_debian(&self) -> Kubectl {
        Kubectl::new("kubectl-debian", self.kubeconfig())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("runs").id()
    }

    /// The binary, where this machine's programs run.
    fn binary(&self) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(everynode()) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg(everynode());
        command
    }

    fn command(&self) -> Command {
        let mut command = self.binary();
        command.args(&self.mode).arg("--data-dir").arg(self.data()).args(["--node-name", &self.node]);
        if self.mode[0] != "agent" {
            command.args(["--listen", &format!("{}:{}", self.address, self.port)]);
        }
        if self.mode[0] != "server" {
            command.arg("--pod-manifest-path").arg(self.manifests());
            command.arg("--config").arg(self.kubelet_config());
        }
        command
    }

    /// Starts what the machine is for and waits until it says that it is ready.
    #[track_caller]
    pub fn start(&mut self) {
        self.start_mode(&self.mode.clone());
    }

    /// Starts another mode on the same data folder.
    #[track_caller]
    pub fn start_mode(&mut self, mode: &[String]) {
        assert!(self.child.is_none(), "runs already");
        self.mode = mode.to_vec();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("log");
        let mut child =
            self.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("start");
        let output = child.stdout.take().expect("piped");
        self.child = Some(child);
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let end = std::time::Instant::now() + READY_DEADLINE;
        loop {
            match receive.recv_timeout(end.saturating_duration_since(std::time::Instant::now())) {
                Ok(line) if line.starts_with("ready") => return,
                Ok(_) => {}
                Err(_) => panic!("not ready; log:\n{}", self.log_text()),
            }
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("test.log")
    }

    /// Everything that it logged, over all its starts.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// kill -9.
    pub fn crash(&mut self) {
        process::kill_9(&mut self.child.take().expect("runs"));
    }

    /// Its plug is pulled: everynode, its runtime and every container end at once, without a word.
    #[track_caller]
    pub fn power_off(&mut self) {
        let listed = self.tasks();
        let containers = listed.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok());
        let containers: Vec<i32> = containers.collect();
        self.crash();
        let programs = process::with_argument(&self.data().display().to_string());
        assert!(!programs.is_empty() && !containers.is_empty(), "it ran");
        for pid in programs.into_iter().chain(containers) {
            process::kill_9_of(pid);
        }
    }

    /// SIGTERM, and wait.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("runs");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        eventually("everynode ends on SIGTERM", SOON, || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    #[track_caller]
    pub fn load(&self, images: &[&str]) {
        for stem in images {
            let out = self.everynode(&[
                "image",
                "load",
                "--data-dir",
                &self.data().display().to_string(),
                &image(stem).display().to_string(),
            ]);
            assert!(out.status.success(), "load {stem}: {}", String::from_utf8_lossy(&out.stderr));
        }
    }

    /// Runs the binary to its end.
    #[track_caller]
    pub fn everynode(&self, arguments: &[&str]) -> std::process::Output {
        process::run(Command::new(everynode()).args(arguments), READY_DEADLINE)
    }

    /// What the binary is to be given on another machine to make it a node of this server.
    #[track_caller]
    pub fn join_arguments(&self) -> String {
        let data = self.data();
        let made = self.everynode(&["token", "create", "--data-dir", data.to_str().expect("text")]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let line = String::from_utf8(made.stdout).expect("text");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2], ["everynode", "agent"], "{line}");
        words[1..].join(" ")
    }

    /// The Pods of a label, when there are `count` and all are Ready.
    #[track_caller]
    pub fn ready_pods(&self, label: &str, count: usize) -> Vec<Value> {
        let kubectl = self.kubectl();
        eventually(&format!("{count} ready Pods of {label}"), SOON * 2, || {
            let list = kubectl.get(&["pods", "-l", label])?;
            let pods = list["items"].as_array().cloned().unwrap_or_default();
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            if pods.len() == count && ready == count {
                Ok(pods)
            } else {
                Err(format!("{ready} of {} ready: {}", pods.len(), brief(&pods)))
            }
        })
    }

    /// Container ids as the runtime knows them: what must not change when nothing restarts.
    #[track_caller]
    pub fn running_containers(&self) -> Vec<String> {
        let mut ids: Vec<String> = self
            .tasks()
            .lines()
            .filter(|line| line.contains("RUNNING"))
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect();
        ids.sort();
        ids
    }

    /// Containers as the runtime lists them, a line each: id, pid, state.
    #[track_caller]
    fn tasks(&self) -> String {
        let socket = self.data().join("agent/containerd/containerd.sock");
        let out = process::run(
            Command::new("ctr").arg("--address").arg(socket).args(["--namespace", "k8s.io", "tasks", "list"]),
            SOON,
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// `everynode down --purge`.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.data().exists() {
            let mut command = self.binary();
            command.args(["down", "--purge", "--data-dir"]).arg(self.data());
            let out = process::run(&mut command, DOWN_DEADLINE);
            assert!(out.status.success(), "down: {}", String::from_utf8_lossy(&out.stderr));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.node, tail(&self.log_text(), 200));
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.down()));
        if ended.is_err() && !std::thread::panicking() {
            panic!("{} did not end cleanly", self.node);
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Container ids and restart counts in the Pod's status, by container name.
pub fn containers(pod: &Value) -> Vec<(String, String, i64)> {
    let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
    statuses
        .iter()
        .map(|status| {
            let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
            (text("name"), text("containerID"), status["restartCount"].as_i64().unwrap_or(-1))
        })
        .collect()
}

fn brief(pods: &[Value]) -> String {
    let line = |pod: &Value| {
        format!(
            "{} {} {}",
            pod["metadata"]["name"], pod["status"]["phase"], pod["status"]["containerStatuses"][0]["state"]
        )
    };
    pods.iter().map(line).collect::<Vec<_>>().join("; ")
}
