//! The vocabulary: kinds, names, selectors, quantities; convert, default, validate.
//!
//! Pure: no async, no clock, no randomness, no I/O.

pub mod affinity_annotation;
pub mod certificate;
pub mod convert;
pub mod default;
pub mod disruption;
pub mod field;
pub mod fields;
pub mod int_or_percent;
pub mod label;
pub mod meta;
pub mod names;
pub mod network;
pub mod pod;
pub mod quantity;
pub mod scheme;
pub mod service;
pub mod strategy;
pub mod validate;
pub mod warnings;
pub mod well_known;
