//! The vocabulary: kinds, names, selectors, quantities; convert, default, validate.
//!
//! Pure: no async, no clock, no randomness, no I/O.

pub mod scheme;
