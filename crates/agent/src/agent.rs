//! The agent as a whole: puts the parts together and starts their tasks.
//!
//! Invariant: nothing that happens to this process ends a container. Stopping means that the tasks end; what runs
//! in the runtime goes on and is adopted by the next start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use process::Tasks;
use tokio::sync::watch;

use crate::config::Config;

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
}

/// A running node agent. Dropping it stops nothing: its tasks end with the shutdown of the [`Tasks`] it was given.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

struct Shared {
    node_name: String,
    http_addr: Option<SocketAddr>,
    ready: watch::Receiver<bool>,
}

impl Agent {
    /// Starts all tasks and returns; [`ready`](Agent::ready) tells when the node takes Pods.
    pub async fn start(config: Config, tasks: &Tasks) -> Result<Agent, StartError> {
        if !config.root_dir.is_absolute() {
            return Err(StartError::RelativeRootDir { path: config.root_dir });
        }
        tokio::fs::create_dir_all(&config.root_dir)
            .await
            .map_err(|source| StartError::RootDir { path: config.root_dir.clone(), source })?;
        let (told, ready) = watch::channel(false);
        let shutdown = tasks.shutdown_signal().clone();
        tasks.spawn("agent", async move {
            told.send_replace(true);
            shutdown.cancelled().await;
        });
        Ok(Agent { shared: Arc::new(Shared { node_name: config.node_name, http_addr: None, ready }) })
    }

    /// Resolves when the runtime answers, every source was read once, and the node is registered (if there is an
    /// API server). `false`: the agent stopped before that.
    pub async fn ready(&self) -> bool {
        self.shared.ready.clone().wait_for(|ready| *ready).await.is_ok()
    }

    pub fn node_name(&self) -> &str {
        &self.shared.node_name
    }

    /// Where the HTTPS API listens.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.shared.http_addr
    }
}
