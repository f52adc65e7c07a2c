//! What a fake container does, and how fake calls fail.

use std::time::Duration;

use crate::error::{Error, Operation};
use crate::types::ExecOutput;

/// What the containers of one image do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Ends by itself after this long; `None` runs until it is stopped.
    pub ends: Option<(Duration, Ending)>,
    /// How long after the stop signal it ends, with the code; not within the grace means SIGKILL.
    pub stop: (Duration, i32),
    /// Set: it cannot be started, with this message.
    pub start_error: Option<String>,
}

impl Default for Program {
    /// Runs for ever, ends at once when told.
    fn default() -> Self {
        Self { ends: None, stop: (Duration::ZERO, 143), start_error: None }
    }
}

impl Program {
    /// Ends with this code after this long.
    pub fn ends_after(run: Duration, code: i32) -> Self {
        Self { ends: Some((run, Ending::code(code))), ..Self::default() }
    }

    /// Takes no notice of the stop signal.
    pub fn ignores_stop() -> Self {
        Self { stop: (Duration::MAX, 143), ..Self::default() }
    }
}

/// How a container's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub code: i32,
    pub reason: String,
    pub message: String,
}

impl Ending {
    /// `Completed` or `Error`, as containerd says it.
    pub fn code(code: i32) -> Self {
        let reason = if code == 0 { "Completed" } else { "Error" };
        Self { code, reason: reason.to_owned(), message: String::new() }
    }

    pub fn killed() -> Self {
        Self::code(137)
    }

    pub fn out_of_memory() -> Self {
        Self { code: 137, reason: "OOMKilled".to_owned(), message: String::new() }
    }
}

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The runtime says no, with this message; nothing happened.
    Refused(String),
    NotFound(String),
    /// Nobody answers; nothing happened.
    Unavailable,
    /// No answer in time; nothing happened.
    Timeout,
    /// No answer in time; it happened.
    LateAnswer,
}

impl Fault {
    pub(super) fn error(self, operation: Operation) -> Error {
        match self {
            Fault::Refused(message) => Error::Refused { operation, message },
            Fault::NotFound(message) => Error::NotFound { operation, message },
            Fault::Unavailable => Error::Unavailable { operation, message: "connection refused".to_owned() },
            Fault::Timeout | Fault::LateAnswer => {
                Error::Timeout { operation, after: Duration::from_secs(120) }
            }
        }
    }
}

/// What a command in a container answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecAnswer {
    Output(ExecOutput),
    /// It never ends.
    Hangs,
    /// There is no such program.
    NoSuchCommand,
}

impl Default for ExecAnswer {
    fn default() -> Self {
        ExecAnswer::code(0)
    }
}

impl ExecAnswer {
    pub fn code(exit_code: i32) -> Self {
        ExecAnswer::Output(ExecOutput { stdout: Vec::new(), stderr: Vec::new(), exit_code })
    }

    pub fn text(stdout: &str, exit_code: i32) -> Self {
        ExecAnswer::Output(ExecOutput { stdout: stdout.as_bytes().to_vec(), stderr: Vec::new(), exit_code })
    }
}
