//! What is: the Pod's sandboxes, containers, images and volumes in one look.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::labels::ContainerLabels;
use crate::machine::Mark;

/// One look at everything that belongs to a Pod's uid.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// From [`Machine::mark`](crate::Machine::mark), taken before the look began.
    pub mark: Mark,
    /// All sandboxes, dead ones too.
    pub sandboxes: Vec<ObservedSandbox>,
    /// All containers, dead ones too.
    pub containers: Vec<ObservedContainer>,
    /// By the image's name in the Pod's spec. A name that is missing counts as [`ImageState::Unknown`]: nothing
    /// is pulled or started for it until it is known.
    pub images: BTreeMap<String, ImageState>,
    pub volumes: VolumeState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedSandbox {
    pub id: String,
    pub attempt: u32,
    pub state: SandboxState,
    pub created_at: Option<Timestamp>,
    /// Pod addresses; empty on the host's network or when dead.
    pub ips: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxState {
    Ready,
    NotReady,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Without the runtime's scheme.
    pub id: String,
    pub sandbox_id: String,
    /// From its labels and annotations, see [`labels`](crate::labels).
    pub labels: ContainerLabels,
    pub state: ContainerState,
    pub created_at: Option<Timestamp>,
    /// Name and identity of the image as a status shows them.
    pub image: String,
    pub image_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running {
        started_at: Timestamp,
    },
    Exited {
        started_at: Option<Timestamp>,
        finished_at: Option<Timestamp>,
        exit_code: i32,
        /// The runtime's reason (`OOMKilled`, `StartError` …); empty is `Completed` or `Error` by exit code.
        reason: String,
        /// Termination message, already cut to size.
        message: String,
    },
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageState {
    Unknown,
    Absent,
    Present {
        image_ref: String,
        size_bytes: u64,
    },
    /// The name cannot be parsed.
    InvalidName {
        message: String,
    },
}

/// What the Pod's volumes are. The agent prepares them after `Action::PrepareVolumes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum VolumeState {
    /// Nothing is mounted, or nothing is needed and nothing was asked yet.
    #[default]
    Absent,
    Ready,
    /// The last attempt failed; it is tried again by the machine.
    Failed {
        message: String,
    },
}
