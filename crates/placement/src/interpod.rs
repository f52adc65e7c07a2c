//! Inter-Pod affinity and anti-affinity: what the Pods of the cluster say about a Node.
//!
//! [`Neighbours`] counts Pods by topology domain for one incoming Pod and is then asked for each Node, as upstream's
//! InterPodAffinity plugin does in PreFilter and Filter. Counts go down as they go up, so that preemption can ask what
//! would be without a Pod. Required terms only. Anti-affinity is symmetric: a Pod that is already there may refuse the
//! newcomer. Pods that are being deleted count while they are there.

use std::collections::BTreeMap;

use api::meta::Meta;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::resident::Resident;
use crate::terms::{NamespaceLabels, PodTerms, Term};
use crate::unfit::Unfit;

/// A topology label: key and value.
pub(crate) type Domain = (String, String);

/// How the Pods of the cluster bear on one incoming Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Neighbours {
    /// Domains with Pods that match all of the incoming Pod's affinity terms.
    attracting: BTreeMap<Domain, i64>,
    /// Domains with Pods that the incoming Pod keeps away from.
    repelled_by: BTreeMap<Domain, i64>,
    /// Domains with Pods that keep away from the incoming Pod.
    repelling: BTreeMap<Domain, i64>,
    /// The incoming Pod matches its own affinity terms: it may be the first of a group that wants to be together.
    fits_itself: bool,
}

impl Neighbours {
    pub fn of(incoming: &Pod, terms: &PodTerms, namespaces: &NamespaceLabels) -> Self {
        Neighbours { fits_itself: terms.attracts(incoming, namespaces), ..Neighbours::default() }
    }

    /// Counts a Pod in (`by` 1) or out (-1).
    pub fn count(
        &mut self,
        incoming: &Pod,
        terms: &PodTerms,
        there: Resident<'_>,
        node: &Node,
        namespaces: &NamespaceLabels,
        by: i64,
    ) {
        if terms.attracts(there.pod, namespaces) {
            for term in &terms.affinity {
                bump(&mut self.attracting, node, term, by);
            }
        }
        for term in terms.anti_affinity.iter().filter(|term| term.matches(there.pod, namespaces)) {
            bump(&mut self.repelled_by, node, term, by);
        }
        for term in there.terms.iter().flat_map(|terms| &terms.anti_affinity) {
            if term.matches(incoming, namespaces) {
                bump(&mut self.repelling, node, term, by);
            }
        }
    }

    /// May the incoming Pod be on this Node, as far as other Pods are concerned? Upstream's order of reasons.
    pub fn allow(&self, terms: &PodTerms, node: &Node) -> Result<(), Unfit> {
        if !self.affinity_allows(terms, node) {
            return Err(Unfit::PodAffinity);
        }
        let repelled =
            |term: &Term| domain(node, &term.topology_key).is_some_and(|d| self.repelled_by.contains_key(&d));
        if terms.anti_affinity.iter().any(repelled) {
            return Err(Unfit::PodAntiAffinity);
        }
        if self.repelling.keys().any(|(key, value)| node.label(key) == Some(value)) {
            return Err(Unfit::ExistingPodsAntiAffinity);
        }
        Ok(())
    }

    /// Nobody was counted whom the incoming Pod wants to be with, and it would be content with itself: whether it is
    /// the first depends on all Nodes.
    pub fn may_be_the_first(&self) -> bool {
        self.fits_itself && self.attracting.is_empty()
    }

    fn affinity_allows(&self, terms: &PodTerms, node: &Node) -> bool {
        let domains: Option<Vec<Domain>> =
            terms.affinity.iter().map(|term| domain(node, &term.topology_key)).collect();
        // A Node without one of the keys can never satisfy the term.
        let Some(domains) = domains else { return false };
        domains.iter().all(|d| self.attracting.contains_key(d)) || self.may_be_the_first()
    }
}

pub(crate) fn domain(node: &Node, key: &str) -> Option<Domain> {
    Some((key.to_owned(), node.label(key)?.to_owned()))
}

fn bump(counts: &mut BTreeMap<Domain, i64>, node: &Node, term: &Term, by: i64) {
    let Some(domain) = domain(node, &term.topology_key) else { return };
    let count = counts.entry(domain).or_default();
    *count += by;
    if *count == 0 {
        let (key, value) = (&term.topology_key, node.label(&term.topology_key).unwrap_or_default());
        counts.remove(&(key.clone(), value.to_owned()));
    }
}
