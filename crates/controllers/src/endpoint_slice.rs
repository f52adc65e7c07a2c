//! EndpointSlices of Services with a selector: the addresses of their Pods, at most a hundred in a slice.
//!
//! A change writes the slices that it touches and no others; which, is [`plan`]'s to say. Slices that others manage are
//! left alone, those of a Service that is gone are the garbage collector's. Upstream: the endpointslice controller.

mod layout;
pub mod mirror;
mod plan;

use api::meta::Meta;
use client::cache::OwnWrites;
use client::queue::Outcome;
use client::write::{self, Class, Deletion, Expect, WriteError};
use client::{Cache, ObjectKey};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;

use crate::Context;
use crate::backends::{Backends, after_failure};
use layout::{Plan, SERVICE_NAME};
use plan::{MANAGED_BY, MANAGER, plan};

/// Index of the slices: by namespace and Service.
const BY_SERVICE: &str = "service";

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context();
    let backends = Backends::start(context);
    let slices = Cache::<EndpointSlice>::builder(Api::all(context.client.clone()))
        .labels(format!("{MANAGED_BY}={MANAGER}"))
        .index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect())
        .clock(context.clock.clone())
        .start(&context.tasks);
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the caches are there.
        () = shutdown.cancelled() => return,
        () = async { backends.synced().await; slices.synced().await; } => {}
    }
    let writes = OwnWrites::new();
    let mut changed = slices.subscribe();
    let strangers = async {
        loop {
            let change = changed.next().await;
            // What somebody else changed is put right.
            for slice in [change.before, change.after].into_iter().flatten() {
                if let Some(service) = service_of(&slice) {
                    backends.queue.add(service);
                }
            }
        }
    };
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feeds hold nothing.
        () = backends.queue.work(&shutdown, |key| reconcile(&backends, &slices, &writes, key)) => {}
        () = backends.feed() => {}
        () = strangers => {}
    }
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    Some(ObjectKey::namespaced(slice.namespace(), slice.label(SERVICE_NAME)?))
}

async fn reconcile(
    backends: &Backends,
    slices: &Cache<EndpointSlice>,
    writes: &OwnWrites<ObjectKey>,
    key: ObjectKey,
) -> Outcome {
    let Some(backed) = backends.backed(&key) else {
        writes.forget(&key);
        return Outcome::Done;
    };
    // A slice that was made a moment ago would be made again.
    let now = backends.context.clock.now();
    if !writes.caught_up(&key, slices, now) {
        return Outcome::Again(writes.look_again());
    }
    let existing = slices.by_index(BY_SERVICE, &key.to_string());
    let plan = plan(&backed.service, &backed.members, &existing);
    let api: Api<EndpointSlice> = Api::namespaced(backends.context.client.clone(), &key.namespace);
    match carry_out(&api, plan, |slice| {
        writes.wrote(&key, ObjectKey::of(&slice.metadata), slice.resource_version(), now);
    })
    .await
    {
        Ok(()) => Outcome::Done,
        Err(error) => after_failure(&key, &error),
    }
}

/// New slices first, so that no address is missing in between.
async fn carry_out(
    api: &Api<EndpointSlice>,
    plan: Plan,
    mut wrote: impl FnMut(&EndpointSlice),
) -> Result<(), WriteError> {
    for slice in plan.create {
        wrote(&write::create(api, &slice).await?);
    }
    for slice in plan.update {
        wrote(&write::replace(api, &slice).await?);
    }
    for slice in plan.delete {
        let deletion = Deletion { expect: Expect::uid(slice.uid()), ..Deletion::default() };
        match write::delete(api, slice.name(), deletion).await {
            Ok(_) => {}
            Err(error) if *error.class() == Class::Stale => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
