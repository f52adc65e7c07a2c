//! What controllers, scheduler and agent need from a Kubernetes API, over a [`kube::Client`].
//!
//! - [`cache`]: list and watch into an indexed map with change notifications and freshness;
//! - [`queue`]: a deduplicating work queue with back-off and delays;
//! - [`write`]: writes with preconditions, and one classification of their errors;
//! - [`events`]: the event recorder with upstream's correlator;
//! - [`lease`]: node heartbeats and leader election.
//!
//! It does not know whose API it talks to: an everynode server in the same process, one behind a URL and
//! an upstream kube-apiserver look the same. It decides nothing about any kind.

pub mod backoff;
pub mod cache;
pub mod events;
pub mod key;
pub mod lease;
pub mod queue;
pub mod write;

pub use cache::{Cache, Change, Changes};
pub use events::Recorder;
pub use key::ObjectKey;
pub use queue::WorkQueue;

#[cfg(test)]
mod scripted_api;
