//! The whole picture: every Node with what happens there and why, then the sums.
//!
//! This is for people (`everynode explain`, golden tests), and costs a line per Node; the log prints the steps of a plan only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use placement::NodeLoad;

use super::{Row, View};
use crate::explanation::{Action, Cause, Explanation, Line, NodeExplanation, Wants};
use crate::facts::NodeName;
use crate::pending;
use crate::plan::{CreateReason, DeleteReason, Plan, Step};
use crate::row::{Backoff, Roll, Stay};
use crate::verdict::{Unwanted, Verdict};
use crate::wanted::Strategy;

/// What is known of the cluster beyond the view: it explains more, and changes no step.
#[derive(Debug, Clone, Default)]
pub struct Surroundings<'a> {
    /// The DaemonSet's Pods in full, by name.
    pub pods: BTreeMap<&'a str, &'a Pod>,
    /// What Nodes have and what is taken, for Nodes that say what they have.
    pub loads: BTreeMap<&'a str, NodeLoad>,
}

impl View {
    /// Every Node's line, and the status, under the plan that the view makes now.
    pub fn explain(&mut self, now: Timestamp) -> String {
        self.explained(now, &Surroundings::default()).to_string()
    }

    /// [`View::explain`] as data, with what else is known of the cluster.
    pub fn explained(&mut self, now: Timestamp, around: &Surroundings<'_>) -> Explanation {
        let plan = self.plan(now);
        self.explain_plan(&plan, now, around)
    }

    /// When failed Pods of a Node were deleted, as its events tell: an explanation has no other memory of the back-off.
    pub fn recall_failures(&mut self, node: &NodeName, deleted: &[Timestamp], now: Timestamp) {
        if let Some(row) = self.rows.get_mut(node) {
            row.backoff = deleted.iter().fold(row.backoff, |backoff, at| Some(Backoff::next(backoff, *at)));
        }
        self.refresh(node, now);
    }

    fn explain_plan(&self, plan: &Plan, now: Timestamp, around: &Surroundings<'_>) -> Explanation {
        let of_node = |step: &&Step| matches!(step, Step::CreatePod { .. } | Step::DeletePod { .. });
        let status = |step: &&Step| matches!(step, Step::WriteStatus(_));
        let first = plan.steps.iter().filter(|step| !of_node(step) && !status(step));
        let mut steps: BTreeMap<&NodeName, Vec<Line>> = BTreeMap::new();
        for step in &plan.steps {
            match step {
                Step::CreatePod { node, pod, reason } => {
                    steps.entry(node).or_default().push(self.creating(node, pod, reason, around));
                }
                Step::DeletePod { node, pod, reason, .. } => {
                    steps.entry(node).or_default().push(deleting(&pod.name, reason));
                }
                _ => {}
            }
        }
        let nodes = self.rows.iter().map(|(name, row)| NodeExplanation {
            node: name.clone(),
            wants: match &row.verdict {
                None => Wants::NoNode,
                Some(Verdict::Run) => Wants::Run,
                Some(Verdict::KeepOnly(_)) => Wants::Keep,
                Some(Verdict::Leave(_)) => Wants::Leave,
            },
            lines: steps.remove(name).unwrap_or_else(|| vec![self.resting(name, row, now, around)]),
        });
        Explanation {
            nodes: nodes.collect(),
            namespace: self.wanted.namespace.clone(),
            name: self.wanted.name.clone(),
            generation: self.wanted.generation,
            revision: self.hash.clone(),
            strategy: self.strategy_text(),
            first: first.map(Step::to_string).collect(),
            status: self.status(),
            events: plan.notes.iter().map(|note| format!("{}: {}", note.reason, note.message)).collect(),
        }
    }

    fn creating(&self, node: &NodeName, pod: &Pod, reason: &CreateReason, around: &Surroundings<'_>) -> Line {
        let cause = match reason {
            CreateReason::NoPod | CreateReason::OnlyTerminating => Cause::NoPod,
            CreateReason::BesideUnavailable { .. } | CreateReason::Beside { .. } => Cause::OldTemplate,
        };
        let mut line = Line { action: Action::Create, pod: None, cause, text: reason.to_string() };
        let there = self.rows.get(node).and_then(|row| row.node.as_deref());
        if let (Some(there), Some(load)) = (there, around.loads.get(node.as_str()))
            && let Some(trouble) = pending::would_not_fit(pod, there, load)
        {
            line.cause = trouble.cause;
            line.text = format!("{}; it will wait there: {}", line.text, trouble.text);
        }
        line
    }

    /// Why a row without a step has none.
    fn resting(&self, name: &NodeName, row: &Row, now: Timestamp, around: &Surroundings<'_>) -> Line {
        if let Some(pod) = self.flights.of_row(name) {
            return about(Action::Wait, Cause::UnderWay, pod, "its last change has not been seen yet");
        }
        if !row.assessment.upkeep.is_empty() {
            return without_pod(Action::Wait, Cause::UnderWay, "the next batch".to_owned());
        }
        match &row.assessment.roll {
            Roll::Replace(_) | Roll::Surge { .. } => {
                return without_pod(Action::Wait, Cause::Budget, self.budget_text());
            }
            Roll::ReplaceNow(_) | Roll::SurgeNow { .. } | Roll::Retire { .. } => {
                let text = "old template, after what is under way".to_owned();
                return without_pod(Action::Wait, Cause::OldTemplate, text);
            }
            Roll::Nothing => {}
        }
        match &row.assessment.stay {
            Stay::Keep { pod } => self.keeping(pod),
            Stay::KeepOnly { pod, why } => {
                about(Action::Keep, cause_of(why), pod, &format!("no new pod here, {why}"))
            }
            Stay::Leave { why } => without_pod(Action::Leave, cause_of(why), why.to_string()),
            Stay::Adopting { pod } => said(Action::Wait, Cause::Adopting, pod, "is being adopted"),
            Stay::Terminating { pod } => {
                let held = around.pods.get(pod.as_str()).and_then(|pod| pending::held_by(pod));
                let held = held.map(|by| format!(", held by {by}")).unwrap_or_default();
                said(Action::Wait, Cause::Terminating, pod, &format!("is terminating{held}"))
            }
            Stay::FailedBackoff { pod, until } => {
                said(Action::Wait, Cause::BackOff, pod, &format!("failed: back-off until {until}"))
            }
            Stay::NotAvailable { pod } => self.not_available(pod, now, around),
            Stay::NewNotAvailable { new, old } => {
                let why = self.why_not(new, now, around);
                let text = format!("{old} stays until {new} is available{}", after_colon(&why));
                Line { action: Action::Wait, pod: Some(new.clone()), cause: why.cause, text }
            }
            Stay::NodeGone { pod } => {
                about(Action::Leave, Cause::NodeGone, pod, "node gone, the pod garbage collector's")
            }
            Stay::Empty => without_pod(Action::Leave, Cause::Fine, "nothing here".to_owned()),
        }
    }

    /// An available Pod where nothing is left to do; with OnDelete it may be an old one.
    fn keeping(&self, pod: &str) -> Line {
        let generation = self.wanted.template_generation;
        let old = self.wanted.strategy == Strategy::OnDelete
            && self.pods.get(pod).is_some_and(|facts| !facts.is_updated(&self.hash, generation));
        if old {
            return about(Action::Keep, Cause::OldTemplate, pod, "old template, until someone deletes it");
        }
        Line { action: Action::Keep, pod: Some(pod.to_owned()), cause: Cause::Fine, text: pod.to_owned() }
    }

    fn not_available(&self, pod: &str, now: Timestamp, around: &Surroundings<'_>) -> Line {
        let why = self.why_not(pod, now, around);
        let text = format!("{pod}: not available yet{}", after_colon(&why));
        Line { action: Action::Keep, pod: Some(pod.to_owned()), cause: why.cause, text }
    }

    /// Why a Pod is not available, as far as it is known.
    fn why_not(&self, pod: &str, now: Timestamp, around: &Surroundings<'_>) -> pending::Trouble {
        let unknown = pending::Trouble { cause: Cause::NotReady, text: String::new() };
        let Some(facts) = self.pods.get(pod) else { return unknown };
        if let crate::facts::Availability::After(moment) =
            facts.availability(now, self.wanted.min_ready_seconds)
        {
            return pending::Trouble {
                cause: Cause::MinReady,
                text: format!("ready, available after {moment}"),
            };
        }
        let Some(full) = around.pods.get(pod) else { return unknown };
        let row = facts.place.node().and_then(|node| self.rows.get_key_value(node));
        let there =
            row.and_then(|(name, row)| Some((row.node.as_deref()?, around.loads.get(name.as_str())?)));
        pending::why_not_ready(full, there)
    }

    fn strategy_text(&self) -> String {
        let desired = self.ledger.sums.desired;
        let max = self.wanted.strategy.budget(desired);
        match self.wanted.strategy {
            Strategy::OnDelete => "OnDelete".to_owned(),
            Strategy::Unavailable(_) => format!("RollingUpdate, {max} of {desired} unavailable at a time"),
            Strategy::Surge(_) => format!("RollingUpdate, {max} of {desired} surging at a time"),
        }
    }

    fn budget_text(&self) -> String {
        let sums = self.ledger.sums;
        let max = self.wanted.strategy.budget(sums.desired);
        let users: Vec<&str> = self
            .rows
            .iter()
            .filter(|(_, row)| row.assessment.counts.budget_used > 0)
            .map(|(name, _)| name.as_str())
            .take(3)
            .collect();
        let word = match self.wanted.strategy {
            Strategy::Surge(_) => "surging",
            Strategy::Unavailable(_) | Strategy::OnDelete => "unavailable",
        };
        if sums.budget_used < max {
            return format!("after what is under way: {} of {max} {word}", sums.budget_used);
        }
        format!("budget spent: {} of {max} {word} ({})", sums.budget_used, users.join(", "))
    }
}

fn deleting(pod: &str, reason: &DeleteReason) -> Line {
    let cause = match reason {
        DeleteReason::Unwanted(why) => cause_of(why),
        DeleteReason::Surplus { .. } => Cause::Surplus,
        DeleteReason::Failed => Cause::Failed,
        DeleteReason::Succeeded => Cause::Succeeded,
        DeleteReason::NodeGone => Cause::NodeGone,
        DeleteReason::OutdatedUnavailable
        | DeleteReason::AskedBefore
        | DeleteReason::Outdated { .. }
        | DeleteReason::Superseded { .. }
        | DeleteReason::OldNotReady { .. } => Cause::OldTemplate,
    };
    about(Action::Delete, cause, pod, &reason.to_string())
}

fn cause_of(why: &Unwanted) -> Cause {
    match why {
        Unwanted::NodeName { .. } => Cause::NodeName,
        Unwanted::Selector { .. } => Cause::Selector,
        Unwanted::Affinity { .. } => Cause::Affinity,
        Unwanted::Taint { .. } => Cause::Taint,
    }
}

fn after_colon(why: &pending::Trouble) -> String {
    if why.text.is_empty() { String::new() } else { format!(": {}", why.text) }
}

fn about(action: Action, cause: Cause, pod: &str, text: &str) -> Line {
    Line { action, pod: Some(pod.to_owned()), cause, text: format!("{pod}: {text}") }
}

fn said(action: Action, cause: Cause, pod: &str, text: &str) -> Line {
    Line { action, pod: Some(pod.to_owned()), cause, text: format!("{pod} {text}") }
}

fn without_pod(action: Action, cause: Cause, text: String) -> Line {
    Line { action, pod: None, cause, text }
}
