//! The machine: one Pod's memory, and the step that turns a look into decisions.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;

use crate::action::{JobId, Outcome, Step};
use crate::desired::Desired;
use crate::observed::Observed;

/// How many own actions had ended when a look began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(crate) u64);

/// Where a Pod stands on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Shall run: is being started, kept, restarted.
    Syncing,
    /// Shall go, or has failed or finished: containers are being stopped.
    Terminating,
    /// No container lives: sandboxes, volumes and directories are being removed.
    CleaningUp,
    /// Nothing is left on the node; the API object may be deleted.
    Gone,
}

/// One Pod's machine. See the crate's documentation for how it is driven.
#[derive(Debug, Clone)]
pub struct Machine {
    finished: u64,
    state: State,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    pub fn new() -> Self {
        Self { finished: 0, state: State::Syncing }
    }

    /// Take one before a look at the runtime begins and hand it in with what was seen.
    pub fn mark(&self) -> Mark {
        Mark(self.finished)
    }

    /// Tells what became of a job. An id that is not under way is ignored.
    pub fn finished(&mut self, _id: JobId, _outcome: Outcome, _now: Timestamp) {
        self.finished += 1;
    }

    /// Decides. Same memory, same input: same step.
    pub fn step(&mut self, desired: &Desired, _observed: &Observed, _now: Timestamp) -> Step {
        let status: PodStatus = desired.pod.status.clone().unwrap_or_default();
        Step { jobs: Vec::new(), events: Vec::new(), status, wake_at: None, state: self.state }
    }
}
