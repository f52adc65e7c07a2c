//! Which Pod is next: active, backing off, waiting for a change, or gated. Pure; the time is an argument.
//!
//! Active Pods come by priority, then in the order in which they came. A Pod that did not fit waits for news that may
//! change the answer ([`placement::Waiting`]); Pods that wait for certain Nodes are found by Node, so that a Node's change
//! costs the Pods that wait for it and those that wait for other Pods wherever they are. Whatever it waits for, a Pod is
//! tried again after [`FLUSH_SECONDS`].
//! Upstream: `internal/queue.PriorityQueue` with queueing hints.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::ObjectKey;
use client::backoff::Backoff;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use placement::{NamespaceLabels, News, Reach};

use crate::decision::{Until, Where};

/// Upstream's podInitialBackoffSeconds and podMaxBackoffSeconds.
pub const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
/// Upstream's podMaxInUnschedulablePodsDuration: a wake-up that was missed costs this much at most.
pub const FLUSH_SECONDS: i64 = 300;

#[derive(Default)]
pub struct PodQueue {
    entries: BTreeMap<ObjectKey, Entry>,
    active: BTreeSet<(Reverse<i32>, u64, ObjectKey)>,
    /// Backing off, by the time at which the Pod is active again; and waiting, by the time of its flush.
    due: BTreeSet<(Timestamp, ObjectKey)>,
    waiting_for_node: BTreeMap<String, BTreeSet<ObjectKey>>,
    waiting_anywhere: BTreeSet<ObjectKey>,
    /// Those of the ones that wait for certain Nodes for whom Pods of others may decide.
    looking_around: BTreeSet<ObjectKey>,
    came: u64,
}

struct Entry {
    pod: Arc<Pod>,
    /// Its place among Pods of the same priority.
    number: u64,
    attempts: u32,
    tried: Timestamp,
    state: State,
}

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "the largest is what most entries are in, for hours")]
enum State {
    Active,
    BackingOff {
        over: Timestamp,
    },
    Waiting {
        until: Until,
        flush: Timestamp,
    },
    Gated,
    /// Decided; its binding is under way.
    Binding,
}

impl PodQueue {
    /// A Pod that has no Node: new, or changed. A change of what it asks for makes it active again.
    pub fn set(&mut self, pod: Arc<Pod>, now: Timestamp) {
        let key = ObjectKey::of(&pod.metadata);
        let gated = api::pod::has_scheduling_gates(&pod);
        match self.entries.get_mut(&key) {
            None => {
                self.came += 1;
                let entry = Entry { pod, number: self.came, attempts: 0, tried: now, state: State::Gated };
                self.entries.insert(key.clone(), entry);
                if !gated {
                    self.enter(&key, State::Active);
                }
            }
            Some(entry) => {
                let asks_otherwise =
                    entry.pod.spec != pod.spec || entry.pod.metadata.labels != pod.metadata.labels;
                // The place in the active order depends on the Pod's priority: leave before it changes.
                let state = entry.state.clone();
                if state == State::Active {
                    self.leave(&key);
                }
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.pod = pod;
                }
                match state {
                    State::Active => self.enter(&key, if gated { State::Gated } else { State::Active }),
                    State::Gated if !gated => self.enter(&key, State::Active),
                    State::Waiting { .. } if asks_otherwise => self.activate(&key, now),
                    State::Gated | State::Waiting { .. } | State::BackingOff { .. } | State::Binding => {}
                }
            }
        }
    }

    /// A Pod that is bound, gone, or nobody's business any more.
    pub fn remove(&mut self, key: &ObjectKey) {
        self.leave(key);
        self.entries.remove(key);
    }

    /// The next Pod to decide on. It stays known, as being bound, until it is removed or comes back.
    pub fn pop(&mut self, now: Timestamp) -> Option<Arc<Pod>> {
        self.bring_forward(now);
        let (_, _, key) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.attempts = entry.attempts.saturating_add(1);
        entry.tried = now;
        entry.state = State::Binding;
        Some(Arc::clone(&entry.pod))
    }

    /// No Node fits: wait for what may change that.
    pub fn wait(&mut self, key: &ObjectKey, until: Until, now: Timestamp) {
        self.leave(key);
        self.enter(key, State::Waiting { until, flush: after(now, FLUSH_SECONDS) });
    }

    /// The binding failed: try again after the back-off.
    pub fn retry(&mut self, key: &ObjectKey, now: Timestamp) {
        if self.entries.get(key).is_some_and(|entry| entry.state == State::Binding) {
            self.activate(key, now);
        }
    }

    /// Makes the Pods active, or backing off, that these news may help. `node` is where it happened, if it did at one.
    pub fn wake(
        &mut self,
        news: &News<'_>,
        node: Option<&str>,
        namespaces: &NamespaceLabels,
        now: Timestamp,
    ) {
        let here = node.and_then(|node| self.waiting_for_node.get(node)).into_iter().flatten();
        let all: BTreeSet<&ObjectKey> =
            here.chain(&self.waiting_anywhere).chain(&self.looking_around).collect();
        let helped = |key: &&ObjectKey| {
            let Some(Entry { pod, state: State::Waiting { until, .. }, .. }) = self.entries.get(*key) else {
                return false;
            };
            let within = match (&until.nodes, node) {
                (Where::Anywhere, _) | (_, None) => true,
                (Where::Only(nodes), Some(node)) => nodes.contains(node),
            };
            let reach = if within { Reach::Within } else { Reach::Beyond };
            until.waiting.may_help(pod, news, reach, namespaces)
        };
        let helped: Vec<ObjectKey> = all.into_iter().filter(helped).cloned().collect();
        for key in helped {
            self.activate(&key, now);
        }
    }

    /// Makes one Pod active, or backing off, that waits for whatever it may be.
    pub fn wake_one(&mut self, key: &ObjectKey, now: Timestamp) {
        if self.entries.get(key).is_some_and(|entry| matches!(entry.state, State::Waiting { .. })) {
            self.activate(key, now);
        }
    }

    /// When [`pop`](Self::pop) may have something that it has not now.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Pods that have no Node, in whatever state.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn bring_forward(&mut self, now: Timestamp) {
        while let Some((due, key)) = self.due.first().cloned() {
            if due > now {
                break;
            }
            self.leave(&key);
            self.enter(&key, State::Active);
            // An entry that is not there leaves its row behind only if a row was kept for nothing.
            self.due.remove(&(due, key));
        }
    }

    /// Active if its back-off is over, else backing off.
    fn activate(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(entry) = self.entries.get(key) else { return };
        let pause = if entry.attempts == 0 { Duration::ZERO } else { RETRY.delay(entry.attempts) };
        let over = after(entry.tried, i64::try_from(pause.as_secs()).unwrap_or(i64::MAX));
        self.leave(key);
        self.enter(key, if over <= now { State::Active } else { State::BackingOff { over } });
    }

    fn enter(&mut self, key: &ObjectKey, state: State) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match &state {
            State::Active => {
                let place = (Reverse(api::pod::priority(&entry.pod)), entry.number, key.clone());
                self.active.insert(place);
            }
            State::BackingOff { over } => {
                self.due.insert((*over, key.clone()));
            }
            State::Waiting { until, flush } => {
                self.due.insert((*flush, key.clone()));
                match &until.nodes {
                    Where::Anywhere => {
                        self.waiting_anywhere.insert(key.clone());
                    }
                    Where::Only(nodes) => {
                        for node in nodes {
                            self.waiting_for_node.entry(node.clone()).or_default().insert(key.clone());
                        }
                    }
                }
                if until.waiting.looks_around() {
                    self.looking_around.insert(key.clone());
                }
            }
            State::Gated | State::Binding => {}
        }
        entry.state = state;
    }

    /// Takes a Pod out of wherever its state has put it.
    fn leave(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get(key) else { return };
        match &entry.state {
            State::Active => {
                let place = (Reverse(api::pod::priority(&entry.pod)), entry.number, key.clone());
                self.active.remove(&place);
            }
            State::BackingOff { over } => {
                self.due.remove(&(*over, key.clone()));
            }
            State::Waiting { until, flush } => {
                self.due.remove(&(*flush, key.clone()));
                self.waiting_anywhere.remove(key);
                self.looking_around.remove(key);
                if let Where::Only(nodes) = &until.nodes {
                    for node in nodes {
                        if let Some(here) = self.waiting_for_node.get_mut(node) {
                            here.remove(key);
                            if here.is_empty() {
                                self.waiting_for_node.remove(node);
                            }
                        }
                    }
                }
            }
            State::Gated | State::Binding => {}
        }
    }
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
