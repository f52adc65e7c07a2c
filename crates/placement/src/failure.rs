//! The text of a FailedScheduling event and of the PodScheduled condition that goes with it.
//!
//! Upstream: `framework.FitError`. Each part counts Nodes by reason; the parts "count reason" are sorted as
//! strings, so 10 comes before 2. The total counts every Node, the reasons only those that were looked at.

use std::collections::BTreeMap;

use crate::preemption::Stuck;
use crate::unfit::Unfit;

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

/// What came of looking for somebody to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreemptionTried {
    /// Nobody's leaving would help: what stood in the way on each Node that seemed worth a try.
    InVain(Vec<Stuck>),
    /// preemptionPolicy is Never.
    PolicyNever,
    /// Somebody was removed for this Pod before and has not left yet.
    VictimStillThere,
    /// It was, and the Pod waits for its place.
    Promised,
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
        if let Some(preemption) = self.preemption_message() {
            text.push_str(&format!(" preemption: {preemption}"));
        }
        text
    }

    fn preemption_message(&self) -> Option<String> {
        match &self.preemption {
            PreemptionTried::Promised => None,
            PreemptionTried::PolicyNever => Some("not eligible due to preemptionPolicy=Never.".to_owned()),
            PreemptionTried::VictimStillThere => {
                Some("not eligible due to a terminating pod on the nominated node.".to_owned())
            }
            PreemptionTried::InVain(tried) => {
                let not_helpful = self.nodes_total.saturating_sub(tried.len());
                let not_tried = std::iter::repeat_n(PREEMPTION_NOT_HELPFUL.to_owned(), not_helpful);
                let parts = not_tried.chain(tried.iter().flat_map(|stuck| match stuck {
                    Stuck::NoVictims => vec![PREEMPTION_NO_VICTIMS.to_owned()],
                    Stuck::StillUnfit(reasons) => reasons.iter().map(ToString::to_string).collect(),
                }));
                Some(format!("{} {}.", self.opening(), histogram(parts)))
            }
        }
    }

    fn opening(&self) -> String {
        format!("0/{} nodes are available:", self.nodes_total)
    }
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
