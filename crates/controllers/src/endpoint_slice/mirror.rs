//! EndpointSlices that mirror Endpoints made by hand: those of Services without a selector.
//!
//! Whoever reads slices alone (kube-proxy, ingress controllers) finds so what older clients write as Endpoints. The
//! slices follow the Endpoints, and go when those do, when the Service does, or when it gets a selector. Upstream: the
//! endpointslicemirroring controller.

mod wanted;

use std::sync::Arc;

use api::meta::Meta;
use client::cache::OwnWrites;
use client::events::Severity;
use client::queue::Outcome;
use client::{Cache, ObjectKey, Recorder, WorkQueue};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;

use super::layout::Plan;
use super::plan::MANAGED_BY;
use super::{BY_SERVICE, carry_out, service_of};
use crate::Context;
use crate::backends::after_failure;
use wanted::{ADDRESSES_MAX, MANAGER, is_mirrored, mirror};

struct Mirroring {
    context: Context,
    endpoints: Cache<Endpoints>,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    /// By the name that Endpoints and Service have in common.
    queue: WorkQueue<ObjectKey>,
    writes: OwnWrites<ObjectKey>,
    recorder: Recorder,
}

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context().clone();
    let endpoints = Cache::<Endpoints>::builder(Api::all(context.client.clone()));
    let services = Cache::<Service>::builder(Api::all(context.client.clone()));
    let slices = Cache::<EndpointSlice>::builder(Api::all(context.client.clone()))
        .labels(format!("{MANAGED_BY}={MANAGER}"))
        .index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect());
    let mirroring = Mirroring {
        endpoints: endpoints.clock(context.clock.clone()).start(&context.tasks),
        services: services.clock(context.clock.clone()).start(&context.tasks),
        slices: slices.clock(context.clock.clone()).start(&context.tasks),
        queue: WorkQueue::new(context.clock.clone()),
        writes: OwnWrites::new(),
        recorder: context.recorder("endpoint-slice-mirroring-controller"),
        context,
    };
    let shutdown = mirroring.context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the caches are there.
        () = shutdown.cancelled() => return,
        () = async {
            mirroring.endpoints.synced().await;
            mirroring.services.synced().await;
            mirroring.slices.synced().await;
        } => {}
    }
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feed holds nothing.
        () = mirroring.queue.work(&shutdown, |key| mirroring.reconcile(key)) => {}
        () = mirroring.feed() => {}
    }
}

impl Mirroring {
    async fn feed(&self) {
        let mut endpoints = self.endpoints.subscribe();
        let mut services = self.services.subscribe();
        let mut slices = self.slices.subscribe();
        loop {
            tokio::select! {
                // Changes that are not taken stay in their inbox.
                change = endpoints.next() => {
                    self.queue.add(change.key);
                }
                change = services.next() => {
                    // Only whether it is there and has a selector matters.
                    let own = |service: Option<Arc<Service>>| service.map(|service| has_selector(&service));
                    if own(change.before) != own(change.after) {
                        self.queue.add(change.key);
                    }
                }
                change = slices.next() => {
                    // What somebody else changed is put right.
                    for slice in [change.before, change.after].into_iter().flatten() {
                        if let Some(service) = service_of(&slice) {
                            self.queue.add(service);
                        }
                    }
                }
            }
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Outcome {
        // A slice that was made a moment ago would be made again.
        let now = self.context.clock.now();
        if !self.writes.caught_up(&key, &self.slices, now) {
            return Outcome::Again(self.writes.look_again());
        }
        let existing = self.slices.by_index(BY_SERVICE, &key.to_string());
        let endpoints = self.endpoints.get(&key).filter(|endpoints| is_mirrored(endpoints));
        let by_hand = self.services.get(&key).is_some_and(|service| !has_selector(&service));
        let plan = match endpoints.filter(|_| by_hand) {
            Some(endpoints) => {
                let mirrored = mirror(&endpoints, &existing);
                if mirrored.skipped > 0 && !mirrored.plan.is_empty() {
                    let text = format!(
                        "A max of {ADDRESSES_MAX} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses \
                         were skipped",
                        mirrored.skipped
                    );
                    self.recorder.about(
                        endpoints.as_ref(),
                        Severity::Warning,
                        "TooManyAddressesToMirror",
                        &text,
                    );
                }
                mirrored.plan
            }
            None => {
                self.writes.forget(&key);
                Plan { delete: existing, ..Plan::default() }
            }
        };
        let api: Api<EndpointSlice> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let done = carry_out(&api, plan, |slice| {
            self.writes.wrote(&key, ObjectKey::of(&slice.metadata), slice.resource_version(), now);
        });
        match done.await {
            Ok(()) => Outcome::Done,
            Err(error) => after_failure(&key, &error),
        }
    }
}

fn has_selector(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.selector.is_some())
}
