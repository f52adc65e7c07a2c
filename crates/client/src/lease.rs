//! Leases: a node's heartbeat and a controller's leadership.
//!
//! [`heartbeat`] renews a lease that is one's own for as long as one lives; [`elector`] competes for a lease that
//! others want too. Neither knows what the lease stands for.

pub mod elector;
pub mod heartbeat;

pub use elector::{Candidacy, Elector, Lost, while_leading};
pub use heartbeat::Heartbeat;
