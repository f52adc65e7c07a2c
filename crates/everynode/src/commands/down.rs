//! `everynode down`: ends the processes of a data folder, then its Pods, runtime, mounts and network.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::DownArgs;
use crate::commands::run::holders;
use crate::paths::DataDir;
use crate::wiring::{network, node};

/// Longer than an orderly stop takes.
const TERM_SECONDS: u64 = 15;
const LOOK_AGAIN_MS: u64 = 20;

pub async fn run(args: DownArgs) -> Result<()> {
    let Ok(data) = DataDir::existing(&args.data.data_dir) else {
        eprintln!("nothing at {}", args.data.data_dir.display());
        return Ok(());
    };
    // Somebody's home folder is not ours to remove.
    if !data.is_ours() && std::fs::read_dir(data.root())?.next().is_some() {
        bail!("{} is not a data folder of everynode", data.root().display());
    }
    for pid in holders(&data) {
        eprintln!("ending process {pid}");
        end(pid).await?;
    }
    eprintln!("removing Pods, runtime and network");
    node::teardown(&data).await?;
    network::release(&data.agent());
    if args.purge {
        remove(data.root())?;
    }
    Ok(())
}

async fn end(pid: i32) -> Result<()> {
    let Some(id) = Pid::from_raw(pid) else { return Ok(()) };
    let deadline = Instant::now() + Duration::from_secs(TERM_SECONDS);
    // It may be gone already, which is what is wanted.
    let _ = kill_process(id, Signal::TERM);
    while alive(pid) {
        if Instant::now() > deadline {
            let _ = kill_process(id, Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
    }
    Ok(())
}

/// A zombie has ended; its parent just has not looked.
fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z")
}

fn remove(root: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    let prefix = format!("{}/", root.display());
    let left: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|mount| mount.starts_with(&prefix) || Path::new(mount) == root)
        .collect();
    // Removing through a mount would remove what is mounted.
    if !left.is_empty() {
        bail!("still mounted: {}; unmount and run this again", left.join(", "));
    }
    std::fs::remove_dir_all(root).with_context(|| format!("remove {}", root.display()))
}
