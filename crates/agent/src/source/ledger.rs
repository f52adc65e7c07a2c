//! What each source of static Pods holds now, and what is wrong with it, for whoever asks: the node's condition and
//! events, the metric, `everynode static`.
//!
//! Each source writes its own page; readers are told that something changed and look.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::SourceKind;
use super::manifests::{Fault, Settled};

/// Faults that are shown of one source; the rest is counted.
const FAULTS_SHOWN_MAX: usize = 100;

/// One source's page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// Path or URL.
    pub place: String,
    pub pods: Vec<PodLine>,
    /// ConfigMaps and Secrets, by kind, namespace and name.
    pub objects: Vec<String>,
    pub faults: Vec<FaultLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodLine {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The file or URL that it is from.
    pub from: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultLine {
    /// The file, folder, URL or Pod that it is about.
    pub about: String,
    pub message: String,
    /// Full names of the Pods that go on in spite of it.
    pub keeps: Vec<String>,
}

impl From<Fault> for FaultLine {
    fn from(fault: Fault) -> FaultLine {
        FaultLine { about: fault.path, message: fault.message, keeps: fault.keeps }
    }
}

impl FaultLine {
    /// One line for an event or a log.
    pub fn text(&self) -> String {
        let consequence = match self.keeps.as_slice() {
            [] => "nothing is started from it".to_owned(),
            [pod] => format!("{pod} keeps running as it was"),
            [pod, rest @ ..] => format!("{pod} and {} more keep running as they were", rest.len()),
        };
        format!("{}: {}; {consequence}", self.about, self.message)
    }
}

impl Page {
    pub fn of(place: &str, settled: &Settled, more_faults: Vec<FaultLine>) -> Page {
        let pods = settled.pods.iter().map(|(from, pod)| PodLine {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            from: from.clone(),
        });
        let maps =
            settled.objects.config_maps.keys().map(|(space, name)| format!("ConfigMap {space}/{name}"));
        let secrets = settled.objects.secrets.keys().map(|(space, name)| format!("Secret {space}/{name}"));
        let mut faults = more_faults;
        faults.extend(settled.faults.iter().cloned().map(FaultLine::from));
        if faults.len() > FAULTS_SHOWN_MAX {
            let hidden = faults.len() - FAULTS_SHOWN_MAX;
            faults.truncate(FAULTS_SHOWN_MAX);
            let message = format!("{hidden} more faults are not shown");
            faults.push(FaultLine { about: place.to_owned(), message, keeps: Vec::new() });
        }
        Page { place: place.to_owned(), pods: pods.collect(), objects: maps.chain(secrets).collect(), faults }
    }
}

/// Which part of the agent writes a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    Source(SourceKind),
    /// Edits that wait for their images.
    Edits,
}

/// All pages.
#[derive(Debug)]
pub struct Ledger {
    pages: RwLock<BTreeMap<Writer, Page>>,
    version: watch::Sender<u64>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger { pages: RwLock::default(), version: watch::Sender::new(0) }
    }
}

impl Ledger {
    /// Writes a page; each new fault is logged once. The same again tells nobody.
    pub fn write(&self, writer: Writer, page: Page) {
        let mut pages = self.pages.write();
        let before = pages.get(&writer);
        if before == Some(&page) {
            return;
        }
        let known = before.map(|page| page.faults.clone()).unwrap_or_default();
        for fault in page.faults.iter().filter(|fault| !known.contains(fault)) {
            tracing::error!(fault = fault.text(), "static Pods: fault");
        }
        for fault in known.iter().filter(|fault| !page.faults.iter().any(|now| now.about == fault.about)) {
            tracing::info!(about = fault.about, "static Pods: mended");
        }
        pages.insert(writer, page);
        drop(pages);
        self.version.send_modify(|version| *version += 1);
    }

    pub fn pages(&self) -> Vec<Page> {
        self.pages.read().values().cloned().collect()
    }

    /// Where a source reads; `None`: there is no such source.
    pub fn place_of(&self, kind: SourceKind) -> Option<String> {
        self.pages.read().get(&Writer::Source(kind)).map(|page| page.place.clone())
    }

    pub fn faults(&self) -> Vec<FaultLine> {
        self.pages.read().values().flat_map(|page| page.faults.clone()).collect()
    }

    /// Changes whenever a page does.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
