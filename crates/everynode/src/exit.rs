//! Exit codes, part of the binary's contract.

use std::process::ExitCode;

/// Why a command ended without doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was asked for something that cannot be: exit code 2, as for wrong flags.
    #[error("{0}")]
    Usage(String),
    /// It waited and the deadline passed: exit code 3.
    #[error("{0}")]
    Deadline(String),
}

pub const HELP: &str = "\
Exit codes:
  0  done
  1  failed; the reason is on stderr
  2  wrong flags or arguments
  3  a deadline passed before what was waited for came true";

/// Prints the whole chain of causes and chooses the code.
pub fn code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("everynode: {error:#}");
    match error.downcast_ref::<Failure>() {
        Some(Failure::Usage(_)) => ExitCode::from(2),
        Some(Failure::Deadline(_)) => ExitCode::from(3),
        None => ExitCode::FAILURE,
    }
}
