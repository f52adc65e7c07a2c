//! `everynode sim`.

use anyhow::Result;
use process::{Shutdown, logging};
use sim::latency::{Latencies, Range};

use crate::cli::SimArgs;

pub async fn run(args: SimArgs) -> Result<()> {
    let kubeconfig = super::kubeconfig_of(args.kubeconfig.as_deref(), &args.data);
    let client = super::client_of(&kubeconfig).await?;
    logging::init(logging::Format::Human, "warn")?;
    let shutdown = Shutdown::new();
    let ending = shutdown.clone();
    tokio::spawn(async move {
        // Without a handler for Ctrl-C the process ends by it, which is an end too.
        let _ = tokio::signal::ctrl_c().await;
        ending.trigger();
    });
    eprintln!(
        "{} simulated nodes, seed {}; Ctrl-C ends them and prints what they saw",
        args.nodes, args.seed
    );
    let range = |(shortest, longest)| Range::millis(shortest, longest);
    let latencies = Latencies { start: range(args.start_latency), stop: range(args.stop_latency) };
    let options =
        sim::SimOptions { nodes: args.nodes, seed: args.seed, latencies, ..sim::SimOptions::default() };
    let report = sim::run(client, options, shutdown).await;
    println!("{report}");
    Ok(())
}
