//! Clock, named tasks, shutdown, metrics, logging.

pub mod clock;

pub use clock::{Clock, SystemClock};
