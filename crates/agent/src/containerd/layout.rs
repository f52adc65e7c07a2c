//! Where our containerd keeps things, which programs it needs, and its configuration.

use std::path::{Path, PathBuf};

use super::ContainerdError;
use crate::network::{PodNetwork, short_name};
use crate::pause;

/// A socket's path must fit into 107 bytes; containerd appends `.ttrpc` to it.
const SOCKET_PATH_BYTES_MAX: usize = 100;
/// Where programs are, beside PATH: a service's PATH often lacks the sbin folders.
const PROGRAM_FOLDERS: &[&str] =
    &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/containerd/bin"];

/// The folders and files of one node's containerd.
#[derive(Debug, Clone)]
pub struct Layout {
    pub root_dir: PathBuf,
    pub folder: PathBuf,
}

impl Layout {
    pub fn of(root_dir: &Path) -> Layout {
        Layout { root_dir: root_dir.to_path_buf(), folder: root_dir.join("containerd") }
    }

    /// In the node's folder, or under /run with a short name when that path is too long for a socket.
    pub fn socket(&self) -> PathBuf {
        let own = self.folder.join("containerd.sock");
        if own.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return own;
        }
        PathBuf::from(format!("/run/everynode-{}/containerd.sock", short_name(&self.root_dir)))
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    pub fn pid(&self) -> PathBuf {
        self.folder.join("containerd.pid")
    }

    /// Where an agent that uses somebody else's runtime notes whose, for taking down its Pods later.
    pub fn external_endpoint(&self) -> PathBuf {
        self.root_dir.join("runtime-endpoint")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("containerd.log")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A folder that is a private mount and holds the pinned mount namespace.
    pub fn namespace_folder(&self) -> PathBuf {
        self.folder.join("namespace")
    }

    pub fn namespace_pin(&self) -> PathBuf {
        self.namespace_folder().join("mnt")
    }

    /// Pods' volumes: a mount that is shared with the pinned namespace.
    pub fn pods(&self) -> PathBuf {
        self.root_dir.join("pods")
    }

    /// What each static Pod's manifest held when it was last good.
    pub fn last_good_manifests(&self) -> PathBuf {
        self.root_dir.join("static")
    }

    /// What the API's Pods were, and what they need, for a start without the API.
    pub fn offline(&self) -> PathBuf {
        self.root_dir.join("offline")
    }

    /// The same of a manifest URL.
    pub fn last_good_url(&self) -> PathBuf {
        self.last_good_manifests().join("url")
    }
}

/// The CRI address of the containerd that belongs to an agent's folder.
pub fn socket_uri(root_dir: &Path) -> String {
    format!("unix://{}", Layout::of(root_dir).socket().display())
}

/// The programs that are needed, found once.
#[derive(Debug, Clone)]
pub struct Programs {
    pub containerd: PathBuf,
    pub runc: PathBuf,
    pub ctr: PathBuf,
    /// PATH for containerd: it looks its shim up by name.
    pub path: String,
}

impl Programs {
    pub fn find() -> Result<Programs, ContainerdError> {
        find("containerd-shim-runc-v2")?;
        Ok(Programs {
            containerd: find("containerd")?,
            runc: find("runc")?,
            ctr: find("ctr")?,
            path: search_path(),
        })
    }
}

fn search_path() -> String {
    let mut folders: Vec<String> =
        std::env::var("PATH").unwrap_or_default().split(':').map(str::to_owned).collect();
    for folder in PROGRAM_FOLDERS {
        if !folders.iter().any(|known| known == folder) {
            folders.push((*folder).to_owned());
        }
    }
    folders.retain(|folder| folder.starts_with('/'));
    folders.join(":")
}

/// A program's path, from PATH or the usual folders.
pub fn find(name: &'static str) -> Result<PathBuf, ContainerdError> {
    let looked_in = search_path();
    looked_in
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .ok_or(ContainerdError::NotInstalled { name, looked_in })
}

/// containerd's configuration file. Version 2 of the format is read by containerd 1.6 up to 2.x.
pub fn config_text(layout: &Layout, programs: &Programs, network: &PodNetwork) -> String {
    let quote = |path: &Path| toml_string(&path.display().to_string());
    format!(
        r#"# Written by everynode at each start; changes are lost.
version = 2
root = {root}
state = {state}
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.native",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[debug]
  level = "warn"
[grpc]
  address = {socket}
[plugins."io.containerd.internal.v1.opt"]
  path = {opt}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {pause}
  disable_apparmor = {no_apparmor}
  restrict_oom_score_adj = {restrict_oom}
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {cni_bin}
    conf_dir = {cni_conf}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = {runc}
        Root = {runc_root}
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = {certs}
"#,
        root = quote(&layout.folder.join("root")),
        state = quote(&layout.state()),
        socket = quote(&layout.socket()),
        opt = quote(&layout.folder.join("opt")),
        pause = toml_string(pause::IMAGE),
        no_apparmor = !has_apparmor(),
        restrict_oom = !may_lower_oom_score(),
        cni_bin = quote(&network.plugin_folder),
        cni_conf = quote(&network.config_folder),
        runc = quote(&programs.runc),
        runc_root = quote(&layout.folder.join("runc")),
        certs = quote(&layout.folder.join("certs.d")),
    )
}

fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => quoted.push_str(&format!("\\u{:04X}", char as u32)),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// The kernel has AppArmor and the machine its parser; else containerd must be told to leave it.
pub fn has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
        && find("apparmor_parser").is_ok()
}

/// Without CAP_SYS_RESOURCE the kernel refuses a lower oom_score_adj, and every sandbox would fail to start.
fn may_lower_oom_score() -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|capabilities| capabilities & CAP_SYS_RESOURCE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_folder_gets_a_short_socket() {
        let short = Layout::of(Path::new("/var/lib/everynode/agent"));
        assert_eq!(short.socket(), Path::new("/var/lib/everynode/agent/containerd/containerd.sock"));
        let long = Layout::of(&Path::new("/tmp").join("x".repeat(120)));
        assert!(long.socket().as_os_str().len() < 60, "{:?}", long.socket());
    }

    #[test]
    fn paths_are_quoted_for_toml() {
        assert_eq!(toml_string("/a b/\"c\"\\\n"), r#""/a b/\"c\"\\\u000A""#);
    }
}
