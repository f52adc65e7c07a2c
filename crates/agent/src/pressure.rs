//! Node pressure carried out: measures, tells the node's conditions, reclaims, and ends one Pod after the other.
//!
//! What is short, whether that counts, and who goes is [`podmachine::pressure`]'s. Upstream: the kubelet's eviction
//! manager: a look every [`LOOK_SECONDS`], and after a Pod has gone at once another.
//! It does not know: emptyDir limits of single Pods ([`crate::eviction`]).

pub mod measure;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::events::Severity;
use cri::Filter;
use podmachine::pressure::reclaim::{self, Dead};
use podmachine::pressure::{Candidate, Limits, Met, Signal, Usage, Watch, victim};
use podmachine::{State, labels};
use process::Shutdown;
use tokio::sync::mpsc;

use self::measure::Disks;
use crate::board::Row;
use crate::context::NodeContext;
use crate::eviction::Eviction;
use crate::image_gc::Images;

/// Upstream's monitoring interval.
const LOOK_SECONDS: u64 = 10;
/// Upstream's podCleanupTimeout: how long one Pod's end is waited for before the node is looked at again.
const END_WAIT_SECONDS: u64 = 30;

/// Keeps the node from running out of what its Pods need.
pub struct PressureKeeper {
    context: Arc<NodeContext>,
    images: Arc<Images>,
    evictions: mpsc::Sender<Eviction>,
    disks: Disks,
    watch: Watch,
}

impl PressureKeeper {
    pub fn new(
        context: Arc<NodeContext>,
        images: Arc<Images>,
        evictions: mpsc::Sender<Eviction>,
    ) -> PressureKeeper {
        let disks = Disks::of(&context.root_dir);
        PressureKeeper { context, images, evictions, disks, watch: Watch::default() }
    }

    /// Until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        tokio::select! {
            // What was sent is with the list of Pods; a look that is cut off is the next start's.
            () = shutdown.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&mut self) {
        loop {
            // One Pod goes at a time: each may be enough.
            while let Some(uid) = self.look().await {
                self.wait_for_end(&uid).await;
            }
            self.context.clock.sleep(Duration::from_secs(LOOK_SECONDS)).await;
        }
    }

    /// One look; the Pod that was told to end.
    async fn look(&mut self) -> Option<String> {
        let context = Arc::clone(&self.context);
        let limits = &context.limits;
        let readings = self.disks.readings(&context).await;
        let met = self.watch.look(limits, &readings, context.clock.now());
        context.pressure.send_if_modified(|told| {
            let news = told != self.watch.conditions();
            if news {
                told.clone_from(self.watch.conditions());
            }
            news
        });
        let met = met?;
        let resource = met.signal.resource().name();
        tracing::warn!(signal = met.signal.name(), threshold = %met.threshold, available = %met.available, "the node is short of {resource}");
        context.say_of_node(
            Severity::Warning,
            "EvictionThresholdMet",
            &format!("Attempting to reclaim {resource}"),
        );
        if reclaim::helps(met.signal, self.disks.images_have_their_own()) {
            self.remove_dead_containers().await;
            self.images.free_all_unused().await;
            if reclaim::suffices(limits, &self.disks.readings(&context).await) {
                return None;
            }
        }
        let eviction = self.choose(&met, limits).await?;
        let uid = eviction.uid.clone();
        // Nobody listens only when the agent ends.
        self.evictions.send(eviction).await.ok()?;
        Some(uid)
    }

    async fn choose(&self, met: &Met, limits: &Limits) -> Option<Eviction> {
        let rows: Vec<Row> =
            self.context.board.all().into_iter().filter(|row| row.state == State::Syncing).collect();
        let usages = self.usages(met.signal, &rows).await;
        let candidates: Vec<Candidate<'_>> = rows
            .iter()
            .map(|row| Candidate {
                pod: &row.pod,
                usage: row.pod.metadata.uid.as_ref().and_then(|uid| usages.get(uid)),
            })
            .collect();
        let Some(gone) = victim(met, limits, &candidates) else {
            tracing::warn!(pods = rows.len(), "the node is under pressure and no Pod may be evicted");
            return None;
        };
        Some(Eviction { uid: gone.uid, message: gone.message, grace_seconds: gone.grace_seconds })
    }

    /// What each Pod uses of what is short. A runtime that does not answer leaves all unknown.
    async fn usages(&self, signal: Signal, rows: &[Row]) -> BTreeMap<String, Usage> {
        let stats = match signal {
            Signal::PidAvailable => Vec::new(),
            _ => self.context.runtime.list_container_stats(&Filter::default()).await.unwrap_or_default(),
        };
        let (context, rows) = (Arc::clone(&self.context), rows.to_vec());
        let own = self.disks.images_have_their_own();
        // Folders are walked: that may take long, and blocks.
        let counted = tokio::task::spawn_blocking(move || {
            let usage = |row: &Row| {
                let uid = row.pod.metadata.uid.clone()?;
                let of_pod = |one: &&cri::ContainerStats| one.labels.get(labels::POD_UID) == Some(&uid);
                let own_stats: Vec<&cri::ContainerStats> = stats.iter().filter(of_pod).collect();
                let usage = measure::usage(&context, signal, own, &row.pod, &own_stats)?;
                Some((uid, usage))
            };
            rows.iter().filter_map(usage).collect()
        });
        counted.await.unwrap_or_default()
    }

    async fn remove_dead_containers(&self) {
        let Ok(all) = self.context.runtime.list_containers(&Filter::default()).await else { return };
        let of = |container: cri::Container| {
            let row = container.labels.get(labels::POD_UID).and_then(|uid| self.context.board.get(uid));
            Dead { id: container.id.0, pod: row.map(|row| (row.state, row.source)) }
        };
        let dead = all.into_iter().filter(|one| one.state == cri::ContainerState::Exited);
        let dead: Vec<Dead> = dead.map(of).collect();
        for id in reclaim::removable(&dead) {
            if let Err(error) = self.context.runtime.remove_container(&id.into()).await {
                tracing::warn!(container = id, %error, "dead container is not removed");
            }
        }
    }

    async fn wait_for_end(&self, uid: &str) {
        let mut version = self.context.board.version();
        let ended = async {
            while self.context.board.get(uid).is_some_and(|row| row.state < State::Finished) {
                if version.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            // The node is looked at again either way.
            () = ended => {}
            () = self.context.clock.sleep(Duration::from_secs(END_WAIT_SECONDS)) => {
                tracing::warn!(uid, "an evicted Pod takes long to end");
            }
        }
    }
}
