//! How long each step of a Pod's life took, as seen from outside through one watch.
//!
//! The times are the observer's own: what a user with `kubectl get -w` would measure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use api::meta::Meta;
use client::Change;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

/// Watches Pods whose Node is one of ours, or that have none yet.
pub struct Observer {
    node_prefix: String,
    lives: BTreeMap<String, Life>,
    created_to_bound: Vec<Duration>,
    bound_to_ready: Vec<Duration>,
    created_to_ready: Vec<Duration>,
    deleted_to_gone: Vec<Duration>,
}

#[derive(Default)]
struct Life {
    created: Option<Timestamp>,
    bound: Option<Timestamp>,
    ready: Option<Timestamp>,
    deleted: Option<Timestamp>,
}

/// Times by step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub created_to_bound: Times,
    pub bound_to_ready: Times,
    pub created_to_ready: Times,
    pub deleted_to_gone: Times,
}

/// How many, and how long half of them, 99 of 100, and the slowest took at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    pub count: usize,
    pub median: Duration,
    pub p99: Duration,
    pub slowest: Duration,
}

impl Observer {
    pub fn new(node_prefix: &str) -> Observer {
        Observer {
            node_prefix: format!("{node_prefix}-"),
            lives: BTreeMap::new(),
            created_to_bound: Vec::new(),
            bound_to_ready: Vec::new(),
            created_to_ready: Vec::new(),
            deleted_to_gone: Vec::new(),
        }
    }

    /// Takes in one change. A Pod that was there, and further, when the observer came has no times for what it missed.
    pub fn see(&mut self, change: &Change<Pod>, now: Timestamp) {
        if let Some(gone) = &change.before
            && change.after.as_ref().is_none_or(|after| after.uid() != gone.uid())
            && let Some(life) = self.lives.remove(gone.uid())
            && let Some(deleted) = life.deleted
        {
            self.deleted_to_gone.push(between(deleted, now));
        }
        let Some(pod) = &change.after else { return };
        let node = api::pod::node_name(pod);
        if node.is_some_and(|node| !node.starts_with(&self.node_prefix)) {
            self.lives.remove(pod.uid());
            return;
        }
        let life = self.lives.entry(pod.uid().to_owned()).or_default();
        let new = change.before.as_ref().is_none_or(|before| before.uid() != pod.uid());
        if new && node.is_none() {
            life.created = Some(now);
        }
        if node.is_some() && life.bound.is_none() {
            life.bound = Some(now);
            self.created_to_bound.extend(life.created.map(|created| between(created, now)));
        }
        if api::pod::is_ready(pod) && life.ready.is_none() {
            life.ready = Some(now);
            if let (Some(created), Some(bound)) = (life.created, life.bound) {
                self.bound_to_ready.push(between(bound, now));
                self.created_to_ready.push(between(created, now));
            }
        }
        if pod.is_deleting() && life.deleted.is_none() {
            life.deleted = Some(now);
        }
    }

    pub fn report(&self) -> Report {
        Report {
            created_to_bound: Times::of(&self.created_to_bound),
            bound_to_ready: Times::of(&self.bound_to_ready),
            created_to_ready: Times::of(&self.created_to_ready),
            deleted_to_gone: Times::of(&self.deleted_to_gone),
        }
    }
}

impl Times {
    fn of(durations: &[Duration]) -> Times {
        let mut sorted = durations.to_vec();
        sorted.sort();
        let Some(last) = sorted.len().checked_sub(1) else { return Times::default() };
        // The nearest rank.
        let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1).min(last)];
        Times { count: sorted.len(), median: at(50), p99: at(99), slowest: sorted[last] }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("created→bound", &self.created_to_bound),
            ("bound→ready", &self.bound_to_ready),
            ("created→ready", &self.created_to_ready),
            ("deleted→gone", &self.deleted_to_gone),
        ];
        for (i, (step, times)) in lines.into_iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{step} {times}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Times { count, median, p99, slowest } = self;
        let (median, p99, slowest) = (median.as_millis(), p99.as_millis(), slowest.as_millis());
        write!(f, "{count} pods: {median} ms median, {p99} ms p99, {slowest} ms slowest")
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::ObjectKey;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn pod(node: Option<&str>, ready: &str, deleted: bool) -> Arc<Pod> {
        let deleted = if deleted { json!("2026-01-01T00:00:00Z") } else { Value::Null };
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": "p", "uid": "u", "deletionTimestamp": deleted},
                "spec": {"nodeName": node, "containers": []},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap(),
        )
    }

    fn see(observer: &mut Observer, states: &[(i64, Option<Arc<Pod>>)]) {
        let mut before = None;
        for (millis, after) in states {
            let key = ObjectKey::namespaced("ns", "p");
            let change = Change { key, before: before.clone(), after: after.clone() };
            observer.see(&change, Timestamp::from_millisecond(*millis).unwrap());
            before.clone_from(after);
        }
    }

    #[test]
    fn each_step_is_timed_once() {
        let mut observer = Observer::new("hollow");
        let node = Some("hollow-00001");
        see(
            &mut observer,
            &[
                (0, Some(pod(None, "False", false))),
                (20, Some(pod(node, "False", false))),
                (120, Some(pod(node, "True", false))),
                (150, Some(pod(node, "True", false))),
                (200, Some(pod(node, "True", true))),
                (230, None),
            ],
        );
        let report = observer.report();
        let times =
            [report.created_to_bound, report.bound_to_ready, report.created_to_ready, report.deleted_to_gone];
        assert_eq!(
            times.map(|times| (times.count, times.slowest.as_millis())),
            [(1, 20), (1, 100), (1, 120), (1, 30)]
        );
    }

    #[test]
    fn pods_of_other_nodes_and_what_was_missed_are_not_counted() {
        let mut observer = Observer::new("hollow");
        see(
            &mut observer,
            &[(0, Some(pod(None, "False", false))), (5, Some(pod(Some("real"), "True", false)))],
        );
        assert_eq!(observer.report(), Report::default());
        let mut observer = Observer::new("hollow");
        see(&mut observer, &[(0, Some(pod(Some("hollow-00001"), "True", false)))]);
        assert_eq!(observer.report(), Report::default());
    }

    #[test]
    fn ranks_are_the_nearest() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let times = Times::of(&times);
        assert_eq!(
            (times.median.as_millis(), times.p99.as_millis(), times.slowest.as_millis()),
            (100, 198, 200)
        );
    }
}
