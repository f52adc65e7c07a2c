//! The agent as a whole: puts the parts together and starts their tasks.
//!
//! Invariant: nothing that happens to this process ends a container. Stopping means that the tasks end; what runs
//! in the runtime goes on and is adopted by the next start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use client::events::Speaker;
use client::{Cache, Recorder};
use cri::{RemoteRuntime, Runtime};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use process::Tasks;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::admission::Gate;
use crate::board::Board;
use crate::cgroup::Hierarchies;
use crate::config::{Config, RuntimeChoice};
use crate::containerd::{Layout, Supervisor, SupervisorState, socket_uri};
use crate::context::{NodeContext, STARTS_AT_ONCE_MAX};
use crate::eviction;
use crate::http::{self, HttpError, ServingCertificate};
use crate::image_gc::Images;
use crate::logs;
use crate::measures::Measures;
use crate::mirror::{MirrorKeeper, Mirrors};
use crate::network::{NetworkError, PodNetwork, Subnet, short_name};
use crate::node::facts::{Facts, find_node_ip};
use crate::node::{Identity, NodeKeeper};
use crate::offline::{self, Kept};
use crate::pods::{Inputs, Pods};
use crate::pressure::PressureKeeper;
use crate::resolv::Resolver;
use crate::runtime_events::{RuntimeWatch, Watchers};
use crate::source::SourceKind;
use crate::source::api_server;
use crate::source::file::{FileSource, Told};
use crate::source::last_good::LastGood;
use crate::source::url::UrlSource;
use crate::static_report;
use crate::status;
use crate::token::Tokens;
use crate::volume::Volumes;

/// Sets and snapshots under way to the list of Pods: each replaces the one before, so few are enough.
const INPUTS_QUEUED_MAX: usize = 4;

/// What keeps an agent from starting at all. Everything else is tried again while it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the agent's folder {path} cannot be made")]
    RootDir {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the agent's folder {path} is not an absolute path")]
    RelativeRootDir { path: PathBuf },
    #[error("set up the Pod network")]
    Network(#[source] NetworkError),
    #[error("use the container runtime at {endpoint}")]
    Runtime {
        endpoint: String,
        #[source]
        source: cri::Error,
    },
    #[error("serve the agent's HTTPS API")]
    Http(#[source] HttpError),
}

/// A running node agent. Dropping it stops nothing: its tasks end with the shutdown of the [`Tasks`] it was given.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

struct Shared {
    context: Arc<NodeContext>,
    http_addr: Option<SocketAddr>,
    serving: Option<ServingCertificate>,
    ready: watch::Receiver<bool>,
}

impl Agent {
    /// Starts all tasks and returns; [`ready`](Agent::ready) tells when the node takes Pods.
    pub async fn start(config: Config, tasks: &Tasks) -> Result<Agent, StartError> {
        if !config.root_dir.is_absolute() {
            return Err(StartError::RelativeRootDir { path: config.root_dir });
        }
        tokio::fs::create_dir_all(config.root_dir.join("pods"))
            .await
            .map_err(|source| StartError::RootDir { path: config.root_dir.clone(), source })?;
        let (runtime, up) = start_runtime(&config, tasks)?;
        let makes_processes = !matches!(config.runtime, RuntimeChoice::Given(_));

        let board = Arc::new(Board::default());
        let (mirror_version, mirrors_changed) = watch::channel(0);
        let pods = config.client.clone().map(|client| {
            Cache::builder(Api::<Pod>::all(client))
                .fields(format!("spec.nodeName={}", config.node_name))
                .clock(Arc::clone(&config.clock))
                .start(tasks)
        });
        let mirrors = match &pods {
            Some(pods) => Mirrors::of_cache(pods.clone(), mirrors_changed),
            None => Mirrors::none(),
        };
        let facts = Facts::read(&config.root_dir, &config.eviction);
        let node_ip = config.node_ip.unwrap_or_else(find_node_ip);
        let recorder = config.client.clone().map(|client| {
            let speaker = Speaker { component: "kubelet".to_owned(), host: config.node_name.clone() };
            Recorder::start(client, speaker, Arc::clone(&config.clock), tasks)
        });
        let kept = Arc::new(Kept::open(Layout::of(&config.root_dir).offline()));
        let context = Arc::new(NodeContext {
            node_name: config.node_name.clone(),
            agent_id: short_name(&config.root_dir),
            root_dir: config.root_dir.clone(),
            log_root: config.log_root.clone(),
            runtime,
            runtime_name: "containerd".to_owned(),
            client: config.client.clone(),
            local_objects: Arc::default(),
            ledger: Arc::default(),
            recorder,
            clock: Arc::clone(&config.clock),
            volumes: Volumes::new(&config.root_dir),
            tokens: Tokens::new(config.client.clone(), Arc::clone(&config.clock), Arc::clone(&kept)),
            kept,
            cgroups: makes_processes.then(|| Hierarchies::find(&config.root_dir)),
            resolver: Resolver {
                cluster_dns: config.cluster_dns.clone(),
                cluster_domain: config.cluster_domain.clone(),
            },
            host_ips: vec![node_ip.to_string()],
            memory_bytes: i64::try_from(facts.memory_bytes).unwrap_or(i64::MAX),
            allocatable: facts.allocatable_amounts(config.pods_max),
            started_at: config.clock.now(),
            starts: Semaphore::new(STARTS_AT_ONCE_MAX),
            statuses: status::Writer::new(
                config.client.clone(),
                Arc::clone(&board),
                mirrors.clone(),
                Arc::clone(&config.clock),
            ),
            measures: Measures::register(&config.metrics),
            board,
            watchers: Arc::new(Watchers::default()),
            limits: config.eviction.clone(),
            pressure: watch::Sender::default(),
            image_policy: config.image_gc,
        });
        let (http_addr, serving) = match &config.http {
            Some(wanted) => {
                let served = http::start(wanted, Arc::clone(&context), config.metrics.clone(), tasks).await;
                let (address, serving) = served.map_err(StartError::Http)?;
                (Some(address), Some(serving))
            }
            None => (None, None),
        };
        let (told, ready) = watch::channel(false);
        let parts =
            Parts { context: Arc::clone(&context), config, facts, pods, mirrors, mirror_version, http_addr };
        let (shutdown, tasks_of_parts) = (tasks.shutdown_signal().clone(), tasks.clone());
        tasks.spawn("agent start", async move {
            tokio::select! {
                // Nothing is started before the runtime is up; nothing is lost by not starting.
                () = shutdown.cancelled() => {}
                () = parts.start(up, told, &tasks_of_parts) => {}
            }
        });
        Ok(Agent { shared: Arc::new(Shared { context, http_addr, serving, ready }) })
    }

    /// Resolves when the runtime answers, every source was heard, and the node is registered (if there is an
    /// API server). `false`: the agent stopped before that.
    pub async fn ready(&self) -> bool {
        self.shared.ready.clone().wait_for(|ready| *ready).await.is_ok()
    }

    pub fn node_name(&self) -> &str {
        &self.shared.context.node_name
    }

    /// Where the HTTPS API listens.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.shared.http_addr
    }

    /// What the HTTPS API shows to its callers; `None` where it is not served.
    pub fn serving_certificate(&self) -> Option<ServingCertificate> {
        self.shared.serving.clone()
    }

    /// The Pods of this node with their statuses of now.
    pub fn pods(&self) -> Vec<Pod> {
        self.shared.context.board.all().iter().map(crate::board::Row::with_status).collect()
    }

    /// The container runtime that the agent uses.
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.shared.context.runtime)
    }
}

/// Tells when our own containerd is up.
type Up = watch::Receiver<SupervisorState>;

/// Connects to the runtime, and starts ours where it is ours. The receiver tells when ours is up.
fn start_runtime(config: &Config, tasks: &Tasks) -> Result<(Arc<dyn Runtime>, Option<Up>), StartError> {
    let connect = |endpoint: &str| {
        RemoteRuntime::connect(endpoint)
            .map(|runtime| Arc::new(runtime) as Arc<dyn Runtime>)
            .map_err(|source| StartError::Runtime { endpoint: endpoint.to_owned(), source })
    };
    match &config.runtime {
        RuntimeChoice::Given(runtime) => Ok((Arc::clone(runtime), None)),
        RuntimeChoice::Socket(endpoint) => {
            let note = Layout::of(&config.root_dir).external_endpoint();
            std::fs::write(&note, endpoint)
                .map_err(|source| StartError::RootDir { path: note.clone(), source })?;
            Ok((connect(endpoint)?, None))
        }
        RuntimeChoice::Managed => {
            let network = PodNetwork::of(&config.root_dir, &config.pod_cidr).map_err(StartError::Network)?;
            let runtime = connect(&socket_uri(&config.root_dir))?;
            let layout = Layout::of(&config.root_dir);
            let (supervisor, state) = Supervisor::new(layout, network, Arc::clone(&runtime));
            let shutdown = tasks.shutdown_signal().clone();
            tasks.spawn("containerd", async move { supervisor.run(shutdown).await });
            Ok((runtime, Some(state)))
        }
    }
}

/// What is started once the runtime is up.
struct Parts {
    context: Arc<NodeContext>,
    config: Config,
    facts: Facts,
    pods: Option<Cache<Pod>>,
    mirrors: Mirrors,
    mirror_version: watch::Sender<u64>,
    http_addr: Option<SocketAddr>,
}

impl Parts {
    async fn start(self, up: Option<Up>, ready: watch::Sender<bool>, tasks: &Tasks) {
        if let Some(mut up) = up
            && up.wait_for(|state| matches!(state, SupervisorState::Running { .. })).await.is_err()
        {
            return;
        }
        let context = &self.context;
        let shutdown = tasks.shutdown_signal().clone();
        let (sets, sets_in) = mpsc::channel(INPUTS_QUEUED_MAX);
        let (snapshots, snapshots_in) = mpsc::channel(INPUTS_QUEUED_MAX);
        let (heard, mut was_heard) = watch::channel(false);
        let kinds = self.config.manifest.iter().map(|_| SourceKind::File);
        let kinds = kinds.chain(self.config.manifest_url.iter().map(|_| SourceKind::Http));
        let kinds: Vec<SourceKind> = kinds.chain(self.pods.iter().map(|_| SourceKind::Api)).collect();
        let has_manifests = kinds.iter().any(|kind| kind.is_static());
        let (evictions, evictions_in) = mpsc::channel(eviction::EVICTIONS_QUEUED_MAX);
        let inputs = Inputs { sets: sets_in, snapshots: snapshots_in, evictions: evictions_in };
        let identity = identity(&self.config, self.facts, self.http_addr);
        let (node, told) = watch::channel::<Option<Arc<Node>>>(None);
        let gate = Gate::new(
            identity.node(),
            self.config.client.is_some().then(|| told.clone()),
            context.pressure.subscribe(),
        );
        Pods::start(Arc::clone(context), tasks, kinds, inputs, gate, heard);

        let layout = Layout::of(&self.config.root_dir);
        let tell = Told { ledger: Arc::clone(&context.ledger), objects: Arc::clone(&context.local_objects) };
        if let Some(path) = &self.config.manifest {
            let last_good = LastGood::in_folder(layout.last_good_manifests());
            let clock = Arc::clone(&context.clock);
            let source = FileSource::new(path, &context.node_name, clock, last_good, tell.clone());
            tasks.spawn("manifests", source.run(sets.clone(), shutdown.clone()));
        }
        if let Some(from) = self.config.manifest_url.clone() {
            let last_good = LastGood::in_folder(layout.last_good_url());
            let source =
                UrlSource::new(from, &context.node_name, Arc::clone(&context.clock), last_good, tell);
            tasks.spawn("manifest URL", source.run(sets.clone(), shutdown.clone()));
        }
        if has_manifests {
            let root_dir = self.config.root_dir.clone();
            let report = static_report::run(Arc::clone(context), root_dir, shutdown.clone());
            tasks.spawn("static Pods' report", report);
        }
        let watch_runtime = RuntimeWatch {
            runtime: Arc::clone(&context.runtime),
            watchers: Arc::clone(&context.watchers),
            clock: Arc::clone(&context.clock),
            snapshots,
        };
        tasks.spawn("runtime events", watch_runtime.run(shutdown.clone()));
        let images = Arc::new(Images::new(Arc::clone(context)));
        let pressure = PressureKeeper::new(Arc::clone(context), Arc::clone(&images), evictions.clone());
        tasks.spawn("node pressure", pressure.run(shutdown.clone()));
        tasks.spawn("image collection", images.run(shutdown.clone()));
        tasks.spawn("local storage limits", eviction::run(Arc::clone(context), evictions, shutdown.clone()));
        if context.cgroups.is_some() {
            tasks.spawn("log rotation", logs::rotate::run(Arc::clone(context), shutdown.clone()));
        }
        let mut registered = None;
        if let (Some(client), Some(pods)) = (self.config.client.clone(), self.pods) {
            NodeKeeper::start(client.clone(), Arc::clone(context), identity, node, tasks);
            let (kept, clock) = (Arc::clone(&context.kept), Arc::clone(&context.clock));
            let board = Arc::clone(&context.board);
            tasks.spawn(
                "Pods on disk",
                offline::run(Arc::clone(&kept), pods.clone(), board, Arc::clone(&clock), shutdown.clone()),
            );
            let listen = api_server::run(pods, sets, self.mirror_version, kept, clock, shutdown.clone());
            tasks.spawn("pods of the API", listen);
            tasks.spawn("pod statuses", context.statuses.clone().run(shutdown.clone()));
            let keeper = MirrorKeeper {
                client,
                mirrors: self.mirrors,
                board: Arc::clone(&context.board),
                node: told.clone(),
                heard: was_heard.clone(),
                clock: Arc::clone(&context.clock),
            };
            tasks.spawn("mirror pods", keeper.run(shutdown));
            registered = Some(told);
        }
        if was_heard.wait_for(|heard| *heard).await.is_err() {
            return;
        }
        if let Some(mut registered) = registered
            && registered.wait_for(Option::is_some).await.is_err()
        {
            return;
        }
        tracing::info!(node = %context.node_name, "node agent is ready");
        ready.send_replace(true);
    }
}

fn identity(config: &Config, facts: Facts, http_addr: Option<SocketAddr>) -> Identity {
    // A runtime that is not ours has its own network: its subnet is not known here.
    let managed = matches!(config.runtime, RuntimeChoice::Managed);
    let pod_cidr = managed.then(|| Subnet::parse(&config.pod_cidr).ok()).flatten();
    Identity {
        name: config.node_name.clone(),
        labels: config.node_labels.clone(),
        taints: config.node_taints.clone(),
        version: config.version.clone(),
        pods_max: config.pods_max,
        port: http_addr.map(|address| address.port()),
        has_manifests: config.manifest.is_some() || config.manifest_url.is_some(),
        pod_cidr: pod_cidr.map(|subnet| subnet.to_string()),
        facts,
    }
}
