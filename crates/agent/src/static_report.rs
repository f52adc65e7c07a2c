//! What becomes of static Pods, for people: a file that `everynode static` reads, events on the Node, the metric.
//!
//! A node that stands alone has no API to ask, and its HTTPS API may be off; the file is always there. It is written
//! when something in it changed, whole or not at all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::events::Severity;
use jiff::Timestamp;
use process::Shutdown;
use serde::{Deserialize, Serialize};

use crate::context::NodeContext;
use crate::source::ledger::{FaultLine, Page, PodLine};

/// In the agent's folder.
const FILE: &str = "static-pods.json";
/// How long changes are gathered: a start makes several within milliseconds.
const GATHER_MS: u64 = 100;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticReport {
    pub node: String,
    /// One page for each source, and one for edits that wait for their images.
    pub sources: Vec<Page>,
    pub pods: Vec<PodReport>,
}

/// A static Pod that is wanted here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    #[serde(flatten)]
    pub line: PodLine,
    /// `Waiting`: another Pod of its name ends first, or it waits for its images.
    pub phase: String,
    pub ready_containers: usize,
    pub containers: usize,
    pub restarts: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl StaticReport {
    /// What the agent of this folder has written last. `None`: it never had a source of static Pods.
    pub fn read(root_dir: &Path) -> std::io::Result<Option<StaticReport>> {
        match std::fs::read(root_dir.join(FILE)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn faults(&self) -> impl Iterator<Item = &FaultLine> {
        self.sources.iter().flat_map(|page| &page.faults)
    }

    fn now(context: &NodeContext) -> StaticReport {
        let sources = context.ledger.pages();
        let pods = sources.iter().flat_map(|page| &page.pods).map(|line| {
            let status = context.board.get(&line.uid).map(|row| row.status).unwrap_or_default();
            let containers = status.container_statuses.unwrap_or_default();
            PodReport {
                line: line.clone(),
                phase: status.phase.unwrap_or_else(|| "Waiting".to_owned()),
                ready_containers: containers.iter().filter(|container| container.ready).count(),
                containers: containers.len(),
                restarts: containers.iter().map(|container| container.restart_count).sum(),
                message: status.message.unwrap_or_default(),
            }
        });
        let pods = pods.collect();
        StaticReport { node: context.node_name.clone(), sources, pods }
    }
}

/// Until the shutdown.
pub async fn run(context: Arc<NodeContext>, root_dir: PathBuf, shutdown: Shutdown) {
    let mut rows = context.board.version();
    let mut pages = context.ledger.version();
    let mut written: Option<StaticReport> = None;
    let mut told: BTreeSet<String> = BTreeSet::new();
    loop {
        let faults = context.ledger.faults();
        context.measures.manifest_faults.set(i64::try_from(faults.len()).unwrap_or(i64::MAX));
        let now: BTreeSet<String> = faults.iter().map(FaultLine::text).collect();
        for fault in now.difference(&told) {
            context.say_of_node(Severity::Warning, "StaticPodManifestFault", fault);
        }
        told = now;
        let report = StaticReport::now(&context);
        if written.as_ref() != Some(&report) {
            if let Err(error) = write(&root_dir, &report) {
                tracing::warn!(%error, "the report on static Pods is not written");
            }
            written = Some(report);
        }
        tokio::select! {
            // Versions: a change missed here is seen at the look above.
            () = shutdown.cancelled() => return,
            _ = rows.changed() => {}
            _ = pages.changed() => {}
        }
        context.clock.sleep(Duration::from_millis(GATHER_MS)).await;
    }
}

fn write(root_dir: &Path, report: &StaticReport) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(report)?;
    let next = root_dir.join(format!(".{FILE}"));
    std::fs::write(&next, text)?;
    std::fs::rename(next, root_dir.join(FILE))
}

/// A report on texts that no agent runs, for `everynode static validate`.
pub fn validate(texts: &[(String, Vec<u8>)], node_name: &str, now: Timestamp) -> Page {
    use crate::source::SourceKind;
    use crate::source::manifest::{Origin, read};
    use crate::source::manifests::Manifests;
    let mut manifests = Manifests::default();
    for (path, text) in texts {
        let origin = Origin { kind: SourceKind::File, node_name, path, seen_at: now };
        manifests.put(path, read(text, origin).map_err(|error| error.to_string()));
    }
    Page::of("", &manifests.settle(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked_together() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: c, image: i, envFrom: [{configMapRef: {name: m}}]}\n";
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {k: v}\n";
        let page = |texts: &[(&str, &str)]| {
            let texts: Vec<_> =
                texts.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
            validate(&texts, "n1", Timestamp::UNIX_EPOCH)
        };
        let alone = page(&[("a.yaml", pod)]);
        assert!(
            alone.pods.is_empty()
                && alone.faults[0].message.contains("no manifest here holds ConfigMap default/m")
        );
        let both = page(&[("a.yaml", pod), ("m.yaml", map)]);
        assert_eq!((both.pods[0].name.as_str(), both.pods[0].from.as_str()), ("a-n1", "a.yaml"));
        assert_eq!(
            (both.objects.as_slice(), both.faults.len()),
            (["ConfigMap default/m".to_owned()].as_slice(), 0)
        );
    }
}
