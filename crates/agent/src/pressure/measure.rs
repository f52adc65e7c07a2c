//! How much is left on this node, and what a Pod uses of it.
//!
//! DIFFERS(memory-available): memory is what the kernel itself says is available (MemAvailable); upstream subtracts the
//! working set of the root control group, which counts file caches that the kernel gives back.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use api::quantity::Quantity;
use cri::ContainerStats;
use k8s_openapi::api::core::v1::Pod;
use podmachine::labels;
use podmachine::pressure::{Reading, Readings, Resource, Signal, Usage};

use crate::context::NodeContext;
use crate::eviction::{Used, used};
use crate::node::facts::{self, Disk};
use crate::spec::PodId;

/// Where the node's own files and its images lie.
#[derive(Debug, Clone)]
pub struct Disks {
    node: PathBuf,
    /// As the runtime says once it is asked; it does not move while it runs.
    images: Option<PathBuf>,
}

impl Disks {
    pub fn of(root_dir: &Path) -> Disks {
        Disks { node: root_dir.to_path_buf(), images: None }
    }

    /// Whether images lie on a disk of their own.
    pub fn images_have_their_own(&self) -> bool {
        let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
        let images = self.images.as_deref().and_then(device);
        images.is_some() && images != device(&self.node)
    }

    pub async fn readings(&mut self, context: &NodeContext) -> Readings {
        if self.images.is_none() {
            self.images = image_folder(context).await;
        }
        let disks = self.clone();
        tokio::task::spawn_blocking(move || disks.read()).await.unwrap_or_default()
    }

    fn read(&self) -> Readings {
        let mut readings = BTreeMap::new();
        let memory = facts::memory_available_bytes().zip(facts::memory_total_bytes());
        readings.extend(memory.map(|(free, all)| (Signal::MemoryAvailable, bytes(free, all))));
        readings.extend(facts::processes().map(|(free, all)| (Signal::PidAvailable, count(free, all))));
        let mut take = |path: &Path, available: Signal, inodes: Signal| {
            let Some(disk) = facts::disk_of(path) else { return };
            readings.insert(available, bytes(disk.available_bytes, disk.total_bytes));
            // File systems that make inodes as they need them have none to run out of.
            if disk.inodes > 0 {
                readings.insert(inodes, count(disk.inodes_free, disk.inodes));
            }
        };
        take(&self.node, Signal::NodefsAvailable, Signal::NodefsInodesFree);
        if let Some(images) = &self.images {
            take(images, Signal::ImagefsAvailable, Signal::ImagefsInodesFree);
        }
        readings
    }
}

/// The folder that the runtime keeps images in.
pub async fn image_folder(context: &NodeContext) -> Option<PathBuf> {
    let found = context.runtime.image_filesystem().await.ok()?;
    found.into_iter().next().map(|one| PathBuf::from(one.mountpoint)).filter(|path| path.exists())
}

/// The disk that images lie on.
pub async fn image_disk(context: &NodeContext) -> Option<Disk> {
    let folder = image_folder(context).await?;
    tokio::task::spawn_blocking(move || facts::disk_of(&folder)).await.ok()?
}

/// What a Pod uses; `None`: not known.
pub fn usage(
    context: &NodeContext,
    signal: Signal,
    images_have_their_own: bool,
    pod: &Pod,
    stats: &[&ContainerStats],
) -> Option<Usage> {
    match signal.resource() {
        Resource::Memory => memory(stats),
        Resource::Pids => {
            let cgroups = context.cgroups.as_ref()?;
            let running = cgroups.processes(&cgroups.pod(&PodId::of(pod).uid)).len();
            Some(Usage { total: u64::try_from(running).unwrap_or(u64::MAX), containers: Vec::new() })
        }
        Resource::EphemeralStorage | Resource::Inodes => {
            let of_images = matches!(signal, Signal::ImagefsAvailable | Signal::ImagefsInodesFree);
            let parts = Parts {
                layers: !images_have_their_own || of_images,
                files: !images_have_their_own || !of_images,
            };
            disk(context, signal.resource(), parts, pod, stats)
        }
    }
}

fn memory(stats: &[&ContainerStats]) -> Option<Usage> {
    let one = |stats: &&ContainerStats| Some((name(stats), stats.memory_working_set_bytes?));
    let mut containers: Vec<(String, u64)> = stats.iter().filter_map(one).collect();
    containers.sort();
    let total = containers.iter().map(|(_, used)| *used).reduce(u64::saturating_add)?;
    Some(Usage { total, containers })
}

/// Which of a Pod's files lie on the disk that is short.
#[derive(Clone, Copy)]
struct Parts {
    /// What its containers wrote beside their images.
    layers: bool,
    /// Volumes and logs.
    files: bool,
}

fn disk(
    context: &NodeContext,
    resource: Resource,
    parts: Parts,
    pod: &Pod,
    stats: &[&ContainerStats],
) -> Option<Usage> {
    let id = PodId::of(pod);
    let of = |used: Used| if resource == Resource::Inodes { used.inodes } else { used.bytes };
    let mut by_container: BTreeMap<String, u64> = BTreeMap::new();
    if parts.layers {
        for one in stats {
            let used =
                Used { bytes: one.writable_layer_bytes?, inodes: one.writable_layer_inodes.unwrap_or(0) };
            by_container.insert(name(one), of(used));
        }
    }
    let mut total = 0_u64;
    if parts.files {
        let logs = id.log_folder(&context.log_root);
        for container in pod.spec.iter().flat_map(api::pod::all_containers) {
            let used = of(used(&logs.join(&container.name)));
            let so_far = by_container.entry(container.name.clone()).or_default();
            *so_far = so_far.saturating_add(used);
        }
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        for volume in volumes {
            let on_disk = |source: &&k8s_openapi::api::core::v1::EmptyDirVolumeSource| {
                source.medium.as_deref().unwrap_or_default().is_empty()
            };
            if volume.empty_dir.as_ref().filter(on_disk).is_some() {
                total = total.saturating_add(of(used(&context.volumes.empty_dir(&id.uid, &volume.name))));
            }
        }
    }
    total = by_container.values().fold(total, |sum, used| sum.saturating_add(*used));
    Some(Usage { total, containers: by_container.into_iter().collect() })
}

fn name(stats: &ContainerStats) -> String {
    stats.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_else(|| stats.name.clone())
}

fn bytes(available: u64, capacity: u64) -> Reading {
    let amount = |number: u64| Quantity::from_bytes(i64::try_from(number).unwrap_or(i64::MAX));
    Reading { available: amount(available), capacity: amount(capacity) }
}

fn count(available: u64, capacity: u64) -> Reading {
    let amount = |number: u64| Quantity::from_units(i64::try_from(number).unwrap_or(i64::MAX));
    Reading { available: amount(available), capacity: amount(capacity) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_measured_and_its_images_lie_where_the_node_does() {
        let folder = tempfile::tempdir().unwrap();
        let disks = Disks { images: Some(folder.path().join("images")), ..Disks::of(folder.path()) };
        std::fs::create_dir(folder.path().join("images")).unwrap();
        assert!(!disks.images_have_their_own());
        let readings = disks.read();
        for signal in
            [Signal::MemoryAvailable, Signal::NodefsAvailable, Signal::ImagefsAvailable, Signal::PidAvailable]
        {
            let reading = readings[&signal];
            assert!(reading.available > Quantity::ZERO, "{}", signal.name());
            assert!(reading.available <= reading.capacity, "{}", signal.name());
        }
        let proc = Disks { images: Some(PathBuf::from("/proc")), ..disks };
        assert!(proc.images_have_their_own());
    }

    #[test]
    fn memory_of_a_pod_is_its_containers_and_unknown_without_one() {
        let stats = |name: &str, used| ContainerStats {
            name: name.to_owned(),
            memory_working_set_bytes: used,
            ..ContainerStats::default()
        };
        let (a, b) = (stats("b", Some(2)), stats("a", Some(3)));
        let usage = memory(&[&a, &b]).unwrap();
        assert_eq!((usage.total, usage.containers), (5, vec![("a".to_owned(), 3), ("b".to_owned(), 2)]));
        assert_eq!(memory(&[&stats("a", None)]), None);
    }
}
