//! One container's status: its state now, the state before, ready, started, restarts.

use k8s_openapi::api::core::v1::{
    ContainerState as State_, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::action::ProbeKind;
use crate::memory::Lost;
use crate::observed::{ContainerState, ObservedContainer};
use crate::pod::{Member, Role};
use crate::state::State;
use crate::turn::Turn;

fn waiting(reason: &str, message: Option<String>) -> State_ {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    State_ { waiting: Some(waiting), ..State_::default() }
}

fn terminated(terminated: ContainerStateTerminated) -> State_ {
    State_ { terminated: Some(terminated), ..State_::default() }
}

/// `containerd://ID`.
fn scheme(turn: &Turn<'_>, id: &str) -> String {
    let runtime = turn.desired.host.runtime.as_str();
    format!("{}://{id}", if runtime.is_empty() { "containerd" } else { runtime })
}

fn dead(turn: &Turn<'_>, container: &ObservedContainer) -> Option<State_> {
    let ContainerState::Exited { started_at, finished_at, exit_code, reason, message } = &container.state
    else {
        return None;
    };
    let reason = match (reason.is_empty(), exit_code) {
        (false, _) => reason.clone(),
        (true, 0) => "Completed".to_owned(),
        (true, _) => "Error".to_owned(),
    };
    Some(terminated(ContainerStateTerminated {
        container_id: Some(scheme(turn, &container.id)),
        exit_code: *exit_code,
        finished_at: finished_at.map(Time),
        message: (!message.is_empty()).then(|| message.clone()),
        reason: Some(reason),
        signal: None,
        started_at: started_at.or(container.created_at).map(Time),
    }))
}

/// Never found, or found no more: upstream's words for it.
fn unknown(lost: Option<&Lost>, message: &str) -> State_ {
    terminated(ContainerStateTerminated {
        container_id: lost.map(|lost| lost.container_id.clone()),
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some(message.to_owned()),
        started_at: lost.and_then(|lost| lost.started_at).map(Time),
        ..ContainerStateTerminated::default()
    })
}

pub(super) fn status(turn: &Turn<'_>, state: State, member: Member<'_>) -> ContainerStatus {
    let name = member.name();
    let newest = turn.view.newest(name);
    let mut status = ContainerStatus {
        name: name.to_owned(),
        image: member.image().to_owned(),
        started: Some(false),
        last_state: Some(State_::default()),
        ..ContainerStatus::default()
    };
    match newest {
        Some(container) => seen(turn, member, container, &mut status),
        None => unseen(turn, state, member, &mut status),
    }
    if member.role == Role::Ephemeral {
        // COMPAT(kubelet): whether it has started is said of the others only.
        status.started = None;
        if state == State::Syncing && newest.is_none() {
            wait(turn, name, &mut status);
            status.started = None;
        }
        return status;
    }
    match state {
        State::Syncing => wait(turn, name, &mut status),
        State::Terminating => (),
        State::CleaningUp | State::Finished | State::Removing | State::Gone => {
            settle(turn, member, &mut status)
        }
    }
    status
}

fn seen(turn: &Turn<'_>, member: Member<'_>, container: &ObservedContainer, status: &mut ContainerStatus) {
    let name = member.name();
    status.restart_count = i32::try_from(container.labels.restart_count).unwrap_or(i32::MAX);
    status.container_id = Some(scheme(turn, &container.id));
    if !container.image.is_empty() {
        status.image = container.image.clone();
    }
    status.image_id = container.image_id.clone();
    let before = turn.view.instances(name).iter().rev().filter(|other| other.id != container.id);
    if let Some(state) = before.filter_map(|other| dead(turn, other)).next() {
        status.last_state = Some(state);
    }
    let starting = turn.memory.hooks.contains(&container.id);
    status.state = Some(match &container.state {
        ContainerState::Running { started_at } if !starting => {
            let running = ContainerStateRunning { started_at: Some(Time(*started_at)) };
            State_ { running: Some(running), ..State_::default() }
        }
        ContainerState::Running { .. } | ContainerState::Created | ContainerState::Unknown => {
            waiting(default_reason(turn), None)
        }
        ContainerState::Exited { .. } => dead(turn, container).unwrap_or_default(),
    });
    let started = turn.started(member, container);
    status.started = Some(started);
    status.ready = match member.role {
        Role::Init => container.exit_code() == Some(0),
        Role::Sidecar | Role::Main => started && is_ready(turn, member, container),
        Role::Ephemeral => false,
    };
}

fn is_ready(turn: &Turn<'_>, member: Member<'_>, container: &ObservedContainer) -> bool {
    let state = || turn.memory.probes.get(&(container.id.clone(), ProbeKind::Readiness));
    member.probe(ProbeKind::Readiness).is_none() || state().is_some_and(|state| state.passed == Some(true))
}

fn default_reason(turn: &Turn<'_>) -> &'static str {
    let has_init = turn.spec.init_containers.as_ref().is_some_and(|list| !list.is_empty());
    if has_init { "PodInitializing" } else { "ContainerCreating" }
}

fn unseen(turn: &Turn<'_>, state: State, member: Member<'_>, status: &mut ContainerStatus) {
    let name = member.name();
    let last = crate::machine::last_status(turn);
    let lists = [&last.container_statuses, &last.init_container_statuses, &last.ephemeral_container_statuses];
    let last = lists.into_iter().flatten().flatten();
    let last = last.into_iter().find(|status| status.name == name).cloned();
    if let Some(lost) = turn.memory.lost.get(name) {
        let message =
            "The container could not be located when the pod was deleted.  The container used to be Running";
        let gone = unknown(Some(lost), message);
        status.restart_count = i32::try_from(lost.restart_count).unwrap_or(i32::MAX);
        status.container_id = Some(lost.container_id.clone());
        let restarts = state == State::Syncing && member.restarts(turn.policy, 137);
        let slot = if restarts { &mut status.last_state } else { &mut status.state };
        *slot = Some(gone);
    } else if let Some(last) = last {
        // Dead and removed already: what was said stays true.
        let ended = last.state.as_ref().is_some_and(|state| state.terminated.is_some());
        if ended {
            *status = last;
            return;
        }
        status.restart_count = last.restart_count;
        status.last_state = last.last_state;
    }
    if status.state.is_none() {
        status.state = Some(waiting(default_reason(turn), None));
    }
}

/// The reason why it is not started, over what it was before.
fn wait(turn: &Turn<'_>, name: &str, status: &mut ContainerStatus) {
    let Some((reason, message)) = turn.waiting.get(name) else { return };
    if let Some(state) = status.state.take().filter(|state| state.terminated.is_some()) {
        status.last_state = Some(state);
    }
    status.state = Some(waiting(reason, Some(message.clone())));
    status.started = Some(false);
    status.ready = false;
}

/// Nothing will be started any more: what still waits has ended, unknown how.
fn settle(turn: &Turn<'_>, member: Member<'_>, status: &mut ContainerStatus) {
    let waits = status.state.as_ref().is_none_or(|state| state.waiting.is_some());
    let began = turn.view.names().any(|name| crate::pod::mains(turn.spec).any(|main| main.name() == name));
    if waits && (member.role == Role::Main || began) && turn.memory.failed.is_none() {
        let message = "The container could not be located when the pod was terminated";
        status.state = Some(unknown(None, message));
    }
    status.started = Some(false);
    if member.role != Role::Init {
        status.ready = false;
    }
}
