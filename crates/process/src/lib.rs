//! Clock, named tasks, shutdown, metrics, logging.
//!
//! What every long-running part of a process shares and nothing more: it knows no Kubernetes object, no
//! store and no runtime. Time is a [`Clock`] that is handed in; a background task has a name
//! ([`Tasks`]), is told to stop ([`Shutdown`]) and is waited for; numbers go to one registry
//! ([`metrics`]); log lines go to standard error ([`logging`]).

pub mod clock;
pub mod logging;
pub mod metrics;
pub mod open_files;
pub mod shutdown;
pub mod tasks;

pub use clock::{Clock, SystemClock};
pub use metrics::Metrics;
pub use shutdown::Shutdown;
pub use tasks::Tasks;
