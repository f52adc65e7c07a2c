//! One Pod's worker: looks, lets the machine decide, carries out, reports.
//!
//! It owns the Pod's machine, and ends when nothing of the Pod is left on the node. After a panic it starts anew
//! with an empty memory and adopts what runs. Many actions run at once; how they end comes back here.

mod execute;
mod look;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cri::ImageRef;
use jiff::Timestamp;
use podmachine::{Action, Desired, Job, JobId, Machine, Outcome, PulledImages, State, VolumeState};
use process::Shutdown;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::execute::{Order, execute, must_end};
use self::look::Known;
use crate::board::Row;
use crate::context::NodeContext;
use crate::runtime_events::Watcher;
use crate::spec::PodId;
use crate::spec::container::ImageUser;

/// Upstream resyncs each Pod every 60 to 90 s; volumes' content is brought up to date then.
const RESYNC_MS: u64 = 60_000;
/// How soon a look that failed is tried again.
const LOOK_RETRY_MS: u64 = 1_000;
/// The runtime says that a container exited a moment before its own status does.
const EXIT_RETRY_MS: u64 = 10;
/// After this many looks the event is taken for a mistake; the relist stands behind it.
const EXIT_RETRIES_MAX: u32 = 50;
/// How long our own end waits for sandboxes in the making.
const END_WAIT_MS: u64 = 10_000;

/// Told when a Pod is gone from the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    pub uid: String,
}

/// One Pod's worker, as it is started (and started again).
#[derive(Clone)]
pub struct Worker {
    pub context: Arc<NodeContext>,
    pub id: PodId,
    pub desired: watch::Receiver<Arc<Desired>>,
    pub watcher: Arc<Watcher>,
    pub gone: mpsc::UnboundedSender<Gone>,
    /// Images that were pulled before it was taken on.
    pub pulled: PulledImages,
    pub shutdown: Shutdown,
}

/// What a worker remembers while it runs.
struct Life {
    machine: Machine,
    jobs: JoinSet<(JobId, Outcome)>,
    running: BTreeMap<JobId, Action>,
    known: Known,
    volumes: VolumeState,
    exited: BTreeSet<String>,
    exit_looks: u32,
    refreshed_at: Timestamp,
    refreshes: JoinSet<()>,
}

impl Worker {
    /// Until nothing of the Pod is left, or the agent ends.
    pub async fn run(mut self) {
        let mut life = Life {
            machine: Machine::new(),
            jobs: JoinSet::new(),
            running: BTreeMap::new(),
            known: Known::default(),
            volumes: VolumeState::Absent,
            exited: BTreeSet::new(),
            exit_looks: 0,
            refreshed_at: self.context.clock.now(),
            refreshes: JoinSet::new(),
        };
        life.machine.take_pulled(std::mem::take(&mut self.pulled));
        loop {
            let wake_in = match self.turn(&mut life).await {
                Turn::Over => {
                    // Nobody listens only when the agent ends.
                    let _ = self.gone.send(Gone { uid: self.id.uid.clone() });
                    return;
                }
                Turn::Again { wake_in } => wake_in,
            };
            tokio::select! {
                // What each arm waits for is kept elsewhere (channel, permit, join set, clock): dropping loses nothing.
                () = self.shutdown.cancelled() => return end(life).await,
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return end(life).await;
                    }
                }
                () = self.watcher.woken() => {}
                Some(ended) = life.jobs.join_next() => self.ended(&mut life, ended),
                () = self.context.clock.sleep(wake_in) => {}
            }
            // What else has ended by now is heard before the next look.
            while let Some(ended) = life.jobs.try_join_next() {
                self.ended(&mut life, ended);
            }
        }
    }

    async fn turn(&mut self, life: &mut Life) -> Turn {
        let desired = Arc::clone(&self.desired.borrow_and_update());
        life.exited.extend(self.watcher.take_exited());
        life.known.forget_containers(&life.exited);
        let mark = life.machine.mark();
        let volumes = life.volumes.clone();
        let looked = look::look(&self.context, &desired, mark, volumes, &mut life.known).await;
        let observed = match looked {
            Ok(observed) => observed,
            Err(error) => {
                tracing::debug!(pod = %self.id, %error, "cannot look at the runtime");
                return Turn::Again { wake_in: Duration::from_millis(LOOK_RETRY_MS) };
            }
        };
        // An exit that the runtime's status does not show yet.
        life.exited.retain(|id| {
            observed.containers.iter().any(|container| {
                container.id == *id && matches!(container.state, podmachine::ContainerState::Running { .. })
            })
        });

        let now = self.context.clock.now();
        let step = life.machine.step(&desired, &observed, now);
        for event in &step.events {
            self.context.say(&desired.pod, event);
        }
        let row = Row {
            pod: self.same_pod(&desired),
            source: desired.source,
            status: step.status,
            state: step.state,
        };
        self.context.board.put(&self.id.uid, row);
        for job in step.jobs {
            self.start_job(life, &desired, job);
        }
        self.refresh_volumes(life, &desired, step.state, now);
        if step.state == State::Gone && life.jobs.is_empty() {
            return Turn::Over;
        }
        let mut wake_in = Duration::from_millis(RESYNC_MS);
        if let Some(at) = step.wake_at {
            wake_in = wake_in.min(until(at, now));
        }
        if life.exited.is_empty() {
            life.exit_looks = 0;
        } else if life.exit_looks < EXIT_RETRIES_MAX {
            life.exit_looks += 1;
            wake_in = wake_in.min(Duration::from_millis(EXIT_RETRY_MS));
        } else {
            life.exited.clear();
            life.exit_looks = 0;
        }
        Turn::Again { wake_in }
    }

    /// The row shares the Pod, so that an unchanged one is recognised.
    fn same_pod(&self, desired: &Arc<Desired>) -> Arc<k8s_openapi::api::core::v1::Pod> {
        match self.context.board.get(&self.id.uid) {
            Some(row) if *row.pod == desired.pod => row.pod,
            _ => Arc::new(desired.pod.clone()),
        }
    }

    fn start_job(&self, life: &mut Life, desired: &Arc<Desired>, job: Job) {
        tracing::debug!(pod = %self.id, action = action_name(&job.action), reason = %job.reason, "job");
        let image_user = match &job.action {
            Action::StartContainer(start) => {
                life.known.users.get(&ImageRef::new(start.image_ref.clone())).cloned().unwrap_or_default()
            }
            _ => ImageUser::default(),
        };
        let order = Order { context: Arc::clone(&self.context), desired: Arc::clone(desired), image_user };
        life.running.insert(job.id, job.action.clone());
        life.jobs.spawn(async move { (job.id, execute(order, job.action).await) });
    }

    fn ended(&self, life: &mut Life, ended: Result<(JobId, Outcome), tokio::task::JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            // The job is lost, and with it its id: begin anew. The supervisor adopts what runs.
            Err(error) => panic!("an action of Pod {} ended without an outcome: {error}", self.id),
        };
        if let Some(action) = life.running.get(&id) {
            let failed = matches!(outcome, Outcome::Failed(_));
            self.context.measures.ended(action_name(action), failed);
        }
        if let Outcome::Failed(failure) = &outcome {
            let action = life.running.get(&id).map_or("?", action_name);
            tracing::warn!(pod = %self.id, action, %failure, "action failed");
        }
        match (life.running.remove(&id), &outcome) {
            (Some(Action::PrepareVolumes), Outcome::Failed(failure)) => {
                life.volumes = VolumeState::Failed { message: failure.to_string() };
            }
            (Some(Action::PrepareVolumes), _) => life.volumes = VolumeState::Ready,
            (Some(Action::CleanUp), Outcome::Done) => life.volumes = VolumeState::Absent,
            (Some(Action::PullImage { image, .. }), _) => life.known.forget_image(&image),
            _ => {}
        }
        life.machine.finished(id, outcome, self.context.clock.now());
    }

    /// Files from ConfigMaps, Secrets and the Pod's own metadata follow their sources.
    fn refresh_volumes(&self, life: &mut Life, desired: &Arc<Desired>, state: State, now: Timestamp) {
        let due = now.duration_since(life.refreshed_at).as_millis() >= i128::from(RESYNC_MS);
        let follows = desired.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).any(|volume| {
            volume.config_map.is_some()
                || volume.secret.is_some()
                || volume.downward_api.is_some()
                || volume.projected.is_some()
        });
        if !due || !follows || state != State::Syncing || life.volumes != VolumeState::Ready {
            return;
        }
        life.refreshed_at = now;
        while life.refreshes.try_join_next().is_some() {}
        if !life.refreshes.is_empty() {
            return;
        }
        let order = Order {
            context: Arc::clone(&self.context),
            desired: Arc::clone(desired),
            image_user: ImageUser::default(),
        };
        let id = self.id.clone();
        life.refreshes.spawn(async move {
            // A source that is away leaves the files as they are.
            if let Outcome::Failed(failure) = execute(order, Action::PrepareVolumes).await {
                tracing::warn!(pod = %id, %failure, "volumes cannot be brought up to date");
            }
        });
    }
}

enum Turn {
    Again { wake_in: Duration },
    Over,
}

/// Lets what must not be cut off come to its end, and drops the rest: containers go on either way.
async fn end(mut life: Life) {
    let waits = async {
        while life.running.values().any(must_end) {
            match life.jobs.join_next().await {
                Some(Ok((id, _))) => drop(life.running.remove(&id)),
                Some(Err(_)) => {}
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(END_WAIT_MS), waits).await;
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

fn action_name(action: &Action) -> &'static str {
    match action {
        Action::PrepareVolumes => "prepare volumes",
        Action::CleanUp => "clean up",
        Action::PullImage { .. } => "pull image",
        Action::CreateSandbox { .. } => "create sandbox",
        Action::StopSandbox { .. } => "stop sandbox",
        Action::RemoveSandbox { .. } => "remove sandbox",
        Action::StartContainer(_) => "start container",
        Action::RunPostStart { .. } => "run post-start hook",
        Action::RunPreStop { .. } => "run pre-stop hook",
        Action::KillContainer { .. } => "kill container",
        Action::RemoveContainer { .. } => "remove container",
        Action::Probe(_) => "probe",
        Action::DeleteFromApi => "delete from API",
    }
}
