//! The machine: one Pod's memory, and the step that turns a look into decisions.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodSpec, PodStatus};

use crate::action::{Action, Event, JobId, Outcome, Step};
use crate::backoff::after;
use crate::desired::{Admission, Desired, Intent, TerminationCause};
use crate::image::PulledImages;
use crate::memory::{Lost, Memory};
use crate::observed::Observed;
use crate::pod;
use crate::state::{Left, State, Wish};
use crate::turn::Turn;
use crate::view::View;
use crate::{hooks, killing, outcome, probing, starting, status};

/// How many own actions had ended when a look began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(crate) u64);

/// One Pod's machine. See the crate's documentation for how it is driven.
#[derive(Debug, Clone)]
pub struct Machine {
    memory: Memory,
    state: State,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// A machine that knows nothing: of a new Pod, or after a restart of the agent.
    pub fn new() -> Self {
        Self { memory: Memory::default(), state: State::Syncing }
    }

    /// Images that were pulled for these containers' first starts: they are not pulled again.
    pub fn take_pulled(&mut self, pulled: PulledImages) {
        self.memory.pulled.extend(pulled);
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Take one before a look at the runtime begins and hand it in with what was seen.
    pub fn mark(&self) -> Mark {
        Mark(self.memory.finished)
    }

    /// Tells what became of a job. An id that is not under way is ignored.
    pub fn finished(&mut self, id: JobId, outcome: Outcome, now: Timestamp) {
        outcome::take(&mut self.memory, id, &outcome, now);
    }

    /// Decides. Same memory, same input: same step.
    pub fn step(&mut self, desired: &Desired, observed: &Observed, now: Timestamp) -> Step {
        let empty = PodSpec::default();
        let spec = desired.pod.spec.as_ref().unwrap_or(&empty);
        if observed.mark.0 < self.memory.finished {
            return self.look_again(desired, spec, now);
        }
        let members = pod::members(spec).map(|member| member.container);
        self.memory.hash_all(members.chain(&desired.ephemeral));
        let mut turn = Turn {
            now,
            desired,
            pod: &desired.pod,
            spec,
            policy: pod::restart_policy(spec),
            view: View::new(observed),
            memory: &mut self.memory,
            jobs: Vec::new(),
            wake_at: None,
            waiting: Default::default(),
        };
        digest(&mut turn);
        loop {
            let next = self.state.next(wish(&turn, self.state), left(&turn));
            if next == self.state {
                break;
            }
            self.state = next;
        }
        hooks::run(&mut turn);
        probing::run(&mut turn, self.state);
        act(&mut turn, self.state);
        let status = status::compute(&mut turn, self.state);
        let Turn { jobs, wake_at, .. } = turn;
        self.memory.status = Some(status.clone());
        Step { jobs, events: self.events(spec), status, wake_at, state: self.state }
    }

    /// The look is older than our own last action: decide nothing, say what was said last.
    fn look_again(&mut self, desired: &Desired, spec: &PodSpec, now: Timestamp) -> Step {
        let last = self.memory.status.clone().or_else(|| desired.pod.status.clone());
        let events = self.events(spec);
        let status = last.unwrap_or_default();
        Step { jobs: Vec::new(), events, status, wake_at: Some(now), state: self.state }
    }

    fn events(&mut self, spec: &PodSpec) -> Vec<Event> {
        let path = |name: &str| {
            let init = spec.init_containers.iter().flatten().any(|container| container.name == name);
            let ephemeral =
                spec.ephemeral_containers.iter().flatten().any(|container| container.name == name);
            let list = match (init, ephemeral) {
                (true, _) => "initContainers",
                (false, true) => "ephemeralContainers",
                (false, false) => "containers",
            };
            format!("spec.{list}{{{name}}}")
        };
        let notes = std::mem::take(&mut self.memory.events);
        let event = |note: crate::memory::Note| Event {
            event_type: note.event_type,
            reason: note.reason,
            message: note.message,
            field_path: note.container.as_deref().map(path),
        };
        notes.into_iter().map(event).collect()
    }
}

/// Brings the memory up to what is seen: forgets what is gone, notes what was lost, what failed.
fn digest(turn: &mut Turn<'_>) {
    let view = &turn.view;
    let lives = |id: &str| view.find(id).is_some_and(|container| container.lives());
    turn.memory.kills.retain(|id, _| lives(id));
    turn.memory.condemned.retain(|id, _| lives(id));
    turn.memory.crash_told.retain(|id| view.find(id).is_some());
    turn.memory.stopped.retain(|id| view.observed.sandboxes.iter().any(|sandbox| sandbox.id == *id));
    lose(turn);
    refuse(turn);
    out_of_time(turn);
    if let Intent::Terminate(TerminationCause::Evicted { reason, message, .. }) = &turn.desired.intent
        && turn.memory.failed.is_none()
    {
        turn.memory.failed = Some((reason.clone(), message.clone()));
    }
}

/// A container that the last status showed running and that is nowhere.
fn lose(turn: &mut Turn<'_>) {
    let Some(last) = turn.memory.status.clone().or_else(|| turn.pod.status.clone()) else { return };
    let running = |status: &ContainerStatus| status.state.as_ref().and_then(|state| state.running.clone());
    for status in last.container_statuses.iter().chain(&last.init_container_statuses).flatten() {
        let Some(state) = running(status) else { continue };
        let id = status.container_id.as_deref().and_then(|id| id.rsplit('/').next()).unwrap_or_default();
        if id.is_empty()
            || turn.view.newest(&status.name).is_some()
            || turn.memory.lost.contains_key(&status.name)
        {
            continue;
        }
        let lost = Lost {
            container_id: status.container_id.clone().unwrap_or_default(),
            started_at: state.started_at.map(|time| time.0),
            restart_count: u32::try_from(status.restart_count).unwrap_or(0),
        };
        turn.memory.lost.insert(status.name.clone(), lost);
    }
    let view = &turn.view;
    turn.memory.lost.retain(|name, _| view.newest(name).is_none());
}

/// The node's admission counts only for a Pod that nothing was started of.
fn refuse(turn: &mut Turn<'_>) {
    let Admission::Refused { reason, message } = &turn.desired.admission else { return };
    let untouched = turn.view.observed.containers.is_empty() && turn.view.observed.sandboxes.is_empty();
    if !untouched || turn.memory.refused_told || turn.memory.failed.is_some() {
        return;
    }
    turn.memory.refused_told = true;
    turn.warning(reason, message.clone(), None);
    turn.memory.failed = Some((reason.clone(), format!("Pod was rejected: {message}")));
}

fn out_of_time(turn: &mut Turn<'_>) {
    let Some(seconds) = turn.spec.active_deadline_seconds else { return };
    let last = turn.memory.status.as_ref().or(turn.pod.status.as_ref());
    let Some(start) = last.and_then(|status| status.start_time.as_ref()).map(|time| time.0) else {
        turn.wake(after(turn.now, seconds));
        return;
    };
    let deadline = after(start, seconds);
    if turn.now < deadline {
        turn.wake(deadline);
        return;
    }
    let ended = last.and_then(|status| status.phase.as_deref()).is_some_and(status::is_terminal);
    if turn.memory.failed.is_none() && !ended && !turn.has_ended() {
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        turn.normal("DeadlineExceeded", message.clone(), None);
        turn.memory.failed = Some(("DeadlineExceeded".to_owned(), message));
    }
}

fn wish(turn: &Turn<'_>, state: State) -> Wish {
    let removed = matches!(turn.desired.intent, Intent::Terminate(TerminationCause::Removed));
    if removed || turn.pod.metadata.deletion_timestamp.is_some() {
        return Wish::Remove;
    }
    let last = turn.memory.status.as_ref().or(turn.pod.status.as_ref());
    let terminal = last.and_then(|status| status.phase.as_deref()).is_some_and(status::is_terminal);
    let ended = state != State::Syncing || terminal || turn.memory.failed.is_some() || turn.has_ended();
    if ended { Wish::End } else { Wish::Run }
}

fn left(turn: &Turn<'_>) -> Left {
    let observed = turn.view.observed;
    let coming = |action: &Action| {
        matches!(action, Action::StartContainer(_) | Action::CreateSandbox { .. } | Action::PrepareVolumes)
    };
    if turn.view.living().next().is_some() || turn.memory.doing(coming) {
        return Left::Life;
    }
    let up = observed.sandboxes.iter().any(|sandbox| !turn.memory.stopped.contains(&sandbox.id));
    if up || !turn.memory.cleaned {
        return Left::Mess;
    }
    let object = killing::wants_api_delete(turn) && !turn.memory.deleted_from_api;
    if object || !observed.sandboxes.is_empty() || !observed.containers.is_empty() {
        return Left::Remains;
    }
    Left::Nothing
}

fn act(turn: &mut Turn<'_>, state: State) {
    match state {
        State::Syncing => starting::sync(turn),
        State::Terminating => killing::terminate(turn),
        State::CleaningUp | State::Finished => {
            killing::terminate(turn);
            killing::clean_up(turn);
        }
        State::Removing => {
            killing::terminate(turn);
            killing::remove_remains(turn);
        }
        State::Gone => (),
    }
}

/// What the last status said, for those who keep parts of it.
pub(crate) fn last_status(turn: &Turn<'_>) -> PodStatus {
    turn.memory.status.clone().or_else(|| turn.pod.status.clone()).unwrap_or_default()
}
