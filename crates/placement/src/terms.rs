//! What a Pod says about other Pods: its affinity and anti-affinity terms, parsed once.
//!
//! A term's selectors are made whole with its owner's namespace and labels (matchLabelKeys), so that matching asks
//! nothing of the owner any more. A selector that the API would refuse matches nothing. Upstream:
//! `framework.AffinityTerm` and `framework.WeightedAffinityTerm`.

use std::collections::{BTreeMap, BTreeSet};

use api::label::{Labels, Requirement, Requires, Selector};
use api::meta::Meta;
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, WeightedPodAffinityTerm};

/// Labels of each namespace, for namespaceSelector.
pub type NamespaceLabels = BTreeMap<String, Labels>;

/// All terms of one Pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodTerms {
    pub affinity: Vec<Term>,
    pub anti_affinity: Vec<Term>,
    pub preferred: Vec<Preference>,
}

/// A term that only counts for the score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    pub term: Term,
    /// Below zero for anti-affinity.
    pub weight: i64,
}

/// One term with its selectors parsed and its owner's namespace and labels filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub topology_key: String,
    pods: Selector,
    namespaces: BTreeSet<String>,
    namespace_selector: Selector,
}

impl PodTerms {
    pub fn of(pod: &Pod) -> Self {
        let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else {
            return PodTerms::default();
        };
        let required = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<Term> {
            terms.into_iter().flatten().map(|term| Term::of(pod, term)).collect()
        };
        let (near, far) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        let mut preferred = preferences(
            pod,
            near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref()),
            1,
        );
        preferred.extend(preferences(
            pod,
            far.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref()),
            -1,
        ));
        PodTerms {
            affinity: required(
                near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            anti_affinity: required(
                far.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred,
        }
    }

    /// It says nothing about other Pods.
    pub fn is_empty(&self) -> bool {
        self.affinity.is_empty() && self.anti_affinity.is_empty() && self.preferred.is_empty()
    }

    /// Does the Pod match every required affinity term? Upstream counts only those that do.
    pub(crate) fn attracts(&self, pod: &Pod, namespaces: &NamespaceLabels) -> bool {
        !self.affinity.is_empty() && self.affinity.iter().all(|term| term.matches(pod, namespaces))
    }
}

fn preferences(pod: &Pod, terms: Option<&[WeightedPodAffinityTerm]>, sign: i64) -> Vec<Preference> {
    let of = |term: &WeightedPodAffinityTerm| Preference {
        term: Term::of(pod, &term.pod_affinity_term),
        weight: sign * i64::from(term.weight),
    };
    terms.unwrap_or_default().iter().map(of).collect()
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

    pub fn matches(&self, pod: &Pod, namespaces: &NamespaceLabels) -> bool {
        let by_selector =
            || namespaces.get(pod.namespace()).is_some_and(|labels| self.namespace_selector.matches(labels));
        // An empty namespaceSelector means every namespace, known here or not.
        let in_namespace = || {
            self.namespaces.contains(pod.namespace())
                || self.namespace_selector.is_everything()
                || by_selector()
        };
        self.pods.matches(pod.labels()) && in_namespace()
    }

    /// Whether a namespace's labels have a say.
    pub fn asks_for_namespaces(&self) -> bool {
        !self.namespace_selector.requirements().is_empty()
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
