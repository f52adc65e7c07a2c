//! The event recorder: Kubernetes Events, said without ever holding up who says them.
//!
//! [`Recorder::event`] puts into a bounded queue and returns; one task correlates ([`correlator`]) and writes. A
//! full queue drops the event and counts it. Upstream: client-go's `record.EventBroadcaster` with core/v1 Events.

pub mod correlator;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use process::{Clock, Shutdown, Tasks};
use tokio::sync::mpsc;

use crate::backoff::jittered;
use crate::write::Class;
use correlator::{Correlator, Said, Verdict};

/// Events that wait to be written; upstream's queue holds as many.
pub const QUEUED_EVENTS_MAX: usize = 1_000;
/// Upstream tries twelve times, ten seconds apart. An event is worth less with every minute: three tries.
const WRITE_TRIES_MAX: u32 = 3;
const WRITE_RETRY: Duration = Duration::from_secs(5);
const WRITE_RETRY_SPREAD_PERCENT: u32 = 50;

/// `type` of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        }
    }
}

/// Who speaks: `source.component` and `source.host`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speaker {
    /// e.g. `daemonset-controller`, `default-scheduler`, `kubelet`.
    pub component: String,
    /// The node, where one node speaks; else empty.
    pub host: String,
}

impl Speaker {
    pub fn component(name: impl Into<String>) -> Speaker {
        Speaker { component: name.into(), host: String::new() }
    }
}

/// Clones share the queue.
#[derive(Clone)]
pub struct Recorder {
    speaker: Speaker,
    queue: mpsc::Sender<Said>,
    clock: Arc<dyn Clock>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    /// Starts the writing task and returns the recorder.
    pub fn start(client: Client, speaker: Speaker, clock: Arc<dyn Clock>, tasks: &Tasks) -> Recorder {
        let (queue, said) = mpsc::channel(QUEUED_EVENTS_MAX);
        let writer = Writer {
            client,
            clock: Arc::clone(&clock),
            shutdown: tasks.shutdown_signal().clone(),
            correlator: Correlator::default(),
        };
        tasks.spawn(format!("events of {}", speaker.component), writer.run(said));
        Recorder { speaker, queue, clock, dropped: Arc::default() }
    }

    /// A recorder that writes nowhere, for tests of what speaks; `said` receives what was said.
    pub fn to_channel(speaker: Speaker, clock: Arc<dyn Clock>) -> (Recorder, mpsc::Receiver<Said>) {
        let (queue, said) = mpsc::channel(QUEUED_EVENTS_MAX);
        (Recorder { speaker, queue, clock, dropped: Arc::default() }, said)
    }

    /// Says something about `regarding`. Never blocks; drops the event when the queue is full.
    pub fn event(&self, regarding: &ObjectReference, severity: Severity, reason: &str, message: &str) {
        let said = Said {
            speaker: self.speaker.clone(),
            regarding: regarding.clone(),
            severity,
            reason: reason.to_owned(),
            message: message.to_owned(),
            at: self.clock.now(),
        };
        if self.queue.try_send(said).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(reason, dropped, "event dropped: the queue is full or closed");
        }
    }

    /// Says something about an object of a kind known at compile time.
    pub fn about<K>(&self, object: &K, severity: Severity, reason: &str, message: &str)
    where
        K: kube::Resource<DynamicType = ()>,
    {
        let mut regarding = object.object_ref(&());
        regarding.resource_version.clone_from(&object.meta().resource_version);
        self.event(&regarding, severity, reason, message);
    }

    /// Events dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

struct Writer {
    client: Client,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut said: mpsc::Receiver<Said>) {
        let shutdown = self.shutdown.clone();
        loop {
            let said = tokio::select! {
                // An event that was not taken out is lost at shutdown, as any in-memory queue is.
                () = shutdown.cancelled() => return,
                said = said.recv() => match said {
                    Some(said) => said,
                    None => return,
                },
            };
            let verdict = self.correlator.hear(said);
            tokio::select! {
                // A write that is cut off is an event less; nothing else depends on it.
                () = shutdown.cancelled() => return,
                () = self.carry_out(verdict) => {}
            }
        }
    }

    async fn carry_out(&mut self, verdict: Verdict) {
        let (event, mut update) = match verdict {
            Verdict::Create(event) => (event, false),
            Verdict::Update(event) => (event, true),
            Verdict::Drop => return,
        };
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        for attempt in 1..=WRITE_TRIES_MAX {
            let written = if update { patch(&api, &event).await } else { create(&api, &event).await };
            let error = match written {
                Ok(()) => return,
                Err(error) => error,
            };
            match Class::of(&error) {
                // The event has expired on the server: it begins a new life under the same name.
                Class::Missing if update => update = false,
                Class::Retry(_) if attempt < WRITE_TRIES_MAX => {
                    self.clock.sleep(jittered(WRITE_RETRY, WRITE_RETRY_SPREAD_PERCENT)).await;
                }
                _ => {
                    let reason = event.reason.as_deref().unwrap_or_default();
                    tracing::warn!(reason, error = %error, "event not written");
                    return;
                }
            }
        }
    }
}

async fn create(api: &Api<Event>, event: &Event) -> Result<(), kube::Error> {
    api.create(&PostParams::default(), event).await.map(drop)
}

async fn patch(api: &Api<Event>, event: &Event) -> Result<(), kube::Error> {
    let body = serde_json::json!({
        "count": event.count,
        "lastTimestamp": event.last_timestamp,
        "message": event.message,
    });
    let name = event.metadata.name.as_deref().unwrap_or_default();
    api.patch(name, &PatchParams::default(), &Patch::Strategic(&body)).await.map(drop)
}
