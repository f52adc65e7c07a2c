//! A DaemonSet on fleets of hollow nodes: `everynode server` and `everynode sim` as two processes.
//!
//! CPU and memory are the server's alone, with its controllers and scheduler; seconds are of a client that watches the
//! DaemonSet's status, and share the machine with the nodes.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::instance::{Instance, binary};

const FLEETS: [u32; 3] = [1_000, 2_000, 5_000];
/// Short, so that the control plane is what is measured.
const START_MILLIS: &str = "20-200";
const STOP_MILLIS: &str = "10-50";
const DEADLINE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);
/// Between lists of all nodes, which are dear to the server that is to be measured.
const LIST_PAUSE: Duration = Duration::from_millis(500);
/// A quiet fleet is watched for this long: three rounds of leases.
const STEADY_SECONDS: u64 = 30;
/// What a rollout leaves behind (events, statuses, compaction) is done by then.
const SETTLE: Duration = Duration::from_secs(10);
const NAME: &str = "bench";

struct Nodes(Child);

impl Drop for Nodes {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn run() -> Result<()> {
    println!(
        "fleets of hollow nodes (Pods start in {START_MILLIS} ms, stop in {STOP_MILLIS} ms), the server's CPU and memory"
    );
    for nodes in FLEETS {
        fleet(nodes).await?;
    }
    Ok(())
}

async fn fleet(nodes: u32) -> Result<()> {
    let server = Instance::start("server")?;
    let client = server.client().await?;
    let log = std::fs::File::create(server.folder.path().join("sim.log"))?;
    let _nodes = Nodes(
        Command::new(binary())
            .args(["sim", "--nodes", &nodes.to_string()])
            .args(["--start-latency", START_MILLIS, "--stop-latency", STOP_MILLIS, "--kubeconfig"])
            .arg(server.data().join("admin.kubeconfig"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?,
    );
    all_registered(&Api::all(client.clone()), nodes).await?;
    tokio::time::sleep(SETTLE).await;

    let sets: Api<DaemonSet> = Api::default_namespaced(client);
    let measured = measure(&server, nodes, &sets, async {
        sets.create(&PostParams::default(), &serde_json::from_value(daemon_set())?).await?;
        Ok(())
    });
    say(nodes, "first rollout", 1.5, measured.await?, &server)?;
    tokio::time::sleep(SETTLE).await;

    let measured = measure(&server, nodes, &sets, async {
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"bench": "second"}}}}});
        sets.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    });
    say(nodes, "update, 10 % at a time", 3.0, measured.await?, &server)?;

    if nodes == FLEETS[FLEETS.len() - 1] {
        tokio::time::sleep(SETTLE).await;
        let before = server.cpu_seconds()?;
        tokio::time::sleep(Duration::from_secs(STEADY_SECONDS)).await;
        let share = (server.cpu_seconds()? - before) / STEADY_SECONDS as f64 * 100.0;
        println!("  {nodes} nodes, steady                {share:>7.2} % of a core (aim 5)");
    }
    Ok(())
}

async fn all_registered(nodes: &Api<Node>, wanted: u32) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    loop {
        let list = nodes.list_metadata(&ListParams::default()).await?;
        if list.items.len() >= wanted as usize {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("{} of {wanted} nodes have registered", list.items.len());
        }
        tokio::time::sleep(LIST_PAUSE).await;
    }
}

/// Seconds until every node has an available Pod of the present template, and the server's CPU seconds meanwhile.
async fn measure(
    server: &Instance,
    nodes: u32,
    sets: &Api<DaemonSet>,
    change: impl Future<Output = Result<()>>,
) -> Result<(f64, f64)> {
    let (before, started) = (server.cpu_seconds()?, Instant::now());
    change.await?;
    loop {
        let set = sets.get(NAME).await?;
        let status = set.status.context("no status")?;
        let done = status.observed_generation == set.metadata.generation
            && [
                status.updated_number_scheduled,
                status.number_available,
                Some(status.desired_number_scheduled),
            ]
            .iter()
            .all(|count| count.and_then(|count| u32::try_from(count).ok()) == Some(nodes));
        if done {
            return Ok((started.elapsed().as_secs_f64(), server.cpu_seconds()? - before));
        }
        if started.elapsed() > DEADLINE {
            bail!("after {DEADLINE:?}: {}", serde_json::to_string(&status)?);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn say(nodes: u32, what: &str, aim: f64, (seconds, cpu): (f64, f64), server: &Instance) -> Result<()> {
    println!(
        "  {nodes} nodes, {what:<24} {seconds:>6.1} s, {:>5.2} ms CPU a Pod (aim {aim}), {:>6.1} MiB RSS",
        cpu * 1e3 / f64::from(nodes),
        server.rss_mebibytes()?
    );
    Ok(())
}

fn daemon_set() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME},
        "spec": {
            "selector": {"matchLabels": {"app": NAME}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {
                    "containers": [{
                        "name": "main",
                        "image": "registry.local/daemon:1.2.3",
                        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                        "volumeMounts": [{"name": "varlog", "mountPath": "/var/log"}],
                    }],
                    "volumes": [{"name": "varlog", "hostPath": {"path": "/var/log"}}],
                },
            },
        },
    })
}
