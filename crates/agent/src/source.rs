//! Where Pods come from: a manifest folder or file, a manifest URL, and a Kubernetes API.
//!
//! Every source tells its complete set each time. One rule merges them: a Pod is wanted while any source names its
//! uid; each uid belongs to the source that named it first. A source counts as seen after its first set, even an
//! empty one; nothing is taken down before all sources were seen, because a source that is away says nothing.

pub mod api_server;
pub mod file;
pub mod last_good;
pub mod ledger;
mod left_alone;
mod listing;
pub mod local_objects;
pub mod manifest;
pub mod manifests;
pub mod url;

use api::well_known::pod_annotation as well_known;
use k8s_openapi::api::core::v1::Pod;
use podmachine::PodSource;

/// One of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    File,
    Http,
    Api,
}

impl SourceKind {
    /// The value of the annotation `kubernetes.io/config.source`.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::File => well_known::SOURCE_FILE,
            SourceKind::Http => well_known::SOURCE_HTTP,
            SourceKind::Api => well_known::SOURCE_API,
        }
    }

    /// What its Pods are to the machine.
    pub fn pod_source(self) -> PodSource {
        match self {
            SourceKind::File | SourceKind::Http => PodSource::Static,
            SourceKind::Api => PodSource::Api,
        }
    }

    pub fn is_static(self) -> bool {
        self.pod_source() == PodSource::Static
    }
}

/// All Pods that a source wants on this node now.
#[derive(Debug, Clone)]
pub struct SourceSet {
    pub kind: SourceKind,
    pub pods: Vec<Pod>,
    /// `false`: what was wanted when an earlier agent ended. It starts Pods and ends none.
    pub heard: bool,
}
