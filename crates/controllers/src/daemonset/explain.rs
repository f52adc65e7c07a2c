//! What the controller would do for a DaemonSet now, and why, from one look at the API.
//!
//! It builds the same view that the controller keeps and says it in the same words, and adds what is known of the Pods
//! themselves: why one waits, or would. What only the running controller knows (writes that it has not seen yet) is not
//! in it; the back-off of failed Pods is reckoned from the Events that tell of their deletions.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::meta::Meta;
use daemonset::{Event, Explanation, NodeName, Surroundings, View, WantedError};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Event as EventObject, Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use placement::NodeLoad;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("there is no daemonset {namespace}/{name}")]
    Missing { namespace: String, name: String },
    #[error("cannot read daemonset {namespace}/{name}")]
    Get { namespace: String, name: String, source: Box<kube::Error> },
    #[error("cannot list {what}")]
    List { what: &'static str, source: Box<kube::Error> },
    #[error("daemonset {namespace}/{name} cannot be planned for")]
    Wanted { namespace: String, name: String, source: WantedError },
}

/// Every Node with what happens there and why, and the status.
pub async fn explain(
    client: Client,
    namespace: &str,
    name: &str,
    now: Timestamp,
) -> Result<Explanation, ExplainError> {
    let (owner, own_name) = (|| namespace.to_owned(), || name.to_owned());
    let list = |what| move |source| ExplainError::List { what, source: Box::new(source) };
    let wanted = |source| ExplainError::Wanted { namespace: owner(), name: own_name(), source };
    let all = ListParams::default();
    let object = match Api::<DaemonSet>::namespaced(client.clone(), namespace).get_opt(name).await {
        Ok(Some(object)) => object,
        Ok(None) => return Err(ExplainError::Missing { namespace: owner(), name: own_name() }),
        Err(source) => {
            return Err(ExplainError::Get { namespace: owner(), name: own_name(), source: Box::new(source) });
        }
    };
    let nodes = Api::<Node>::all(client.clone()).list(&all).await.map_err(list("nodes"))?.items;
    let revisions = Api::<ControllerRevision>::namespaced(client.clone(), namespace)
        .list(&all)
        .await
        .map_err(list("controllerrevisions"))?;
    // Of all namespaces: a Node's room is taken by anybody's Pods.
    let pods = Api::<Pod>::all(client.clone()).list(&all).await.map_err(list("pods"))?.items;
    let uid = object.uid().to_owned();
    let of_set = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=FailedDaemonPod"));
    let failures = Api::<EventObject>::namespaced(client, namespace).list(&of_set).await;
    // Events are a help and no more: without them there is still the rest to say.
    let failures = failures.map(|failures| deletions_of_failed(&failures.items)).unwrap_or_default();

    let mut view = View::new(Arc::new(object)).map_err(&wanted)?;
    let own = |pod: &&Pod| pod.namespace() == namespace;
    let events = (nodes.iter().map(|node| Event::Node(Arc::new(node.clone()))))
        .chain(revisions.items.into_iter().map(|revision| Event::Revision(Arc::new(revision))))
        .chain(pods.iter().filter(own).map(|pod| Event::Pod(Arc::new(pod.clone()))));
    for event in events {
        view.apply(event, now).map_err(&wanted)?;
    }
    for (node, times) in &failures {
        view.recall_failures(node, times, now);
    }
    let around = Surroundings {
        pods: pods.iter().filter(own).map(|pod| (pod.name(), pod)).collect(),
        loads: loads(&nodes, &pods),
    };
    Ok(view.explained(now, &around))
}

/// What is taken of each Node that says what it has.
fn loads<'a>(nodes: &'a [Node], pods: &[Pod]) -> BTreeMap<&'a str, NodeLoad> {
    let mut by_node: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in pods {
        if let Some(node) = api::pod::node_name(pod) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    let tells = |node: &&Node| node.status.as_ref().is_some_and(|status| status.allocatable.is_some());
    let load = |node: &'a Node| {
        let there = by_node.get(node.name()).into_iter().flatten().copied();
        (node.name(), NodeLoad::with_pods(node, there))
    };
    nodes.iter().filter(tells).map(load).collect()
}

/// When failed Pods were deleted, by Node, in order: an Event that was seen several times counts each time.
fn deletions_of_failed(events: &[EventObject]) -> BTreeMap<NodeName, Vec<Timestamp>> {
    let mut times: BTreeMap<NodeName, Vec<Timestamp>> = BTreeMap::new();
    for event in events {
        let message = event.message.as_deref().unwrap_or_default();
        let node = message.split_once(" on node ").and_then(|(_, rest)| rest.split_once(", will try"));
        let Some((node, _)) = node else { continue };
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        let Some(last) = last.or(event.event_time.as_ref().map(|time| time.0)) else { continue };
        let count = usize::try_from(event.count.unwrap_or(1).max(1)).unwrap_or(1).min(COUNTED_MAX);
        times.entry(NodeName::from(node)).or_default().extend(std::iter::repeat_n(last, count));
    }
    for times in times.values_mut() {
        times.sort();
    }
    times
}

/// So many deletions in a row reach the longest back-off: 2^10 s is more than 15 min.
const COUNTED_MAX: usize = 12;
