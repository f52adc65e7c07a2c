//! What the node and its containers use now: one look, for `/stats/summary` and the metrics.
//!
//! Containers' figures are the runtime's, the node's are the kernel's. A container without a figure has none; nothing is
//! guessed. Upstream: pkg/kubelet/stats (CRI provider), cAdvisor for the node.

use std::collections::BTreeMap;

use cri::Filter;
use jiff::Timestamp;
use parking_lot::Mutex;
use podmachine::labels;

use crate::context::NodeContext;
use crate::node::facts::{self, Disk};

/// `/proc/stat` counts in hundredths of a second on every architecture that Linux has users of.
const TICK_NANOSECONDS: u64 = 10_000_000;
/// Containers whose last figure is remembered, for rates: far above what a node runs.
const REMEMBERED_MAX: usize = 4_096;

/// The node and its Pods at one moment.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    pub at: Timestamp,
    pub node: NodeUsage,
    pub pods: Vec<PodUsage>,
}

#[derive(Debug, Clone, Default)]
pub struct NodeUsage {
    pub cpu_core_nanoseconds: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    pub disk: Option<Disk>,
    pub images_used_bytes: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct PodUsage {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub started_at: Option<Timestamp>,
    pub containers: Vec<ContainerUsage>,
}

#[derive(Debug, Clone, Default)]
pub struct ContainerUsage {
    pub name: String,
    pub id: String,
    pub image: String,
    pub started_at: Option<Timestamp>,
    pub at: Timestamp,
    pub cpu_core_nanoseconds: Option<u64>,
    /// Since the look before; `None` at the first.
    pub cpu_nanocores: Option<u64>,
    pub memory_working_set_bytes: Option<u64>,
    pub memory_usage_bytes: Option<u64>,
    pub memory_rss_bytes: Option<u64>,
    pub page_faults: Option<u64>,
    pub major_page_faults: Option<u64>,
    pub writable_layer_bytes: Option<u64>,
    pub writable_layer_inodes: Option<u64>,
}

impl PodUsage {
    /// The sum over its containers; `None` if none of them has a figure.
    pub fn sum(&self, figure: impl Fn(&ContainerUsage) -> Option<u64>) -> Option<u64> {
        self.containers.iter().filter_map(figure).reduce(u64::saturating_add)
    }
}

/// Figures of the look before, for rates.
#[derive(Debug, Default)]
pub struct Rates(Mutex<BTreeMap<String, (Timestamp, u64)>>);

impl Rates {
    /// Nanocores since the figure before.
    fn of(&self, id: &str, at: Timestamp, nanoseconds: u64) -> Option<u64> {
        let mut known = self.0.lock();
        let before = known.get(id).copied();
        if before.is_none_or(|(when, _)| when < at) && (before.is_some() || known.len() < REMEMBERED_MAX) {
            known.insert(id.to_owned(), (at, nanoseconds));
        }
        let (when, count) = before?;
        let passed = u128::try_from(at.duration_since(when).as_nanos()).ok().filter(|passed| *passed > 0)?;
        let used = u128::from(nanoseconds.checked_sub(count)?);
        u64::try_from(used * 1_000_000_000 / passed).ok()
    }

    fn retain(&self, ids: &[&str]) {
        self.0.lock().retain(|id, _| ids.contains(&id.as_str()));
    }
}

/// Looks.
pub async fn look(context: &NodeContext, rates: &Rates) -> cri::Result<Usage> {
    let at = context.clock.now();
    let stats = context.runtime.list_container_stats(&Filter::default()).await?;
    let images = context.runtime.image_filesystem().await.unwrap_or_default();
    let mut usage = Usage { at, node: node(), pods: Vec::new() };
    usage.node.images_used_bytes = images.iter().map(|one| one.used_bytes).reduce(u64::saturating_add);
    let mut by_uid: BTreeMap<String, BTreeMap<String, cri::ContainerStats>> = BTreeMap::new();
    for one in stats {
        let label = |key: &str| one.labels.get(key).cloned().unwrap_or_default();
        let (uid, name) = (label(labels::POD_UID), label(labels::CONTAINER_NAME));
        if !uid.is_empty() && !name.is_empty() {
            by_uid.entry(uid).or_default().insert(name, one);
        }
    }
    for row in context.board.all() {
        let meta = &row.pod.metadata;
        let uid = meta.uid.clone().unwrap_or_default();
        let Some(stats) = by_uid.get(&uid) else { continue };
        let lists = [&row.status.container_statuses, &row.status.init_container_statuses];
        let statuses = lists.into_iter().flatten().flatten();
        let mut containers = Vec::new();
        for status in statuses {
            let Some(found) = stats.get(&status.name) else { continue };
            let running = status.state.as_ref().and_then(|state| state.running.as_ref());
            containers.push(container(
                found,
                status,
                running.and_then(|r| r.started_at.as_ref().map(|t| t.0)),
                at,
                rates,
            ));
        }
        usage.pods.push(PodUsage {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid,
            started_at: row.status.start_time.as_ref().map(|time| time.0),
            containers,
        });
    }
    let ids: Vec<&str> =
        usage.pods.iter().flat_map(|pod| &pod.containers).map(|container| container.id.as_str()).collect();
    rates.retain(&ids);
    Ok(usage)
}

fn container(
    found: &cri::ContainerStats,
    status: &k8s_openapi::api::core::v1::ContainerStatus,
    started_at: Option<Timestamp>,
    now: Timestamp,
    rates: &Rates,
) -> ContainerUsage {
    let id = found.id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
    let at = found.at.unwrap_or(now);
    ContainerUsage {
        name: status.name.clone(),
        image: status.image.clone(),
        started_at,
        at,
        cpu_core_nanoseconds: found.cpu_core_nanoseconds,
        cpu_nanocores: found.cpu_core_nanoseconds.and_then(|count| rates.of(&id, at, count)),
        memory_working_set_bytes: found.memory_working_set_bytes,
        memory_usage_bytes: found.memory_usage_bytes,
        memory_rss_bytes: found.memory_rss_bytes,
        page_faults: found.page_faults,
        major_page_faults: found.major_page_faults,
        writable_layer_bytes: found.writable_layer_bytes,
        writable_layer_inodes: found.writable_layer_inodes,
        id,
    }
}

fn node() -> NodeUsage {
    NodeUsage {
        cpu_core_nanoseconds: std::fs::read_to_string("/proc/stat").ok().and_then(|text| busy(&text)),
        memory_total_bytes: facts::memory_total_bytes(),
        memory_available_bytes: facts::memory_available_bytes(),
        disk: facts::disk(),
        images_used_bytes: None,
    }
}

/// Time in which some processor was busy: all but idle and waiting for a disk. Guests are in the user's time already.
fn busy(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, irq, soft_irq, steal] = ticks.as_slice() else { return None };
    let busy = user + nice + system + irq + soft_irq + steal;
    busy.checked_mul(TICK_NANOSECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_all_but_idle_and_waiting() {
        let stat = "cpu  100 20 30 9000 500 1 2 3 40 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy(stat), Some(156 * TICK_NANOSECONDS));
        assert_eq!(busy("cpu 1 2"), None);
    }

    #[test]
    fn rate_is_what_was_used_since_the_look_before() {
        let rates = Rates::default();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        assert_eq!(rates.of("a", at(10), 1_000_000_000), None, "the first look has no rate");
        assert_eq!(rates.of("a", at(20), 6_000_000_000), Some(500_000_000), "half a processor");
        assert_eq!(rates.of("a", at(20), 6_000_000_000), None, "the same figure again");
        assert_eq!(rates.of("a", at(30), 0), None, "a counter that went back is another container's");
        rates.retain(&[]);
        assert_eq!(rates.of("a", at(40), 1), None);
    }
}
