//! CRI v1 and containerd's events as prost types and tonic clients, generated: see `proto/README.md`.
//!
//! Nothing outside this crate sees them; [`wire`](crate::wire) turns them into our own types.

#![allow(clippy::all, dead_code, rustdoc::all)]

#[rustfmt::skip]
pub mod runtime_v1;

#[rustfmt::skip]
pub mod containerd_events_v1;
