//! Mirror Pods: what the API shows of a static Pod.
//!
//! One for each static Pod that is wanted here: made when it is missing, replaced when it is another Pod's or is being
//! deleted, removed when its static Pod is gone. Nothing that is done to a mirror touches a container. Upstream:
//! pkg/kubelet/pod/mirror_client.go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::well_known::pod_annotation;
use client::write::{self, Class, Deletion, Expect};
use client::{Cache, ObjectKey};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use podmachine::{PodSource, State};
use process::{Clock, Shutdown};
use tokio::sync::watch;

use crate::board::Board;
use crate::source::manifest::references;

/// Behind change notifications; upstream's housekeeping is every 2 s.
const RESYNC_MS: u64 = 10_000;
/// After a failure: a namespace that is not there yet, a node that is not registered.
const RETRY_MS: u64 = 2_000;

/// The mirrors that the API has. Without an API server there are none.
#[derive(Clone)]
pub struct Mirrors {
    pods: Option<Cache<Pod>>,
    version: Option<watch::Receiver<u64>>,
}

impl Mirrors {
    /// A node that stands alone.
    pub fn none() -> Mirrors {
        Mirrors { pods: None, version: None }
    }

    /// `version` changes with every mirror that comes, changes or goes.
    pub fn of_cache(pods: Cache<Pod>, version: watch::Receiver<u64>) -> Mirrors {
        Mirrors { pods: Some(pods), version: Some(version) }
    }

    /// The API's Pod with this static Pod's name.
    pub fn of(&self, pod: &Pod) -> Option<Arc<Pod>> {
        self.shown(pod).filter(|found| api::pod::is_mirror(found))
    }

    /// What the API shows under this Pod's name.
    pub fn shown(&self, pod: &Pod) -> Option<Arc<Pod>> {
        let namespace = pod.metadata.namespace.as_deref()?;
        self.pods.as_ref()?.get(&ObjectKey::namespaced(namespace, pod.metadata.name.as_deref()?))
    }

    fn all(&self) -> Vec<Arc<Pod>> {
        let pods = self.pods.iter().flat_map(Cache::list);
        pods.filter(|pod| api::pod::is_mirror(pod)).collect()
    }

    /// Resolves after a change; for ever where there are no mirrors.
    pub async fn changed(&mut self) {
        match &mut self.version {
            Some(version) => {
                if version.changed().await.is_err() {
                    std::future::pending().await
                }
            }
            None => std::future::pending().await,
        }
    }
}

/// Keeps mirrors in line with static Pods.
pub struct MirrorKeeper {
    pub client: kube::Client,
    pub mirrors: Mirrors,
    pub board: Arc<Board>,
    /// Our Node as the API has it; `None` until it is registered.
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// Every source was heard: only then is a mirror without a static Pod an orphan.
    pub heard: watch::Receiver<bool>,
    pub clock: Arc<dyn Clock>,
}

impl MirrorKeeper {
    /// Until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut rows = self.board.version();
        let mut again = false;
        loop {
            let pause = Duration::from_millis(if again { RETRY_MS } else { RESYNC_MS });
            tokio::select! {
                // Each arm is a version or a flag: a change missed here is seen at the look below.
                () = shutdown.cancelled() => return,
                _ = rows.changed() => {}
                () = self.mirrors.changed() => {}
                Ok(()) = self.node.changed() => {}
                Ok(()) = self.heard.changed() => {}
                () = self.clock.sleep(pause) => {}
            }
            again = !self.sync().await;
        }
    }

    /// One pass. `false`: something is left to do.
    async fn sync(&self) -> bool {
        let Some(node) = self.node.borrow().clone() else { return true };
        if node.metadata.deletion_timestamp.is_some() {
            return true;
        }
        let rows: Vec<_> =
            self.board.all().into_iter().filter(|row| row.source == PodSource::Static).collect();
        let mut done = true;
        let mut names = BTreeMap::new();
        for row in &rows {
            let key = (row.pod.metadata.namespace.clone(), row.pod.metadata.name.clone());
            names.insert(key, ());
            // One that is on its way out keeps the mirror that it has; a stranger never gets one.
            if row.state != State::Syncing || row.pod.metadata.annotations.is_none() {
                continue;
            }
            done &= self.keep(&row.pod, &node).await;
        }
        if *self.heard.borrow() {
            for mirror in self.mirrors.all() {
                let key = (mirror.metadata.namespace.clone(), mirror.metadata.name.clone());
                if !names.contains_key(&key) && !self.board.expects(&key) {
                    tracing::info!(mirror = %crate::spec::PodId::of(&mirror), "mirror Pod without a static Pod is removed");
                    done &= self.delete(&mirror).await;
                }
            }
        }
        done
    }

    async fn keep(&self, pod: &Pod, node: &Node) -> bool {
        let Some(hash) = pod.metadata.uid.as_deref() else { return true };
        if let Some(mirror) = self.mirrors.of(pod) {
            let annotations = mirror.metadata.annotations.as_ref();
            let same = annotations
                .and_then(|all| all.get(pod_annotation::CONFIG_MIRROR))
                .is_some_and(|known| known == hash);
            if same && mirror.metadata.deletion_timestamp.is_none() {
                return true;
            }
            if !self.delete(&mirror).await {
                return false;
            }
        }
        let mirror = mirror_of(pod, hash, node);
        let api: Api<Pod> =
            Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        match write::create(&api, &mirror).await {
            Ok(_) => {
                tracing::info!(pod = %crate::spec::PodId::of(pod), "mirror Pod made");
                true
            }
            // The cache is behind: the next look sees whose it is.
            Err(error) if matches!(error.class(), Class::Exists) => false,
            Err(error) => {
                tracing::warn!(pod = %crate::spec::PodId::of(pod), error = %crate::error_chain(&error), "mirror Pod is not made; its containers run all the same");
                false
            }
        }
    }

    async fn delete(&self, mirror: &Pod) -> bool {
        let api: Api<Pod> =
            Api::namespaced(self.client.clone(), mirror.metadata.namespace.as_deref().unwrap_or_default());
        let expect = Expect { uid: mirror.metadata.uid.clone(), resource_version: None };
        let deletion = Deletion { expect, grace_seconds: Some(0), propagation: None };
        match write::delete(&api, mirror.metadata.name.as_deref().unwrap_or_default(), deletion).await {
            Ok(_) => true,
            Err(error) if matches!(error.class(), Class::Missing | Class::Stale) => true,
            Err(error) => {
                tracing::warn!(mirror = %crate::spec::PodId::of(mirror), error = %crate::error_chain(&error), "mirror Pod is not deleted");
                false
            }
        }
    }
}

/// Same name, labels, annotations and spec; owned by the Node.
pub fn mirror_of(pod: &Pod, hash: &str, node: &Node) -> Pod {
    let mut mirror = pod.clone();
    // DIFFERS(static-local): the API server has no such objects and refuses mirrors that name any.
    references::without_local_objects(&mut mirror);
    mirror.status = None;
    mirror.metadata.uid = None;
    mirror.metadata.resource_version = None;
    mirror.metadata.creation_timestamp = None;
    mirror
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(pod_annotation::CONFIG_MIRROR.to_owned(), hash.to_owned());
    mirror.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    mirror
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_carries_the_hash_and_belongs_to_the_node() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p-n", "namespace": "d", "uid": "hash", "labels": {"a": "b"},
                "annotations": {"kubernetes.io/config.hash": "hash", "kubernetes.io/config.source": "file"}},
            "spec": {"containers": [{"name": "c"}], "nodeName": "n"}, "status": {"phase": "Pending"}}))
        .unwrap();
        let node: Node =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "n", "uid": "node-uid"}}))
                .unwrap();
        let mirror = mirror_of(&pod, "hash", &node);
        assert_eq!(mirror.metadata.uid, None);
        assert_eq!(mirror.metadata.annotations.as_ref().unwrap()["kubernetes.io/config.mirror"], "hash");
        let owners = mirror.metadata.owner_references.as_ref().unwrap();
        assert_eq!((owners.len(), owners[0].uid.as_str(), owners[0].controller), (1, "node-uid", Some(true)));
        assert_eq!(owners[0].block_owner_deletion, None);
        assert!(api::pod::is_mirror(&mirror));
        assert_eq!(mirror.spec, pod.spec);
    }
}
