//! Should a DaemonSet's Pod be on a Node?
//!
//! Upstream: `NodeShouldRunDaemonPod`. Only the template's nodeName, nodeSelector with required node affinity, and
//! taints have a say. Not looked at, on purpose: resources, host ports, inter-Pod affinity, Node conditions, cordons.

use std::fmt;

use api::meta::Meta;
use k8s_openapi::api::core::v1::{Node, PodSpec, Taint};

use crate::wanted::Wanted;

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
    NodeName { asked: String },
    Selection,
    Taint { text: String },
}

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwanted::NodeName { asked } => write!(f, "the template names node {asked}"),
            Unwanted::Selection => f.write_str("node does not match the node selector or affinity"),
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
    if !placement::matches_node_selection(spec, node) {
        return Verdict::Leave(Unwanted::Selection);
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

/// `key=value:Effect`, as kubectl writes it.
fn taint_text(taint: &Taint) -> String {
    match taint.value.as_deref().unwrap_or_default() {
        "" => format!("{}:{}", taint.key, taint.effect),
        value => format!("{}={value}:{}", taint.key, taint.effect),
    }
}
