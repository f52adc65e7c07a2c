//! Memory and idle CPU of the whole `everynode up`, with no Pod and with thirty.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use crate::instance::Instance;

const PODS: usize = 30;
const IDLE_SECONDS: u64 = 20;
const SETTLE_SECONDS: u64 = 5;
const DEADLINE_SECONDS: u64 = 120;

pub async fn run() -> Result<()> {
    let up = Instance::start("up")?;
    up.load("busybox")?;
    report(&up, 0).await?;
    for number in 0..PODS {
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: idle-{number}}}\nspec:\n  hostNetwork: true\n  \
             terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    \
             image: everynode.local/busybox:1.35\n    command: [sleep, \"100000\"]\n"
        );
        let draft = up.manifests().join(format!(".idle-{number}"));
        std::fs::write(&draft, manifest)?;
        std::fs::rename(&draft, up.manifests().join(format!("idle-{number}.yaml")))?;
    }
    let started = Instant::now();
    let pods: Api<Pod> = Api::default_namespaced(up.client().await?);
    loop {
        let list = pods.list(&ListParams::default()).await?;
        let running = list
            .items
            .iter()
            .filter(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running"));
        let running = running.count();
        if running == PODS {
            break;
        }
        if started.elapsed() > Duration::from_secs(DEADLINE_SECONDS) {
            bail!("{running} of {PODS} Pods run");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{PODS} static Pods at once, all Running     {:>8.2} s", started.elapsed().as_secs_f64());
    report(&up, PODS).await
}

async fn report(up: &Instance, pods: usize) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(SETTLE_SECONDS)).await;
    let before = up.cpu_seconds()?;
    tokio::time::sleep(Duration::from_secs(IDLE_SECONDS)).await;
    let share = (up.cpu_seconds()? - before) / IDLE_SECONDS as f64 * 100.0;
    let rss = up.rss_mebibytes()?;
    println!(
        "everynode up with {pods:>2} Pods               {rss:>8.1} MiB RSS (aim 60), idle CPU {share:.2} % of a core"
    );
    Ok(())
}
