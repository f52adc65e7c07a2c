//! A small cluster for tables: Nodes by zone, and Pods on them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::{Demand, Incoming, NamespaceLabels, NodeLoad, PodTerms, Resident};

pub struct World {
    pub nodes: Vec<Node>,
    pub namespaces: NamespaceLabels,
    there: Vec<There>,
}

struct There {
    node: usize,
    pod: Pod,
    demand: Demand,
    terms: PodTerms,
}

/// A Pod of namespace `default` with these labels; `spec` may leave out the containers.
pub fn pod(name: &str, labels: Value, spec: Value) -> Pod {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    let metadata = json!({"name": name, "namespace": "default", "uid": name, "labels": labels});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

impl World {
    /// Nodes `NAME/ZONE`, or `NAME` for one without a zone; each has 2 CPUs and room for 10 Pods.
    pub fn of(nodes: &[&str]) -> World {
        let node = |text: &&str| {
            let (name, zone) = text.split_once('/').map_or((*text, None), |(name, zone)| (name, Some(zone)));
            let mut labels = json!({"kubernetes.io/hostname": name});
            if let Some(zone) = zone {
                labels["zone"] = json!(zone);
            }
            let allocatable = json!({"cpu": "2", "memory": "1Gi", "pods": "10"});
            let node = json!({"metadata": {"name": name, "labels": labels},
                "spec": {}, "status": {"allocatable": allocatable}});
            serde_json::from_value(node).unwrap()
        };
        World { nodes: nodes.iter().map(node).collect(), namespaces: BTreeMap::new(), there: Vec::new() }
    }

    pub fn put(&mut self, node: &str, pod: Pod) {
        let node = self.nodes.iter().position(|n| n.metadata.name.as_deref() == Some(node)).unwrap();
        let (demand, terms) = (Demand::of(&pod), PodTerms::of(&pod));
        self.there.push(There { node, pod, demand, terms });
    }

    pub fn residents(&self, node: usize) -> impl Iterator<Item = Resident<'_>> + Clone {
        self.there.iter().filter(move |there| there.node == node).map(|there| Resident {
            pod: &there.pod,
            demand: &there.demand,
            terms: (!there.terms.is_empty()).then_some(&there.terms),
        })
    }

    pub fn load(&self, node: usize) -> NodeLoad {
        NodeLoad::with_pods(&self.nodes[node], self.residents(node).map(|resident| resident.pod))
    }

    /// The Pod, having seen every Node.
    pub fn incoming<'a>(&'a self, pod: &'a Pod) -> Incoming<'a> {
        let mut incoming = Incoming::of(pod, &self.namespaces);
        for (index, node) in self.nodes.iter().enumerate() {
            incoming.see(node, self.residents(index));
        }
        incoming
    }

    /// A line a Node: `NAME fits`, or `NAME` and why not.
    pub fn verdicts(&self, pod: &Pod) -> Vec<String> {
        let incoming = self.incoming(pod);
        let line = |(index, node): (usize, &Node)| {
            let name = node.metadata.name.clone().unwrap();
            match incoming.fits(node, &self.load(index)) {
                Ok(()) => format!("{name} fits"),
                Err(reasons) => {
                    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                    format!("{name} {}", reasons.join(", "))
                }
            }
        };
        self.nodes.iter().enumerate().map(line).collect()
    }
}
