//! The container runtime over CRI v1: real client, stateful fake, one contract suite for both.
//!
//! [`Runtime`] is the door: the least that a node agent needs, in this crate's own types. Behind it are
//! [`RemoteRuntime`] (a CRI v1 socket, containerd in the first place) and [`fake::FakeRuntime`] (in memory, for
//! tests and simulated nodes). `tests/contract.rs` runs the same claims on both.
//!
//! What it does not know: Pods, the Kubernetes API, restart rules. Names, labels and annotations are handed
//! through as they are. Invariants: every call has a deadline; an error says its class, so that no caller
//! parses a message; nothing here kills a container unless asked to.

mod deadline;
mod error;
pub mod events;
pub mod fake;
mod generated;
mod remote;
mod runtime;
mod types;
mod wire;

pub use deadline::Deadlines;
pub use error::{Error, Operation, Result};
pub use events::{EventStream, RuntimeEvent, RuntimeEventKind};
pub use remote::RemoteRuntime;
pub use runtime::Runtime;
pub use types::*;
