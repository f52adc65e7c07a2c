//! Carries a plan out: writes, events, one log line a step. It never chooses.
//!
//! Order: what comes before Pods, one by one, and a failure there stops the Pods' steps; creates in batches of 1, 2, 4, … that
//! stop after the first batch with a failure; deletes side by side; clean-up; the status last and always. Every write carries
//! the uid of what it is meant for. Upstream: `syncNodes`, `slowStartBatch`, `storeDaemonSetStatus`.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use api::meta::{Meta, controller_ref};
use api::well_known::daemon_set as names;
use client::ObjectKey;
use client::events::{Recorder, Severity};
use client::write::{self, Class, Deletion, Expect, WriteError};
use daemonset::{EventType, Outcome, PodId, Step};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use process::Clock;
use serde_json::{Value, json};

use super::fleet::Job;

/// Deletes of one plan that are under way at the same time.
const DELETES_AT_ONCE_MAX: usize = 50;
/// A status write that fails is tried once more; the next plan writes it anyway.
const STATUS_TRIES_MAX: u32 = 2;
/// The pause after a failure that names none.
const TROUBLE_PAUSE: Duration = Duration::ZERO;
/// The least pause before an object that has changed since it was seen is looked at again: the time a watch takes.
const STALE_PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone)]
pub struct Executor {
    client: Client,
    recorder: Recorder,
    clock: Arc<dyn Clock>,
}

/// What came of a plan.
pub struct Report {
    /// Of every step that was tried.
    pub outcomes: Vec<(Step, Outcome)>,
    /// Something failed: try again after the DaemonSet's back-off, and not sooner than this.
    pub trouble: Option<Duration>,
}

/// The APIs of one DaemonSet's namespace.
struct Doors {
    key: ObjectKey,
    object: Arc<DaemonSet>,
    sets: Api<DaemonSet>,
    pods: Api<Pod>,
    revisions: Api<ControllerRevision>,
}

/// A step's outcome, and the pause that its failure asks for.
type Tried = (Outcome, Option<Duration>);

impl Executor {
    pub fn new(client: Client, recorder: Recorder, clock: Arc<dyn Clock>) -> Self {
        Executor { client, recorder, clock }
    }

    pub async fn carry_out(&self, job: Job) -> Report {
        let namespace = job.key.namespace.clone();
        let doors = Doors {
            key: job.key,
            object: job.object,
            sets: Api::namespaced(self.client.clone(), &namespace),
            pods: Api::namespaced(self.client.clone(), &namespace),
            revisions: Api::namespaced(self.client.clone(), &namespace),
        };
        for note in &job.plan.notes {
            let severity = match note.kind {
                EventType::Normal => Severity::Normal,
                EventType::Warning => Severity::Warning,
            };
            self.recorder.about(&*doors.object, severity, note.reason, &note.message);
        }
        let mut sorted = Sorted::of(job.plan.steps);
        let mut report = Report { outcomes: Vec::new(), trouble: None };
        if self.one_by_one(&doors, std::mem::take(&mut sorted.first), &mut report).await == Went::Well {
            self.create_all(&doors, sorted.creates, &mut report).await;
            self.delete_all(&doors, sorted.deletes, &mut report).await;
            self.one_by_one(&doors, sorted.last, &mut report).await;
        }
        if let Some(status) = sorted.status {
            let tried = self.write_status(&doors, &status).await;
            report.note(Step::WriteStatus(status), tried);
        }
        report
    }

    async fn one_by_one(&self, doors: &Doors, steps: Vec<Step>, report: &mut Report) -> Went {
        let mut may_adopt = None;
        for step in steps {
            if matches!(step, Step::AdoptPod(_) | Step::AdoptRevision(_)) {
                let may = match may_adopt {
                    Some(may) => may,
                    None => *may_adopt.insert(self.is_alive(doors).await),
                };
                if !may {
                    report.trouble = Some(TROUBLE_PAUSE);
                    return Went::Wrong;
                }
            }
            let tried = self.write(doors, &step).await;
            let answered = matches!(tried.0, Outcome::Done | Outcome::Missing | Outcome::PodExists(_));
            let went = if answered { Went::Well } else { Went::Wrong };
            let again = matches!(tried.0, Outcome::RevisionExists(_));
            report.note(step, tried);
            // A revision that is there already is news for the planner; nothing is wrong.
            if went == Went::Wrong || again {
                return Went::Wrong;
            }
        }
        Went::Well
    }

    /// Asks the API itself whether the DaemonSet is still the one that was planned for.
    async fn is_alive(&self, doors: &Doors) -> bool {
        match doors.sets.get_opt(&doors.key.name).await {
            Ok(Some(live)) => live.uid() == doors.object.uid() && !live.is_deleting(),
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(daemonset = %doors.key, %error, "cannot see whether it is alive");
                false
            }
        }
    }

    async fn create_all(&self, doors: &Doors, steps: Vec<Step>, report: &mut Report) {
        let mut rest = steps.into_iter();
        let mut batch_size = 1;
        loop {
            let batch: Vec<Step> = rest.by_ref().take(batch_size).collect();
            if batch.is_empty() {
                return;
            }
            let tried = futures::future::join_all(batch.iter().map(|step| self.create(doors, step))).await;
            let failed = tried.iter().any(|(_, trouble)| trouble.is_some());
            for (step, tried) in batch.into_iter().zip(tried) {
                report.note(step, tried);
            }
            if failed {
                let skipped = rest.len();
                if skipped > 0 {
                    tracing::info!(daemonset = %doors.key, skipped, "creates stop after the failed batch");
                }
                return;
            }
            batch_size *= 2;
        }
    }

    async fn create(&self, doors: &Doors, step: &Step) -> Tried {
        let Step::CreatePod { pod, .. } = step else { return (Outcome::Failed, None) };
        let name = pod.name();
        match write::create(&doors.pods, &**pod).await {
            Ok(_) => {
                self.say(doors, Severity::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                taken(doors, step);
                (Outcome::Done, None)
            }
            Err(error) => match error.class() {
                Class::Exists => match doors.pods.get_opt(name).await {
                    Ok(Some(there)) => (Outcome::PodExists(Box::new(there)), None),
                    Ok(None) | Err(_) => (Outcome::Failed, Some(TROUBLE_PAUSE)),
                },
                // Nothing can be created there any more, and nobody needs to hear of it.
                Class::NamespaceTerminating => (Outcome::Failed, Some(TROUBLE_PAUSE)),
                _ => {
                    self.say(
                        doors,
                        Severity::Warning,
                        "FailedCreate",
                        format!("Error creating: {}", error.cause()),
                    );
                    self.failed(doors, step, &error)
                }
            },
        }
    }

    async fn delete_all(&self, doors: &Doors, steps: Vec<Step>, report: &mut Report) {
        let mut tries = futures::stream::iter(steps)
            .map(|step| async move {
                let tried = self.delete(doors, &step).await;
                (step, tried)
            })
            .buffered(DELETES_AT_ONCE_MAX);
        while let Some((step, tried)) = tries.next().await {
            report.note(step, tried);
        }
    }

    async fn delete(&self, doors: &Doors, step: &Step) -> Tried {
        let Step::DeletePod { pod, version, .. } = step else { return (Outcome::Failed, None) };
        let resource_version = version.as_deref().map(str::to_owned);
        let expect = Expect { resource_version, ..Expect::uid(&pod.uid) };
        let deletion = Deletion { expect, ..Deletion::default() };
        match write::delete(&doors.pods, &pod.name, deletion).await {
            Ok(write::Deleted::Accepted) => {
                self.say(doors, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {}", pod.name));
                taken(doors, step);
                (Outcome::Done, None)
            }
            Ok(write::Deleted::WasGone) => (Outcome::Missing, None),
            // It is not what it was when the plan was made: the cache will show it, and then there is another plan.
            Err(error) if *error.class() == Class::Stale && version.is_some() => {
                (Outcome::Failed, Some(STALE_PAUSE))
            }
            // Another Pod has this name now, so this one is gone.
            Err(error) if *error.class() == Class::Stale => (Outcome::Missing, None),
            Err(error) => {
                let message = format!("Error deleting: {}", error.cause());
                self.say(doors, Severity::Warning, "FailedDelete", message);
                let (_, pause) = self.failed(doors, step, &error);
                (if was_refused(&error) { Outcome::Failed } else { Outcome::Unknown }, pause)
            }
        }
    }

    /// Everything but Pods created, Pods deleted and the status.
    async fn write(&self, doors: &Doors, step: &Step) -> Tried {
        let uid = doors.object.uid();
        let owner = json!([controller_ref(names::API_VERSION, names::KIND, &*doors.object)]);
        let adopt = || json!({"metadata": {"ownerReferences": owner}});
        let release = || json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": uid}]}});
        let label = |hash: &str| json!({"metadata": {"labels": {names::REVISION_HASH_LABEL: hash}}});
        let done = match step {
            Step::AdoptPod(id) => patch(&doors.pods, id, adopt()).await,
            Step::ReleasePod(id) => patch(&doors.pods, id, release()).await,
            Step::RelabelPod { pod, hash } => patch(&doors.pods, pod, label(hash)).await,
            Step::AdoptRevision(id) => patch(&doors.revisions, id, adopt()).await,
            Step::ReleaseRevision(id) => patch(&doors.revisions, id, release()).await,
            Step::LabelRevision { revision, hash } => patch(&doors.revisions, revision, label(hash)).await,
            Step::RenumberRevision { revision, to } => {
                patch(&doors.revisions, revision, json!({"revision": to})).await
            }
            Step::DeleteRevision { revision, .. } => {
                let deletion = Deletion { expect: Expect::uid(&revision.uid), ..Deletion::default() };
                write::delete(&doors.revisions, &revision.name, deletion).await.map(|_| ())
            }
            Step::CreateRevision(revision) => match write::create(&doors.revisions, &**revision).await {
                Err(error) if *error.class() == Class::Exists => {
                    return match doors.revisions.get_opt(revision.name()).await {
                        Ok(Some(there)) => (Outcome::RevisionExists(Box::new(there)), None),
                        Ok(None) | Err(_) => (Outcome::Failed, Some(TROUBLE_PAUSE)),
                    };
                }
                result => result.map(|_| ()),
            },
            Step::CountCollision { to, .. } => {
                // Against the version that was looked at: a count that someone else raised is not raised again.
                let expect = Expect::exactly(&*doors.object);
                let status = json!({"collisionCount": to});
                write::status(&doors.sets, &doors.key.name, status, &expect).await.map(|_| ())
            }
            Step::LookAtPod(id) => return self.look(doors, id).await,
            Step::CreatePod { .. } | Step::DeletePod { .. } | Step::WriteStatus(_) => Ok(()),
        };
        match done {
            Ok(()) => {
                taken(doors, step);
                (Outcome::Done, None)
            }
            Err(error) if *error.class() == Class::Missing => (Outcome::Missing, None),
            Err(error) => self.failed(doors, step, &error),
        }
    }

    async fn look(&self, doors: &Doors, id: &PodId) -> Tried {
        match doors.pods.get_opt(&id.name).await {
            Ok(Some(there)) => (Outcome::PodExists(Box::new(there)), None),
            Ok(None) => (Outcome::Missing, None),
            Err(error) => {
                tracing::warn!(daemonset = %doors.key, pod = %id.name, %error, "cannot see whether it is there");
                (Outcome::Failed, Some(TROUBLE_PAUSE))
            }
        }
    }

    async fn write_status(&self, doors: &Doors, status: &DaemonSetStatus) -> Tried {
        let expect = Expect::uid(doors.object.uid());
        let mut tries = 1;
        loop {
            match write::status(&doors.sets, &doors.key.name, status_patch(status), &expect).await {
                Ok(_) => {
                    tracing::debug!(daemonset = %doors.key, status = %daemonset::plan::StatusLine(status), "status");
                    return (Outcome::Done, None);
                }
                // Its deletion has not been seen yet; until then there is no hurry.
                Err(error) if *error.class() == Class::Missing => {
                    return (Outcome::Missing, Some(TROUBLE_PAUSE));
                }
                Err(error) if tries >= STATUS_TRIES_MAX => {
                    return self.failed(doors, &"status", &error);
                }
                Err(_) => tries += 1,
            }
        }
    }

    fn say(&self, doors: &Doors, severity: Severity, reason: &str, message: String) {
        self.recorder.about(&*doors.object, severity, reason, &message);
    }

    fn failed(&self, doors: &Doors, step: &dyn Display, error: &WriteError) -> Tried {
        let at = self.clock.now();
        tracing::warn!(daemonset = %doors.key, %step, %error, cause = %error.cause(), %at, "step failed");
        let pause = match error.class() {
            Class::Retry(pause) => *pause,
            Class::Stale | Class::Missing | Class::Exists | Class::NamespaceTerminating | Class::Fatal(_) => {
                TROUBLE_PAUSE
            }
        };
        (Outcome::Failed, Some(pause))
    }
}

/// The server said no, and so nothing happened. Anything else may have happened before the answer was lost.
fn was_refused(error: &WriteError) -> bool {
    matches!(error.cause(), kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != TIMED_OUT)
}

/// 408: the server gave up waiting for something, and does not know either.
const TIMED_OUT: u16 = 408;

/// The line that says what was done and why.
fn taken(doors: &Doors, step: &Step) {
    let text = step.to_string();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    tracing::info!(daemonset = %doors.key, "{text}");
}

async fn patch<K>(api: &Api<K>, id: &PodId, patch: Value) -> Result<(), WriteError>
where
    K: client::cache::Cached,
{
    write::strategic(api, &id.name, patch, &Expect::uid(&id.uid)).await.map(|_| ())
}

/// The counters; those that upstream leaves out when they are zero are taken out then.
fn status_patch(status: &DaemonSetStatus) -> Value {
    let or_none = |count: Option<i32>| count.filter(|count| *count != 0);
    json!({
        "desiredNumberScheduled": status.desired_number_scheduled,
        "currentNumberScheduled": status.current_number_scheduled,
        "numberMisscheduled": status.number_misscheduled,
        "numberReady": status.number_ready,
        "updatedNumberScheduled": or_none(status.updated_number_scheduled),
        "numberAvailable": or_none(status.number_available),
        "numberUnavailable": or_none(status.number_unavailable),
        "observedGeneration": status.observed_generation,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    Well,
    Wrong,
}

/// A plan's steps by when they are taken.
#[derive(Default)]
struct Sorted {
    first: Vec<Step>,
    creates: Vec<Step>,
    deletes: Vec<Step>,
    last: Vec<Step>,
    status: Option<Box<DaemonSetStatus>>,
}

impl Sorted {
    fn of(steps: Vec<Step>) -> Self {
        let mut sorted = Sorted::default();
        for step in steps {
            match step {
                Step::CreatePod { .. } => sorted.creates.push(step),
                Step::DeletePod { .. } => sorted.deletes.push(step),
                Step::WriteStatus(status) => sorted.status = Some(status),
                Step::DeleteRevision { reason: daemonset::plan::RevisionGoes::OverLimit, .. } => {
                    sorted.last.push(step);
                }
                Step::DeleteRevision { .. }
                | Step::AdoptPod(_)
                | Step::ReleasePod(_)
                | Step::RelabelPod { .. }
                | Step::AdoptRevision(_)
                | Step::ReleaseRevision(_)
                | Step::LabelRevision { .. }
                | Step::CreateRevision(_)
                | Step::RenumberRevision { .. }
                | Step::CountCollision { .. }
                | Step::LookAtPod(_) => sorted.first.push(step),
            }
        }
        sorted
    }
}

impl Report {
    fn note(&mut self, step: Step, (outcome, trouble): Tried) {
        if let Some(pause) = trouble {
            self.trouble = Some(self.trouble.map_or(pause, |earlier| earlier.max(pause)));
        }
        self.outcomes.push((step, outcome));
    }
}
