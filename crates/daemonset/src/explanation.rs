//! What happens on every Node and why, as data: for `everynode explain`, golden tests, whoever shows it.
//!
//! The words are the planner's. A Pod that is there and does not run is explained by [`crate::pending`].

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::apps::v1::DaemonSetStatus;
use serde_json::{Value, json};

use crate::facts::NodeName;
use crate::plan::StatusLine;

/// All of one DaemonSet.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub namespace: String,
    pub name: String,
    pub generation: i64,
    /// The hash that Pods of the current template carry.
    pub revision: String,
    /// The strategy with its budget in Nodes, e.g. `RollingUpdate, 2 of 20 unavailable at a time`.
    pub strategy: String,
    /// Adoptions, revisions, relabelling: steps that are of no Node.
    pub first: Vec<String>,
    pub nodes: Vec<NodeExplanation>,
    pub status: DaemonSetStatus,
    /// Events that would be written.
    pub events: Vec<String>,
}

/// One Node, whether it exists or only Pods point to it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeExplanation {
    pub node: NodeName,
    pub wants: Wants,
    /// Steps there, or why there are none; at least one.
    pub lines: Vec<Line>,
}

/// The verdict in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Run,
    Keep,
    Leave,
    /// There is no such Node.
    NoNode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub action: Action,
    pub pod: Option<String>,
    pub cause: Cause,
    pub text: String,
}

/// What is done, or not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    Delete,
    Keep,
    Wait,
    Leave,
}

/// What it comes from, for whoever counts or filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// All is as it should be.
    Fine,
    NoPod,
    NodeName,
    Selector,
    Affinity,
    Taint,
    Budget,
    BackOff,
    Failed,
    Succeeded,
    Surplus,
    NodeGone,
    OldTemplate,
    Terminating,
    Adopting,
    /// Something that was done has not been seen yet, or comes with the next batch.
    UnderWay,
    /// No room: cpu, memory, another resource, or the number of Pods.
    Resources,
    /// A host port is taken.
    Ports,
    /// The scheduler's, but for resources and ports: inter-Pod affinity, spread, gates, or not looked at yet.
    Scheduler,
    /// Not started, or not running.
    Container,
    /// It runs and is not ready.
    NotReady,
    /// Ready, and not for long enough.
    MinReady,
}

impl Wants {
    pub fn as_str(self) -> &'static str {
        match self {
            Wants::Run => "run",
            Wants::Keep => "keepOnly",
            Wants::Leave => "leave",
            Wants::NoNode => "noNode",
        }
    }
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Delete => "delete",
            Action::Keep => "keep",
            Action::Wait => "wait",
            Action::Leave => "leave",
        }
    }
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Fine => "fine",
            Cause::NoPod => "noPod",
            Cause::NodeName => "nodeName",
            Cause::Selector => "selector",
            Cause::Affinity => "affinity",
            Cause::Taint => "taint",
            Cause::Budget => "budget",
            Cause::BackOff => "backOff",
            Cause::Failed => "failed",
            Cause::Succeeded => "succeeded",
            Cause::Surplus => "surplus",
            Cause::NodeGone => "nodeGone",
            Cause::OldTemplate => "oldTemplate",
            Cause::Terminating => "terminating",
            Cause::Adopting => "adopting",
            Cause::UnderWay => "underWay",
            Cause::Resources => "resources",
            Cause::Ports => "ports",
            Cause::Scheduler => "scheduler",
            Cause::Container => "container",
            Cause::NotReady => "notReady",
            Cause::MinReady => "minReady",
        }
    }
}

impl Explanation {
    /// Only this Node; `None` if it is neither there nor named by a Pod.
    pub fn only(mut self, node: &str) -> Option<Self> {
        self.nodes.retain(|explained| explained.node.as_str() == node);
        (!self.nodes.is_empty()).then_some(self)
    }

    /// How many Nodes by their first line's cause.
    pub fn causes(&self) -> BTreeMap<Cause, usize> {
        let mut counts = BTreeMap::new();
        for line in self.nodes.iter().filter_map(|node| node.lines.first()) {
            *counts.entry(line.cause).or_default() += 1;
        }
        counts
    }

    pub fn to_json(&self) -> Value {
        let line = |line: &Line| json!({"action": line.action.as_str(), "pod": line.pod, "cause": line.cause.as_str(), "text": line.text});
        let node = |node: &NodeExplanation| {
            let lines: Vec<Value> = node.lines.iter().map(line).collect();
            json!({"node": node.node.as_str(), "verdict": node.wants.as_str(), "lines": lines})
        };
        let causes: BTreeMap<&str, usize> =
            self.causes().into_iter().map(|(cause, count)| (cause.as_str(), count)).collect();
        json!({
            "namespace": self.namespace,
            "name": self.name,
            "generation": self.generation,
            "revision": self.revision,
            "strategy": self.strategy,
            "first": self.first,
            "nodes": self.nodes.iter().map(node).collect::<Vec<Value>>(),
            "causes": causes,
            "status": self.status,
            "events": self.events,
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.first {
            writeln!(f, "{step}")?;
        }
        // At least as wide as in a plan, so that short names line up with what is of no node.
        let names = self.nodes.iter().map(|node| node.node.as_str().len());
        let width = names.max().unwrap_or_default().max(NODE_WIDTH_MIN);
        for explained in &self.nodes {
            for line in &explained.lines {
                writeln!(f, "{:<width$} {:<7} {}", explained.node, line.action.as_str(), line.text)?;
            }
        }
        writeln!(f, "{:<width$} {}", "status", StatusLine(&self.status))?;
        for event in &self.events {
            writeln!(f, "{:<width$} {event}", "event")?;
        }
        Ok(())
    }
}

/// Columns for a Node's name at least: as in a plan's own text.
const NODE_WIDTH_MIN: usize = 7;
