//! What this machine is: processors, memory, disk, kernel, names, addresses.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use api::quantity::Quantity as Amount;
use k8s_openapi::api::core::v1::{ContainerImage, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use podmachine::pressure::{Limits, Signal};

/// Upstream's nodeStatusMaxImages.
const IMAGES_MAX: usize = 50;
/// Any address far away: no packet is sent to find out which of ours would be used.
const FAR_ADDRESS: &str = "192.0.2.1:9";

/// Read once when the agent starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub cpus: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// Kept from Pods by the hard eviction thresholds.
    pub memory_reserved_bytes: u64,
    pub disk_reserved_bytes: u64,
    /// Page size in KiB → bytes of all pages.
    pub hugepages: BTreeMap<u64, u64>,
    /// As in `kubernetes.io/arch`.
    pub architecture: String,
    pub kernel_version: String,
    pub os_image: String,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
}

/// A file system's space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub total_bytes: u64,
    pub available_bytes: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

impl Facts {
    /// Reads them. What cannot be read is empty: a node runs without a name for its hardware.
    pub fn read(root_dir: &Path, limits: &Limits) -> Facts {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let uname = rustix::system::uname();
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let os_image = os_release
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))
            .map(|name| name.trim_matches('"').to_owned());
        let memory_bytes = meminfo("MemTotal").unwrap_or(0);
        let disk_bytes = disk_of(root_dir).map_or(0, |disk| disk.total_bytes);
        let reserved = |signal: Signal, all: u64| {
            let all = Amount::from_bytes(i64::try_from(all).unwrap_or(i64::MAX));
            u64::try_from(limits.reserved(signal, all).bytes()).unwrap_or(0)
        };
        Facts {
            cpus: online_cpus(&line("/sys/devices/system/cpu/online")).unwrap_or(1),
            memory_bytes,
            disk_bytes,
            memory_reserved_bytes: reserved(Signal::MemoryAvailable, memory_bytes),
            disk_reserved_bytes: reserved(Signal::NodefsAvailable, disk_bytes),
            hugepages: hugepages(),
            architecture: architecture().to_owned(),
            kernel_version: uname.release().to_string_lossy().into_owned(),
            os_image: os_image.unwrap_or_else(|| "Linux".to_owned()),
            machine_id: line("/etc/machine-id"),
            system_uuid: line("/sys/class/dmi/id/product_uuid"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
        }
    }

    pub fn capacity(&self, pods_max: u32) -> BTreeMap<String, Quantity> {
        self.amounts(self.memory_bytes, self.disk_bytes, pods_max)
    }

    /// What is left for Pods.
    pub fn allocatable(&self, pods_max: u32) -> BTreeMap<String, Quantity> {
        let memory = self.memory_bytes.saturating_sub(self.memory_reserved_bytes);
        self.amounts(memory, self.disk_bytes.saturating_sub(self.disk_reserved_bytes), pods_max)
    }

    /// The same as numbers.
    pub fn allocatable_amounts(&self, pods_max: u32) -> BTreeMap<String, Amount> {
        let amounts = self.allocatable(pods_max);
        amounts.into_iter().filter_map(|(name, text)| Some((name, Amount::parse(&text.0).ok()?))).collect()
    }

    fn amounts(&self, memory_bytes: u64, disk_bytes: u64, pods_max: u32) -> BTreeMap<String, Quantity> {
        let mut amounts = BTreeMap::from([
            ("cpu".to_owned(), Quantity(self.cpus.to_string())),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory_bytes / 1024))),
            ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", disk_bytes / 1024))),
            ("pods".to_owned(), Quantity(pods_max.to_string())),
        ]);
        for (kib, bytes) in &self.hugepages {
            let size =
                if kib % (1 << 20) == 0 { format!("{}Gi", kib >> 20) } else { format!("{}Mi", kib >> 10) };
            amounts.insert(format!("hugepages-{size}"), Quantity(bytes.to_string()));
        }
        amounts
    }

    pub fn node_info(&self, version: &str, runtime: &str) -> NodeSystemInfo {
        NodeSystemInfo {
            architecture: self.architecture.clone(),
            boot_id: self.boot_id.clone(),
            container_runtime_version: runtime.to_owned(),
            kernel_version: self.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: version.to_owned(),
            machine_id: self.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: self.os_image.clone(),
            system_uuid: self.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }
    }
}

/// Largest first, as the scheduler's image locality wants them.
pub fn images(mut images: Vec<cri::Image>) -> Vec<ContainerImage> {
    images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.id.cmp(&b.id)));
    images
        .into_iter()
        .take(IMAGES_MAX)
        .map(|image| {
            let names: Vec<String> = image.repo_digests.into_iter().chain(image.repo_tags).collect();
            ContainerImage { names: Some(names), size_bytes: i64::try_from(image.size_bytes).ok() }
        })
        .collect()
}

pub fn memory_total_bytes() -> Option<u64> {
    meminfo("MemTotal")
}

pub fn memory_available_bytes() -> Option<u64> {
    meminfo("MemAvailable")
}

/// The file system of the root.
pub fn disk() -> Option<Disk> {
    disk_of(Path::new("/"))
}

/// How many more processes this machine may have, and how many in all.
pub fn processes() -> Option<(u64, u64)> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let most = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?);
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let running: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some((most.saturating_sub(running), most))
}

/// The file system that a folder lies on.
pub fn disk_of(folder: &Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(Disk {
        total_bytes: found.f_blocks * found.f_frsize,
        available_bytes: found.f_bavail * found.f_frsize,
        inodes: found.f_files,
        inodes_free: found.f_ffree,
    })
}

/// The address that reaches others: what the Node object and Pods on the node's network are told.
pub fn find_node_ip() -> IpAddr {
    let asked = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect(FAR_ADDRESS)?;
        socket.local_addr()
    });
    match asked {
        Ok(address) if !address.ip().is_unspecified() => address.ip(),
        // A machine without a way out is reached on itself alone.
        _ => IpAddr::from([127, 0, 0, 1]),
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = value.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// `0-3,6` → 5
fn online_cpus(ranges: &str) -> Option<u64> {
    ranges.split(',').try_fold(0, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(count + last.checked_sub(first)? + 1)
    })
}

fn hugepages() -> BTreeMap<u64, u64> {
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let pages: u64 =
                fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
            Some((kib, pages * kib * 1024))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_from_ranges() {
        assert_eq!(online_cpus("0-3,6"), Some(5));
        assert_eq!(online_cpus("0"), Some(1));
        assert_eq!(online_cpus("x"), None);
        assert_eq!(online_cpus("3-1"), None);
    }

    #[test]
    fn allocatable_is_what_the_node_does_not_keep() {
        let facts = Facts {
            cpus: 2,
            memory_bytes: 1 << 30,
            disk_bytes: 1 << 30,
            memory_reserved_bytes: 100 << 20,
            disk_reserved_bytes: 1 << 29,
            hugepages: BTreeMap::from([(2048, 0), (1 << 20, 0)]),
            ..Facts::default()
        };
        let (all, free) = (facts.capacity(110), facts.allocatable(110));
        assert_eq!((all["cpu"].0.as_str(), all["memory"].0.as_str()), ("2", "1048576Ki"));
        assert_eq!(free["memory"].0, "946176Ki");
        assert_eq!(free["ephemeral-storage"].0, "524288Ki");
        assert_eq!(free["pods"].0, "110");
        assert!(all.contains_key("hugepages-2Mi") && all.contains_key("hugepages-1Gi"));
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        let facts = Facts::read(Path::new("/"), &Limits::default());
        assert_eq!(facts.memory_reserved_bytes, 100 << 20);
        assert_eq!(facts.disk_reserved_bytes, facts.disk_bytes / 10);
        assert!(facts.cpus > 0 && facts.memory_bytes > 0 && !facts.kernel_version.is_empty());
    }
}
