//! The picture to decide on: Nodes, the Pods on each, and what these take. Kept, not rebuilt.
//!
//! One object's change costs that object. A Pod that has been decided on is assumed to be on its Node until the watch
//! shows it there or the binding fails. Pods on a Node that is not known (yet, or any more) are kept aside.
//! Pure. Upstream: the scheduler's cache and snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::meta::Meta;
use client::ObjectKey;
use k8s_openapi::api::core::v1::{Node, Pod};
use placement::{Demand, NodeLoad};

#[derive(Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, Seat>,
    /// Nodes that exist; a seat may outlive its Node while Pods name it.
    known_nodes: usize,
    pods: BTreeMap<ObjectKey, Placed>,
    /// Pods with required anti-affinity: the ones that may refuse a newcomer that asks for nothing.
    repelling: BTreeSet<ObjectKey>,
}

/// One Node's place in the picture.
struct Seat {
    node: Option<Arc<Node>>,
    load: NodeLoad,
    pods: BTreeSet<ObjectKey>,
}

struct Placed {
    pod: Arc<Pod>,
    node: String,
    demand: Demand,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Decided here, not yet seen.
    Assumed,
    /// Seen bound.
    Bound,
}

/// A Node with what is on it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub node: &'a Arc<Node>,
    pub load: &'a NodeLoad,
}

impl Snapshot {
    pub fn set_node(&mut self, node: Arc<Node>) {
        let seat = self.nodes.entry(node.name().to_owned()).or_insert_with(Seat::vacant);
        if seat.node.is_none() {
            self.known_nodes += 1;
        }
        seat.load.set_node(&node);
        seat.node = Some(node);
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(seat) = self.nodes.get_mut(name) else { return };
        if seat.node.take().is_some() {
            self.known_nodes -= 1;
        }
        if seat.pods.is_empty() {
            self.nodes.remove(name);
        }
    }

    /// Takes in a Pod as seen: on its Node, or nowhere. One that is assumed and seen unbound stays assumed.
    pub fn set_pod(&mut self, pod: &Arc<Pod>) {
        let key = ObjectKey::of(&pod.metadata);
        match api::pod::node_name(pod) {
            Some(_) if api::pod::is_terminal(pod) => self.remove_pod(&key),
            Some(node) => self.place(key, pod, node.to_owned(), Standing::Bound),
            None => {
                let known = self.pods.get(&key);
                if known
                    .is_some_and(|known| known.standing == Standing::Bound || known.pod.uid() != pod.uid())
                {
                    self.remove_pod(&key);
                }
            }
        }
    }

    pub fn remove_pod(&mut self, key: &ObjectKey) {
        let Some(placed) = self.pods.remove(key) else { return };
        self.repelling.remove(key);
        if let Some(seat) = self.nodes.get_mut(&placed.node) {
            seat.load.remove(&placed.demand);
            seat.pods.remove(key);
            if seat.pods.is_empty() && seat.node.is_none() {
                self.nodes.remove(&placed.node);
            }
        }
    }

    /// Counts a Pod on the Node that was decided for it.
    pub fn assume(&mut self, pod: &Arc<Pod>, node: &str) {
        self.place(ObjectKey::of(&pod.metadata), pod, node.to_owned(), Standing::Assumed);
    }

    /// The binding failed: what was assumed of this Pod is not so. A Pod that was seen bound meanwhile stays.
    pub fn forget_assumed(&mut self, key: &ObjectKey) {
        if self.pods.get(key).is_some_and(|placed| placed.standing == Standing::Assumed) {
            self.remove_pod(key);
        }
    }

    /// The Node that a Pod counts on.
    pub fn node_of(&self, key: &ObjectKey) -> Option<&str> {
        self.pods.get(key).map(|placed| placed.node.as_str())
    }

    pub fn nodes_total(&self) -> usize {
        self.known_nodes
    }

    pub fn node(&self, name: &str) -> Option<Seen<'_>> {
        let seat = self.nodes.get(name)?;
        Some(Seen { node: seat.node.as_ref()?, load: &seat.load })
    }

    /// Every Node, by name.
    pub fn nodes(&self) -> impl Iterator<Item = Seen<'_>> {
        self.nodes.values().filter_map(|seat| Some(Seen { node: seat.node.as_ref()?, load: &seat.load }))
    }

    /// Every Pod on a Node that exists.
    pub fn placed(&self) -> impl Iterator<Item = (&Pod, &Node)> {
        self.pods.values().filter_map(|placed| self.with_node(placed))
    }

    /// Those of [`placed`](Self::placed) that may refuse a newcomer.
    pub fn repelling(&self) -> impl Iterator<Item = (&Pod, &Node)> {
        self.repelling.iter().filter_map(|key| self.with_node(self.pods.get(key)?))
    }

    fn with_node<'a>(&'a self, placed: &'a Placed) -> Option<(&'a Pod, &'a Node)> {
        let node = self.nodes.get(&placed.node)?.node.as_deref()?;
        Some((&placed.pod, node))
    }

    fn place(&mut self, key: ObjectKey, pod: &Arc<Pod>, node: String, standing: Standing) {
        self.remove_pod(&key);
        let demand = Demand::of(pod);
        let seat = self.nodes.entry(node.clone()).or_insert_with(Seat::vacant);
        seat.load.add(&demand);
        seat.pods.insert(key.clone());
        if has_anti_affinity(pod) {
            self.repelling.insert(key.clone());
        }
        self.pods.insert(key, Placed { pod: Arc::clone(pod), node, demand, standing });
    }
}

impl Seat {
    fn vacant() -> Seat {
        Seat { node: None, load: NodeLoad::default(), pods: BTreeSet::new() }
    }
}

fn has_anti_affinity(pod: &Pod) -> bool {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let anti = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    anti.and_then(|anti| anti.required_during_scheduling_ignored_during_execution.as_ref())
        .is_some_and(|terms| !terms.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(name: &str) -> Arc<Node> {
        let node = json!({"metadata": {"name": name}, "status": {"allocatable": {"pods": "2", "cpu": "1"}}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn pod(name: &str, node: Value) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"nodeName": node, "containers": [
                {"name": "c", "resources": {"requests": {"cpu": "600m"}}}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::namespaced("ns", name)
    }

    #[test]
    fn an_assumed_pod_counts_at_once_and_once_only() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("n"));
        let incoming = pod("a", Value::Null);
        snapshot.assume(&incoming, "n");
        assert_eq!(snapshot.node("n").unwrap().load.pods(), 1);
        // Seen unbound again, by an older event: still assumed.
        snapshot.set_pod(&incoming);
        assert_eq!(snapshot.node_of(&key("a")), Some("n"));
        snapshot.set_pod(&pod("a", json!("n")));
        assert_eq!(snapshot.node("n").unwrap().load.pods(), 1);
        snapshot.forget_assumed(&key("a"));
        assert_eq!(snapshot.node_of(&key("a")), Some("n"), "seen bound: no longer a matter of assuming");
        snapshot.remove_pod(&key("a"));
        assert_eq!(*snapshot.node("n").unwrap().load, NodeLoad::empty(&node("n")));
    }

    #[test]
    fn a_failed_binding_frees_what_was_assumed() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("n"));
        snapshot.assume(&pod("a", Value::Null), "n");
        snapshot.forget_assumed(&key("a"));
        assert_eq!((snapshot.node("n").unwrap().load.pods(), snapshot.node_of(&key("a"))), (0, None));
    }

    #[test]
    fn pods_seen_before_their_node_count_when_it_comes_and_a_nodes_pods_outlive_it() {
        let mut snapshot = Snapshot::default();
        snapshot.set_pod(&pod("a", json!("n")));
        assert_eq!((snapshot.nodes_total(), snapshot.placed().count()), (0, 0));
        snapshot.set_node(node("n"));
        assert_eq!((snapshot.nodes_total(), snapshot.placed().count()), (1, 1));
        assert_eq!(snapshot.node("n").unwrap().load.pods(), 1);
        snapshot.remove_node("n");
        assert!(snapshot.node("n").is_none());
        snapshot.set_node(node("n"));
        assert_eq!(snapshot.node("n").unwrap().load.pods(), 1);
    }

    #[test]
    fn an_ended_pod_takes_nothing() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("n"));
        snapshot.set_pod(&pod("a", json!("n")));
        let mut ended = Pod::clone(&pod("a", json!("n")));
        ended.status.get_or_insert_default().phase = Some("Failed".into());
        snapshot.set_pod(&Arc::new(ended));
        assert_eq!(snapshot.node("n").unwrap().load.pods(), 0);
    }
}
