//! Inter-Pod affinity and anti-affinity: what the Pods of the whole cluster say about a Node.
//!
//! [`Neighbours`] is counted once for an incoming Pod and then asked for each Node, as upstream's
//! InterPodAffinity plugin does in PreFilter and Filter. Required terms only. Anti-affinity is symmetric: a Pod that is
//! already there may refuse the newcomer. Pods that are being deleted count while they are there.

use std::collections::{BTreeMap, BTreeSet};

use api::label::{Labels, Requirement, Requires, Selector};
use api::meta::Meta;
use k8s_openapi::api::core::v1::{Node, Pod, PodAffinityTerm};

use crate::unfit::Unfit;

/// A value of a topology label: the key and the value.
type Domain = (String, String);

/// How the Pods of the cluster bear on one incoming Pod.
#[derive(Debug, Clone, Default)]
pub struct Neighbours {
    /// Topology keys of the incoming Pod's required affinity.
    affinity_keys: Vec<String>,
    /// Domains with a Pod that matches all of the incoming Pod's affinity terms.
    attracting: BTreeSet<Domain>,
    first_of_its_kind: FirstOfItsKind,
    anti_affinity_keys: Vec<String>,
    repelled_by: BTreeSet<Domain>,
    repelling: BTreeSet<Domain>,
}

/// Whether the incoming Pod may be the first of a group that wants to be together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum FirstOfItsKind {
    /// No Pod anywhere matches, and it matches its own terms.
    Yes,
    #[default]
    No,
}

impl Neighbours {
    /// Counts the Pods that are on Nodes. `namespaces` has the labels of each namespace, for namespaceSelector.
    pub fn of<'a>(
        incoming: &Pod,
        placed: impl IntoIterator<Item = (&'a Pod, &'a Node)>,
        namespaces: &BTreeMap<String, Labels>,
    ) -> Self {
        let affinity = Terms::of(incoming, affinity_terms(incoming));
        let anti = Terms::of(incoming, anti_affinity_terms(incoming));
        let mut neighbours = Neighbours {
            affinity_keys: affinity.keys(),
            anti_affinity_keys: anti.keys(),
            ..Neighbours::default()
        };
        let mut anyone_matches = false;
        for (pod, node) in placed {
            if !affinity.0.is_empty() && affinity.0.iter().all(|term| term.matches(pod, namespaces)) {
                anyone_matches |= neighbours.note_attraction(node);
            }
            for term in anti.0.iter().filter(|term| term.matches(pod, namespaces)) {
                neighbours.repelled_by.extend(domain(node, &term.topology_key));
            }
            for term in Terms::of(pod, anti_affinity_terms(pod)).0 {
                if term.matches(incoming, namespaces) {
                    neighbours.repelling.extend(domain(node, &term.topology_key));
                }
            }
        }
        if !anyone_matches && affinity.0.iter().all(|term| term.matches(incoming, namespaces)) {
            neighbours.first_of_its_kind = FirstOfItsKind::Yes;
        }
        neighbours
    }

    /// May the incoming Pod be on this Node, as far as other Pods are concerned? Upstream's order of reasons.
    pub fn allow(&self, node: &Node) -> Result<(), Unfit> {
        if !self.affinity_allows(node) {
            return Err(Unfit::PodAffinity);
        }
        let repelled = |key: &String| domain(node, key).is_some_and(|d| self.repelled_by.contains(&d));
        if self.anti_affinity_keys.iter().any(repelled) {
            return Err(Unfit::PodAntiAffinity);
        }
        if self.repelling.iter().any(|(key, value)| node.label(key) == Some(value)) {
            return Err(Unfit::ExistingPodsAntiAffinity);
        }
        Ok(())
    }

    fn affinity_allows(&self, node: &Node) -> bool {
        self.affinity_keys.iter().all(|key| {
            domain(node, key).is_some_and(|d| {
                self.first_of_its_kind == FirstOfItsKind::Yes || self.attracting.contains(&d)
            })
        })
    }

    fn note_attraction(&mut self, node: &Node) -> bool {
        let domains: Vec<Domain> = self.affinity_keys.iter().filter_map(|key| domain(node, key)).collect();
        let any = !domains.is_empty();
        self.attracting.extend(domains);
        any
    }
}

fn domain(node: &Node, key: &str) -> Option<Domain> {
    Some((key.to_owned(), node.label(key)?.to_owned()))
}

fn affinity_terms(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_affinity.as_ref());
    affinity
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default()
}

fn anti_affinity_terms(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
    affinity
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default()
}

struct Terms(Vec<Term>);

/// One term with its selectors parsed and its owner's namespace and labels filled in.
struct Term {
    topology_key: String,
    pods: Selector,
    namespaces: BTreeSet<String>,
    namespace_selector: Selector,
}

impl Terms {
    fn of(owner: &Pod, terms: &[PodAffinityTerm]) -> Self {
        Terms(terms.iter().map(|term| Term::of(owner, term)).collect())
    }

    fn keys(&self) -> Vec<String> {
        self.0.iter().map(|term| term.topology_key.clone()).collect()
    }
}

impl Term {
    fn of(owner: &Pod, term: &PodAffinityTerm) -> Self {
        let parsed = |selector| Selector::from_optional(selector).unwrap_or(Selector::Nothing);
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(owner.namespace().to_owned());
        }
        Term {
            topology_key: term.topology_key.clone(),
            pods: with_label_keys(parsed(term.label_selector.as_ref()), owner, term),
            namespaces,
            namespace_selector: parsed(term.namespace_selector.as_ref()),
        }
    }

    fn matches(&self, pod: &Pod, namespaces: &BTreeMap<String, Labels>) -> bool {
        let by_selector =
            || namespaces.get(pod.namespace()).is_some_and(|labels| self.namespace_selector.matches(labels));
        // An empty namespaceSelector means every namespace, known here or not.
        let in_namespace = self.namespaces.contains(pod.namespace())
            || self.namespace_selector.is_everything()
            || by_selector();
        in_namespace && self.pods.matches(pod.labels())
    }
}

/// matchLabelKeys and mismatchLabelKeys: the owner's own values become part of the selector.
fn with_label_keys(selector: Selector, owner: &Pod, term: &PodAffinityTerm) -> Selector {
    let Selector::All(mut requirements) = selector else { return selector };
    for key in term.match_label_keys.iter().flatten() {
        if let Some(value) = owner.label(key) {
            let requires = Requires::Equals(value.to_owned());
            requirements.push(Requirement { key: key.clone(), requires });
        }
    }
    for key in term.mismatch_label_keys.iter().flatten() {
        if let Some(value) = owner.label(key) {
            let requires = Requires::NotIn(BTreeSet::from([value.to_owned()]));
            requirements.push(Requirement { key: key.clone(), requires });
        }
    }
    Selector::All(requirements)
}
