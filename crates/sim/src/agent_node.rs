//! A simulated node that is the real node agent on the fake container runtime.
//!
//! The agent's own code runs, from the watch on its Pods to their status: only containers, images and networks are
//! pretended. Its HTTPS API is not served, so logs and exec do not work.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use agent::{Agent, Config, RuntimeChoice, StartError};
use cri::fake::FakeRuntime;
use cri::{Operation, Runtime};
use kube::Client;
use process::{Clock, Tasks};

use crate::hollow::host_ip;
use crate::latency::{Latencies, Step};

pub struct AgentNode {
    pub name: String,
    pub number: u32,
    pub seed: u64,
    pub latencies: Latencies,
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    /// Absolute; this node's own.
    pub root_dir: PathBuf,
}

impl AgentNode {
    /// Starts the agent's tasks.
    pub async fn start(self, tasks: &Tasks) -> Result<Agent, StartError> {
        let runtime = FakeRuntime::new(Arc::clone(&self.clock));
        let latency = |step| self.latencies.of(step, self.seed, &self.name, "");
        runtime.set_latency(Operation::RunSandbox, latency(Step::Start));
        runtime.set_latency(Operation::StopSandbox, latency(Step::Stop));
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let config = Config {
            runtime: RuntimeChoice::Given(runtime),
            client: Some(self.client),
            node_ip: Some(IpAddr::from(host_ip(self.number))),
            log_root: self.root_dir.join("logs"),
            clock: self.clock,
            ..Config::new(self.name, self.root_dir)
        };
        Agent::start(config, tasks).await
    }
}
