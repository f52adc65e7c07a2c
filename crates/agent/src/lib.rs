//! The node agent: pod sources, pod workers, volumes, probes, status, node object, kubelet HTTP API.
//!
//! It takes Pods from a manifest folder and from a Kubernetes API, and keeps their containers running through
//! [`cri::Runtime`]. What to do with a Pod is decided in `podmachine`; here it is observed and carried out.
//!
//! What it does not know: DaemonSets, placement of Pods on other nodes, how an API server stores things.
//! Invariant: stopping or crashing the agent never stops a container.

mod agent;
pub mod cgroup;
mod config;
pub mod containerd;
mod downward;
mod environment;
pub mod image;
pub mod network;
mod objects;
pub mod pause;
pub mod source;
mod spec;
mod volume;

pub use agent::{Agent, StartError};
pub use config::{Config, HttpConfig, LOG_ROOT, POD_CIDR, RuntimeChoice, Tls};
