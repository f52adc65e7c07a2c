//! A ServiceAccount `default` in every namespace that is not going away.
//!
//! Level-triggered: a namespace is looked at when it changes and when its account does. It knows no tokens.
//! Upstream: the serviceaccount controller.

use api::meta::Meta;
use client::queue::Outcome;
use client::write::{self, Class};
use client::{Cache, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;

use crate::Context;
use crate::namespace::is_terminating;

const NAME: &str = "default";

pub async fn run(context: Context, all_namespaces: Cache<Namespace>) {
    let scope = context.scope();
    let context = scope.context();
    let accounts = Cache::<ServiceAccount>::builder(Api::all(context.client.clone()))
        .fields(format!("metadata.name={NAME}"))
        .clock(context.clock.clone())
        .start(&context.tasks);
    let queue = WorkQueue::new(context.clock.clone());
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the caches are there.
        () = shutdown.cancelled() => return,
        () = async { all_namespaces.synced().await; accounts.synced().await; } => {}
    }
    let mut namespaces = all_namespaces.subscribe();
    let mut changed_accounts = accounts.subscribe();
    let feed = async {
        loop {
            let namespace = tokio::select! {
                // Changes that are not taken stay in their inbox.
                change = namespaces.next() => change.key.name,
                change = changed_accounts.next() => change.key.namespace,
            };
            queue.add(namespace);
        }
    };
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feed holds nothing.
        () = queue.work(&shutdown, |namespace| reconcile(context, &all_namespaces, &accounts, namespace)) => {}
        () = feed => {}
    }
}

async fn reconcile(
    context: &Context,
    all_namespaces: &Cache<Namespace>,
    accounts: &Cache<ServiceAccount>,
    namespace: String,
) -> Outcome {
    let known = all_namespaces.get(&ObjectKey::cluster(&namespace));
    let wanted = known.is_some_and(|namespace| !is_terminating(&namespace));
    if !wanted || accounts.get(&ObjectKey::namespaced(&namespace, NAME)).is_some_and(|a| !a.is_deleting()) {
        return Outcome::Done;
    }
    let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &namespace);
    let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
    match write::create(&api, &ServiceAccount { metadata, ..ServiceAccount::default() }).await {
        Ok(_) => Outcome::Done,
        Err(error) => match error.class() {
            Class::Exists | Class::Missing | Class::NamespaceTerminating => Outcome::Done,
            Class::Retry(after) => Outcome::FailedFor(*after),
            Class::Stale | Class::Fatal(_) => {
                tracing::warn!(namespace, error = %error.cause(), "{error}");
                Outcome::Failed
            }
        },
    }
}
