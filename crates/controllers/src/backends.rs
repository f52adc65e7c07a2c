//! The Pods behind each Service: what the two controllers of endpoints share.
//!
//! [`Backends`] keeps, for every Service with a selector, one [`Member`] for each Pod that can be an endpoint, and puts a
//! Service into the queue when it changes, when a member does, or when a member's Node gets another zone. What is
//! written is its users' to decide. Upstream: `pkg/controller/util/endpoint`.

mod member;

use std::sync::Arc;
use std::time::Duration;

use api::label::Selector;
use api::meta::Meta;
use api::service::{ServiceType, type_of};
use api::well_known::node_label;
use client::queue::Outcome;
use client::write::{Class, WriteError};
use client::{Cache, Change, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod, Service, ServiceSpec};
use kube::Api;
use parking_lot::Mutex;

pub use member::{Family, Member, Zone, protocol};

use crate::selected::Selected;
use crate::{Context, PODS_BY_NODE};

/// A roll-out changes many Pods of a Service at once: they are written together, this long after the first.
const BATCH: Duration = Duration::from_millis(100);

pub struct Backends {
    pub context: Context,
    pub services: Cache<Service>,
    pub queue: WorkQueue<ObjectKey>,
    members: Mutex<Selected<Member>>,
}

/// A Service with a selector, and the Pods behind it by name.
pub struct Backed {
    pub service: Arc<Service>,
    pub members: Vec<(String, Member)>,
}

impl Backends {
    pub fn start(context: &Context) -> Backends {
        let services = Cache::<Service>::builder(Api::all(context.client.clone()))
            .clock(context.clock.clone())
            .start(&context.tasks);
        Backends {
            queue: WorkQueue::new(context.clock.clone()),
            services,
            members: Mutex::default(),
            context: context.clone(),
        }
    }

    pub async fn synced(&self) {
        self.context.pods.synced().await;
        self.context.nodes.synced().await;
        self.services.synced().await;
    }

    /// Keeps the members up and the queue filled. Does not end.
    pub async fn feed(&self) {
        let mut services = self.services.subscribe();
        let mut nodes = self.context.nodes.subscribe();
        let mut pods = self.context.pods.subscribe();
        loop {
            tokio::select! {
                // Changes that are not taken stay in their inbox. Services first: a Pod is for those that are known.
                biased;
                change = services.next() => self.service_changed(&change),
                change = nodes.next() => self.node_changed(&change),
                change = pods.next() => self.pod_changed(&change.key, change.after.as_deref()),
            }
        }
    }

    /// The Service and its members; none where its endpoints are somebody else's, or it is gone.
    pub fn backed(&self, key: &ObjectKey) -> Option<Backed> {
        let service = self.services.get(key)?;
        selector(&service)?;
        let members = self.members.lock().rows(key)?;
        Some(Backed { service, members })
    }

    fn service_changed(&self, change: &Change<Service>) {
        let mut members = self.members.lock();
        match change.after.as_deref().and_then(selector) {
            None => members.forget(&change.key),
            Some(selector) if !members.has(&change.key, &selector) => {
                let pods = self.context.pods.in_namespace(&change.key.namespace);
                members.select(&change.key, selector, &pods, |pod| self.member(pod));
            }
            Some(_) => {}
        }
        self.queue.add(change.key.clone());
    }

    fn node_changed(&self, change: &Change<Node>) {
        let zone = |node: &Arc<Node>| node.label(node_label::ZONE).map(str::to_owned);
        let (before, after) = (change.before.as_ref().map(zone), change.after.as_ref().map(zone));
        if before == after {
            return;
        }
        for pod in self.context.pods.by_index(PODS_BY_NODE, &change.key.name) {
            self.pod_changed(&ObjectKey::of(&pod.metadata), Some(&pod));
        }
    }

    fn pod_changed(&self, key: &ObjectKey, pod: Option<&Pod>) {
        let touched = self.members.lock().pod(key, pod, |pod| self.member(pod));
        for service in touched {
            self.queue.add_after(service, BATCH);
        }
    }

    fn member(&self, pod: &Pod) -> Option<Member> {
        Member::of(pod, |node| self.context.nodes.get(&ObjectKey::cluster(node)))
    }
}

/// What a Service selects. COMPAT(v1): an empty selector is set and selects all; one without is somebody else's.
fn selector(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    if type_of(spec) == ServiceType::ExternalName {
        return None;
    }
    spec.selector.as_ref().map(Selector::from_set)
}

/// An address of its own: headless Services and those that have none yet are marked.
pub fn has_address(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty() && ip != api::service::NONE)
}

/// Marks the endpoints of Services without an address of their own.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// What follows from a write that failed.
pub fn after_failure(key: &ObjectKey, error: &WriteError) -> Outcome {
    match error.class() {
        Class::NamespaceTerminating => Outcome::Done,
        Class::Retry(after) => Outcome::FailedFor(*after),
        Class::Stale | Class::Exists | Class::Missing => Outcome::Failed,
        Class::Fatal(_) => {
            tracing::warn!(service = %key, error = %error.cause(), "{error}");
            Outcome::Failed
        }
    }
}
