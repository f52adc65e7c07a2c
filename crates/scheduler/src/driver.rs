//! The task: takes changes in, decides on Pods, carries bindings and reports out. The only owner of queue and picture.
//!
//! Requests run beside each other, up to [`IN_FLIGHT_MAX`]; decisions do not wait for them, because a decided Pod counts on
//! its Node at once and a promised place is kept at once.

mod requests;

use std::sync::Arc;
use std::time::Duration;

use api::meta::Meta;
use client::events::{Recorder, Severity};
use client::write::Class;
use client::{Cache, Change, Changes, ObjectKey};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use placement::{Budgets, News};
use process::Shutdown;

use crate::Options;
use crate::decision::{Circumstances, Decision, Promise, decide};
use crate::queue::PodQueue;
use crate::snapshot::Snapshot;
use requests::{Ended, Nominated, bind, not_scheduled, report, send_away};

/// Requests under way: enough to hide the latency of a remote API, few enough not to be throttled by it.
const IN_FLIGHT_MAX: usize = 64;
/// Changes taken in before decisions get their turn again.
const CHANGES_AT_ONCE_MAX: usize = 4_096;
/// Where nothing is due, the task sleeps this long at most; any change wakes it.
const IDLE_SECONDS_MAX: u64 = 60;

/// What the scheduler watches.
pub(crate) struct Caches {
    pub pods: Cache<Pod>,
    pub nodes: Cache<Node>,
    pub namespaces: Cache<Namespace>,
    pub services: Cache<Service>,
    pub budgets: Cache<PodDisruptionBudget>,
}

pub(crate) struct Driver {
    client: Client,
    options: Options,
    recorder: Recorder,
    pods: Changes<Pod>,
    nodes: Changes<Node>,
    namespaces: Changes<Namespace>,
    services: Changes<Service>,
    budgets: Changes<PodDisruptionBudget>,
    all_budgets: Cache<PodDisruptionBudget>,
    circumstances: Circumstances,
    snapshot: Snapshot,
    queue: PodQueue,
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
}

impl Driver {
    pub fn new(client: Client, options: Options, caches: &Caches, recorder: Recorder) -> Driver {
        Driver {
            client,
            options,
            recorder,
            pods: caches.pods.subscribe(),
            nodes: caches.nodes.subscribe(),
            namespaces: caches.namespaces.subscribe(),
            services: caches.services.subscribe(),
            budgets: caches.budgets.subscribe(),
            all_budgets: caches.budgets.clone(),
            circumstances: Circumstances::default(),
            snapshot: Snapshot::default(),
            queue: PodQueue::default(),
            under_way: FuturesUnordered::new(),
        }
    }

    pub async fn run(mut self, shutdown: &Shutdown) {
        while !shutdown.is_cancelled() {
            self.take_in_changes();
            self.decide_what_is_due();
            let clock = Arc::clone(&self.options.clock);
            let now = clock.now();
            let due = self.queue.next_due().map(|due| due.duration_since(now));
            let idle = Duration::from_secs(IDLE_SECONDS_MAX);
            let pause = due.map_or(idle, |due| Duration::try_from(due).unwrap_or_default()).min(idle);
            tokio::select! {
                // No arm holds state: changes stay in their inbox, requests in their set, times in the queue.
                () = shutdown.cancelled() => return,
                change = self.namespaces.next() => self.namespace_changed(change),
                change = self.services.next() => self.service_changed(change),
                _ = self.budgets.next() => self.budgets_changed(),
                change = self.nodes.next() => self.node_changed(change),
                change = self.pods.next() => self.pod_changed(change),
                Some(ended) = self.under_way.next() => self.ended(ended),
                () = clock.sleep(pause) => {}
            }
        }
    }

    fn take_in_changes(&mut self) {
        for _ in 0..CHANGES_AT_ONCE_MAX {
            if let Some(change) = self.namespaces.try_next() {
                self.namespace_changed(change);
            } else if let Some(change) = self.services.try_next() {
                self.service_changed(change);
            } else if self.budgets.try_next().is_some() {
                self.budgets_changed();
            } else if let Some(change) = self.nodes.try_next() {
                self.node_changed(change);
            } else if let Some(change) = self.pods.try_next() {
                self.pod_changed(change);
            } else {
                return;
            }
        }
    }

    fn decide_what_is_due(&mut self) {
        while self.under_way.len() < IN_FLIGHT_MAX {
            let now = self.options.clock.now();
            let Some(pod) = self.queue.pop(now) else { return };
            match decide(&pod, &mut self.snapshot, &self.circumstances) {
                Decision::Bind { node } => {
                    tracing::debug!(pod = %key(&pod), node, "bind");
                    self.snapshot.assume(&pod, &node);
                    self.snapshot.promises.forget(&key(&pod));
                    self.wake(&News::PodCame(&pod), Some(&node), now);
                    self.under_way.push(Box::pin(bind(self.client.clone(), pod, node)));
                }
                Decision::Wait { failure, until, promise } => {
                    let had_one = self.snapshot.promises.node_of(&key(&pod)).is_some();
                    let nominated = match promise {
                        Promise::Withdrawn if had_one => Nominated::Nowhere,
                        Promise::Withdrawn | Promise::Kept => Nominated::AsBefore,
                    };
                    if promise == Promise::Withdrawn {
                        self.snapshot.promises.forget(&key(&pod));
                    }
                    self.queue.wait(&key(&pod), until, now);
                    self.say_why_not(&pod, &failure.message(), nominated, now);
                }
                Decision::Preempt { node, victims, failure, until } => {
                    tracing::info!(pod = %key(&pod), node, victims = victims.len(), "makes room");
                    self.snapshot.promises.make(&pod, &node);
                    self.queue.wait(&key(&pod), until, now);
                    for victim in victims {
                        self.remove_for(&pod, victim, &node, now);
                    }
                    self.withdraw_weaker_promises(&pod, &node, now);
                    self.say_why_not(&pod, &failure.message(), Nominated::To(&node), now);
                }
            }
        }
    }

    fn say_why_not(&mut self, pod: &Arc<Pod>, message: &str, nominated: Nominated<'_>, now: Timestamp) {
        tracing::info!(pod = %key(pod), reason = %message, "does not fit");
        self.recorder.about(&**pod, Severity::Warning, "FailedScheduling", message);
        if let Some(status) = not_scheduled(pod, requests::UNSCHEDULABLE, message, nominated, now) {
            self.under_way.push(Box::pin(report(self.client.clone(), Arc::clone(pod), status)));
        }
    }

    /// Sends a Pod away so that another may have its place.
    fn remove_for(&mut self, stronger: &Pod, victim: Arc<Pod>, node: &str, now: Timestamp) {
        if api::pod::is_deleting(&victim) {
            return;
        }
        let message = format!("Preempted by pod {} on node {node}", stronger.uid());
        self.recorder.about(&*victim, Severity::Normal, "Preempted", &message);
        let scheduler = api::pod::scheduler_name(stronger).to_owned();
        self.under_way.push(Box::pin(send_away(self.client.clone(), victim, scheduler, now)));
    }

    /// Weaker Pods that wait for a place on the Node may not find it there any more: they look again.
    fn withdraw_weaker_promises(&mut self, pod: &Pod, node: &str, now: Timestamp) {
        for weaker in self.snapshot.promises.weaker_on(node, pod) {
            self.snapshot.promises.forget(&key(&weaker));
            self.queue.wake_one(&key(&weaker), now);
            let status = requests::nominated_nowhere();
            self.under_way.push(Box::pin(report(self.client.clone(), weaker, status)));
        }
    }

    fn ended(&mut self, ended: Ended) {
        let now = self.options.clock.now();
        match ended {
            Ended::Reported => {}
            Ended::Bound { pod, node } => {
                let message = format!("Successfully assigned {} to {node}", key(&pod));
                tracing::info!(pod = %key(&pod), node, "assigned");
                self.recorder.about(&*pod, Severity::Normal, "Scheduled", &message);
            }
            Ended::NotBound { pod, error } => {
                let key = key(&pod);
                if let Some(node) = self.snapshot.node_of(&key).map(str::to_owned)
                    && self.snapshot.forget_assumed(&key)
                {
                    self.wake(&News::PodLeft(&pod), Some(&node), now);
                }
                match Class::of(&error) {
                    // It is gone, or somebody else has bound it; the watch says which.
                    Class::Missing => self.queue.remove(&key),
                    class => {
                        tracing::warn!(pod = %key, error = %error, ?class, "not bound");
                        self.queue.retry(&key, now);
                        self.say_that_binding_failed(&pod, &error, now);
                    }
                }
            }
        }
    }

    fn say_that_binding_failed(&mut self, pod: &Arc<Pod>, error: &kube::Error, now: Timestamp) {
        let message = format!("binding rejected: running Bind plugin \"DefaultBinder\": {error}");
        self.recorder.about(&**pod, Severity::Warning, "FailedScheduling", &message);
        let status = not_scheduled(pod, requests::SCHEDULER_ERROR, &message, Nominated::AsBefore, now);
        if let Some(status) = status {
            self.under_way.push(Box::pin(report(self.client.clone(), Arc::clone(pod), status)));
        }
    }

    fn namespace_changed(&mut self, change: Change<Namespace>) {
        let now = self.options.clock.now();
        match change.after {
            Some(namespace) => {
                self.circumstances.namespaces.insert(change.key.name, namespace.labels().clone());
            }
            None => {
                self.circumstances.namespaces.remove(&change.key.name);
            }
        }
        self.wake(&News::Namespace, None, now);
    }

    fn service_changed(&mut self, change: Change<Service>) {
        let selector = change.after.and_then(|service| service.spec.clone()?.selector);
        let there = self.circumstances.services.entry(change.key.namespace.clone()).or_default();
        match selector {
            Some(selector) => there.insert(change.key.name, selector),
            None => there.remove(&change.key.name),
        };
        if there.is_empty() {
            self.circumstances.services.remove(&change.key.namespace);
        }
    }

    /// Budgets are few; what changed of them is not worth finding out.
    fn budgets_changed(&mut self) {
        while self.budgets.try_next().is_some() {}
        let budgets = self.all_budgets.list();
        self.circumstances.budgets = Budgets::of(budgets.iter().map(|budget| &**budget));
    }

    fn node_changed(&mut self, change: Change<Node>) {
        let now = self.options.clock.now();
        let name = change.key.name;
        let Some(after) = change.after else {
            if let Some(node) = self.snapshot.remove_node(&name) {
                self.wake(&News::NodeLeft(&node), Some(&name), now);
            }
            return;
        };
        self.snapshot.set_node(Arc::clone(&after));
        match change.before {
            Some(before) if before.uid() == after.uid() => {
                self.wake(&News::NodeChanged { before: &before, after: &after }, Some(&name), now);
            }
            Some(_) | None => self.wake(&News::NodeCame(&after), Some(&name), now),
        }
    }

    fn pod_changed(&mut self, change: Change<Pod>) {
        let now = self.options.clock.now();
        let Change { key, before, after } = change;
        let same = matches!((&before, &after), (Some(before), Some(after)) if before.uid() == after.uid());
        if before.is_some() && !same {
            self.pod_left(&key, now);
            self.queue.remove(&key);
        }
        let Some(pod) = after else { return };
        if let Some(node) = api::pod::node_name(&pod).map(str::to_owned) {
            self.queue.remove(&key);
            self.snapshot.promises.forget(&key);
            if api::pod::is_terminal(&pod) {
                return self.pod_left(&key, now);
            }
            let counted_there = self.snapshot.node_of(&key) == Some(node.as_str());
            self.snapshot.set_pod(&pod);
            match before.filter(|_| counted_there) {
                Some(before) => {
                    self.wake(&News::PodChanged { before: &before, after: &pod }, Some(&node), now);
                }
                None if counted_there => {}
                None => self.wake(&News::PodCame(&pod), Some(&node), now),
            }
            return;
        }
        self.snapshot.set_pod(&pod);
        let ours = api::pod::scheduler_name(&pod) == self.options.name;
        if !ours || api::pod::is_deleting(&pod) || api::pod::is_terminal(&pod) {
            self.queue.remove(&key);
            self.snapshot.promises.forget(&key);
        } else {
            self.snapshot.promises.see(&pod);
            self.queue.set(pod, now);
        }
    }

    fn pod_left(&mut self, key: &ObjectKey, now: Timestamp) {
        self.snapshot.promises.forget(key);
        let node = self.snapshot.node_of(key).map(str::to_owned);
        if let Some(pod) = self.snapshot.remove_pod(key) {
            self.wake(&News::PodLeft(&pod), node.as_deref(), now);
        }
    }

    fn wake(&mut self, news: &News<'_>, node: Option<&str>, now: Timestamp) {
        self.queue.wake(news, node, &self.circumstances.namespaces, now);
    }
}

fn key(pod: &Pod) -> ObjectKey {
    ObjectKey::of(&pod.metadata)
}
