//! The API server alone: CPU of its process per operation, memory per object and per watch, beside the floor.
//!
//! CPU time and not wall time, because the machines are noisy: the client shares the cores. The server runs without
//! controllers and scheduler, so that what is counted is the API; its store syncs every commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use store::{Change, Expect, Store, Write};

use crate::instance::{Instance, cpu_seconds_of};
use crate::wire::{self, Door};

const CONCURRENCY: usize = 32;
/// With its metadata and defaults about 2 KiB of JSON.
const PADDING_BYTES: usize = 700;
/// Operations that one figure is the mean of.
const OPERATIONS: usize = 5_000;
const LISTS: usize = 20;
const LISTED: usize = 10_000;
const WATCHERS: [usize; 2] = [10, 10_000];
/// Half of what the server lets one connection have at once.
const WATCHES_A_CONNECTION: usize = 100;
const CHANGES: usize = 3_000;
const DEADLINE_SECONDS: u64 = 120;

const PODS: &str = "/api/v1/namespaces/default/pods";

struct Bench {
    server: Instance,
    door: Door,
    stored: usize,
}

pub async fn run(largest: usize) -> Result<()> {
    let server = Instance::start_with("server", &["--controllers=", "--scheduler=off"])?;
    let door = Door::new(&server.config().await?)?;
    let mut bench = Bench { server, door, stored: 0 };
    println!(
        "the API server alone (fsync, TLS, concurrency {CONCURRENCY}), CPU of its process per operation"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = bench.server.rss_mebibytes()?;
    println!("  idle                                 {idle:>8.1} MiB RSS (aim 40)");
    bench.fill(1_000).await?;
    bench.operations().await?;
    bench.fill(LISTED).await?;
    bench.settle().await;
    let full = bench.server.rss_mebibytes()?;
    println!(
        "  memory per stored 2 KiB object       {:>8.1} KiB (aim 6; {LISTED} objects)",
        (full - idle) * 1024.0 / bench.stored as f64
    );
    bench.lists().await?;
    bench.operations().await?;
    bench.watches().await?;
    if largest > LISTED {
        bench.fill(largest).await?;
        bench.operations().await?;
    }
    drop(bench);
    floor().await
}

impl Bench {
    /// Mean microseconds of server CPU for each of `count` operations.
    async fn per_operation(
        &self,
        count: usize,
        work: impl Future<Output = Result<()>>,
    ) -> Result<(f64, f64)> {
        let (before, started) = (self.server.cpu_seconds()?, Instant::now());
        work.await?;
        let cpu = self.server.cpu_seconds()? - before;
        Ok((cpu * 1e6 / count as f64, count as f64 / started.elapsed().as_secs_f64()))
    }

    async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    async fn fill(&mut self, total: usize) -> Result<()> {
        let (first, count) = (self.stored, total - self.stored);
        let create = wire::storm(&self.door, CONCURRENCY, first, count, |n| wire::post(PODS, pod(n)?));
        let (cpu, rate) = self.per_operation(count, create).await?;
        println!("  create, {first:>6} to {total:>6} objects    {cpu:>8.1} us (aim 120), {rate:.0} a second");
        self.stored = total;
        Ok(())
    }

    async fn operations(&self) -> Result<()> {
        let stored = self.stored;
        let read = move |n: usize| wire::get(&format!("{PODS}/p{}", n * 7 % stored));
        let reads = wire::storm(&self.door, CONCURRENCY, 0, 2 * OPERATIONS, read);
        let (cpu, rate) = self.per_operation(2 * OPERATIONS, reads).await?;
        println!("  get, {stored:>6} objects                 {cpu:>8.1} us (aim 25), {rate:.0} a second");
        let patch =
            move |n: usize| wire::merge_patch(&format!("{PODS}/p{}/status", n * 7 % stored), status(n)?);
        let patches = wire::storm(&self.door, CONCURRENCY, 0, OPERATIONS, patch);
        let (cpu, rate) = self.per_operation(OPERATIONS, patches).await?;
        println!("  patch status, {stored:>6} objects        {cpu:>8.1} us (aim 100), {rate:.0} a second");
        Ok(())
    }

    async fn lists(&self) -> Result<()> {
        let lists = wire::storm(&self.door, 1, 0, LISTS, |_| wire::get(PODS));
        let (cpu, _) = self.per_operation(LISTS, lists).await?;
        println!("  list of {LISTED} Pods                   {:>8.1} ms (aim 40)", cpu / 1e3);
        Ok(())
    }

    /// What a change costs with few and with many watchers open, each on its own node.
    async fn watches(&self) -> Result<()> {
        let mut costs = Vec::new();
        for watchers in WATCHERS {
            self.settle().await;
            let before = self.server.rss_mebibytes()?;
            let seen = Arc::new(AtomicUsize::new(0));
            let mut watching = tokio::task::JoinSet::new();
            let mut left = watchers;
            while left > 0 {
                let connection = self.door.many().await?;
                for number in left.saturating_sub(WATCHES_A_CONNECTION)..left {
                    let path = format!(
                        "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds=3000&fieldSelector=spec.nodeName%3Dn{number}"
                    );
                    let body = connection.clone().open(wire::get(&path)?).await?;
                    watching.spawn(follow(body, Arc::clone(&seen)));
                }
                left = left.saturating_sub(WATCHES_A_CONNECTION);
            }
            self.settle().await;
            let idle = (self.server.rss_mebibytes()? - before) * 1024.0 / watchers as f64;
            let told = seen.load(Ordering::Relaxed);
            let patch = move |n: usize| {
                wire::merge_patch(&format!("{PODS}/p{}/status", n % watchers), status(n + watchers)?)
            };
            // No more at once than there are Pods, or they would be in each other's way.
            let at_once = CONCURRENCY.min(watchers / 2);
            let changes = wire::storm(&self.door, at_once, 0, CHANGES, patch);
            let (cpu, _) = self.per_operation(CHANGES, changes).await?;
            let end = Instant::now() + Duration::from_secs(DEADLINE_SECONDS);
            while seen.load(Ordering::Relaxed) < told + CHANGES {
                if Instant::now() > end {
                    bail!("{} of {CHANGES} changes were seen", seen.load(Ordering::Relaxed) - told);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            println!("  change of a Pod, {watchers:>6} watchers      {cpu:>8.1} us");
            if watchers >= LISTED {
                println!("  memory per idle watch                {idle:>8.1} KiB (aim 20)");
            }
            costs.push(cpu);
        }
        println!(
            "  change with {} watchers more than with {} {:>5.1} us (aim 40)",
            WATCHERS[1],
            WATCHERS[0],
            costs[1] - costs[0]
        );
        Ok(())
    }
}

/// Counts the events of one watch.
async fn follow(mut body: Incoming, seen: Arc<AtomicUsize>) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            let lines = data.iter().filter(|byte| **byte == b'\n').count();
            seen.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// The same bytes through the store alone.
async fn floor() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store: Arc<dyn Store> = Arc::new(store::embedded::EmbeddedStore::open(folder.path())?);
    let value = Bytes::from(pod(0)?);
    let next = Arc::new(AtomicUsize::new(0));
    let (before, started) = (cpu_seconds_of(std::process::id())?, Instant::now());
    let writers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (store, next, value) = (store.clone(), next.clone(), value.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= OPERATIONS {
                        return anyhow::Ok(());
                    }
                    let key = format!("/bench/pods/p{number}");
                    let change = Change::Put(value.clone());
                    store.write(Write { key, expect: Expect::Absent, change }).await?;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let cpu = cpu_seconds_of(std::process::id())? - before;
    println!(
        "  floor: {} bytes into the store alone {:>7.1} us, {:.0} a second",
        value.len(),
        cpu * 1e6 / OPERATIONS as f64,
        OPERATIONS as f64 / started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// A Pod as a daemon has it, bound to a node of its own.
fn pod(number: usize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("p{number}"),
            "labels": {"app": "bench", "controller-revision-hash": "6b7c9d5f4d", "pod-template-generation": "1"},
            "annotations": {"bench/padding": "x".repeat(PADDING_BYTES)},
        },
        "spec": {
            "nodeName": format!("n{number}"),
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main",
                "image": "registry.local/daemon:1.2.3",
                "args": ["--config=/etc/daemon/config.yaml", "--log-level=info"],
                "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
                "volumeMounts": [{"name": "varlog", "mountPath": "/var/log"}],
            }],
            "volumes": [{"name": "varlog", "hostPath": {"path": "/var/log"}}],
            "tolerations": [{"operator": "Exists"}],
        },
    }))?)
}

/// A status that differs from the one before.
fn status(number: usize) -> Result<Vec<u8>> {
    let time = jiff::Timestamp::from_second(1_800_000_000 + i64::try_from(number)?)?;
    Ok(serde_json::to_vec(&json!({"status": {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": time.to_string()},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": time.to_string()},
        ],
        "podIP": "10.0.0.1",
        "startTime": time.to_string(),
    }}))?)
}
