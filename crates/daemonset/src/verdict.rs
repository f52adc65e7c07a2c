//! Should a DaemonSet's Pod be on a Node?
//!
//! Upstream: `NodeShouldRunDaemonPod`. Only the template's nodeName, nodeSelector with required node affinity, and
//! taints have a say. Not looked at, on purpose: resources, host ports, inter-Pod affinity, Node conditions, cordons.

use std::fmt;

use api::meta::Meta;
use k8s_openapi::api::core::v1::{Node, PodSpec, Taint};

use crate::wanted::Wanted;

/// Terms of a node affinity that a reason spells out; a line should stay a line.
const AFFINITY_TERMS_SHOWN_MAX: usize = 3;

/// What a DaemonSet wants of one Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A Pod should run here.
    Run,
    /// A Pod that is here may stay, but none is created.
    KeepOnly(Unwanted),
    /// No Pod may be here.
    Leave(Unwanted),
}

/// Why a Node is not wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwanted {
    NodeName {
        asked: String,
    },
    /// The label that the node selector asks for and the Node does not have.
    Selector {
        label: String,
    },
    /// None of the terms of the required node affinity matches.
    Affinity {
        terms: String,
    },
    Taint {
        text: String,
    },
}

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwanted::NodeName { asked } => write!(f, "the template names node {asked}"),
            Unwanted::Selector { label } => write!(f, "node selector {label} does not match"),
            Unwanted::Affinity { terms } => write!(f, "node affinity {terms} does not match"),
            Unwanted::Taint { text } => write!(f, "taint {text} not tolerated"),
        }
    }
}

/// The verdict of a DaemonSet on a Node.
pub fn verdict(wanted: &Wanted, node: &Node) -> Verdict {
    let no_spec = PodSpec::default();
    let spec = wanted.template.spec.as_ref().unwrap_or(&no_spec);
    if let Some(asked) = spec.node_name.as_deref().filter(|asked| !asked.is_empty())
        && asked != node.name()
    {
        return Verdict::Leave(Unwanted::NodeName { asked: asked.to_owned() });
    }
    let mut asked = spec.node_selector.iter().flatten();
    if let Some((key, value)) = asked.find(|(key, value)| node.label(key) != Some(value)) {
        return Verdict::Leave(Unwanted::Selector { label: format!("{key}={value}") });
    }
    if !placement::matches_node_selection(spec, node) {
        return Verdict::Leave(Unwanted::Affinity { terms: affinity_text(spec) });
    }
    let taints = placement::taint::of_node(node);
    let untolerated = |effects| placement::untolerated(taints, &wanted.tolerations, effects).map(taint_text);
    if let Some(text) = untolerated(placement::taint::SENDS_RUNNING_PODS_AWAY) {
        return Verdict::Leave(Unwanted::Taint { text });
    }
    if let Some(text) = untolerated(placement::taint::KEEPS_NEW_PODS_AWAY) {
        return Verdict::KeepOnly(Unwanted::Taint { text });
    }
    Verdict::Run
}

/// The required terms as one reads them: `disk In [ssd] and zone Exists, or metadata.name In [node-7]`.
fn affinity_text(spec: &PodSpec) -> String {
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let terms = required.map(|required| required.node_selector_terms.as_slice()).unwrap_or_default();
    let texts = terms.iter().take(AFFINITY_TERMS_SHOWN_MAX).map(|term| {
        let asked = term.match_expressions.iter().chain(&term.match_fields).flatten();
        let texts: Vec<String> = asked
            .map(|asked| match asked.values.as_deref().unwrap_or_default() {
                [] => format!("{} {}", asked.key, asked.operator),
                values => format!("{} {} [{}]", asked.key, asked.operator, values.join(", ")),
            })
            .collect();
        if texts.is_empty() { "of an empty term".to_owned() } else { texts.join(" and ") }
    });
    let mut text = texts.collect::<Vec<_>>().join(", or ");
    if terms.len() > AFFINITY_TERMS_SHOWN_MAX {
        text.push_str(&format!(", or one of {} more terms,", terms.len() - AFFINITY_TERMS_SHOWN_MAX));
    }
    text
}

/// `key=value:Effect`, as kubectl writes it.
fn taint_text(taint: &Taint) -> String {
    match taint.value.as_deref().unwrap_or_default() {
        "" => format!("{}:{}", taint.key, taint.effect),
        value => format!("{}={value}:{}", taint.key, taint.effect),
    }
}
