//! The node agent: pod sources, pod workers, volumes, probes, status, node object, kubelet HTTP API.
//!
//! It takes Pods from a manifest folder and from a Kubernetes API, and keeps their containers running through
//! [`cri::Runtime`]. What to do with a Pod is decided in `podmachine`; here it is observed and carried out.
//!
//! What it does not know: DaemonSets, placement of Pods on other nodes, how an API server stores things.
//! Invariant: stopping or crashing the agent never stops a container.

mod admission;
mod agent;
mod board;
pub mod cgroup;
mod config;
pub mod containerd;
mod context;
mod downward;
mod edits;
mod environment;
mod eviction;
mod hook;
mod hosts;
mod http;
pub mod image;
mod image_gc;
pub mod joining;
mod logs;
mod measures;
mod mirror;
pub mod network;
mod node;
mod objects;
mod offline;
pub mod pause;
mod pods;
mod pressure;
mod probe;
mod resolv;
mod runtime_events;
pub mod source;
mod spec;
mod static_report;
mod status;
mod termination;
mod token;
mod usage;
mod volume;
mod worker;

pub use agent::{Agent, StartError};
pub use config::{Config, HttpConfig, LOG_ROOT, POD_CIDR, RuntimeChoice, Tls};
pub use containerd::{ContainerdError, TeardownError, teardown};
pub use http::{HttpError, ServingCertificate};
pub use image::load as load_image;
pub use source::ledger::{FaultLine, Page, PodLine};
pub use source::url::{ManifestUrl, UrlError};
pub use static_report::{PodReport, StaticReport, validate as validate_manifests};

/// The socket of the containerd that belongs to an agent's folder.
pub fn socket(root_dir: &std::path::Path) -> std::path::PathBuf {
    containerd::Layout::of(root_dir).socket()
}

/// An error with its causes, for one line of a log.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
