//! The node agent of this machine: its name, address, runtime, network and certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::joining::{Certified, Rotating};
use agent::{Agent, HttpConfig, RuntimeChoice, Tls};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use process::{Metrics, Tasks};

use super::server::Served;
use super::{join, network};
use crate::cli::{AgentArgs, NodeArgs};
use crate::exit::Failure;
use crate::kubelet_config::KubeletConfig;
use crate::paths::DataDir;

/// The port of upstream's node agent.
const AGENT_PORT: u16 = 10250;
/// Where log collectors look.
const LOG_ROOT: &str = "/var/log/pods";
const DEFAULT_DATA_DIR: &str = "/var/lib/everynode";
/// Longer than the slowest start seen, runtime included.
const READY_SECONDS: u64 = 90;
/// As long as an agent waits for a server that may be away.
const SOON_READY_SECONDS: u64 = 5;
const LOOK_AGAIN_MS: u64 = 20;

/// What an agent is started with.
pub struct Wiring {
    config: agent::Config,
    requested: Option<Requested>,
    renewed: Option<Renewed>,
}

/// The certificate of the agent's API is asked for.
struct Requested {
    kept: Option<Certified>,
    path: PathBuf,
    addresses: Vec<IpAddr>,
}

/// The certificate of the agent itself is renewed.
struct Renewed {
    rotating: Rotating,
    credentials: join::Credentials,
    path: PathBuf,
}

impl Wiring {
    /// For `up`: the agent in the server's process.
    pub fn beside(
        served: &Served,
        data: &DataDir,
        args: &NodeArgs,
        node_name: String,
        metrics: Metrics,
    ) -> Result<Wiring> {
        let mut config = base(data, args, node_name, metrics)?;
        config.client = Some(served.node_client());
        config.node_ip = Some(served.node_ip);
        let tls = Tls {
            certificate_pem: served.node.serving.certificate_pem.clone(),
            key_pem: served.node.serving.key_pem.clone(),
            client_ca_pem: served.pki.ca_pem().to_owned(),
        };
        config.http = Some(HttpConfig { listen: http_address(args.agent_port)?, tls });
        Ok(Wiring::alone(config))
    }

    /// For `agent`: joined to the API server of a kubeconfig or of an invitation, or alone.
    pub async fn joined(
        data: &DataDir,
        args: &AgentArgs,
        node_name: String,
        metrics: Metrics,
    ) -> Result<Wiring> {
        let beside = data.agent_kubeconfig();
        let joined = join::Credentials::read(&beside).is_ok_and(|kept| kept.hold(jiff::Timestamp::now()));
        if let Some(server) = &args.join.server
            && !joined
        {
            join::join(&args.join, server, &node_name, &beside).await?;
        }
        let kubeconfig = args.kubeconfig.clone().or_else(|| beside.exists().then(|| beside.clone()));
        let mut config = base(data, &args.node, node_name, metrics)?;
        let has_manifests = args.node.pod_manifest_path.is_some() || config.manifest_url.is_some();
        let Some(kubeconfig) = kubeconfig else {
            if has_manifests || args.node.config.is_some() {
                return Ok(Wiring::alone(config));
            }
            let text = format!(
                "nothing to run: name the API server with --server or --kubeconfig, or the static Pods with \
                 --pod-manifest-path or --manifest-url ({} is not there either)",
                beside.display()
            );
            return Err(Failure::Usage(text).into());
        };
        let node_ip = config.node_ip.unwrap_or_else(address);
        config.node_ip = Some(node_ip);
        let credentials = join::Credentials::read(&kubeconfig)?;
        let listen = http_address(args.node.agent_port)?;
        let mut requested = None;
        config.http = match serving_files(data, &config.node_name)? {
            Some(tls) if kubeconfig == beside => Some(HttpConfig { listen, tls }),
            // Without the cluster's CA nobody can be told from anybody else.
            _ if credentials.ca_pem.is_empty() => None,
            _ => {
                let path = data.agent().join("serving.pem");
                let kept = join::kept_serving(&path, jiff::Timestamp::now());
                let shown = match &kept {
                    Some(kept) => kept.clone(),
                    None => join::self_signed(&config.node_name, &[node_ip])?,
                };
                let tls = Tls {
                    certificate_pem: shown.certificate_pem,
                    key_pem: shown.key_pem,
                    client_ca_pem: credentials.ca_pem.clone(),
                };
                requested = Some(Requested { kept, path, addresses: vec![node_ip] });
                Some(HttpConfig { listen, tls })
            }
        };
        let file = kube::config::Kubeconfig::read_from(&kubeconfig)
            .with_context(|| format!("read {}", kubeconfig.display()))?;
        let rotating = join::client(file).await?;
        config.client = Some(rotating.client());
        // Another's file is left to whoever wrote it.
        let renewed = (kubeconfig == beside).then(|| Renewed { rotating, credentials, path: beside });
        Ok(Wiring { config, requested, renewed })
    }

    fn alone(config: agent::Config) -> Wiring {
        Wiring { config, requested: None, renewed: None }
    }

    pub fn is_alone(&self) -> bool {
        self.config.client.is_none()
    }
}

/// What flags and a kubelet's configuration file say; flags win.
fn base(data: &DataDir, args: &NodeArgs, node_name: String, metrics: Metrics) -> Result<agent::Config> {
    let file = args.config.as_deref().map(KubeletConfig::read).transpose()?.unwrap_or_default();
    let mut config = agent::Config::new(node_name, data.agent());
    let wanted = args.pod_manifest_path.clone().or(file.static_pod_path);
    let manifest = wanted.clone().unwrap_or_else(|| data.manifests());
    if wanted.is_none() {
        std::fs::create_dir_all(&manifest)?;
    }
    config.manifest = Some(std::path::absolute(&manifest)?);
    config.runtime = match args.container_runtime_endpoint.clone().or(file.container_runtime_endpoint) {
        Some(endpoint) => RuntimeChoice::Socket(endpoint),
        None => RuntimeChoice::Managed,
    };
    let (url, headers) = match &args.manifest_url {
        Some(url) => (Some(url.clone()), args.manifest_url_header.clone()),
        None => (file.static_pod_url, file.static_pod_url_header),
    };
    if let Some(url) = url {
        let from = agent::ManifestUrl::parse(&url, headers.iter().map(String::as_str))
            .map_err(|error| Failure::Usage(format!("--manifest-url: {error}")))?;
        config.manifest_url = Some(from);
    }
    config.node_labels = args.node_labels.clone().map(|labels| labels.0).unwrap_or_default();
    config.node_taints =
        args.register_with_taints.clone().map(|taints| taints.0).unwrap_or(file.register_with_taints);
    config.node_ip = args.node_ip;
    config.cluster_dns = file.cluster_dns;
    config.cluster_domain = file.cluster_domain.unwrap_or(config.cluster_domain);
    config.eviction = file.eviction;
    config.image_gc = file.image_gc;
    config.pods_max = file.max_pods.unwrap_or(config.pods_max);
    config.pod_cidr = match file.pod_cidr {
        Some(cidr) => cidr,
        None => network::pod_cidr(&data.agent())?,
    };
    config.log_root = log_root(data);
    config.metrics = metrics;
    Ok(config)
}

/// Logs of the default data folder go where collectors look; another folder keeps its own.
fn log_root(data: &DataDir) -> PathBuf {
    if data.root() == Path::new(DEFAULT_DATA_DIR) {
        PathBuf::from(LOG_ROOT)
    } else {
        data.root().join("log/pods")
    }
}

/// The certificate that the server beside us made for this node; `None` where there is no such server.
fn serving_files(data: &DataDir, node_name: &str) -> Result<Option<Tls>> {
    let pki = data.pki();
    if !pki.join("ca.key").exists() {
        return Ok(None);
    }
    let read = |file: &str| std::fs::read_to_string(pki.join(file));
    let stem = format!("node-{node_name}-serving");
    let (Ok(certificate_pem), Ok(key_pem)) = (read(&format!("{stem}.crt")), read(&format!("{stem}.key")))
    else {
        let text = format!(
            "the server of {} made no credentials for node {node_name}: start it with --node-name {node_name}",
            data.root().display()
        );
        return Err(Failure::Usage(text).into());
    };
    let client_ca_pem = read("ca.crt").context("read the CA certificate")?;
    Ok(Some(Tls { certificate_pem, key_pem, client_ca_pem }))
}

/// The agent's port: the one asked for, or upstream's, or where that is taken a free one.
fn http_address(asked: Option<u16>) -> Result<SocketAddr> {
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Some(port) = asked {
        return Ok(SocketAddr::new(everywhere, port));
    }
    let usual = SocketAddr::new(everywhere, AGENT_PORT);
    let free = TcpListener::bind(usual).is_ok();
    Ok(if free { usual } else { SocketAddr::new(everywhere, 0) })
}

pub async fn start(wiring: Wiring, tasks: &Tasks) -> Result<Agent> {
    let Wiring { config, requested, renewed } = wiring;
    let client = config.client.clone();
    let node_name = config.node_name.clone();
    let agent = Agent::start(config, tasks).await.context("start the node agent")?;
    if let (Some(asked), Some(client), Some(serving)) = (requested, client, agent.serving_certificate()) {
        let Requested { kept, path, addresses } = asked;
        join::keep_serving(client, serving, kept, node_name.clone(), addresses, path, tasks);
    }
    if let Some(Renewed { rotating, credentials, path }) = renewed {
        join::keep_client(rotating, credentials, node_name, path, tasks);
    }
    Ok(agent)
}

/// Whether a joined agent has heard its API server in a time that a start may take.
pub async fn is_soon_ready(agent: &Agent) -> bool {
    let soon = Duration::from_secs(SOON_READY_SECONDS);
    tokio::time::timeout(soon, agent.ready()).await.unwrap_or(false)
}

/// Waits until the agent is ready and, where there is an API server to ask, until it says that the node is.
pub async fn until_ready(agent: &Agent, client: Option<kube::Client>) -> Result<()> {
    let deadline = Duration::from_secs(READY_SECONDS);
    let waited = tokio::time::timeout(deadline, async {
        if !agent.ready().await {
            bail!("the node agent ended; its log says why");
        }
        let Some(client) = client else { return Ok(()) };
        let nodes: Api<Node> = Api::all(client);
        loop {
            let node = nodes.get_opt(agent.node_name()).await?;
            if node.as_ref().is_some_and(takes_pods) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        }
    });
    match waited.await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text = format!("the node was not ready within {READY_SECONDS} s; its log says why");
            Err(Failure::Deadline(text).into())
        }
    }
}

/// Ready, and without the taint that a new node has until it is.
fn takes_pods(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    ready && !taints.into_iter().flatten().any(|taint| taint.key == "node.kubernetes.io/not-ready")
}

/// Removes everything that the agent of a data folder made, containers included.
pub async fn teardown(data: &DataDir) -> Result<()> {
    if !data.agent().exists() {
        return Ok(());
    }
    agent::teardown(&data.agent(), &log_root(data)).await.context("remove the node's Pods and runtime")
}

/// The name that was asked for, or this machine's, as a legal node name.
pub fn name(asked: Option<&str>) -> Result<String> {
    let name = asked.map_or_else(hostname, str::to_owned).to_lowercase();
    let fault = api::names::dns1123_subdomain(&name);
    if let Some(fault) = fault.first() {
        return Err(Failure::Usage(format!("{name:?} is not a node name: {fault}; use --node-name")).into());
    }
    Ok(name)
}

pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The address of the default route; loopback when there is none.
pub fn address() -> IpAddr {
    // Connecting a datagram socket chooses the source address and sends nothing.
    let found = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}
