//! What this agent says about its Pods, for whoever asks: the HTTP API, the status writer, the mirrors.
//!
//! Each Pod's worker writes its own row; nobody else does. Readers are told that something changed and look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::RwLock;
use podmachine::{PodSource, State};
use tokio::sync::watch;

/// One Pod as its worker last saw it.
#[derive(Debug, Clone)]
pub struct Row {
    pub pod: Arc<Pod>,
    pub source: PodSource,
    pub status: PodStatus,
    pub state: State,
}

impl Row {
    /// The Pod with the status of now.
    pub fn with_status(&self) -> Pod {
        Pod { status: Some(self.status.clone()), ..(*self.pod).clone() }
    }
}

pub struct Board {
    rows: RwLock<BTreeMap<String, Row>>,
    /// Rows written since the status writer last took them.
    changed: parking_lot::Mutex<BTreeSet<String>>,
    version: watch::Sender<u64>,
    /// Full names of the static Pods that are wanted here, whether their workers have begun or not.
    expected: RwLock<BTreeSet<(Option<String>, Option<String>)>>,
    /// Images that wanted Pods name; `None` while some source has not said what it wants.
    images: RwLock<Option<Arc<BTreeSet<String>>>>,
}

impl Default for Board {
    fn default() -> Self {
        Board {
            rows: RwLock::default(),
            changed: parking_lot::Mutex::default(),
            version: watch::Sender::new(0),
            expected: RwLock::default(),
            images: RwLock::default(),
        }
    }
}

impl Board {
    /// Says which static Pods will have rows, before anybody asks which mirrors have none.
    pub fn expect(&self, names: BTreeSet<(Option<String>, Option<String>)>) {
        *self.expected.write() = names;
    }

    pub fn expects(&self, name: &(Option<String>, Option<String>)) -> bool {
        self.expected.read().contains(name)
    }

    /// Says which images the Pods of this node need.
    pub fn needs_images(&self, images: BTreeSet<String>) {
        *self.images.write() = Some(Arc::new(images));
    }

    pub fn needed_images(&self) -> Option<Arc<BTreeSet<String>>> {
        self.images.read().clone()
    }

    /// Writes a Pod's row; the same row again tells nobody.
    pub fn put(&self, uid: &str, row: Row) {
        let mut rows = self.rows.write();
        let same = rows.get(uid).is_some_and(|known| {
            known.status == row.status && known.state == row.state && Arc::ptr_eq(&known.pod, &row.pod)
        });
        if same {
            return;
        }
        rows.insert(uid.to_owned(), row);
        drop(rows);
        self.tell(uid);
    }

    pub fn remove(&self, uid: &str) {
        if self.rows.write().remove(uid).is_some() {
            self.tell(uid);
        }
    }

    fn tell(&self, uid: &str) {
        self.changed.lock().insert(uid.to_owned());
        self.version.send_modify(|version| *version += 1);
    }

    pub fn get(&self, uid: &str) -> Option<Row> {
        self.rows.read().get(uid).cloned()
    }

    /// Whether nothing of the Pod runs any more, nor will.
    pub fn has_ended(&self, uid: &str) -> bool {
        let rows = self.rows.read();
        let phase = rows.get(uid).and_then(|row| row.status.phase.as_deref());
        phase.is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"))
    }

    pub fn all(&self) -> Vec<Row> {
        self.rows.read().values().cloned().collect()
    }

    /// The newest row with this name: one that is on its way out only if there is no other.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<Row> {
        let rows = self.rows.read();
        rows.values()
            .filter(|row| {
                row.pod.metadata.namespace.as_deref() == Some(namespace)
                    && row.pod.metadata.name.as_deref() == Some(name)
            })
            .min_by_key(|row| row.state)
            .cloned()
    }

    /// Changes whenever a row does.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// uids whose rows changed since the last call.
    pub fn take_changed(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.changed.lock())
    }
}
