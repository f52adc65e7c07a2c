//! What can go wrong between the agent and a runtime, classed once, here.
//!
//! CRI has no error codes worth the name: containerd answers many refusals with `Unknown`. The class is what
//! a caller may act on; the message is for people.

use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    Connect,
    Version,
    Status,
    RunSandbox,
    StopSandbox,
    RemoveSandbox,
    SandboxStatus,
    ListSandboxes,
    CreateContainer,
    StartContainer,
    StopContainer,
    RemoveContainer,
    ContainerStatus,
    ListContainers,
    UpdateResources,
    ReopenLog,
    ExecSync,
    Exec,
    Attach,
    PortForward,
    ContainerStats,
    PullImage,
    ImageStatus,
    ListImages,
    RemoveImage,
    ImageFilesystem,
    Events,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Connect => "connect",
            Operation::Version => "version",
            Operation::Status => "status",
            Operation::RunSandbox => "run sandbox",
            Operation::StopSandbox => "stop sandbox",
            Operation::RemoveSandbox => "remove sandbox",
            Operation::SandboxStatus => "sandbox status",
            Operation::ListSandboxes => "list sandboxes",
            Operation::CreateContainer => "create container",
            Operation::StartContainer => "start container",
            Operation::StopContainer => "stop container",
            Operation::RemoveContainer => "remove container",
            Operation::ContainerStatus => "container status",
            Operation::ListContainers => "list containers",
            Operation::UpdateResources => "update container resources",
            Operation::ReopenLog => "reopen container log",
            Operation::ExecSync => "exec (sync)",
            Operation::Exec => "exec",
            Operation::Attach => "attach",
            Operation::PortForward => "port forward",
            Operation::ContainerStats => "container stats",
            Operation::PullImage => "pull image",
            Operation::ImageStatus => "image status",
            Operation::ListImages => "list images",
            Operation::RemoveImage => "remove image",
            Operation::ImageFilesystem => "image filesystem info",
            Operation::Events => "subscribe to events",
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed call, by class. `message` is the runtime's own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The sandbox, container or image does not exist.
    #[error("{operation}: not found: {message}")]
    NotFound { operation: Operation, message: String },
    /// The name (pod, uid, attempt) is taken: list and adopt, or raise the attempt.
    #[error("{operation}: already exists: {message}")]
    AlreadyExists { operation: Operation, message: String },
    /// The runtime does not answer or is not ready yet: try again later, nothing was decided.
    #[error("{operation}: runtime unavailable: {message}")]
    Unavailable { operation: Operation, message: String },
    /// The deadline passed. The runtime may still carry the call out: look before trying again.
    #[error("{operation}: no answer within {after:?}")]
    Timeout { operation: Operation, after: Duration },
    /// The runtime said no.
    #[error("{operation}: {message}")]
    Refused { operation: Operation, message: String },
}

impl Error {
    pub fn operation(&self) -> Operation {
        match self {
            Error::NotFound { operation, .. }
            | Error::AlreadyExists { operation, .. }
            | Error::Unavailable { operation, .. }
            | Error::Timeout { operation, .. }
            | Error::Refused { operation, .. } => *operation,
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }

    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }

    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout { .. })
    }

    /// The runtime's own words, for a container's waiting message or an event.
    pub fn message(&self) -> String {
        match self {
            Error::NotFound { message, .. }
            | Error::AlreadyExists { message, .. }
            | Error::Unavailable { message, .. }
            | Error::Refused { message, .. } => message.clone(),
            Error::Timeout { after, .. } => format!("no answer within {after:?}"),
        }
    }
}
