//! What a machine remembers between steps. All of it may be lost with the agent: containers, their labels and the
//! last status suffice to go on; only back-offs start anew, as upstream's do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodStatus};

use crate::action::{Action, EventType, JobId, KillReason, ProbeKind};
use crate::backoff::{Backoff, Retry};
use crate::pod;

#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    last_job: u64,
    /// Ended jobs that changed what a look shows.
    pub finished: u64,
    pub jobs: BTreeMap<JobId, Action>,
    /// Told with the next step.
    pub events: Vec<Note>,
    /// By container name and hash.
    pub crashes: BTreeMap<(String, String), Backoff>,
    /// Back-offs already told by event: container id.
    pub crash_told: BTreeSet<String>,
    /// By image.
    pub pulls: BTreeMap<String, PullFailure>,
    /// By container name: image and reference, pulled for its next start.
    pub pulled: BTreeMap<String, (String, String)>,
    /// By container name: the last start that left no container to restart.
    pub start_errors: BTreeMap<String, StartError>,
    /// Running containers whose post-start hook has still to run, or runs.
    pub hooks: BTreeSet<String>,
    /// By container id: to be killed, and why.
    pub condemned: BTreeMap<String, KillReason>,
    pub kills: BTreeMap<String, Kill>,
    pub probes: BTreeMap<(String, ProbeKind), ProbeState>,
    pub volumes: Retry,
    pub sandbox: Retry,
    /// Sandboxes that were stopped on our word.
    pub stopped: BTreeSet<String>,
    pub cleaning: Retry,
    pub cleaned: bool,
    pub deleted_from_api: bool,
    pub removing: Retry,
    pub termination: Option<Termination>,
    /// Phase Failed, decided by the node.
    pub failed: Option<(String, String)>,
    pub status: Option<PodStatus>,
    /// Containers that the last status showed running and that no look finds.
    pub lost: BTreeMap<String, Lost>,
    /// Hash by container name, with the spec it was made from.
    pub hashes: BTreeMap<String, (Container, String)>,
    pub refused_told: bool,
    pub image_told: BTreeSet<String>,
}

/// An event before its container's place in the spec is looked up.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub event_type: EventType,
    pub reason: String,
    pub message: String,
    pub container: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct PullFailure {
    pub backoff: Backoff,
    pub at: Timestamp,
    pub message: String,
    pub told: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct StartError {
    pub reason: &'static str,
    pub message: String,
    pub hash: String,
    pub retry_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Kill {
    pub cause: KillReason,
    pub deadline: Timestamp,
    pub stage: KillStage,
    pub hook_ran: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum KillStage {
    New,
    PreStop(JobId),
    Stopping {
        job: JobId,
        ends_at: Timestamp,
    },
    /// Asked and not dead: ask again then.
    Again(Timestamp),
}

#[derive(Debug, Clone)]
pub(crate) struct ProbeState {
    pub next_at: Timestamp,
    pub job: Option<JobId>,
    /// `None`: not decided yet.
    pub passed: Option<bool>,
    pub successes: u32,
    pub failures: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Termination {
    pub grace_seconds: u64,
    pub deadline: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub container_id: String,
    pub started_at: Option<Timestamp>,
    pub restart_count: u32,
}

impl Memory {
    pub fn new_job(&mut self, action: Action) -> JobId {
        self.last_job += 1;
        let id = JobId(self.last_job);
        self.jobs.insert(id, action);
        id
    }

    /// Hashing writes the whole container out: done once a spec, not once a step.
    pub fn hash_all<'a>(&mut self, members: impl Iterator<Item = &'a Container>) {
        for container in members {
            let known = self.hashes.get(&container.name).is_some_and(|(made_from, _)| made_from == container);
            if !known {
                let hash = pod::container_hash(container);
                self.hashes.insert(container.name.clone(), (container.clone(), hash));
            }
        }
    }

    pub fn doing(&self, what: impl Fn(&Action) -> bool) -> bool {
        self.jobs.values().any(what)
    }

    pub fn starting(&self, name: &str) -> bool {
        self.doing(|action| matches!(action, Action::StartContainer(start) if start.name == name))
    }

    pub fn note(&mut self, event_type: EventType, reason: &str, message: String, container: Option<&str>) {
        let container = container.map(str::to_owned);
        self.events.push(Note { event_type, reason: reason.to_owned(), message, container });
    }
}
