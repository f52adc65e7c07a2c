//! Who must look at the runtime again, and when: the runtime's event stream, and a relist behind it.
//!
//! Upstream calls this the Pod lifecycle event generator. An event is a hint: the Pod's worker looks for itself. Where
//! there is no stream the relist runs every second, as upstream's; behind a stream it is the safety net.
//! It also finds what runs here and belongs to no Pod that anybody wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cri::{Container, ContainerState, EventStream, Filter, Runtime, RuntimeEventKind, Sandbox, SandboxState};
use futures::StreamExt;
use parking_lot::Mutex;
use podmachine::labels;
use process::{Clock, Shutdown};
use tokio::sync::{Notify, mpsc};

use crate::spec::sandbox::AGENT_LABEL;

/// Upstream's relist period; ours where the runtime has no event stream.
const RELIST_ALONE_MS: u64 = 1_000;
/// Behind an event stream.
const RELIST_BEHIND_EVENTS_MS: u64 = 10_000;

/// Wakes a Pod's worker.
#[derive(Debug, Default)]
pub struct Watcher {
    notify: Notify,
    exited: Mutex<BTreeSet<String>>,
}

impl Watcher {
    /// Resolves when there is a reason to look. Dropping it loses nothing: the permit is kept.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Containers that are said to have exited since the last call.
    pub fn take_exited(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.exited.lock())
    }

    pub fn wake(&self) {
        self.notify.notify_one();
    }
}

/// Which worker cares for which container.
#[derive(Debug, Default)]
pub struct Watchers {
    by_uid: Mutex<BTreeMap<String, Arc<Watcher>>>,
    /// Container or sandbox id → uid.
    owners: Mutex<BTreeMap<String, String>>,
}

impl Watchers {
    pub fn register(&self, uid: &str) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher::default());
        self.by_uid.lock().insert(uid.to_owned(), Arc::clone(&watcher));
        watcher
    }

    pub fn forget(&self, uid: &str) {
        self.by_uid.lock().remove(uid);
        self.owners.lock().retain(|_, owner| owner != uid);
    }

    /// A new container: its events go to this Pod from now on.
    pub fn owns(&self, uid: &str, id: &str) {
        self.owners.lock().insert(id.to_owned(), uid.to_owned());
    }

    /// Whether a container belongs to a Pod of this agent.
    pub fn knows(&self, id: &str) -> bool {
        self.owner(id).is_some()
    }

    fn of(&self, uid: &str) -> Option<Arc<Watcher>> {
        self.by_uid.lock().get(uid).cloned()
    }

    fn owner(&self, id: &str) -> Option<Arc<Watcher>> {
        let uid = self.owners.lock().get(id).cloned()?;
        self.of(&uid)
    }
}

/// A Pod as the runtime shows it, for telling changes and strangers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub name: String,
    pub namespace: String,
    pub sandboxes: BTreeMap<String, bool>,
    /// The agent that made a sandbox of it, by its label.
    pub agent: Option<String>,
    /// Container id → (name, state as a number).
    pub containers: BTreeMap<String, (String, u8)>,
}

/// Everything that the runtime runs for Pods, by uid.
pub type Snapshot = BTreeMap<String, Seen>;

pub struct RuntimeWatch {
    pub runtime: Arc<dyn Runtime>,
    pub watchers: Arc<Watchers>,
    pub clock: Arc<dyn Clock>,
    /// Every relist goes here; the receiver finds strangers.
    pub snapshots: mpsc::Sender<Snapshot>,
}

impl RuntimeWatch {
    pub async fn run(self, shutdown: Shutdown) {
        let mut before = Snapshot::new();
        let mut images = BTreeSet::new();
        let mut events: Option<EventStream> = None;
        let mut answered = true;
        loop {
            if events.is_none() {
                // The stream stands before the list, so that nothing falls between.
                events = self.runtime.events().await.ok().flatten();
            }
            match self.list().await {
                Ok(now) => {
                    if !answered {
                        tracing::info!("container runtime answers again");
                    }
                    answered = true;
                    self.tell_changes(&before, &now);
                    self.tell_images(&mut images).await;
                    before = now.clone();
                    if self.snapshots.send(now).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if answered {
                        tracing::warn!(%error, "container runtime does not answer");
                    }
                    answered = false;
                }
            }
            let period = if events.is_some() && answered { RELIST_BEHIND_EVENTS_MS } else { RELIST_ALONE_MS };
            let pause = self.clock.sleep(Duration::from_millis(period));
            tokio::select! {
                // The stream lives in this function, the rest are a timer and a flag.
                () = shutdown.cancelled() => return,
                () = pause => {}
                () = self.follow(&mut events) => {
                    events = None;
                }
            }
        }
    }

    /// Hands out events until the stream breaks.
    async fn follow(&self, events: &mut Option<EventStream>) {
        let Some(stream) = events else { return std::future::pending().await };
        while let Some(Ok(event)) = stream.next().await {
            let Some(watcher) = self.watchers.owner(&event.id) else { continue };
            match event.kind {
                RuntimeEventKind::Exited { .. } => {
                    watcher.exited.lock().insert(event.id);
                    watcher.wake();
                }
                // Its exit follows.
                RuntimeEventKind::OutOfMemory | RuntimeEventKind::Started => {}
            }
        }
    }

    async fn list(&self) -> cri::Result<Snapshot> {
        let everything = Filter::default();
        let sandboxes = self.runtime.list_sandboxes(&everything).await?;
        let containers = self.runtime.list_containers(&everything).await?;
        Ok(snapshot(&sandboxes, &containers))
    }

    /// A Pod that waits for its image looks again when one was loaded, not only when it would pull again.
    async fn tell_images(&self, before: &mut BTreeSet<String>) {
        let Ok(listed) = self.runtime.list_images().await else { return };
        let now: BTreeSet<String> = listed.into_iter().flat_map(|image| image.repo_tags).collect();
        if !now.is_subset(before) {
            for watcher in self.watchers.by_uid.lock().values() {
                watcher.wake();
            }
        }
        *before = now;
    }

    fn tell_changes(&self, before: &Snapshot, now: &Snapshot) {
        for (uid, seen) in now {
            for id in seen.containers.keys().chain(seen.sandboxes.keys()) {
                self.watchers.owns(uid, id);
            }
        }
        let uids: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        for uid in uids {
            if before.get(uid) != now.get(uid)
                && let Some(watcher) = self.watchers.of(uid)
            {
                watcher.wake();
            }
        }
    }
}

fn snapshot(sandboxes: &[Sandbox], containers: &[Container]) -> Snapshot {
    let mut pods = Snapshot::new();
    for sandbox in sandboxes {
        // Without Kubernetes' labels it is somebody else's.
        if !sandbox.labels.contains_key(labels::POD_UID) {
            continue;
        }
        let seen = pods.entry(sandbox.uid.clone()).or_default();
        seen.name.clone_from(&sandbox.name);
        seen.namespace.clone_from(&sandbox.namespace);
        seen.agent = sandbox.labels.get(AGENT_LABEL).cloned();
        seen.sandboxes.insert(sandbox.id.0.clone(), sandbox.state == SandboxState::Ready);
    }
    for container in containers {
        let Some(uid) = container.labels.get(labels::POD_UID) else { continue };
        let seen = pods.entry(uid.clone()).or_default();
        if seen.name.is_empty() {
            let label = |key: &str| container.labels.get(key).cloned().unwrap_or_default();
            (seen.name, seen.namespace) = (label(labels::POD_NAME), label(labels::POD_NAMESPACE));
        }
        let state = match container.state {
            ContainerState::Created => 0,
            ContainerState::Running => 1,
            ContainerState::Exited => 2,
            ContainerState::Unknown => 3,
        };
        seen.containers.insert(container.id.0.clone(), (container.name.clone(), state));
    }
    pods
}
