//! `everynode status`: DaemonSets and Pods in a few lines, once, until ready, or live.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::Serialize;

use crate::cli::{Output, StatusArgs};
use crate::exit::Failure;

/// How often --wait and --watch look again.
const LOOK_AGAIN_MS: u64 = 300;

#[derive(Debug, Serialize)]
struct Picture {
    daemon_sets: Vec<DaemonSetLine>,
    pods: Vec<PodLine>,
}

#[derive(Debug, Serialize)]
struct DaemonSetLine {
    namespace: String,
    name: String,
    desired: i32,
    ready: i32,
    updated: i32,
    /// The controller has seen the newest edit and every wanted Pod is ready.
    complete: bool,
}

#[derive(Debug, Serialize)]
struct PodLine {
    namespace: String,
    name: String,
    node: String,
    ready: bool,
    phase: String,
    /// Why it is not ready, where a container says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub async fn run(args: StatusArgs) -> Result<()> {
    let kubeconfig = super::kubeconfig_of(args.kubeconfig.as_deref(), &args.data);
    let client = super::client_of(&kubeconfig).await?;
    if args.wait {
        return wait(&client, args.timeout).await;
    }
    if args.watch {
        return watch(&client).await;
    }
    let picture = look(&client).await?;
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&picture)?),
        Output::Text => print!("{}", picture.text()),
    }
    Ok(())
}

async fn look(client: &kube::Client) -> Result<Picture> {
    let sets = Api::<DaemonSet>::all(client.clone())
        .list(&ListParams::default())
        .await
        .context("list DaemonSets")?;
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await.context("list Pods")?;
    Ok(Picture {
        daemon_sets: sets.items.iter().map(daemon_set_line).collect(),
        pods: pods.items.iter().map(pod_line).collect(),
    })
}

fn daemon_set_line(set: &DaemonSet) -> DaemonSetLine {
    let status = set.status.clone().unwrap_or_default();
    let observed = status.observed_generation.unwrap_or(0) >= set.metadata.generation.unwrap_or(0);
    let desired = status.desired_number_scheduled;
    DaemonSetLine {
        namespace: set.namespace().unwrap_or_default(),
        name: set.name_any(),
        desired,
        ready: status.number_ready,
        updated: status.updated_number_scheduled.unwrap_or(0),
        complete: observed && status.number_ready >= desired,
    }
}

fn pod_line(pod: &Pod) -> PodLine {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    let waiting = status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone())
        .next();
    let unscheduled =
        condition("PodScheduled").filter(|c| c.status == "False").and_then(|c| c.message.clone());
    let phase = status.phase.clone().unwrap_or_else(|| "Pending".to_owned());
    let ready = phase == "Succeeded" || condition("Ready").is_some_and(|c| c.status == "True");
    PodLine {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        ready,
        phase,
        reason: if ready { None } else { status.reason.or(unscheduled).or(waiting) },
    }
}

impl Picture {
    fn complete(&self) -> bool {
        self.daemon_sets.iter().all(|set| set.complete) && self.pods.iter().all(|pod| pod.ready)
    }

    /// `3 of 4 DaemonSets, 5 of 6 Pods ready; waiting for default/fluentd-x (ContainerCreating)`
    fn line(&self) -> String {
        let sets = self.daemon_sets.iter().filter(|set| set.complete).count();
        let pods = self.pods.iter().filter(|pod| pod.ready).count();
        let mut line = format!(
            "{sets} of {} DaemonSets, {pods} of {} Pods ready",
            self.daemon_sets.len(),
            self.pods.len()
        );
        if let Some(pod) = self.pods.iter().find(|pod| !pod.ready) {
            let reason = pod.reason.as_deref().unwrap_or(&pod.phase);
            line.push_str(&format!("; waiting for {}/{} ({reason})", pod.namespace, pod.name));
        }
        line
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.line());
        for set in &self.daemon_sets {
            text.push_str(&format!(
                "daemonset {}/{}  desired={} ready={} updated={}\n",
                set.namespace, set.name, set.desired, set.ready, set.updated
            ));
        }
        for pod in &self.pods {
            let state = if pod.ready { "ready" } else { pod.reason.as_deref().unwrap_or(&pod.phase) };
            text.push_str(&format!("pod {}/{}  {}  {state}\n", pod.namespace, pod.name, pod.node));
        }
        text
    }
}

/// One line that is overwritten where a person looks, and a line a change elsewhere.
struct LiveLine {
    terminal: bool,
    last: String,
}

impl LiveLine {
    fn new() -> LiveLine {
        LiveLine { terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    fn show(&mut self, line: String) {
        if line == self.last {
            return;
        }
        let mut out = std::io::stderr().lock();
        // A terminal that went away is no reason to stop.
        let _ = if self.terminal { write!(out, "\r\x1b[2K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
        self.last = line;
    }

    fn end(&self) {
        if self.terminal {
            eprintln!();
        }
    }
}

async fn wait(client: &kube::Client, timeout: Duration) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let mut line = LiveLine::new();
    // Twice in a row, so that a DaemonSet whose Pods are about to be made does not count as done.
    let mut complete_before = false;
    loop {
        let picture = look(client).await?;
        line.show(picture.line());
        let complete = picture.complete();
        if complete && complete_before {
            line.end();
            return Ok(());
        }
        complete_before = complete;
        if Instant::now() > deadline {
            line.end();
            let text = format!("not all is ready after {} s:\n{}", timeout.as_secs(), picture.text());
            return Err(Failure::Deadline(text).into());
        }
        tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
    }
}

async fn watch(client: &kube::Client) -> Result<()> {
    let mut line = LiveLine::new();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        match look(client).await {
            Ok(picture) => line.show(picture.line()),
            Err(error) => line.show(format!("{error:#}")),
        }
        tokio::select! {
            // Dropping the signal's future loses nothing: the loop ends.
            _ = &mut interrupted => break,
            () = tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS * 3)) => {}
        }
    }
    line.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_set_whose_edit_was_not_seen_yet_is_not_complete() {
        let mut set = DaemonSet::default();
        set.metadata.generation = Some(2);
        let status = k8s_openapi::api::apps::v1::DaemonSetStatus {
            observed_generation: Some(1),
            desired_number_scheduled: 1,
            number_ready: 1,
            ..Default::default()
        };
        set.status = Some(status);
        assert!(!daemon_set_line(&set).complete);
        set.metadata.generation = Some(1);
        assert!(daemon_set_line(&set).complete);
    }

    #[test]
    fn the_line_names_what_it_waits_for_and_why() {
        let pod = PodLine {
            namespace: "default".into(),
            name: "a".into(),
            node: "n".into(),
            ready: false,
            phase: "Pending".into(),
            reason: Some("ErrImagePull".into()),
        };
        let picture = Picture { daemon_sets: Vec::new(), pods: vec![pod] };
        assert_eq!(
            picture.line(),
            "0 of 0 DaemonSets, 0 of 1 Pods ready; waiting for default/a (ErrImagePull)"
        );
    }
}
