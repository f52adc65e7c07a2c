//! The task: takes changes in, decides on Pods, carries bindings and reports out. The only owner of queue and picture.
//!
//! Bindings and condition patches run beside each other, up to [`IN_FLIGHT_MAX`]; decisions do not wait for them,
//! because a decided Pod counts on its Node at once.

use std::sync::Arc;
use std::time::Duration;

use api::meta::Meta;
use api::well_known::pod_condition;
use client::events::{Recorder, Severity};
use client::write::{self, Class, Expect};
use client::{Cache, Change, Changes, ObjectKey};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Namespace, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::PostParams;
use kube::{Api, Client};
use process::Shutdown;
use serde_json::{Value, json};

use crate::Options;
use crate::decision::{Decision, NamespaceLabels, decide};
use crate::queue::{PodQueue, Wake};
use crate::snapshot::Snapshot;

/// Requests under way: enough to hide the latency of a remote API, few enough not to be throttled by it.
const IN_FLIGHT_MAX: usize = 64;
/// Changes taken in before decisions get their turn again.
const CHANGES_AT_ONCE_MAX: usize = 4_096;
/// Where nothing is due, the task sleeps this long at most; any change wakes it.
const IDLE_SECONDS_MAX: u64 = 60;

pub(crate) struct Driver {
    client: Client,
    options: Options,
    recorder: Recorder,
    pods: Changes<Pod>,
    nodes: Changes<Node>,
    namespaces: Changes<Namespace>,
    namespace_labels: NamespaceLabels,
    snapshot: Snapshot,
    queue: PodQueue,
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
}

/// A request that has come to its end.
enum Ended {
    Bound { pod: Arc<Pod>, node: String },
    NotBound { pod: Arc<Pod>, error: kube::Error },
    Reported,
}

impl Driver {
    pub fn new(
        client: Client,
        options: Options,
        pods: &Cache<Pod>,
        nodes: &Cache<Node>,
        namespaces: &Cache<Namespace>,
        recorder: Recorder,
    ) -> Driver {
        Driver {
            client,
            options,
            recorder,
            pods: pods.subscribe(),
            nodes: nodes.subscribe(),
            namespaces: namespaces.subscribe(),
            namespace_labels: NamespaceLabels::new(),
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
            match decide(&pod, &self.snapshot, &self.namespace_labels) {
                Decision::Bind { node } => {
                    tracing::debug!(pod = %key(&pod), node, "bind");
                    self.snapshot.assume(&pod, &node);
                    self.queue.wake(Wake::PodCame, now);
                    self.under_way.push(Box::pin(bind(self.client.clone(), pod, node)));
                }
                Decision::Wait { failure, until } => {
                    let message = failure.message();
                    tracing::info!(pod = %key(&pod), reason = %message, "does not fit");
                    self.queue.wait(&key(&pod), until, now);
                    self.recorder.about(&*pod, Severity::Warning, "FailedScheduling", &message);
                    if let Some(status) = unschedulable(&pod, &message, now) {
                        self.under_way.push(Box::pin(report(self.client.clone(), pod, status)));
                    }
                }
            }
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
                if let Some(node) = self.snapshot.node_of(&key).map(str::to_owned) {
                    self.snapshot.forget_assumed(&key);
                    self.queue.wake(Wake::PodLeft(&node), now);
                }
                match Class::of(&error) {
                    // It is gone, or somebody else has bound it; the watch says which.
                    Class::Missing => self.queue.remove(&key),
                    class => {
                        tracing::warn!(pod = %key, error = %error, ?class, "not bound");
                        self.queue.retry(&key, now);
                    }
                }
            }
        }
    }

    fn namespace_changed(&mut self, change: Change<Namespace>) {
        match change.after {
            Some(namespace) => {
                self.namespace_labels.insert(change.key.name, namespace.labels().clone());
            }
            None => {
                self.namespace_labels.remove(&change.key.name);
            }
        }
    }

    fn node_changed(&mut self, change: Change<Node>) {
        let now = self.options.clock.now();
        let name = change.key.name;
        let Some(after) = change.after else { return self.snapshot.remove_node(&name) };
        let worth_a_look = change.before.is_none_or(|before| allows_otherwise(&before, &after));
        self.snapshot.set_node(after);
        if worth_a_look {
            self.queue.wake(Wake::Node(&name), now);
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
        if api::pod::node_name(&pod).is_some() {
            self.queue.remove(&key);
            if api::pod::is_terminal(&pod) {
                return self.pod_left(&key, now);
            }
            self.snapshot.set_pod(&pod);
            let news = before.is_none_or(|before| {
                api::pod::node_name(&before).is_none() || before.metadata.labels != pod.metadata.labels
            });
            if news {
                self.queue.wake(Wake::PodCame, now);
            }
            return;
        }
        self.snapshot.set_pod(&pod);
        let ours = api::pod::scheduler_name(&pod) == self.options.name;
        if !ours || api::pod::is_deleting(&pod) || api::pod::is_terminal(&pod) {
            self.queue.remove(&key);
        } else {
            self.queue.set(pod, now);
        }
    }

    fn pod_left(&mut self, key: &ObjectKey, now: Timestamp) {
        if let Some(node) = self.snapshot.node_of(key).map(str::to_owned) {
            self.snapshot.remove_pod(key);
            self.queue.wake(Wake::PodLeft(&node), now);
        }
    }
}

async fn bind(client: Client, pod: Arc<Pod>, node: String) -> Ended {
    let api: Api<Pod> = Api::namespaced(client, pod.namespace());
    let binding = Binding {
        metadata: ObjectMeta {
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.clone()),
            ..ObjectReference::default()
        },
    };
    let answer: Result<Value, _> =
        api.create_subresource("binding", pod.name(), &PostParams::default(), &binding).await;
    match answer {
        Ok(_) => Ended::Bound { pod, node },
        Err(error) => Ended::NotBound { pod, error },
    }
}

async fn report(client: Client, pod: Arc<Pod>, status: Value) -> Ended {
    let api: Api<Pod> = Api::namespaced(client, pod.namespace());
    let expect = Expect { uid: pod.metadata.uid.clone(), resource_version: None };
    if let Err(error) = write::status(&api, pod.name(), status, &expect).await {
        match error.class() {
            Class::Missing | Class::Stale => {}
            // The event says it too, and the next attempt reports again.
            _ => {
                tracing::warn!(pod = %key(&pod), error = %error.cause(), "cannot report that it does not fit")
            }
        }
    }
    Ended::Reported
}

/// The status to write, or `None` if the Pod says so already.
fn unschedulable(pod: &Pod, message: &str, now: Timestamp) -> Option<Value> {
    let known = api::pod::condition(pod, pod_condition::SCHEDULED).filter(|known| known.status == "False");
    let says_so = |known: &&_| {
        let known: &k8s_openapi::api::core::v1::PodCondition = known;
        known.reason.as_deref() == Some("Unschedulable") && known.message.as_deref() == Some(message)
    };
    if known.as_ref().is_some_and(says_so) {
        return None;
    }
    let since = known.and_then(|known| known.last_transition_time.clone()).unwrap_or(Time(now));
    Some(json!({"conditions": [{
        "type": pod_condition::SCHEDULED,
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": since,
    }]}))
}

/// Whether a Pod that was refused there may now be let in, as far as the Node itself goes.
fn allows_otherwise(before: &Node, after: &Node) -> bool {
    let says = |node: &Node| {
        let spec = node.spec.as_ref();
        (
            spec.and_then(|spec| spec.unschedulable),
            spec.and_then(|spec| spec.taints.clone()),
            node.status.as_ref().and_then(|status| status.allocatable.clone()),
            node.metadata.labels.clone(),
        )
    };
    before.uid() != after.uid() || says(before) != says(after)
}

fn key(pod: &Pod) -> ObjectKey {
    ObjectKey::of(&pod.metadata)
}
