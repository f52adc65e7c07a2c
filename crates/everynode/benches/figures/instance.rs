//! One running everynode under measurement, and what the kernel says of its process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Kernel clock ticks a second, as `/proc/PID/stat` counts CPU time.
const TICKS_PER_SECOND: f64 = 100.0;
const READY_DEADLINE_SECONDS: u64 = 60;

pub struct Instance {
    pub folder: tempfile::TempDir,
    child: Child,
    binary: PathBuf,
}

pub fn binary() -> PathBuf {
    std::env::var_os("EVERYNODE_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_everynode")), PathBuf::from)
}

pub fn image(stem: &str) -> PathBuf {
    let folder = std::env::var_os("EVERYNODE_IMAGES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images"), PathBuf::from);
    folder.join(format!("{stem}.tar"))
}

impl Instance {
    pub fn start(mode: &str) -> Result<Instance> {
        Instance::start_with(mode, &[])
    }

    pub fn start_with(mode: &str, flags: &[&str]) -> Result<Instance> {
        let folder = tempfile::Builder::new().prefix("en").tempdir_in("/tmp")?;
        std::fs::create_dir(folder.path().join("manifests"))?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let binary = binary();
        let mut command = Command::new(&binary);
        command
            .arg(mode)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--node-name", "bench"])
            .args(flags);
        if mode != "agent" {
            let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            command.arg("--listen").arg(format!("127.0.0.1:{port}"));
        }
        if mode != "server" {
            command.arg("--pod-manifest-path").arg(folder.path().join("manifests"));
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = child.stdout.take().context("no output")?;
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            use std::io::BufRead;
            for line in std::io::BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let end = Instant::now() + Duration::from_secs(READY_DEADLINE_SECONDS);
        let instance = Instance { folder, child, binary };
        loop {
            match receive.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("ready") => return Ok(instance),
                Ok(_) => {}
                Err(_) => bail!(
                    "{mode} is not ready: {}",
                    std::fs::read_to_string(instance.folder.path().join("log"))?
                ),
            }
        }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    pub fn containerd_socket(&self) -> PathBuf {
        self.data().join("agent/containerd/containerd.sock")
    }

    pub fn load(&self, stem: &str) -> Result<()> {
        let status = Command::new(&self.binary)
            .args(["image", "load", "--data-dir"])
            .arg(self.data())
            .arg(image(stem))
            .stdout(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { bail!("image {stem} was not loaded") }
    }

    /// How the administrator reaches it.
    pub async fn config(&self) -> Result<kube::Config> {
        let config = kube::config::Kubeconfig::read_from(self.data().join("admin.kubeconfig"))?;
        Ok(kube::Config::from_custom_kubeconfig(config, &Default::default()).await?)
    }

    pub async fn client(&self) -> Result<kube::Client> {
        Ok(kube::Client::try_from(self.config().await?)?)
    }

    /// CPU seconds, user and system, that the process has used.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds_of(self.child.id())
    }

    /// Resident memory of the process.
    pub fn rss_mebibytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new(&self.binary).args(["down", "--purge", "--data-dir"]).arg(self.data()).status();
    }
}

/// CPU seconds, user and system, that a process has used.
pub fn cpu_seconds_of(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
}

/// Commit and machine, so that two runs can be told apart.
pub fn machine() -> String {
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("commit {commit}, {cores} cores, {model}")
}
