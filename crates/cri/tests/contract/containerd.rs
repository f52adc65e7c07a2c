//! A containerd of the test's own: in a temporary directory, without systemd, gone without a trace at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cri::{ContainerConfig, Filter, RemoteRuntime, Runtime};
use rustix::process::{Pid, Signal, kill_process};

use super::fixture::{Behaviour, Fixture};

const IMAGE: &str = "everynode.test/busybox:1";
/// containerd answers within a second; a busy machine gets more.
const READY_WITHIN: Duration = Duration::from_secs(60);

pub struct Containerd {
    dir: tempfile::TempDir,
    child: Option<Child>,
    runtime: RemoteRuntime,
    cgroup: String,
}

/// Why this machine cannot run the real half.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    let paths = std::env::var("PATH").unwrap_or_default();
    let found = |name: &str| std::env::split_paths(&paths).any(|dir| dir.join(name).exists());
    let absent: Vec<&str> = ["containerd", "ctr", "runc"].into_iter().filter(|name| !found(name)).collect();
    if !absent.is_empty() {
        return Some(format!("{} not installed", absent.join(", ")));
    }
    busybox().is_none().then(|| "busybox-static is not installed".to_owned())
}

fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(PathBuf::from).find(|path| path.exists())
}

fn config(dir: &Path) -> String {
    let d = dir.display();
    format!(
        r#"version = 2
root = "{d}/root"
state = "{d}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{d}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{d}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{d}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "runc"
        Root = "{d}/runc"
"#
    )
}

/// Point to point: no bridge to leave behind. The subnet is drawn from the process id, for tests at once.
fn network(dir: &Path) -> String {
    let pid = std::process::id();
    let (second, third) = (200 + pid / 256 % 40, pid % 256);
    format!(
        r#"{{"cniVersion":"0.4.0","name":"contract","plugins":[{{"type":"ptp","ipMasq":false,"ipam":{{"type":"host-local","dataDir":"{}/ipam","ranges":[[{{"subnet":"10.{second}.{third}.0/28"}}]]}}}}]}}"#,
        dir.display()
    )
}

impl Containerd {
    /// `None` only when the environment says that the runtime is to be left out.
    pub async fn start(name: &str) -> Option<Self> {
        if std::env::var_os("EVERYNODE_SKIP_RUNTIME").is_some_and(|value| value == "1") {
            eprintln!("left out: EVERYNODE_SKIP_RUNTIME=1");
            return None;
        }
        if let Some(why) = missing() {
            panic!(
                "the contract cannot be tried on containerd: {why} (EVERYNODE_SKIP_RUNTIME=1 leaves it out)"
            );
        }
        let dir = tempfile::Builder::new().prefix("cri-").tempdir().unwrap();
        fs::create_dir(dir.path().join("cni")).unwrap();
        fs::write(dir.path().join("cni/10-ptp.conflist"), network(dir.path())).unwrap();
        fs::write(dir.path().join("config.toml"), config(dir.path())).unwrap();
        super::image::write(IMAGE, &busybox().unwrap(), &dir.path().join("image.tar"));
        let socket = dir.path().join("containerd.sock");
        let runtime = RemoteRuntime::connect(&format!("unix://{}", socket.display())).unwrap();
        let short: String = name.chars().take(24).collect();
        let cgroup = format!("/cri-contract-{}-{short}", std::process::id());
        let mut this = Self { dir, child: None, runtime, cgroup };
        this.up().await;
        let imported = Command::new("ctr")
            .args(["-a", socket.to_str().unwrap(), "-n", "k8s.io", "images", "import"])
            .arg(this.dir.path().join("image.tar"))
            .output()
            .unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        Some(this)
    }

    async fn up(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = Command::new("containerd")
            .arg("-c")
            .arg(self.dir.path().join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let start = Instant::now();
        while let Err(error) = self.runtime.version().await {
            assert!(error.is_unavailable(), "{error:?}");
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < READY_WITHIN, "{error:?}\n{log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The network's configuration is read a moment later than the socket is up.
        while !self.runtime.status().await.unwrap().is_ready() {
            assert!(start.elapsed() < READY_WITHIN, "{:?}", self.runtime.status().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn kill_daemon(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Fixture for Containerd {
    fn runtime(&self) -> &dyn Runtime {
        &self.runtime
    }

    fn container(&self, name: &str, behaviour: Behaviour) -> ContainerConfig {
        let exits = |code: i32| format!("exit {code}");
        let script = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
        let command = match behaviour {
            Behaviour::Sleeps => vec!["/bin/sleep".to_owned(), "3600".to_owned()],
            Behaviour::Exits(code) => script(&exits(code)),
            Behaviour::HeedsStop => {
                script("trap 'exit 3' TERM; touch /tmp/heeding; while true; do sleep 0.05; done")
            }
            Behaviour::IgnoresStop => {
                script("trap '' TERM; touch /tmp/heeding; while true; do sleep 0.05; done")
            }
            Behaviour::DoesNotExist => vec!["/nothing".to_owned()],
        };
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        self.described(name, IMAGE.to_owned(), &words)
    }

    fn log_directory(&self) -> String {
        format!("{}/logs", self.dir.path().display())
    }

    fn cgroup_parent(&self) -> String {
        self.cgroup.clone()
    }

    fn image(&self) -> String {
        IMAGE.to_owned()
    }

    async fn restart(&mut self) {
        self.kill_daemon();
        self.up().await;
    }
}

impl Drop for Containerd {
    /// Asks containerd to remove everything; then ends by force what is left of this directory's.
    fn drop(&mut self) {
        let socket = self.dir.path().join("containerd.sock");
        let politely = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(async {
                let runtime = RemoteRuntime::connect(socket.to_str().unwrap()).unwrap();
                for sandbox in runtime.list_sandboxes(&Filter::default()).await.unwrap_or_default() {
                    let _ = runtime.stop_sandbox(&sandbox.id).await;
                    let _ = runtime.remove_sandbox(&sandbox.id).await;
                }
            });
        });
        let _ = politely.join();
        self.kill_daemon();
        let dir = self.dir.path().to_str().unwrap().to_owned();
        kill_processes_of(&dir);
        unmount_under(&dir);
        remove_cgroups(&self.cgroup);
    }
}

/// Shims name the directory in their arguments.
fn kill_processes_of(dir: &str) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(dir) && pid != std::process::id().cast_signed() {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

fn unmount_under(dir: &str) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    points.retain(|point| point.starts_with(dir));
    points.sort_unstable();
    for point in points.into_iter().rev() {
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
}

/// containerd leaves the parent group behind in every hierarchy; processes that are left in it are killed.
fn remove_cgroups(parent: &str) {
    let hierarchies =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for root in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
        remove_cgroup(&root.join(parent.trim_start_matches('/')));
    }
}

fn remove_cgroup(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path());
    }
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse::<i32>().ok()).filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let start = Instant::now();
    while fs::remove_dir(group).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound)
        && start.elapsed() < Duration::from_secs(5)
    {
        std::thread::yield_now();
    }
}
