//! The whole picture as text: every Node with what happens there and why, then the sums.
//!
//! This is for people (`everynode explain`, golden tests), and costs a line per Node; the log prints the steps of a plan only.

use std::fmt::{self, Write};

use jiff::Timestamp;

use super::View;
use crate::facts::NodeName;
use crate::plan::{Plan, StatusLine, Step};
use crate::row::{Roll, Stay};

impl View {
    /// Every Node's line, and the status, under the plan that the view makes now.
    pub fn explain(&mut self, now: Timestamp) -> String {
        let plan = self.plan(now);
        self.explain_plan(&plan)
    }

    /// [`View::explain`] for a plan that this view has just made.
    pub fn explain_plan(&self, plan: &Plan) -> String {
        let mut text = String::new();
        self.write_explanation(plan, &mut text).unwrap_or_default();
        text
    }

    fn write_explanation(&self, plan: &Plan, out: &mut String) -> fmt::Result {
        let of_node = |step: &&Step| matches!(step, Step::CreatePod { .. } | Step::DeletePod { .. });
        let status = |step: &&Step| matches!(step, Step::WriteStatus(_));
        for step in plan.steps.iter().filter(|step| !of_node(step) && !status(step)) {
            writeln!(out, "{step}")?;
        }
        for name in self.rows.keys() {
            let mut none = true;
            for step in plan.steps.iter().filter(|step| node_of(step) == Some(name)) {
                none = false;
                writeln!(out, "{step}")?;
            }
            if none {
                writeln!(out, "{name:<7} {}", self.resting(name))?;
            }
        }
        writeln!(out, "status  {}", StatusLine(&self.status()))?;
        for note in &plan.notes {
            writeln!(out, "event   {}: {}", note.reason, note.message)?;
        }
        Ok(())
    }

    /// Why a row without a step has none.
    fn resting(&self, name: &NodeName) -> String {
        let Some(row) = self.rows.get(name) else { return String::new() };
        if let Some(pod) = self.flights.of_row(name) {
            return format!("wait    {pod}: its last change has not been seen yet");
        }
        if !row.assessment.upkeep.is_empty() {
            return "wait    the next batch".to_owned();
        }
        match &row.assessment.roll {
            Roll::Replace(_) | Roll::Surge { .. } => return format!("wait    {}", self.budget_text()),
            Roll::ReplaceNow(_) | Roll::SurgeNow { .. } | Roll::Retire { .. } => {
                return "wait    old template, after what is under way".to_owned();
            }
            Roll::Nothing => {}
        }
        match &row.assessment.stay {
            Stay::Keep { pod } => format!("keep    {pod}"),
            Stay::KeepOnly { pod, why } => format!("keep    {pod}: no new pod here, {why}"),
            Stay::Leave { why } => format!("leave   {why}"),
            Stay::Adopting { pod } => format!("wait    {pod} is being adopted"),
            Stay::Terminating { pod } => format!("wait    {pod} is terminating"),
            Stay::FailedBackoff { pod, until } => format!("wait    {pod} failed: back-off until {until}"),
            Stay::NotAvailable { pod } => format!("keep    {pod}: not available yet"),
            Stay::NewNotAvailable { new, old } => format!("wait    {old} stays until {new} is available"),
            Stay::NodeGone { pod } => format!("leave   {pod}: node gone, the pod garbage collector's"),
            Stay::Empty => "leave   nothing here".to_owned(),
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
            crate::wanted::Strategy::Surge(_) => "surging",
            crate::wanted::Strategy::Unavailable(_) | crate::wanted::Strategy::OnDelete => "unavailable",
        };
        if sums.budget_used < max {
            return format!("after what is under way: {} of {max} {word}", sums.budget_used);
        }
        format!("budget spent: {} of {max} {word} ({})", sums.budget_used, users.join(", "))
    }
}

fn node_of(step: &Step) -> Option<&NodeName> {
    match step {
        Step::CreatePod { node, .. } | Step::DeletePod { node, .. } => Some(node),
        _ => None,
    }
}
