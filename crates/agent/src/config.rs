//! What a node agent is told when it starts. Plain data; nothing here is read from the environment.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use podmachine::image_gc::Policy;
use podmachine::pressure::Limits;
use process::{Clock, Metrics, SystemClock};

use crate::source::url::ManifestUrl;

/// Where container logs go unless said otherwise: where log collectors look for them.
pub const LOG_ROOT: &str = "/var/log/pods";
/// Pod addresses of this node unless said otherwise.
pub const POD_CIDR: &str = "10.88.0.0/24";
/// Upstream's `maxPods`.
pub const PODS_MAX: u32 = 110;

/// Everything that an [`Agent`](crate::Agent) is started with.
#[derive(Clone)]
pub struct Config {
    /// The Node object's name; also the suffix of every static Pod's name.
    pub node_name: String,
    /// Absolute. All that this agent keeps: Pods' volumes, containerd's state, network configuration.
    pub root_dir: PathBuf,
    /// Folder of manifests, or one manifest file. `None`: none.
    pub manifest: Option<PathBuf>,
    /// Static Pods from a URL.
    pub manifest_url: Option<ManifestUrl>,
    pub runtime: RuntimeChoice,
    /// `None`: alone; static Pods only, no Node object, no mirrors.
    pub client: Option<kube::Client>,
    /// The address of this node; found by itself when `None`.
    pub node_ip: Option<IpAddr>,
    /// The agent's own HTTPS API. `None`: not served.
    pub http: Option<HttpConfig>,
    /// For Pods with `dnsPolicy: ClusterFirst`; empty means that they get the node's own resolver.
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// Addresses of this node's Pods, IPv4, e.g. `10.88.3.0/24`. Used with [`RuntimeChoice::Managed`] only.
    pub pod_cidr: String,
    /// Container logs: `<log_root>/<namespace>_<name>_<uid>/<container>/<n>.log`.
    pub log_root: PathBuf,
    /// More labels for the Node object.
    pub node_labels: Vec<(String, String)>,
    /// Taints that the Node object is registered with.
    pub node_taints: Vec<Taint>,
    pub pods_max: u32,
    /// When Pods are evicted because the node runs short.
    pub eviction: Limits,
    pub image_gc: Policy,
    /// `nodeInfo.kubeletVersion`.
    pub version: String,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// Which container runtime runs the Pods.
#[derive(Clone)]
pub enum RuntimeChoice {
    /// Our own containerd under `<root_dir>/containerd`: started, supervised, adopted, never stopped with us.
    Managed,
    /// Somebody else's, e.g. `unix:///run/containerd/containerd.sock`: used as it is.
    Socket(String),
    /// A runtime in this process: the fake one, for tests and simulated nodes.
    Given(Arc<dyn cri::Runtime>),
}

/// The agent's own HTTPS API.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Port 0 takes a free one; the bound one goes to the Node object.
    pub listen: SocketAddr,
    pub tls: Tls,
}

/// PEM texts.
#[derive(Clone)]
pub struct Tls {
    pub certificate_pem: String,
    pub key_pem: String,
    /// Who may call: clients with a certificate of this CA.
    pub client_ca_pem: String,
}

impl fmt::Debug for Tls {
    /// The key stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Config {
    /// A node that stands alone on its own containerd, without static Pods, API server or HTTP API.
    pub fn new(node_name: impl Into<String>, root_dir: impl Into<PathBuf>) -> Config {
        Config {
            node_name: node_name.into(),
            root_dir: root_dir.into(),
            manifest: None,
            manifest_url: None,
            runtime: RuntimeChoice::Managed,
            client: None,
            node_ip: None,
            http: None,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            pod_cidr: POD_CIDR.to_owned(),
            log_root: PathBuf::from(LOG_ROOT),
            node_labels: Vec::new(),
            node_taints: Vec::new(),
            pods_max: PODS_MAX,
            // What is written in a file decides; whoever builds an agent by hand says what it is to keep free.
            eviction: Limits::none(),
            image_gc: Policy::default(),
            version: "v1.35.0+everynode".to_owned(),
            clock: SystemClock::shared(),
            metrics: Metrics::new(),
        }
    }
}
