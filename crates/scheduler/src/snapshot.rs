//! The picture to decide on: Nodes, the Pods on each, and what these take. Kept, not rebuilt.
//!
//! One object's change costs that object. A Pod that has been decided on is assumed to be on its Node until the watch
//! shows it there or the binding fails. Pods on a Node that is not known (yet, or any more) are kept aside. A Pod for which
//! others are being removed has its place promised ([`Promises`]).
//! Pure. Upstream: the scheduler's cache, snapshot and nominator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::meta::Meta;
use client::ObjectKey;
use k8s_openapi::api::core::v1::{Node, Pod};
use placement::{Demand, ImageSpread, NodeLoad, PodTerms, Resident};

use crate::promises::Promises;
use crate::topology::Topology;

#[derive(Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, Seat>,
    /// Nodes that exist; a seat may outlive its Node while Pods name it.
    known_nodes: usize,
    pods: BTreeMap<ObjectKey, Placed>,
    /// Nodes with Pods that say something about others, and how many.
    speaking: BTreeMap<String, usize>,
    /// Topology keys of the required anti-affinity of the Pods that are there, and how many terms name them: these Pods may
    /// refuse a newcomer that asks for nothing.
    repelling_keys: BTreeMap<String, usize>,
    topology: Topology,
    images: ImageSpread,
    pub(crate) promises: Promises,
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
    /// `None`: it says nothing about other Pods.
    terms: Option<Box<PodTerms>>,
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
        match &seat.node {
            None => self.known_nodes += 1,
            Some(before) => self.images.remove(before),
        }
        self.images.add(&node);
        self.topology.change(seat.node.as_deref(), Some(&node));
        seat.load.set_node(&node);
        seat.node = Some(node);
    }

    /// The Node as it was.
    pub fn remove_node(&mut self, name: &str) -> Option<Arc<Node>> {
        let seat = self.nodes.get_mut(name)?;
        let node = seat.node.take()?;
        self.known_nodes -= 1;
        self.images.remove(&node);
        self.topology.change(Some(&node), None);
        if seat.pods.is_empty() {
            self.nodes.remove(name);
        }
        Some(node)
    }

    /// Takes in a Pod as seen: on its Node, or nowhere. One that is assumed and seen unbound stays assumed.
    pub fn set_pod(&mut self, pod: &Arc<Pod>) {
        let key = ObjectKey::of(&pod.metadata);
        match api::pod::node_name(pod) {
            Some(_) if api::pod::is_terminal(pod) => {
                self.remove_pod(&key);
            }
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

    /// The Pod as it was last counted.
    pub fn remove_pod(&mut self, key: &ObjectKey) -> Option<Arc<Pod>> {
        let placed = self.pods.remove(key)?;
        self.hear(&placed, -1);
        if let Some(seat) = self.nodes.get_mut(&placed.node) {
            seat.load.remove(&placed.demand);
            seat.pods.remove(key);
            if seat.pods.is_empty() && seat.node.is_none() {
                self.nodes.remove(&placed.node);
            }
        }
        Some(placed.pod)
    }

    /// Counts a Pod on the Node that was decided for it.
    pub fn assume(&mut self, pod: &Arc<Pod>, node: &str) {
        self.place(ObjectKey::of(&pod.metadata), pod, node.to_owned(), Standing::Assumed);
    }

    /// The binding failed: what was assumed of this Pod is not so. A Pod that was seen bound meanwhile stays.
    pub fn forget_assumed(&mut self, key: &ObjectKey) -> bool {
        let assumed = self.pods.get(key).is_some_and(|placed| placed.standing == Standing::Assumed);
        if assumed {
            self.remove_pod(key);
        }
        assumed
    }

    /// The Node that a Pod counts on.
    pub fn node_of(&self, key: &ObjectKey) -> Option<&str> {
        self.pods.get(key).map(|placed| placed.node.as_str())
    }

    /// A Pod that counts on some Node.
    pub fn pod(&self, key: &ObjectKey) -> Option<&Arc<Pod>> {
        self.pods.get(key).map(|placed| &placed.pod)
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

    /// The Pods on a Node, by namespace and name.
    pub fn residents(&self, node: &str) -> impl Iterator<Item = Resident<'_>> + Clone {
        let keys = self.nodes.get(node).map(|seat| &seat.pods);
        keys.into_iter().flatten().filter_map(|key| self.pods.get(key)).map(|placed| Resident {
            pod: &placed.pod,
            demand: &placed.demand,
            terms: placed.terms.as_deref(),
        })
    }

    /// Nodes with Pods that say something about others, by name.
    pub fn speaking(&self) -> impl Iterator<Item = Seen<'_>> {
        self.speaking.keys().filter_map(|name| self.node(name))
    }

    pub fn speaks(&self, node: &str) -> bool {
        self.speaking.contains_key(node)
    }

    pub fn images(&self) -> &ImageSpread {
        &self.images
    }

    /// The keys by which Pods that are there keep others away.
    pub fn repelling_keys(&self) -> Vec<String> {
        self.repelling_keys.keys().cloned().collect()
    }

    /// From now on it is known which Nodes share this label. False: too many keys are kept already.
    pub fn keep_key(&mut self, key: &str) -> bool {
        let nodes = self.nodes.values().filter_map(|seat| seat.node.as_deref());
        self.topology.keep(key, nodes)
    }

    /// The names of the Nodes that share the label with this one, for a key that is kept.
    pub fn domain_of<'a>(&'a self, key: &str, node: &Node) -> impl Iterator<Item = &'a str> {
        self.topology.domain_of(key, node)
    }

    fn place(&mut self, key: ObjectKey, pod: &Arc<Pod>, node: String, standing: Standing) {
        self.remove_pod(&key);
        let demand = Demand::of(pod);
        let seat = self.nodes.entry(node.clone()).or_insert_with(Seat::vacant);
        seat.load.add(&demand);
        seat.pods.insert(key.clone());
        let terms = Some(PodTerms::of(pod)).filter(|terms| !terms.is_empty()).map(Box::new);
        let placed = Placed { pod: Arc::clone(pod), node, demand, terms, standing };
        self.hear(&placed, 1);
        self.pods.insert(key, placed);
    }

    /// A Pod that says something about others comes (`by` 1) or goes (-1).
    fn hear(&mut self, placed: &Placed, by: isize) {
        let Some(terms) = &placed.terms else { return };
        let note = |counts: &mut BTreeMap<String, usize>, key: &str| {
            let count = counts.entry(key.to_owned()).or_default();
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                counts.remove(key);
            }
        };
        note(&mut self.speaking, &placed.node);
        for term in &terms.anti_affinity {
            note(&mut self.repelling_keys, &term.topology_key);
        }
    }
}

impl Seat {
    fn vacant() -> Seat {
        Seat { node: None, load: NodeLoad::default(), pods: BTreeSet::new() }
    }
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
        assert_eq!((snapshot.nodes_total(), snapshot.nodes().count()), (0, 0));
        snapshot.set_node(node("n"));
        assert_eq!((snapshot.nodes_total(), snapshot.residents("n").count()), (1, 1));
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
