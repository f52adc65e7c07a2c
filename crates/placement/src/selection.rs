//! Node selection: spec.nodeSelector AND the required node affinity.
//!
//! Upstream: component-helpers `nodeaffinity`. Terms are ORed, the requirements of a term are ANDed, an empty
//! term matches nothing, and a requirement that does not parse makes its term match nothing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// The only field that matchFields knows.
const FIELD_NAME: &str = api::well_known::METADATA_NAME;

/// Which Nodes the required node affinity leaves to be looked at (PreFilter).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Narrowed {
    /// At least one term does not name its Nodes.
    AllNodes,
    /// Every term names its Nodes.
    Only(BTreeSet<String>),
    /// Every term names Nodes, and none of them twice the same: no Node can match.
    Conflict,
}

/// Does the Node match spec.nodeSelector and the required node affinity?
pub fn matches_node_selection(spec: &PodSpec, node: &Node) -> bool {
    matches_node_selection_of(spec, node_name(node), node.metadata.labels.as_ref())
}

/// [`matches_node_selection`] for a Node of which only name and labels are known.
pub fn matches_node_selection_of(
    spec: &PodSpec,
    node_name: &str,
    node_labels: Option<&BTreeMap<String, String>>,
) -> bool {
    let no_labels = BTreeMap::new();
    let labels = node_labels.unwrap_or(&no_labels);
    let by_selector = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key).is_some_and(|has| has == value));
    by_selector && required(spec).is_none_or(|selector| matches_selector(selector, node_name, labels))
}

/// The Nodes that the required node affinity names, when every one of its terms does.
pub fn required_node_names(spec: &PodSpec) -> Narrowed {
    let terms = match required(spec) {
        Some(selector) if !selector.node_selector_terms.is_empty() => &selector.node_selector_terms,
        _ => return Narrowed::AllNodes,
    };
    let mut all = BTreeSet::new();
    for term in terms {
        match names_of_term(term) {
            None => return Narrowed::AllNodes,
            Some(names) => all.extend(names),
        }
    }
    if all.is_empty() { Narrowed::Conflict } else { Narrowed::Only(all) }
}

/// The sum of the weights of the preferred terms that the Node matches.
pub fn preferred_weight(spec: &PodSpec, node: &Node) -> i64 {
    let no_labels = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&no_labels);
    let preferred = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default();
    preferred
        .iter()
        .filter(|term| matches_term(&term.preference, node_name(node), labels))
        .map(|term| i64::from(term.weight))
        .sum()
}

fn required(spec: &PodSpec) -> Option<&NodeSelector> {
    spec.affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

fn node_name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

/// Terms are ORed; no terms match nothing.
pub(crate) fn matches_selector(
    selector: &NodeSelector,
    node_name: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    selector.node_selector_terms.iter().any(|term| matches_term(term, node_name, labels))
}

fn matches_term(term: &NodeSelectorTerm, node_name: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|requirement| matches_expression(requirement, labels))
        && fields.iter().all(|requirement| matches_field(requirement, node_name))
}

fn matches_expression(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let has = labels.get(&requirement.key);
    match requirement.operator.as_str() {
        "In" => has.is_some_and(|value| values.contains(value)),
        // A Node without the key matches.
        "NotIn" => !values.is_empty() && has.is_none_or(|value| !values.contains(value)),
        "Exists" => values.is_empty() && has.is_some(),
        "DoesNotExist" => values.is_empty() && has.is_none(),
        "Gt" => compare(has, values).is_some_and(|(label, wanted)| label > wanted),
        "Lt" => compare(has, values).is_some_and(|(label, wanted)| label < wanted),
        _ => false,
    }
}

/// Both sides as integers; `None` if the label is missing or either side is no integer.
fn compare(has: Option<&String>, values: &[String]) -> Option<(i64, i64)> {
    let [wanted] = values else { return None };
    Some((has?.parse().ok()?, wanted.parse().ok()?))
}

fn matches_field(requirement: &NodeSelectorRequirement, node_name: &str) -> bool {
    // Upstream refuses any number of values but one.
    let Some([value]) = requirement.values.as_deref() else { return false };
    match (requirement.key.as_str(), requirement.operator.as_str()) {
        (FIELD_NAME, "In") => value == node_name,
        (FIELD_NAME, "NotIn") => value != node_name,
        _ => false,
    }
}

/// The names that a term's matchFields allow (ANDed); `None` if it does not restrict the name.
fn names_of_term(term: &NodeSelectorTerm) -> Option<BTreeSet<String>> {
    let mut names: Option<BTreeSet<String>> = None;
    for requirement in term.match_fields.iter().flatten() {
        if requirement.key != FIELD_NAME || requirement.operator != "In" {
            continue;
        }
        let these: BTreeSet<String> = requirement.values.iter().flatten().cloned().collect();
        names = Some(match names {
            None => these,
            Some(so_far) => so_far.intersection(&these).cloned().collect(),
        });
    }
    names
}
