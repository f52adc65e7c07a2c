//! The plan: the next steps for one DaemonSet, each with its reason.
//!
//! A plan is data. Whoever carries it out takes the steps in their order, chooses nothing, and hands each step's
//! outcome back to the view. The text of a plan is what tests assert, the log prints and `everynode explain` shows.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSetStatus};
use k8s_openapi::api::core::v1::Pod;

use crate::facts::{NodeName, PodId};
use crate::verdict::Unwanted;

/// Pods created in one plan, and separately Pods deleted: upstream's burst, so that one DaemonSet cannot flood the API.
pub const PODS_PER_PLAN_MAX: usize = 250;
/// Pods adopted, released or relabelled in one plan, for the same reason.
pub const CLAIMS_PER_PLAN_MAX: usize = 250;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make the DaemonSet the Pod's controller, after a live look that it still exists and is not being deleted.
    AdoptPod(PodId),
    /// Take the DaemonSet out of the Pod's owners.
    ReleasePod(PodId),
    AdoptRevision(PodId),
    ReleaseRevision(PodId),
    /// Give the revision a hash label.
    LabelRevision {
        revision: PodId,
        hash: String,
    },
    CreateRevision(Box<ControllerRevision>),
    /// The revision is the current one again: its number moves to the end.
    RenumberRevision {
        revision: PodId,
        to: i64,
    },
    /// The name for the revision is taken by another template: count it in the status, so that the hash changes.
    CountCollision {
        taken: String,
        to: i32,
    },
    /// The Pod carries the hash of a revision that is a copy of the kept one.
    RelabelPod {
        pod: PodId,
        hash: String,
    },
    DeleteRevision {
        revision: PodId,
        reason: RevisionGoes,
    },
    CreatePod {
        node: NodeName,
        pod: Box<Pod>,
        reason: CreateReason,
    },
    DeletePod {
        node: NodeName,
        pod: PodId,
        /// Only if the Pod still is the version that was seen.
        version: Option<Box<str>>,
        reason: DeleteReason,
    },
    /// Ask the API itself about a Pod whose deletion got no answer.
    LookAtPod(PodId),
    WriteStatus(Box<DaemonSetStatus>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionGoes {
    /// It equals the current one.
    Copy,
    /// More old revisions than the limit, and no Pod is of this one.
    OverLimit,
}

/// Why a Pod is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateReason {
    NoPod,
    /// Surging: all Pods there are on their way out.
    OnlyTerminating,
    /// Surging: the old Pod is not available, so the surge budget is not asked.
    BesideUnavailable {
        old: String,
    },
    /// Surging within the budget.
    Beside {
        old: String,
        budget: Budget,
    },
}

/// Why a Pod is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteReason {
    Unwanted(Unwanted),
    /// Another Pod of the DaemonSet is kept on this Node.
    Surplus {
        kept: String,
    },
    Failed,
    Succeeded,
    /// It waits for a Node that does not exist.
    NodeGone,
    /// Old template and not available: replaced at once.
    OutdatedUnavailable,
    /// Old template, and its deletion was asked for before without an answer.
    AskedBefore,
    /// Old template, available, within the budget.
    Outdated {
        budget: Budget,
    },
    /// Surging: the new Pod is available.
    Superseded {
        by: String,
    },
    /// Surging: there is a new Pod, and the old one is not ready.
    OldNotReady {
        new: String,
    },
}

/// How much of the update budget is used, this step included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub used: u32,
    pub max: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

/// An Event about the DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub kind: EventType,
    pub reason: &'static str,
    pub message: String,
}

/// What to do next for one DaemonSet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub notes: Vec<Note>,
    /// Even if nothing happens, look again then.
    pub look_again_at: Option<Timestamp>,
}

impl Plan {
    pub fn creates(&self) -> impl Iterator<Item = (&NodeName, &Pod, &CreateReason)> {
        self.steps.iter().filter_map(|step| match step {
            Step::CreatePod { node, pod, reason } => Some((node, &**pod, reason)),
            _ => None,
        })
    }

    pub fn deletes(&self) -> impl Iterator<Item = (&NodeName, &PodId, &DeleteReason)> {
        self.steps.iter().filter_map(|step| match step {
            Step::DeletePod { node, pod, reason, .. } => Some((node, pod, reason)),
            _ => None,
        })
    }

    pub fn status(&self) -> Option<&DaemonSetStatus> {
        self.steps.iter().find_map(|step| match step {
            Step::WriteStatus(status) => Some(&**status),
            _ => None,
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for note in &self.notes {
            writeln!(f, "event   {}: {}", note.reason, note.message)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::AdoptPod(pod) => {
                write!(f, "pod     adopt   {}: orphan that the selector matches", pod.name)
            }
            Step::ReleasePod(pod) => {
                write!(f, "pod     release {}: the selector no longer matches", pod.name)
            }
            Step::AdoptRevision(id) => {
                write!(f, "history adopt   {}: orphan that the selector matches", id.name)
            }
            Step::ReleaseRevision(id) => {
                write!(f, "history release {}: the selector no longer matches", id.name)
            }
            Step::LabelRevision { revision, hash } => {
                write!(f, "history relabel {}: it has no hash, gets {hash}", revision.name)
            }
            Step::CreateRevision(revision) => write!(
                f,
                "history create  {}: revision {}, the template is new",
                revision.metadata.name.as_deref().unwrap_or_default(),
                revision.revision
            ),
            Step::RenumberRevision { revision, to } => {
                write!(f, "history bump    {}: revision {to}, the template is current again", revision.name)
            }
            Step::CountCollision { taken, to } => {
                write!(f, "history collide {taken}: another template has this name, collision {to}")
            }
            Step::RelabelPod { pod, hash } => {
                write!(f, "pod     relabel {}: its revision is a copy of {hash}", pod.name)
            }
            Step::DeleteRevision { revision, reason: RevisionGoes::Copy } => {
                write!(f, "history dedupe  {}: a copy of the current revision", revision.name)
            }
            Step::DeleteRevision { revision, reason: RevisionGoes::OverLimit } => {
                write!(f, "history cleanup {}: over the limit, and no pod is of it", revision.name)
            }
            Step::CreatePod { node, reason, .. } => write!(f, "{node:<7} create  {reason}"),
            Step::DeletePod { node, pod, reason, .. } => {
                write!(f, "{node:<7} delete  {}: {reason}", pod.name)
            }
            Step::LookAtPod(pod) => write!(f, "pod     look    {}: its deletion got no answer", pod.name),
            Step::WriteStatus(status) => write!(f, "status  {}", StatusLine(status)),
        }
    }
}

/// The counters in one line.
pub struct StatusLine<'a>(pub &'a DaemonSetStatus);

impl fmt::Display for StatusLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        write!(
            f,
            "desired={} current={} ready={} updated={} available={} unavailable={} misscheduled={} generation={}",
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready,
            status.updated_number_scheduled.unwrap_or_default(),
            status.number_available.unwrap_or_default(),
            status.number_unavailable.unwrap_or_default(),
            status.number_misscheduled,
            status.observed_generation.unwrap_or_default(),
        )
    }
}

impl fmt::Display for CreateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateReason::NoPod => f.write_str("no pod here"),
            CreateReason::OnlyTerminating => f.write_str("only terminating pods here"),
            CreateReason::BesideUnavailable { old } => {
                write!(f, "beside {old}, which is old and not available")
            }
            CreateReason::Beside { old, budget } => {
                write!(f, "beside {old}, which is old ({budget} surging)")
            }
        }
    }
}

impl fmt::Display for DeleteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeleteReason::Unwanted(why) => why.fmt(f),
            DeleteReason::Surplus { kept } => write!(f, "surplus beside {kept}"),
            DeleteReason::Failed => f.write_str("failed"),
            DeleteReason::Succeeded => f.write_str("succeeded, but a daemon has to run"),
            DeleteReason::NodeGone => f.write_str("its node does not exist"),
            DeleteReason::OutdatedUnavailable => f.write_str("old template, and not available anyway"),
            DeleteReason::AskedBefore => f.write_str("old template, and its deletion got no answer"),
            DeleteReason::Outdated { budget } => write!(f, "old template ({budget} unavailable)"),
            DeleteReason::Superseded { by } => write!(f, "old template, and {by} is available"),
            DeleteReason::OldNotReady { new } => write!(f, "old template and not ready, and {new} is here"),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.used, self.max)
    }
}
