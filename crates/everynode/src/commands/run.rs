//! `everynode up`, `server`, `agent`: processes that go on until they are told to stop.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use process::{Metrics, Shutdown, Tasks, logging};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{AgentArgs, DataArgs, DetachArgs, LogArgs, LogFormat, ServerArgs, UpArgs};
use crate::commands::detach;
use crate::paths::DataDir;
use crate::wiring::hold::{self, Hold};
use crate::wiring::{node, server};

/// Two threads: one machine's control plane is small, and each thread has its cost in memory.
const THREADS: usize = 2;

/// How long tasks have to end after SIGTERM; no container depends on it.
const STOP_SECONDS: u64 = 10;

pub fn up(args: UpArgs) -> Result<()> {
    let data = DataDir::open(&args.data.data_dir)?;
    foreground(&args.data, &args.detach, &args.log, async |tasks: Tasks| {
        let hold = Hold::take(&data.pid())?;
        let metrics = Metrics::new();
        let node_name = node::name(args.node.node_name.as_deref())?;
        let served =
            server::start(&data, &args.serve, &node_name, &args.node.node_ip, &metrics, &tasks).await?;
        let wiring = node::Wiring::beside(&served, &data, &args.node, node_name, metrics)?;
        let agent = node::start(wiring, &tasks).await?;
        served.write_kubeconfigs(&data)?;
        hold.announce()?;
        node::until_ready(&agent, Some(served.admin_client())).await?;
        Ok((
            hold,
            format!(
                "node {} on https://{}, {}",
                agent.node_name(),
                served.address(),
                data.admin_kubeconfig().display()
            ),
        ))
    })
}

pub fn server(args: ServerArgs) -> Result<()> {
    let data = DataDir::open(&args.data.data_dir)?;
    foreground(&args.data, &args.detach, &args.log, async |tasks: Tasks| {
        let hold = Hold::take(&data.pid())?;
        let node_name = node::name(args.node_name.as_deref())?;
        let served = server::start(&data, &args.serve, &node_name, &None, &Metrics::new(), &tasks).await?;
        served.write_kubeconfigs(&data)?;
        hold.announce()?;
        Ok((hold, format!("https://{}, {}", served.address(), data.admin_kubeconfig().display())))
    })
}

pub fn agent(args: AgentArgs) -> Result<()> {
    let data = DataDir::open(&args.data.data_dir)?;
    foreground(&args.data, &args.detach, &args.log, async |tasks: Tasks| {
        let hold = Hold::take(&data.agent_pid())?;
        let node_name = node::name(args.node.node_name.as_deref())?;
        let wiring = node::Wiring::joined(&data, &args, node_name, Metrics::new()).await?;
        let alone = wiring.is_alone();
        let agent = node::start(wiring, &tasks).await?;
        hold.announce()?;
        let what = if alone {
            node::until_ready(&agent, None).await?;
            "static Pods only"
        } else if node::is_soon_ready(&agent).await {
            "joined"
        } else {
            // A machine that boots while the server is away runs what it ran.
            "joined; the API server does not answer yet"
        };
        Ok((hold, format!("node {} ({what})", agent.node_name())))
    })
}

/// Runs a process: background half or not, logging, ready line, signals, orderly end.
fn foreground<F, R>(data: &DataArgs, detach_args: &DetachArgs, log: &LogArgs, start: F) -> Result<()>
where
    F: FnOnce(Tasks) -> R,
    R: Future<Output = Result<(Hold, String)>>,
{
    if detach_args.detach {
        return detach::start(&DataDir::open(&data.data_dir)?);
    }
    if detach_args.detached {
        detach::leave_session()?;
    }
    until_told_to_stop(log, start)
}

/// The same without a background half. What `start` hands back with the ready line is held to the end.
pub(super) fn until_told_to_stop<F, R, H>(log: &LogArgs, start: F) -> Result<()>
where
    F: FnOnce(Tasks) -> R,
    R: Future<Output = Result<(H, String)>>,
{
    let format = match log.log_format {
        LogFormat::Text => logging::Format::Human,
        LogFormat::Json => logging::Format::Json,
    };
    logging::init(format, &log.log)?;
    process::open_files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let tasks = Tasks::new(Shutdown::new());
        let started = tokio::select! {
            started = start(tasks.clone()) => started.map(Some),
            _ = terminate.recv() => Ok(None),
            _ = interrupt.recv() => Ok(None),
        };
        let hold = match started {
            Ok(Some((hold, what))) => {
                announce(&what)?;
                // Signals that come while we stop end the wait for late tasks.
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("stopping; containers go on");
                Some(hold)
            }
            Ok(None) => None,
            Err(error) => {
                tasks.shutdown(Duration::from_secs(1)).await;
                return Err(error);
            }
        };
        let late = tasks.shutdown(Duration::from_secs(STOP_SECONDS)).await;
        if !late.is_empty() {
            tracing::warn!(tasks = late.join(", "), "ended without waiting for these");
        }
        drop(hold);
        Ok(())
    })
}

/// The line that scripts, `--detach` and people wait for.
fn announce(what: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {what}", detach::READY).and_then(|()| out.flush()).context("say that all is ready")
}

/// Tells whether a process holds the data folder; used by `down`.
pub fn holders(data: &DataDir) -> Vec<i32> {
    [data.pid(), data.agent_pid()].iter().filter_map(|pid| hold::holder(pid)).collect()
}
