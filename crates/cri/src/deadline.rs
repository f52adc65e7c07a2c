//! How long each call may take.

use std::time::Duration;

/// Deadlines by kind of call. None is short: a call that is cut off half-way leaves things behind in the runtime
/// (seen: a StopPodSandbox cut after 2 s left iptables chains for ever).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Lists, statuses, versions: answered from memory.
    pub read: Duration,
    /// Creating, starting, removing: upstream's two minutes.
    pub write: Duration,
    /// Stopping a sandbox runs CNI DEL; stopping a container adds its grace to this.
    pub stop: Duration,
    /// Pulling is bounded by the registry, not by us; this only ends what hangs.
    pub pull: Duration,
    /// Added to an exec's own timeout, for the way there and back.
    pub exec_extra: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(30),
            write: Duration::from_secs(120),
            stop: Duration::from_secs(120),
            pull: Duration::from_secs(30 * 60),
            exec_extra: Duration::from_secs(5),
        }
    }
}
