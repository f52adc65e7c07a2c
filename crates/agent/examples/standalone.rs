//! A node agent alone: static Pods from a folder on its own containerd. For looking at it by hand.
//!
//! `standalone ROOT MANIFESTS [LOG_ROOT]` runs until Ctrl-C; containers go on.
//! `standalone ROOT down` removes everything.

use std::path::PathBuf;
use std::time::Duration;

use agent::{Agent, Config};
use process::{Shutdown, Tasks};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    process::logging::init(process::logging::Format::Human, "agent=debug,info")?;
    let words: Vec<String> = std::env::args().collect();
    let [_, root, manifests, rest @ ..] = words.as_slice() else {
        return Err("usage: standalone ROOT MANIFESTS|down [LOG_ROOT]".into());
    };
    let log_root = rest.first().map_or_else(|| PathBuf::from(root).join("logs/pods"), PathBuf::from);
    if manifests == "down" {
        return Ok(agent::teardown(&PathBuf::from(root), &log_root).await?);
    }
    let mut config = Config::new("n1", root);
    config.manifest = Some(PathBuf::from(manifests));
    config.log_root = log_root;
    if let Ok(endpoint) = std::env::var("ENDPOINT") {
        config.runtime = agent::RuntimeChoice::Socket(endpoint);
    }
    let tasks = Tasks::new(Shutdown::new());
    let agent = Agent::start(config, &tasks).await?;
    if agent.ready().await {
        println!("ready");
    }
    tokio::signal::ctrl_c().await?;
    println!("late: {:?}", tasks.shutdown(Duration::from_secs(15)).await);
    Ok(())
}
