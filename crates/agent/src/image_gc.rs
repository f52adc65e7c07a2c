//! Image garbage collection carried out: lists images, removes what [`podmachine::image_gc`] says, tells what fails.
//!
//! Upstream: StartGarbageCollection, every 5 minutes. What must not go: images of containers that are there, dead or
//! alive, the sandbox's own, pinned ones, and those that the Pods of this node name: nothing goes before every source of
//! Pods has said what it wants, from its disk if need be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::events::Severity;
use cri::Filter;
use parking_lot::Mutex;
use podmachine::image_gc::{Plan, Records, Seen, Space, too_little};
use process::Shutdown;

use crate::context::NodeContext;
use crate::pause;
use crate::pressure::measure;

/// Upstream's ImageGCPeriod.
const LOOK_SECONDS: u64 = 300;

/// Keeps the images of this node.
pub struct Images {
    context: Arc<NodeContext>,
    records: Mutex<Records>,
    /// One at a time: two would remove the same images.
    turn: tokio::sync::Mutex<()>,
}

/// What was freed, and what was not removed.
#[derive(Debug, Default)]
struct Freed {
    bytes: u64,
    faults: Vec<String>,
}

impl Images {
    pub fn new(context: Arc<NodeContext>) -> Images {
        Images { context, records: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Until the shutdown.
    pub async fn run(self: Arc<Images>, shutdown: Shutdown) {
        let mut failed_before = false;
        loop {
            let collected = tokio::select! {
                // Each removal is whole by itself.
                () = shutdown.cancelled() => return,
                collected = self.collect() => collected,
            };
            if let Err(fault) = &collected {
                tracing::warn!(fault, "images are not collected");
                // COMPAT(kubelet): one failure may be a runtime that is not up yet; a second in a row is told.
                if failed_before {
                    self.context.say_of_node(Severity::Warning, "ImageGCFailed", fault);
                }
            }
            failed_before = collected.is_err();
            tokio::select! {
                // A timer.
                () = shutdown.cancelled() => return,
                () = self.context.clock.sleep(Duration::from_secs(LOOK_SECONDS)) => {}
            }
        }
    }

    /// Removes what is too old, and what the disk has no room for.
    async fn collect(&self) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        let policy = self.context.image_policy;
        if !self.see().await? {
            return Ok(());
        }
        let now = self.context.clock.now();
        let too_old = self.records.lock().too_old(&policy, self.context.started_at, now);
        let freed = self.remove(too_old).await;
        if !freed.faults.is_empty() {
            return Err(freed.faults.join("; "));
        }
        let disk = measure::image_disk(&self.context).await.ok_or("failed to get image stats")?;
        if disk.total_bytes == 0 {
            let fault = "invalid capacity 0 on image filesystem";
            self.context.say_of_node(Severity::Warning, "InvalidDiskCapacity", fault);
            return Err(fault.to_owned());
        }
        let space = Space { capacity_bytes: disk.total_bytes, available_bytes: disk.available_bytes };
        let plan = self.records.lock().for_space(&policy, space, now);
        let wanted = plan.wanted_bytes;
        let freed = self.remove(plan).await;
        if !freed.faults.is_empty() {
            return Err(format!(
                "wanted to free {wanted} bytes, but freed {} bytes space with errors in image deletion: {}",
                freed.bytes,
                freed.faults.join("; ")
            ));
        }
        if freed.bytes < wanted {
            let fault = too_little(wanted, freed.bytes);
            self.context.say_of_node(Severity::Warning, "FreeDiskSpaceFailed", &fault);
            return Err(fault);
        }
        Ok(())
    }

    /// Removes all that nobody uses, for a node that is short of disk.
    pub async fn free_all_unused(&self) {
        let _turn = self.turn.lock().await;
        match self.see().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(fault) => return tracing::warn!(fault, "images cannot be listed"),
        }
        let plan = self.records.lock().all_unused(&self.context.image_policy, self.context.clock.now());
        let freed = self.remove(plan).await;
        tracing::info!(
            bytes = freed.bytes,
            faults = freed.faults.len(),
            "images that nobody uses were removed"
        );
    }

    /// Lists; `false` while it is not known what the Pods of this node need.
    async fn see(&self) -> Result<bool, String> {
        let Some(needed) = self.context.board.needed_images() else { return Ok(false) };
        let runtime = &self.context.runtime;
        let images = runtime.list_images().await.map_err(|error| error.to_string())?;
        let containers =
            runtime.list_containers(&Filter::default()).await.map_err(|error| error.to_string())?;
        let mut used: BTreeSet<String> =
            containers.into_iter().flat_map(|one| [one.image, one.image_ref]).collect();
        used.insert(pause::IMAGE.to_owned());
        for image in needed.iter() {
            // What the runtime knows by this name, however it was written.
            match runtime.image_status(image).await {
                Ok(Some(found)) => drop(used.insert(found.id)),
                Ok(None) | Err(cri::Error::Refused { .. } | cri::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let seen: Vec<Seen> = images
            .into_iter()
            .map(|image| Seen {
                is_used: used.contains(&image.id)
                    || image.repo_tags.iter().chain(&image.repo_digests).any(|name| used.contains(name)),
                id: image.id,
                size_bytes: image.size_bytes,
                is_pinned: image.pinned,
            })
            .collect();
        self.records.lock().see(&seen, self.context.clock.now());
        Ok(true)
    }

    async fn remove(&self, plan: Plan) -> Freed {
        let mut freed = Freed::default();
        for image in plan.images {
            if freed.bytes >= plan.wanted_bytes {
                break;
            }
            tracing::info!(image = image.id, bytes = image.size_bytes, "image is removed");
            match self.context.runtime.remove_image(&image.id).await {
                Ok(()) => freed.bytes = freed.bytes.saturating_add(image.size_bytes),
                Err(error) => freed.faults.push(error.to_string()),
            }
        }
        freed
    }
}
