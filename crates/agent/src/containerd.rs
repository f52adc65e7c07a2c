//! Our own containerd: written, started, adopted, supervised, and in the end taken down.
//!
//! It runs in a session of its own, so that it and its shims outlive us whatever ends us; the next start finds it by
//! its pid file and its socket and goes on. When it dies it is started again, with back-off; containers do not
//! notice. Where the root mount is private (no systemd), it lives in a mount namespace of its own that is pinned to
//! a file, because mount propagation needs shared mounts and because a restart must find the same mounts again.
//!
//! What it does not know: Pods. With an external socket nothing here is used.

mod layout;
mod mounts;
mod supervise;
mod teardown;

use std::path::PathBuf;

pub use layout::{Layout, Programs, socket_uri};
pub use mounts::{mount_table, run};
pub use supervise::{Supervisor, SupervisorState};
pub use teardown::{TeardownError, teardown};

#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    #[error("{name} is not installed (looked in {looked_in})")]
    NotInstalled { name: &'static str, looked_in: String },
    #[error("write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("prepare the mounts for containerd: {step}")]
    Mounts {
        step: String,
        #[source]
        source: std::io::Error,
    },
    #[error("run {program}")]
    Run {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} failed: {output}")]
    Failed { program: String, output: String },
}
