//! Pods' control groups: where they are, their limits, and their end, on cgroup v1, v2 and the mix of both.
//!
//! The runtime makes a container's group under the Pod's; it never removes the Pod's. So we do, in every hierarchy.
//! A machine's hierarchies are found, not configured.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::network::short_name;
use crate::spec::resources::{quota_us, shares};

/// Where hierarchies are mounted.
const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// The control group of one Pod, relative to each hierarchy's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodCgroup {
    pub path: String,
}

/// This machine's hierarchies.
#[derive(Debug, Clone)]
pub struct Hierarchies {
    roots: Vec<Root>,
    /// The parent of all Pods of this node, e.g. `/everynode-1f2e3d4c5b`.
    parent: String,
}

#[derive(Debug, Clone)]
struct Root {
    folder: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Hierarchies {
    pub fn find(root_dir: &Path) -> Hierarchies {
        Hierarchies::under(Path::new(MOUNT_POINT), root_dir)
    }

    fn under(mount_point: &Path, root_dir: &Path) -> Hierarchies {
        let parent = format!("/everynode-{}", short_name(root_dir));
        let is_v2 = |folder: &Path| folder.join("cgroup.controllers").exists();
        if is_v2(mount_point) {
            let root = Root { folder: mount_point.to_path_buf(), version: Version::V2 };
            return Hierarchies { roots: vec![root], parent };
        }
        let entries = fs::read_dir(mount_point).into_iter().flatten().flatten();
        let mut roots: Vec<Root> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .filter(|folder| folder.join("cgroup.procs").exists())
            .map(|folder| Root { version: if is_v2(&folder) { Version::V2 } else { Version::V1 }, folder })
            .collect();
        roots.sort_by(|a, b| a.folder.cmp(&b.folder));
        Hierarchies { roots, parent }
    }

    pub fn parent(&self) -> &str {
        &self.parent
    }

    pub fn pod(&self, uid: &str) -> PodCgroup {
        PodCgroup { path: format!("{}/pod{uid}", self.parent) }
    }

    /// Makes the Pod's group and sets what its requests and limits add up to. A machine whose kernel lacks a
    /// controller goes without.
    pub fn prepare(&self, pod: &Pod, cgroup: &PodCgroup) -> io::Result<()> {
        let default = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&default);
        let limits = PodLimits::of(spec);
        for root in &self.roots {
            let folder = inside(&root.folder, &cgroup.path);
            match root.version {
                Version::V1 => {
                    let writes =
                        limits.v1(root.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default());
                    if writes.is_empty() {
                        continue;
                    }
                    fs::create_dir_all(&folder)?;
                    for (file, value) in writes {
                        set(&folder.join(file), &value);
                    }
                }
                Version::V2 => {
                    fs::create_dir_all(&folder)?;
                    enable_controllers(&root.folder, &folder);
                    for (file, value) in limits.v2() {
                        set(&folder.join(file), &value);
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes the Pod's group everywhere. A group with live processes stays, and is an error.
    pub fn remove(&self, cgroup: &PodCgroup) -> io::Result<()> {
        self.remove_path(&cgroup.path)
    }

    /// Removes the group of all Pods of this node.
    pub fn remove_parent(&self) -> io::Result<()> {
        self.remove_path(&self.parent)
    }

    fn remove_path(&self, path: &str) -> io::Result<()> {
        let mut first = Ok(());
        for root in &self.roots {
            if let Err(error) = remove_tree(&inside(&root.folder, path)) {
                first = first.and(Err(error));
            }
        }
        first
    }

    /// Every process in the Pod's group, once.
    pub fn processes(&self, cgroup: &PodCgroup) -> Vec<i32> {
        let mut pids = Vec::new();
        for root in &self.roots {
            collect_processes(&inside(&root.folder, &cgroup.path), &mut pids);
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// The group of all Pods, as one to ask [`processes`](Self::processes) about.
    pub fn everything(&self) -> PodCgroup {
        PodCgroup { path: self.parent.clone() }
    }
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn set(file: &Path, value: &str) {
    if !file.exists() {
        return;
    }
    if let Err(error) = fs::write(file, value) {
        tracing::debug!(file = %file.display(), value, %error, "control group setting is refused");
    }
}

/// v2 gives a group only the controllers that every group above hands down.
fn enable_controllers(root: &Path, folder: &Path) {
    let Ok(available) = fs::read_to_string(root.join("cgroup.controllers")) else { return };
    let wanted: String = available.split_whitespace().map(|name| format!("+{name} ")).collect();
    let mut above: Vec<&Path> =
        folder.ancestors().skip(1).take_while(|path| path.starts_with(root)).collect();
    above.reverse();
    for path in above {
        set(&path.join("cgroup.subtree_control"), wanted.trim_end());
    }
}

/// Control files cannot be unlinked: only folders are removed, innermost first.
fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn collect_processes(folder: &Path, pids: &mut Vec<i32>) {
    let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_processes(&entry.path(), pids);
        }
    }
}

/// What a Pod's containers add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PodLimits {
    shares: i64,
    /// Only when every container has one.
    quota_us: Option<i64>,
    memory_bytes: Option<i64>,
}

impl PodLimits {
    fn of(spec: &PodSpec) -> PodLimits {
        let requests = api::pod::spec_requests(spec);
        let limits = api::pod::spec_limits(spec);
        let every_one_limits = |name: &str| {
            spec.containers.iter().all(|container| {
                let list = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
                list.and_then(|list| list.get(name)).is_some()
            })
        };
        let limit =
            |name: &str| limits.get(name).copied().filter(|limit| every_one_limits(name) && !limit.is_zero());
        PodLimits {
            shares: shares(requests.get("cpu").copied().map_or(0, Quantity::millis)),
            quota_us: limit("cpu").map(|limit| quota_us(limit.millis())),
            memory_bytes: limit("memory").map(Quantity::bytes),
        }
    }

    fn v1(self, controller: &str) -> Vec<(&'static str, String)> {
        match controller {
            "cpu" | "cpu,cpuacct" => {
                let mut writes = vec![("cpu.shares", self.shares.to_string())];
                writes.extend(self.quota_us.map(|quota| ("cpu.cfs_quota_us", quota.to_string())));
                writes
            }
            "memory" => self
                .memory_bytes
                .map(|bytes| ("memory.limit_in_bytes", bytes.to_string()))
                .into_iter()
                .collect(),
            _ => Vec::new(),
        }
    }

    fn v2(self) -> Vec<(&'static str, String)> {
        // The usual straight line from [2, 262144] shares to [1, 10000] weight.
        let weight = 1 + (self.shares - 2) * 9_999 / 262_142;
        let mut writes = vec![("cpu.weight", weight.to_string())];
        writes.extend(self.quota_us.map(|quota| ("cpu.max", format!("{quota} 100000"))));
        writes.extend(self.memory_bytes.map(|bytes| ("memory.max", bytes.to_string())));
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(containers: serde_json::Value) -> PodLimits {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({ "containers": containers })).unwrap();
        PodLimits::of(&spec)
    }

    #[test]
    fn pod_has_a_limit_only_when_every_container_has_one() {
        let limited = serde_json::json!({"name": "a", "resources": {
            "requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "1", "memory": "1Mi"}}});
        let both = limits(serde_json::json!([limited, limited]));
        assert_eq!((both.shares, both.quota_us, both.memory_bytes), (2048, Some(200_000), Some(2 << 20)));
        let mixed = limits(serde_json::json!([limited, {"name": "b"}]));
        assert_eq!((mixed.quota_us, mixed.memory_bytes), (None, None));
        assert!(mixed.v2().iter().all(|(file, _)| *file == "cpu.weight"));
    }

    #[test]
    fn both_kinds_of_hierarchy_are_recognised() {
        let mount = tempfile::tempdir().unwrap();
        for name in ["cpu", "memory", "unified"] {
            let folder = mount.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("cgroup.procs"), "").unwrap();
        }
        fs::write(mount.path().join("unified/cgroup.controllers"), "hugetlb").unwrap();
        let mixed = Hierarchies::under(mount.path(), Path::new("/r"));
        let versions: Vec<Version> = mixed.roots.iter().map(|root| root.version).collect();
        assert_eq!(versions, [Version::V1, Version::V1, Version::V2]);
        fs::write(mount.path().join("cgroup.controllers"), "cpu memory").unwrap();
        assert_eq!(Hierarchies::under(mount.path(), Path::new("/r")).roots.len(), 1);
    }
}
