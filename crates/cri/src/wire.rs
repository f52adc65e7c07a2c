//! Our types to CRI's and back. No decisions, no I/O.

pub mod answer;
pub mod request;
