//! A Pod that looks for a Node: what can be worked out once for many Nodes, and what was counted of the Pods that are there.
//!
//! Whoever asks shows it the Nodes that matter with their Pods ([`Incoming::see`]), then asks for each Node whether it
//! fits. Which Nodes matter is said by [`Incoming::sees`]: those with Pods that say something about others, always;
//! all, where the Pod itself asks. The filters run in upstream's order, and the first that refuses gives the reasons.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use crate::fits_node;
use crate::interpod::Neighbours;
use crate::load::{Demand, NodeLoad};
use crate::resident::Resident;
use crate::spread::Spread;
use crate::terms::{NamespaceLabels, PodTerms};
use crate::unfit::Unfit;

static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

/// A Pod that looks for a Node.
#[derive(Debug, Clone)]
pub struct Incoming<'a> {
    pub pod: &'a Pod,
    pub(crate) spec: &'a PodSpec,
    pub demand: Demand,
    pub terms: PodTerms,
    pub(crate) namespaces: &'a NamespaceLabels,
    neighbours: Neighbours,
    spread: Spread,
}

/// The Nodes whose Pods have a say in where an incoming Pod may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// Only Pods that keep their distance can refuse it.
    Repelling,
    /// It asks for company, distance or an even spread itself.
    Everybody,
}

impl<'a> Incoming<'a> {
    /// With nobody counted yet.
    pub fn of(pod: &'a Pod, namespaces: &'a NamespaceLabels) -> Self {
        let terms = PodTerms::of(pod);
        Incoming {
            pod,
            spec: pod.spec.as_ref().unwrap_or(&NO_SPEC),
            demand: Demand::of(pod),
            neighbours: Neighbours::of(pod, &terms, namespaces),
            terms,
            namespaces,
            spread: Spread::of(pod),
        }
    }

    pub fn sees(&self) -> Sees {
        let asks = !self.terms.affinity.is_empty()
            || !self.terms.anti_affinity.is_empty()
            || !self.spread.is_empty();
        if asks { Sees::Everybody } else { Sees::Repelling }
    }

    /// Where only few Nodes are asked about, they and the Nodes that share one of these labels with them are all that
    /// matter, unless [`needs_all_nodes`](Self::needs_all_nodes) says otherwise.
    pub fn topology_keys(&self) -> impl Iterator<Item = &str> {
        let terms = self.terms.affinity.iter().chain(&self.terms.anti_affinity);
        terms.map(|term| term.topology_key.as_str())
    }

    /// Whether the answer for one Node depends on Nodes of other domains: for an even spread over Nodes that it does not
    /// select, or to know that it is the first of a group that wants to be together.
    pub fn needs_all_nodes(&self) -> bool {
        !self.spread.sees_selected_only() || self.neighbours.may_be_the_first()
    }

    /// Counts a Node and the Pods on it.
    pub fn see<'r>(&mut self, node: &Node, there: impl Iterator<Item = Resident<'r>> + Clone) {
        self.count(node, there, 1);
    }

    /// Counts one more Pod on a Node that was seen.
    pub fn add(&mut self, node: &Node, there: Resident<'_>) {
        self.count(node, std::iter::once(there), 1);
    }

    /// The reverse of [`add`](Self::add), and of seeing it.
    pub fn remove(&mut self, node: &Node, there: Resident<'_>) {
        self.count(node, std::iter::once(there), -1);
    }

    /// May it be on this Node?
    pub fn fits(&self, node: &Node, load: &NodeLoad) -> Result<(), Vec<Unfit>> {
        fits_node(self.pod, node).map_err(|reason| vec![reason])?;
        load.fits_ports(&self.demand).map_err(|reason| vec![reason])?;
        let lacking = load.lacking(&self.demand);
        if !lacking.is_empty() {
            return Err(lacking);
        }
        self.spread.allow(node).map_err(|reason| vec![reason])?;
        self.neighbours.allow(&self.terms, node).map_err(|reason| vec![reason])
    }

    /// [`fits`](Self::fits), with these Pods on the Node too and without them: Pods that were promised their place there by
    /// preemption must find it, and may yet not come.
    pub fn fits_beside(
        &mut self,
        node: &Node,
        load: &NodeLoad,
        promised: &[Resident<'_>],
    ) -> Result<(), Vec<Unfit>> {
        if !promised.is_empty() {
            let mut fuller = load.clone();
            for pod in promised {
                fuller.add(pod.demand);
                self.add(node, *pod);
            }
            let fits = self.fits(node, &fuller);
            for pod in promised {
                self.remove(node, *pod);
            }
            fits?;
        }
        self.fits(node, load)
    }

    fn count<'r>(&mut self, node: &Node, there: impl Iterator<Item = Resident<'r>> + Clone, by: i64) {
        self.spread.count(self.pod, self.spec, node, there.clone().map(|resident| resident.pod), by);
        let asks = !self.terms.affinity.is_empty() || !self.terms.anti_affinity.is_empty();
        for resident in there.filter(|resident| asks || resident.terms.is_some()) {
            self.neighbours.count(self.pod, &self.terms, resident, node, self.namespaces, by);
        }
    }
}
