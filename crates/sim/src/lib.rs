//! Simulated nodes against any Kubernetes API: a control plane sees a fleet, and no container runs.
//!
//! Nodes are of two kinds ([`NodeKind`]). An [`agent_node`] is the real node agent on the fake container runtime. A
//! [`hollow`] one is the least that a control plane takes for a node, and thousands fit into a process: it registers,
//! keeps its lease, takes the Pods bound to it through their life with seeded latencies ([`latency`]), and lets go of
//! the deleted ones; what a Pod does next is a pure function ([`life`]). An observer watches all Pods and reports how
//! long each step took ([`report`]). The control plane is not in here: it is whatever answers behind the client.

pub mod agent_node;
pub mod hollow;
pub mod latency;
pub mod life;
pub mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Cache;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use process::{Clock, Shutdown, SystemClock, Tasks};

use agent_node::AgentNode;
use hollow::Fleet;
use latency::Latencies;
use report::{Observer, Report};

/// How long the nodes' tasks may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often the log says how far the Pods are, while there is news.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);
/// The index of Pods by their Node.
const BY_NODE: &str = "node";
/// Simulated nodes of one process: each costs a lease renewal every ten seconds.
pub const NODES_MAX: u32 = 20_000;

/// What to simulate.
#[derive(Clone)]
pub struct SimOptions {
    /// How many nodes; more than [`NODES_MAX`] are cut to it.
    pub nodes: u32,
    /// Nodes are called `<prefix>-00000` and so on.
    pub name_prefix: String,
    /// The same seed gives the same latencies.
    pub seed: u64,
    pub latencies: Latencies,
    pub kind: NodeKind,
    pub clock: Arc<dyn Clock>,
}

/// What a simulated node is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    Hollow,
    /// The node agent itself on the fake runtime; each keeps its files in a folder of its own under this one.
    Agent {
        root_dir: PathBuf,
    },
}

impl Default for SimOptions {
    fn default() -> Self {
        SimOptions {
            nodes: 10,
            name_prefix: "hollow".to_owned(),
            seed: 1,
            latencies: Latencies::default(),
            kind: NodeKind::Hollow,
            clock: SystemClock::shared(),
        }
    }
}

/// Runs the nodes until shutdown and returns what was seen of their Pods. The Node objects stay.
pub async fn run(client: Client, options: SimOptions, shutdown: Shutdown) -> Report {
    let tasks = Tasks::new(shutdown.child());
    let observed = Cache::<Pod>::builder(Api::all(client.clone()))
        .index(BY_NODE, |pod| api::pod::node_name(pod).map(str::to_owned).into_iter().collect())
        .clock(options.clock.clone())
        .start(&tasks);
    // Before the first Pod can come.
    let mut changes = observed.subscribe();
    start_nodes(&client, &options, &observed, &tasks).await;
    let mut observer = Observer::new(&options.name_prefix);
    let mut told = Report::default();
    loop {
        tokio::select! {
            // Changes stay in their inbox; the observer's memory is in its struct.
            () = shutdown.cancelled() => break,
            change = changes.next() => observer.see(&change, options.clock.now()),
            () = options.clock.sleep(PROGRESS_PERIOD) => {
                let report = observer.report();
                if report != told {
                    tracing::info!("{report}");
                    told = report;
                }
            }
        }
    }
    // Late tasks are named in the log by `Tasks`.
    let _ = tasks.shutdown(STOP_PATIENCE).await;
    observer.report()
}

async fn start_nodes(client: &Client, options: &SimOptions, observed: &Cache<Pod>, tasks: &Tasks) {
    let nodes = options.nodes.min(NODES_MAX);
    let (seed, latencies, name_prefix) = (options.seed, options.latencies, options.name_prefix.clone());
    let NodeKind::Agent { root_dir } = &options.kind else {
        let (client, clock) = (client.clone(), Arc::clone(&options.clock));
        return Fleet { nodes, name_prefix, seed, latencies, client, clock }.start(observed.clone(), tasks);
    };
    for number in 0..nodes {
        let name = format!("{name_prefix}-{number:05}");
        let (client, clock, root_dir) = (client.clone(), Arc::clone(&options.clock), root_dir.join(&name));
        let node = AgentNode { name, number, seed, latencies, client, clock, root_dir };
        if let Err(error) = node.start(tasks).await {
            tracing::error!(number, error = %error, "a node does not start");
        }
    }
}
