//! The machine on a model of a node: a runtime, images, volumes and probes that do at once, and fail, as told.
//!
//! Tables first, by upstream's rules; then properties over random days of a Pod.

mod adoption;
mod model;
mod probes;
mod properties;
mod restarts;
mod starting;
mod status;
mod termination;
