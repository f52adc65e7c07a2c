//! What the agent counts.

use process::Metrics;
use process::metrics::{Counter, EncodeLabelSet, Family, Gauge};

/// How an action ended, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ActionLabels {
    pub action: String,
    /// `done` or `failed`.
    pub outcome: String,
}

/// The agent's own metrics; clones share them.
#[derive(Clone)]
pub struct Measures {
    /// Pods that have a worker.
    pub pods: Gauge,
    /// Manifests that are refused, and sources that cannot be read.
    pub manifest_faults: Gauge,
    pub actions: Family<ActionLabels, Counter>,
}

impl Measures {
    pub fn register(metrics: &Metrics) -> Measures {
        Measures {
            pods: metrics.register(
                "agent_pods",
                "Pods on this node, those on their way out included",
                Gauge::default(),
            ),
            manifest_faults: metrics.register(
                "agent_static_manifest_faults",
                "Faults of static Pods' manifests and of where they come from; their last good Pods keep running",
                Gauge::default(),
            ),
            actions: metrics.register("agent_actions", "Actions on Pods that have ended", Family::default()),
        }
    }

    pub fn ended(&self, action: &'static str, failed: bool) {
        let outcome = if failed { "failed" } else { "done" };
        let labels = ActionLabels { action: action.to_owned(), outcome: outcome.to_owned() };
        self.actions.get_or_create(&labels).inc();
    }
}
