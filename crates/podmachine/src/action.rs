//! What to do: the machine's decisions as data, and what became of them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LifecycleHandler, PodStatus, Probe};

use crate::state::State;

/// Everything that one step decided.
#[derive(Debug, Clone)]
pub struct Step {
    /// To be carried out, all at once; each ends in exactly one [`Machine::finished`](crate::Machine::finished).
    pub jobs: Vec<Job>,
    pub events: Vec<Event>,
    pub status: PodStatus,
    /// Look and step again at this time even if nothing happens.
    pub wake_at: Option<Timestamp>,
    pub state: State,
}

/// Names one decision in one machine's life. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub action: Action,
    /// Why, for the log.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Mount, fetch, write: make all volumes ready. Then `Observed.volumes` says so.
    PrepareVolumes,
    /// After the last container is gone: unmount, remove the Pod's directories and its cgroup.
    CleanUp,
    PullImage {
        container: String,
        image: String,
    },
    CreateSandbox {
        attempt: u32,
    },
    StopSandbox {
        id: String,
    },
    /// With all its containers.
    RemoveSandbox {
        id: String,
    },
    /// Create and start, in this order. A created container that cannot be started is left as it is.
    StartContainer(StartContainer),
    RunPostStart {
        container: String,
        container_id: String,
        handler: LifecycleHandler,
    },
    /// Ends at the deadline at the latest.
    RunPreStop {
        container: String,
        container_id: String,
        handler: LifecycleHandler,
        timeout_seconds: u64,
    },
    /// Stop signal, then SIGKILL after the grace. May come again for the same container with a shorter grace.
    KillContainer {
        container: String,
        container_id: String,
        grace_seconds: u64,
        cause: KillReason,
    },
    RemoveContainer {
        container: String,
        container_id: String,
    },
    Probe(ProbeTarget),
    /// All is cleaned up, and this step's status is final: write that first, then DELETE with grace 0 and the uid as precondition.
    /// Never for [`PodSource::Static`](crate::PodSource::Static).
    DeleteFromApi,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StartContainer {
    pub name: String,
    pub sandbox_id: String,
    /// The sandbox's attempt: its config is derived from the Pod and this number.
    pub sandbox_attempt: u32,
    /// restartCount; also CRI's attempt and the log file's name.
    pub restart_count: u32,
    /// To be stored as annotation, see [`labels`](crate::labels).
    pub hash: String,
    /// What to create it from.
    pub image_ref: String,
    /// Addresses for the downward API; empty on the host's network.
    pub pod_ips: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// One probe to run, once.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeTarget {
    pub kind: ProbeKind,
    pub container: String,
    pub container_id: String,
    pub probe: Probe,
    /// Default host for HTTP, TCP and gRPC.
    pub pod_ip: String,
}

/// Why a container is killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillReason {
    PodTerminating,
    PodFinished,
    SpecChanged,
    LivenessFailed,
    StartupFailed,
    PostStartFailed,
    SandboxChanged,
    /// Two live instances of one container, or one that no spec names.
    Unwanted,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Of `CreateSandbox`.
    SandboxCreated {
        id: String,
        ips: Vec<String>,
    },
    /// Of `StartContainer`.
    ContainerStarted {
        id: String,
    },
    /// Of `PullImage`.
    ImagePulled {
        image_ref: String,
        size_bytes: u64,
        took_ms: u64,
    },
    /// Of `Probe`.
    ProbeSucceeded {
        warning: Option<String>,
    },
    ProbeFailed {
        output: String,
    },
    /// The probe could not be made: changes nothing.
    ProbeUndecided {
        output: String,
    },
    Failed(Failure),
}

/// How a job failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Of `StartContainer`: ConfigMap or Secret missing, user not allowed … -> CreateContainerConfigError.
    #[error("{0}")]
    Config(String),
    /// Of `StartContainer`: refused on create -> CreateContainerError.
    #[error("{0}")]
    Create(String),
    /// Of `StartContainer`: created, but did not start -> RunContainerError.
    #[error("{0}")]
    Start(String),
    /// Of `PullImage`.
    #[error("{0}")]
    Pull(String),
    /// Of any: the runtime refused or the hook failed.
    #[error("{0}")]
    Refused(String),
    /// Of any: the runtime is away; nothing is known.
    #[error("{0}")]
    Unavailable(String),
    /// Of any: given up for time; it may still happen.
    #[error("{0}")]
    Timeout(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    Normal,
    Warning,
}

/// An Event on the Pod, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub event_type: EventType,
    pub reason: String,
    pub message: String,
    /// `spec.containers{NAME}` for the involved object's fieldPath.
    pub field_path: Option<String>,
}
