//! API creates: how many a second, what CPU one costs the server, beside the same bytes through the store alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use store::{Change, Expect, Store, Write};

use crate::instance::{Instance, cpu_seconds_of};

const CREATES: usize = 5_000;
const CONCURRENCY: usize = 32;
/// With its metadata about 2 KiB of JSON.
const PADDING_BYTES: usize = 900;

pub async fn run() -> Result<()> {
    let server = Instance::start("server")?;
    let client = server.client().await?;
    let next = Arc::new(AtomicUsize::new(0));
    let (cpu_before, started) = (server.cpu_seconds()?, Instant::now());
    let workers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (client, next) = (client.clone(), next.clone());
            tokio::spawn(async move {
                let pods: Api<Pod> = Api::default_namespaced(client);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CREATES {
                        return anyhow::Ok(());
                    }
                    pods.create(&PostParams::default(), &pod(number)?).await?;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), server.cpu_seconds()? - cpu_before);
    let per_create_us = cpu * 1e6 / CREATES as f64;
    println!(
        "API creates of a 2 KiB Pod             {:>8.0} a second   {per_create_us:.0} us server CPU each (fsync, TLS, concurrency {CONCURRENCY})",
        CREATES as f64 / wall
    );
    println!("  RSS of the server with {CREATES} Pods     {:>8.1} MiB", server.rss_mebibytes()?);
    drop(server);

    let folder = tempfile::tempdir()?;
    let store: Arc<dyn Store> = Arc::new(store::embedded::EmbeddedStore::open(folder.path())?);
    let value = Bytes::from(serde_json::to_vec(&pod(0)?)?);
    let next = Arc::new(AtomicUsize::new(0));
    let (cpu_before, started) = (cpu_seconds_of(std::process::id())?, Instant::now());
    let writers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (store, next, value) = (store.clone(), next.clone(), value.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CREATES {
                        return anyhow::Ok(());
                    }
                    let key = format!("/bench/pods/p{number}");
                    store
                        .write(Write { key, expect: Expect::Absent, change: Change::Put(value.clone()) })
                        .await?;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds_of(std::process::id())? - cpu_before);
    let floor_us = cpu * 1e6 / CREATES as f64;
    println!(
        "  floor: {} bytes into the store alone {:>6.0} a second   {floor_us:.0} us CPU each   ratio {:.1}",
        value.len(),
        CREATES as f64 / wall,
        per_create_us / floor_us
    );
    Ok(())
}

/// A Pod as a daemon has it; without a node, and for a scheduler that does not exist, so that nothing acts on it.
fn pod(number: usize) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": format!("p{number}"),
            "labels": {"app": "bench", "controller-revision-hash": "6b7c9d5f4d", "pod-template-generation": "1"},
            "annotations": {"bench/padding": "x".repeat(PADDING_BYTES)},
        },
        "spec": {
            "schedulerName": "nobody",
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
