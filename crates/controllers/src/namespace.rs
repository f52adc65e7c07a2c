//! Empties a namespace that is going away, then lets it go.
//!
//! Pods first, then everything else that discovery lists; when nothing is left, the finalizer `kubernetes` is taken out
//! through the `finalize` subresource. What is in the way is said in the namespace's conditions. It knows no
//! kind but Pod by name. Upstream: the namespace controller with OrderedNamespaceDeletion.

mod conditions;

use std::time::Duration;

use api::meta::Meta;
use api::well_known::finalizer;
use client::queue::Outcome;
use client::write::{self, Class, Expect};
use client::{Cache, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, DynamicObject, ListParams, PartialObjectMetaExt, PostParams};
use kube::core::metadata::PartialObjectMeta;
use kube::{Api, Error};

use crate::Context;
use crate::kinds::{self, Deletable, Kind, Reach};
use conditions::{Found, Remaining};

/// Namespaces emptied beside each other; upstream's --concurrent-namespace-syncs is 10.
const WORKERS: usize = 4;
/// While content with a grace period is on its way out, upstream looks again after its estimate plus a bit; every
/// look costs a few requests for each kind.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A namespace in which nothing can be created any more.
pub fn is_terminating(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.is_deleting() || phase == Some("Terminating")
}

pub async fn run(context: Context, all: Cache<Namespace>) {
    let queue = WorkQueue::new(context.clock.clone());
    let shutdown = context.shutdown().clone();
    let mut namespaces = all.subscribe();
    let feed = async {
        loop {
            let change = namespaces.next().await;
            if change.after.is_some_and(|namespace| namespace.is_deleting()) {
                queue.add(change.key.name);
            }
        }
    };
    let workers =
        (0..WORKERS).map(|_| queue.work(&shutdown, |namespace| reconcile(&context, &all, namespace)));
    tokio::select! {
        // The workers return at shutdown, after the item in hand; the feed holds nothing.
        _ = futures::future::join_all(workers) => {}
        () = feed => {}
    }
}

async fn reconcile(context: &Context, all: &Cache<Namespace>, name: String) -> Outcome {
    let Some(namespace) = all.get(&ObjectKey::cluster(&name)) else { return Outcome::Done };
    if !namespace.is_deleting() || !holds_finalizer(&namespace) {
        return Outcome::Done;
    }
    let found = empty(context, &name).await;
    if let Some(status) = conditions::status(&namespace, &found, context.clock.now()) {
        let api: Api<Namespace> = Api::all(context.client.clone());
        match write::status(&api, &name, status, &Expect::uid(namespace.uid())).await {
            Ok(_) => {}
            Err(error) if *error.class() == Class::Missing => return Outcome::Done,
            Err(error) => tracing::debug!(namespace = name, error = %error.cause(), "{error}"),
        }
    }
    if !found.is_clean() {
        tracing::debug!(namespace = name, ?found, "not empty yet");
        let trouble = found.discovery_error.is_some() || !found.errors.is_empty();
        return if trouble { Outcome::Failed } else { Outcome::Again(LOOK_AGAIN) };
    }
    match finalize(context, &name, namespace.uid()).await {
        Ok(()) => {
            tracing::info!(namespace = name, "namespace is empty and let go");
            Outcome::Done
        }
        Err(error) => match Class::of(&error) {
            Class::Missing => Outcome::Done,
            Class::Retry(after) => Outcome::FailedFor(after),
            _ => Outcome::Failed,
        },
    }
}

fn holds_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
    finalizers.iter().any(|held| held == finalizer::KUBERNETES)
}

/// Deletes what is there and says what is left.
async fn empty(context: &Context, namespace: &str) -> Found {
    let mut found = Found::default();
    let kinds = match kinds::served(&context.client).await {
        Ok(served) => {
            // What a silent group holds is not known, so the namespace cannot be let go; the rest is emptied.
            let silent: Vec<String> =
                served.silent.iter().map(|(group, error)| format!("{group}: {error}")).collect();
            found.discovery_error = (!silent.is_empty()).then(|| silent.join(", "));
            served.kinds
        }
        Err(error) => {
            found.discovery_error = Some(error.to_string());
            return found;
        }
    };
    let deletable = |kind: &&Kind| kind.reach == Reach::Namespaced && kind.deletable != Deletable::No;
    let (pods, others): (Vec<&Kind>, Vec<&Kind>) = kinds
        .iter()
        .filter(deletable)
        .partition(|kind| kind.resource.kind == "Pod" && kind.resource.group.is_empty());
    // Pods first: what they use (Secrets, policies) must not go before them.
    for kind in pods {
        empty_of(context, namespace, kind, &mut found).await;
    }
    if found.errors.is_empty() && found.remaining.is_empty() {
        for kind in others {
            empty_of(context, namespace, kind, &mut found).await;
        }
    }
    found
}

async fn empty_of(context: &Context, namespace: &str, kind: &Kind, found: &mut Found) {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::namespaced_with(context.client.clone(), namespace, &kind.resource);
    match remove_all(&api, kind).await {
        Ok(left) => {
            for object in left {
                found.remaining.push(Remaining {
                    resource: qualified(kind),
                    finalizers: object.metadata.finalizers.unwrap_or_default(),
                });
            }
        }
        Err(error) => found.errors.push(format!("{}: {error}", qualified(kind))),
    }
}

async fn remove_all(
    api: &Api<PartialObjectMeta<DynamicObject>>,
    kind: &Kind,
) -> Result<Vec<PartialObjectMeta<DynamicObject>>, Error> {
    let everything = ListParams::default();
    let there = api.list_metadata(&everything).await?.items;
    if there.is_empty() {
        return Ok(Vec::new());
    }
    let background = DeleteParams::background();
    match kind.deletable {
        Deletable::AsCollection => {
            api.delete_collection(&background, &everything).await?;
        }
        Deletable::OneByOne => {
            for object in there.iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
                match api.delete(object.metadata.name.as_deref().unwrap_or_default(), &background).await {
                    Ok(_) => {}
                    Err(error) if Class::of(&error) == Class::Missing => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Deletable::No => {}
    }
    let left = api.list_metadata(&everything).await?.items;
    Ok(left.into_iter().map(|object| object.metadata.into_response_partial::<DynamicObject>()).collect())
}

/// Takes the finalizer out of the namespace as it is now.
async fn finalize(context: &Context, name: &str, uid: &str) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(context.client.clone());
    let Some(mut namespace) = api.get_opt(name).await? else { return Ok(()) };
    if namespace.uid() != uid {
        return Ok(());
    }
    if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|held| held != finalizer::KUBERNETES);
    }
    namespace.metadata.managed_fields = None;
    let done: Result<serde_json::Value, Error> = replace_finalize(&api, name, &namespace).await;
    done.map(drop)
}

async fn replace_finalize(
    api: &Api<Namespace>,
    name: &str,
    namespace: &Namespace,
) -> Result<serde_json::Value, Error> {
    let body = serde_json::to_vec(namespace).map_err(Error::SerdeError)?;
    let request = kube::core::Request::new(api.resource_url());
    let request = request
        .replace_subresource("finalize", name, &PostParams::default(), body)
        .map_err(Error::BuildRequest)?;
    api.clone().into_client().request(request).await
}

/// As upstream's conditions name it: `pods.`, `daemonsets.apps`.
fn qualified(kind: &Kind) -> String {
    format!("{}.{}", kind.resource.plural, kind.resource.group)
}
