//! What can be had before a Pod must go: containers that are dead and images that nobody uses.
//!
//! Upstream: DeleteAllUnusedContainers and DeleteUnusedImages, for the file system where both lie; nothing for memory.
//! DIFFERS(dead-containers): of a Pod that goes on, the last dead instance stays: it is what its next start is decided
//! by. Upstream removes it, and may run an init container again.

use super::Signal;
use super::limits::Limits;
use super::{Readings, watch};
use crate::desired::PodSource;
use crate::state::State;

/// A container that does not run, and where its Pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    pub id: String,
    /// `None`: no Pod of this node.
    pub pod: Option<(State, PodSource)>,
}

/// Whether containers and images lie on the file system that is short.
pub fn helps(signal: Signal, images_have_their_own: bool) -> bool {
    match signal {
        Signal::ImagefsAvailable | Signal::ImagefsInodesFree => true,
        Signal::NodefsAvailable | Signal::NodefsInodesFree => !images_have_their_own,
        Signal::MemoryAvailable | Signal::PidAvailable => false,
    }
}

/// Those that nothing is decided by any more: of Pods of the API that have ended and are cleaned up, whose status says
/// what they said. A static Pod that has completed is known by its containers alone.
pub fn removable(dead: &[Dead]) -> Vec<&str> {
    let over = |one: &&Dead| matches!(one.pod, Some((State::Finished, PodSource::Api)));
    dead.iter().filter(over).map(|one| one.id.as_str()).collect()
}

/// Whether what was removed suffices and no Pod need go.
pub fn suffices(limits: &Limits, after: &Readings) -> bool {
    watch::is_relieved(limits, after)
}
