//! The text of a FailedScheduling event and of the PodScheduled condition that goes with it.
//!
//! Upstream: `framework.FitError`. Each part counts Nodes by reason; the parts "count reason" are sorted as
//! strings, so 10 comes before 2. The total counts every Node, the reasons only those that were looked at.

use std::collections::BTreeMap;

use crate::unfit::{Preemption, Unfit};

const PREEMPTION_NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const PREEMPTION_NO_VICTIMS: &str = "No preemption victims found for incoming pod";
/// There is not a single Node.
pub const NO_NODES: &str = "no nodes available to schedule pods";

/// What came of looking for a Node for one Pod, when none was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// All Nodes that the scheduler knows, looked at or not.
    pub nodes_total: usize,
    pub looked_at: LookedAt,
    pub preemption: PreemptionTried,
}

/// Which Nodes were looked at, with their reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookedAt {
    /// One entry per Node that was looked at.
    Nodes(Vec<Vec<Unfit>>),
    /// The Pod's own terms exclude each other, so none was looked at.
    TermsConflict,
}

/// Whether preemption was an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreemptionTried {
    /// It was, and it found nobody to remove.
    NoVictims,
    /// preemptionPolicy is Never.
    PolicyNever,
}

impl Failure {
    pub fn message(&self) -> String {
        if self.nodes_total == 0 {
            return NO_NODES.to_owned();
        }
        let reasons = match &self.looked_at {
            LookedAt::TermsConflict => "pod affinity terms conflict".to_owned(),
            LookedAt::Nodes(nodes) => histogram(nodes.iter().flatten().map(ToString::to_string)),
        };
        let mut text = self.opening();
        if !reasons.is_empty() {
            text.push_str(&format!(" {reasons}."));
        }
        text.push_str(&format!(" preemption: {}", self.preemption_message()));
        text
    }

    fn preemption_message(&self) -> String {
        if self.preemption == PreemptionTried::PolicyNever {
            return "not eligible due to preemptionPolicy=Never.".to_owned();
        }
        let may_help = match &self.looked_at {
            LookedAt::TermsConflict => 0,
            LookedAt::Nodes(nodes) => nodes.iter().filter(|reasons| preemption_may_help(reasons)).count(),
        };
        let not_helpful = self.nodes_total.saturating_sub(may_help);
        let parts = std::iter::repeat_n(PREEMPTION_NOT_HELPFUL, not_helpful)
            .chain(std::iter::repeat_n(PREEMPTION_NO_VICTIMS, may_help));
        format!("{} {}.", self.opening(), histogram(parts.map(str::to_owned)))
    }

    fn opening(&self) -> String {
        format!("0/{} nodes are available:", self.nodes_total)
    }
}

fn preemption_may_help(reasons: &[Unfit]) -> bool {
    !reasons.is_empty() && reasons.iter().all(|reason| reason.preemption() == Preemption::MayHelp)
}

fn histogram(reasons: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<String> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    parts.join(", ")
}
