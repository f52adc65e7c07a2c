//! What the controller would do for a DaemonSet now, and why, from one look at the API.
//!
//! It builds the same view that the controller keeps and prints the same text. What only the running controller knows (writes
//! not seen yet, back-off of failed Pods) is not in it.

use std::sync::Arc;

use daemonset::{Event, View, WantedError};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("cannot read daemonset {namespace}/{name}")]
    Get { namespace: String, name: String, source: Box<kube::Error> },
    #[error("cannot list {what}")]
    List { what: &'static str, source: Box<kube::Error> },
    #[error("daemonset {namespace}/{name} cannot be planned for")]
    Wanted { namespace: String, name: String, source: WantedError },
}

/// Every Node's line, and the status.
pub async fn explain(
    client: Client,
    namespace: &str,
    name: &str,
    now: Timestamp,
) -> Result<String, ExplainError> {
    let get = |source| ExplainError::Get {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    };
    let list = |what| move |source| ExplainError::List { what, source: Box::new(source) };
    let wanted =
        |source| ExplainError::Wanted { namespace: namespace.to_owned(), name: name.to_owned(), source };
    let all = ListParams::default();
    let object = Api::<DaemonSet>::namespaced(client.clone(), namespace).get(name).await.map_err(get)?;
    let nodes = Api::<Node>::all(client.clone()).list(&all).await.map_err(list("nodes"))?;
    let revisions = Api::<ControllerRevision>::namespaced(client.clone(), namespace)
        .list(&all)
        .await
        .map_err(list("controllerrevisions"))?;
    let pods = Api::<Pod>::namespaced(client, namespace).list(&all).await.map_err(list("pods"))?;
    let mut view = View::new(Arc::new(object)).map_err(wanted)?;
    let events = (nodes.items.into_iter().map(|node| Event::Node(Arc::new(node))))
        .chain(revisions.items.into_iter().map(|revision| Event::Revision(Arc::new(revision))))
        .chain(pods.items.into_iter().map(|pod| Event::Pod(Arc::new(pod))));
    for event in events {
        view.apply(event, now).map_err(wanted)?;
    }
    Ok(view.explain(now))
}
