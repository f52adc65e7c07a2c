//! Endpoints of Services with a selector: the addresses of their Pods, as older clients read them.
//!
//! One object a Service, by its name, written when what it should say differs; it goes with its Service. What it should
//! say is [`subsets`]'. Endpoints of Services without a selector are left alone. Upstream: the endpoints controller.

mod subsets;

use std::collections::BTreeMap;

use api::meta::Meta;
use client::queue::Outcome;
use client::write::{self, Class, Deletion, Expect};
use client::{Cache, ObjectKey};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use kube::Api;

use crate::Context;
use crate::backends::{Backends, HEADLESS, after_failure, has_address};
use subsets::{Wanted, wanted};

/// Says that there are more addresses than the object shows.
const OVER_CAPACITY: (&str, &str) = ("endpoints.kubernetes.io/over-capacity", "truncated");
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// Endpoints that are a lock of an election of before Leases: nobody's Service, and not to be removed.
const LOCK: &str = "control-plane.alpha.kubernetes.io/leader";

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context();
    let backends = Backends::start(context);
    let endpoints = Cache::<Endpoints>::builder(Api::all(context.client.clone()))
        .clock(context.clock.clone())
        .start(&context.tasks);
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the caches are there.
        () = shutdown.cancelled() => return,
        () = async { backends.synced().await; endpoints.synced().await; } => {}
    }
    // What was left of Services that went meanwhile.
    for left in endpoints.list() {
        backends.queue.add(ObjectKey::of(&left.metadata));
    }
    let mut changed = endpoints.subscribe();
    let strangers = async {
        loop {
            let key = changed.next().await.key;
            // What somebody else changed is put right; what is made before its Service is left alone.
            if backends.services.get(&key).is_some() {
                backends.queue.add(key);
            }
        }
    };
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feeds hold nothing.
        () = backends.queue.work(&shutdown, |key| reconcile(&backends, &endpoints, key)) => {}
        () = backends.feed() => {}
        () = strangers => {}
    }
}

async fn reconcile(backends: &Backends, endpoints: &Cache<Endpoints>, key: ObjectKey) -> Outcome {
    let api: Api<Endpoints> = Api::namespaced(backends.context.client.clone(), &key.namespace);
    let current = endpoints.get(&key);
    let Some(backed) = backends.backed(&key) else {
        let Some(left) = current.filter(|left| left.annotation(LOCK).is_none()) else { return Outcome::Done };
        if backends.services.get(&key).is_some() {
            return Outcome::Done;
        }
        let deletion = Deletion { expect: Expect::uid(left.uid()), ..Deletion::default() };
        return match write::delete(&api, &key.name, deletion).await {
            Ok(_) => Outcome::Done,
            Err(error) if *error.class() == Class::Stale => Outcome::Done,
            Err(error) => after_failure(&key, &error),
        };
    };
    let wanted = wanted(&backed.service, &backed.members);
    let written = match current {
        None => {
            let mut fresh = Endpoints::default();
            fresh.metadata.name = Some(key.name.clone());
            write::create(&api, &filled(fresh, &backed.service, wanted)).await
        }
        Some(current) => {
            let next = filled((*current).clone(), &backed.service, wanted);
            if next == *current {
                return Outcome::Done;
            }
            write::replace(&api, &next).await
        }
    };
    match written {
        Ok(_) => Outcome::Done,
        Err(error) => after_failure(&key, &error),
    }
}

fn filled(mut endpoints: Endpoints, service: &Service, wanted: Wanted) -> Endpoints {
    let mut labels: BTreeMap<String, String> = service.labels().clone();
    labels.remove(HEADLESS);
    if !service.spec.as_ref().is_some_and(has_address) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    endpoints.metadata.labels = Some(labels);
    let annotations = endpoints.metadata.annotations.get_or_insert_default();
    if wanted.truncated {
        annotations.insert(OVER_CAPACITY.0.to_owned(), OVER_CAPACITY.1.to_owned());
    } else {
        annotations.remove(OVER_CAPACITY.0);
    }
    if annotations.is_empty() {
        endpoints.metadata.annotations = None;
    }
    endpoints.subsets = (!wanted.subsets.is_empty()).then_some(wanted.subsets);
    endpoints
}
