//! Node lifecycle: says so when a Node is not heard of, taints Nodes by their conditions, and moves Pods off Nodes whose
//! taints they do not tolerate.
//!
//! Three questions, each a pure module: what a Node's silence means ([`health`]), which taints follow from its
//! conditions ([`taints`]), when a Pod has to leave ([`eviction`]). This task keeps when each Node was last heard of
//! *by its own clock*, and limits how fast Nodes are given up ([`outage`]).
//! Upstream: the nodelifecycle and tainteviction controllers.

pub mod eviction;
pub mod health;
pub mod outage;
pub mod taints;

use std::collections::BTreeMap;
use std::time::Duration;

use api::meta::Meta;
use api::well_known::{namespace, node_condition, pod_condition};
use client::events::{Recorder, Severity};
use client::queue::Outcome;
use client::write::{self, Class, Deletion, Expect, WriteError};
use client::{Cache, ObjectKey, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use parking_lot::Mutex;
use serde_json::json;

use crate::{Context, PODS_BY_NODE};
use eviction::Stay;
use health::{Heard, Silence};
use outage::Outage;

/// Nodes that are looked at beside each other; upstream's --concurrent node updates are of this order.
const WORKERS: usize = 8;
/// Upstream's --node-monitor-period: silence is noticed this much late at most.
const MONITOR_PERIOD: Duration = Duration::from_secs(5);

struct Lifecycle {
    context: Context,
    leases: Cache<Lease>,
    recorder: Recorder,
    queue: WorkQueue<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    heard: BTreeMap<String, Heard>,
    outage: Outage,
}

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context().clone();
    let leases: Api<Lease> = Api::namespaced(context.client.clone(), namespace::KUBE_NODE_LEASE);
    let lifecycle = Lifecycle {
        leases: Cache::builder(leases).clock(context.clock.clone()).start(&context.tasks),
        recorder: context.recorder("node-controller"),
        queue: WorkQueue::new(context.clock.clone()),
        state: Mutex::default(),
        context,
    };
    let shutdown = lifecycle.context.shutdown().clone();
    tokio::select! {
        // Nothing has been decided before the caches are there.
        () = shutdown.cancelled() => return,
        () = lifecycle.synced() => {}
    }
    let workers = (0..WORKERS).map(|_| lifecycle.queue.work(&shutdown, |node| lifecycle.reconcile(node)));
    tokio::select! {
        // The workers return at shutdown, after the item in hand; the feeds hold nothing.
        _ = futures::future::join_all(workers) => {}
        () = lifecycle.feed() => {}
        () = lifecycle.listen() => {}
    }
}

impl Lifecycle {
    async fn synced(&self) {
        self.context.nodes.synced().await;
        self.context.pods.synced().await;
        self.leases.synced().await;
    }

    /// Looks at a Node when it changes and when a Pod comes to it.
    async fn feed(&self) {
        let mut nodes = self.context.nodes.subscribe();
        let mut pods = self.context.pods.subscribe();
        loop {
            tokio::select! {
                // Changes that are not taken stay in their inbox.
                change = nodes.next() => {
                    self.hear(&change.key.name);
                    if change.after.is_none() {
                        let mut state = self.state.lock();
                        state.heard.remove(&change.key.name);
                        state.outage.forget(&change.key.name);
                    }
                    self.queue.add(change.key.name);
                }
                change = pods.next() => {
                    let Some(pod) = &change.after else { continue };
                    let moved = change.before.as_ref().is_none_or(|before| may_leave_otherwise(before, pod));
                    if let Some(node) = api::pod::node_name(pod).filter(|_| moved) {
                        self.queue.add(node.to_owned());
                    }
                }
            }
        }
    }

    /// Notes every heartbeat as it arrives; a Node that was silent is looked at at once.
    async fn listen(&self) {
        let mut leases = self.leases.subscribe();
        loop {
            let change = leases.next().await;
            if self.hear(&change.key.name) == Silence::Broken {
                self.queue.add(change.key.name);
            }
        }
    }

    fn hear(&self, node: &str) -> Silence {
        let Some(object) = self.context.nodes.get(&ObjectKey::cluster(node)) else {
            return Silence::Unbroken;
        };
        let lease = self.leases.get(&ObjectKey::namespaced(namespace::KUBE_NODE_LEASE, node));
        let now = self.context.clock.now();
        let mut state = self.state.lock();
        match state.heard.get_mut(node) {
            Some(heard) => heard.again(&object, lease.as_deref(), now),
            None => {
                state.heard.insert(node.to_owned(), Heard::first(&object, lease.as_deref(), now));
                Silence::Unbroken
            }
        }
    }

    async fn reconcile(&self, name: String) -> Outcome {
        let Some(node) = self.context.nodes.get(&ObjectKey::cluster(&name)) else { return Outcome::Done };
        if node.is_deleting() {
            return Outcome::Done;
        }
        match self.look_after(&name, &node).await {
            Ok(again) => Outcome::Again(again),
            Err(error) => match error.class() {
                Class::Missing | Class::Stale => Outcome::Failed,
                Class::Retry(after) => Outcome::FailedFor(*after),
                Class::Exists | Class::NamespaceTerminating | Class::Fatal(_) => {
                    tracing::warn!(node = name, error = %error.cause(), "{error}");
                    Outcome::Failed
                }
            },
        }
    }

    /// Returns how soon to look again.
    async fn look_after(&self, name: &str, node: &Node) -> Result<Duration, WriteError> {
        self.hear(name);
        let now = self.context.clock.now();
        let heard = self.state.lock().heard.get(name).cloned();
        let Some(heard) = heard else { return Ok(MONITOR_PERIOD) };
        let unheard = health::conditions_of_silence(node, &heard, now);
        if !unheard.is_empty() {
            tracing::warn!(node = name, "node is not heard of");
            let expect = Expect::uid(node.uid());
            let nodes: Api<Node> = Api::all(self.context.client.clone());
            write::status(&nodes, name, json!({"conditions": unheard}), &expect).await?;
            self.recorder.event(
                &about(node),
                Severity::Normal,
                "NodeNotReady",
                &format!("Node {name} status is now: NodeNotReady"),
            );
            // The watch brings the Node back with what was written.
            return Ok(MONITOR_PERIOD);
        }
        if ready_status(node) == Some("Unknown") {
            self.mark_pods_not_ready(name).await?;
        }
        let ready = taints::readiness(node);
        let give_up = {
            let total = self.context.nodes.len();
            let mut state = self.state.lock();
            state.outage.note(name, ready);
            state.outage.may_give_up(name, total, now)
        };
        if let Some(wanted) = taints::wanted(node, give_up, now) {
            tracing::info!(node = name, taints = ?wanted.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect::<Vec<_>>(), "tainting");
            let nodes: Api<Node> = Api::all(self.context.client.clone());
            write::merge(&nodes, name, json!({"spec": {"taints": wanted}}), &Expect::exactly(node)).await?;
            return Ok(MONITOR_PERIOD);
        }
        let next_leave = self.move_pods_off(node, now).await?;
        Ok(next_leave.map_or(MONITOR_PERIOD, |next| next.min(MONITOR_PERIOD)))
    }

    /// Pods on a silent Node are not known to be ready any more.
    async fn mark_pods_not_ready(&self, node: &str) -> Result<(), WriteError> {
        for pod in self.context.pods.by_index(PODS_BY_NODE, node) {
            if !api::pod::is_ready(&pod) {
                continue;
            }
            let condition = json!({"type": pod_condition::READY, "status": "False",
                "lastTransitionTime": Time(self.context.clock.now())});
            let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), pod.namespace());
            let expect = Expect::uid(pod.uid());
            match write::status(&pods, pod.name(), json!({"conditions": [condition]}), &expect).await {
                Ok(_) => self.recorder.about(&*pod, Severity::Warning, "NodeNotReady", "Node is not ready"),
                Err(error) if matches!(error.class(), Class::Missing | Class::Stale) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes the Pods whose time is up; returns when the next one's is.
    async fn move_pods_off(&self, node: &Node, now: Timestamp) -> Result<Option<Duration>, WriteError> {
        let taints = eviction::no_execute(node);
        if taints.is_empty() {
            return Ok(None);
        }
        let mut next: Option<Duration> = None;
        for pod in self.context.pods.by_index(PODS_BY_NODE, node.name()) {
            if pod.is_deleting() {
                continue;
            }
            match eviction::stay(&taints, api::pod::tolerations(&pod), now) {
                Stay::ForGood => {}
                Stay::Until(when) if when > now => {
                    let wait = Duration::try_from(when.duration_since(now)).unwrap_or_default();
                    next = Some(next.map_or(wait, |next| next.min(wait)));
                }
                Stay::Until(_) | Stay::No => self.evict(&pod, now).await?,
            }
        }
        Ok(next)
    }

    async fn evict(&self, pod: &Pod, now: Timestamp) -> Result<(), WriteError> {
        let key = ObjectKey::of(&pod.metadata);
        tracing::info!(pod = %key, "deleting: its node has a NoExecute taint that it does not tolerate");
        self.recorder.about(
            pod,
            Severity::Normal,
            "TaintManagerEviction",
            &format!("Marking for deletion Pod {key}"),
        );
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), pod.namespace());
        let condition = json!({"type": pod_condition::DISRUPTION_TARGET, "status": "True",
            "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": Time(now)});
        let expect = Expect::uid(pod.uid());
        let gone = |error: &WriteError| matches!(error.class(), Class::Missing | Class::Stale);
        match write::status(&pods, pod.name(), json!({"conditions": [condition]}), &expect).await {
            Ok(_) => {}
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        match write::delete(&pods, pod.name(), Deletion { expect, ..Deletion::default() }).await {
            Ok(_) => Ok(()),
            Err(error) if gone(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn about(node: &Node) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: node.metadata.name.clone(),
        uid: node.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn may_leave_otherwise(before: &Pod, after: &Pod) -> bool {
    before.uid() != after.uid()
        || api::pod::node_name(before) != api::pod::node_name(after)
        || api::pod::tolerations(before) != api::pod::tolerations(after)
}

/// The Ready condition, if there is one.
fn ready_status(node: &Node) -> Option<&str> {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .find(|condition| condition.type_ == node_condition::READY)
        .map(|condition| condition.status.as_str())
}
