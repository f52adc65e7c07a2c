//! The ConfigMap `kube-root-ca.crt` in every namespace: the certificate by which Pods know the API server.
//!
//! It is made again when it is deleted and put right when it is changed. Upstream: the rootcacertpublisher.

use std::collections::BTreeMap;

use api::meta::Meta;
use client::queue::Outcome;
use client::write::{self, Class, WriteError};
use client::{Cache, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;

use crate::Context;
use crate::namespace::is_terminating;

const NAME: &str = "kube-root-ca.crt";
const DATA_KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as \
     the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
     Kubernetes clusters.",
);

pub async fn run(context: Context, all_namespaces: Cache<Namespace>, root_ca_pem: String) {
    let scope = context.scope();
    let context = scope.context();
    let maps = Cache::<ConfigMap>::builder(Api::all(context.client.clone()))
        .fields(format!("metadata.name={NAME}"))
        .clock(context.clock.clone())
        .start(&context.tasks);
    let queue = WorkQueue::new(context.clock.clone());
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the caches are there.
        () = shutdown.cancelled() => return,
        () = async { all_namespaces.synced().await; maps.synced().await; } => {}
    }
    let mut namespaces = all_namespaces.subscribe();
    let mut changed_maps = maps.subscribe();
    let feed = async {
        loop {
            let namespace = tokio::select! {
                // Changes that are not taken stay in their inbox.
                change = namespaces.next() => change.key.name,
                change = changed_maps.next() => change.key.namespace,
            };
            queue.add(namespace);
        }
    };
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feed holds nothing.
        () = queue.work(&shutdown, |namespace| reconcile(context, &all_namespaces, &maps, &root_ca_pem, namespace)) => {}
        () = feed => {}
    }
}

async fn reconcile(
    context: &Context,
    all_namespaces: &Cache<Namespace>,
    maps: &Cache<ConfigMap>,
    pem: &str,
    namespace: String,
) -> Outcome {
    let known = all_namespaces.get(&ObjectKey::cluster(&namespace));
    if known.is_none_or(|namespace| is_terminating(&namespace)) {
        return Outcome::Done;
    }
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    let written = match maps.get(&ObjectKey::namespaced(&namespace, NAME)) {
        None => write::create(&api, &wanted(pem, ObjectMeta::default())).await.map(drop),
        Some(map) if map.is_deleting() || is_right(&map, pem) => return Outcome::Done,
        Some(map) => write::replace(&api, &wanted(pem, map.metadata.clone())).await.map(drop),
    };
    match written {
        Ok(()) => Outcome::Done,
        Err(error) => after_failure(&namespace, &error),
    }
}

fn after_failure(namespace: &str, error: &WriteError) -> Outcome {
    match error.class() {
        Class::Exists | Class::Missing | Class::NamespaceTerminating => Outcome::Done,
        Class::Retry(after) => Outcome::FailedFor(*after),
        Class::Stale => Outcome::Failed,
        Class::Fatal(_) => {
            tracing::warn!(namespace, error = %error.cause(), "{error}");
            Outcome::Failed
        }
    }
}

/// Upstream looks at the data alone; the description is only written with it.
fn is_right(map: &ConfigMap, pem: &str) -> bool {
    let data = map.data.as_ref();
    data.is_some_and(|data| data.len() == 1 && data.get(DATA_KEY).is_some_and(|there| there == pem))
}

fn wanted(pem: &str, mut metadata: ObjectMeta) -> ConfigMap {
    metadata.name = Some(NAME.to_owned());
    let (key, text) = DESCRIPTION;
    metadata.annotations.get_or_insert_default().insert(key.to_owned(), text.to_owned());
    let data = Some(BTreeMap::from([(DATA_KEY.to_owned(), pem.to_owned())]));
    ConfigMap { metadata, data, ..ConfigMap::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_certificate_or_a_key_too_many_is_put_right() {
        let right = wanted("PEM", ObjectMeta::default());
        assert!(is_right(&right, "PEM") && !is_right(&right, "OTHER"));
        let mut more = right.clone();
        more.data.get_or_insert_default().insert("x".into(), "y".into());
        assert!(!is_right(&more, "PEM"));
        assert!(!is_right(&ConfigMap::default(), "PEM"));
    }

    #[test]
    fn putting_right_keeps_the_objects_own_metadata() {
        let mut metadata = ObjectMeta { resource_version: Some("7".into()), ..ObjectMeta::default() };
        metadata.annotations = Some([("mine".into(), "kept".into())].into());
        let map = wanted("PEM", metadata);
        assert_eq!(map.metadata.resource_version.as_deref(), Some("7"));
        assert!(map.metadata.annotations.unwrap().contains_key("mine"));
    }
}
