//! What happens in the runtime, as it happens: hints to look, never facts to build on.

use std::pin::Pin;

use futures::Stream;

use crate::error::Result;

/// Something happened to a container (or to a sandbox: its id then is a sandbox's).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// Container or sandbox id.
    pub id: String,
    pub kind: RuntimeEventKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeEventKind {
    Started,
    Exited { exit_code: i32 },
    OutOfMemory,
}

/// Ends with an error or `None` when the connection breaks: subscribe again, and relist.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<RuntimeEvent>> + Send>>;
