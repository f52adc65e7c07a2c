//! CertificateSigningRequests: approved where the requester may ask for its own kind, signed, cleaned away.
//!
//! Three controllers that meet only in the object: [`approver`] writes verdicts, [`signer`] certificates, [`cleaner`]
//! deletes. What a request is for is read by [`request`], the key that signs is [`authority`]'s.
//! Upstream: pkg/controller/certificates.

pub mod approver;
pub mod authority;
pub mod cleaner;
pub mod request;
mod serving;
pub mod signer;

use std::future::Future;
use std::sync::Arc;

use client::queue::Outcome;
use client::write::Class;
use client::{Cache, ObjectKey, WorkQueue};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;

use crate::Context;

/// Calls `look` for every request when it changes, with what is known of it then.
async fn each<F, W>(context: &Context, look: F)
where
    F: Fn(Arc<CertificateSigningRequest>) -> W,
    W: Future<Output = Outcome>,
{
    let requests = Cache::<CertificateSigningRequest>::builder(Api::all(context.client.clone()))
        .clock(context.clock.clone())
        .start(&context.tasks);
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(context.clock.clone());
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the cache is there.
        () = shutdown.cancelled() => return,
        () = requests.synced() => {}
    }
    let mut changes = requests.subscribe();
    let feed = async {
        loop {
            // Changes that are not taken stay in their inbox.
            let change = changes.next().await;
            queue.add(change.key);
        }
    };
    let work = |key: ObjectKey| {
        let found = requests.get(&key);
        let looked = found.map(&look);
        async move {
            match looked {
                Some(looked) => looked.await,
                None => Outcome::Done,
            }
        }
    };
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feed holds nothing.
        () = queue.work(&shutdown, work) => {}
        () = feed => {}
    }
}

/// What a failed write of a request asks for: the next state comes with the next change.
fn after_failure(name: &str, error: &kube::Error) -> Outcome {
    match Class::of(error) {
        Class::Missing | Class::Stale | Class::Exists | Class::NamespaceTerminating => Outcome::Done,
        Class::Retry(after) => Outcome::FailedFor(after),
        Class::Fatal(refusal) => {
            tracing::warn!(request = name, reason = refusal.reason, "{}", refusal.message);
            Outcome::Failed
        }
    }
}
