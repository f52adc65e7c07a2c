//! Ending containers, sandboxes and all that belongs to a Pod.
//!
//! A kill runs: pre-stop hook (which uses up the grace), then the stop signal with what is left of it, at least two
//! seconds after a hook. It is asked again if the container is still seen alive later, and sooner when the
//! deadline moved forward.

use jiff::Timestamp;

use crate::action::{Action, KillReason};
use crate::backoff::after;
use crate::desired::{Intent, PodSource, TerminationCause};
use crate::memory::{Kill, KillStage, Termination};
use crate::observed::{ContainerState, ObservedContainer};
use crate::pod::{self, Role};
use crate::turn::Turn;

/// What a pre-stop hook leaves at least, as upstream.
const GRACE_AFTER_HOOK_SECONDS_MIN: u64 = 2;
/// A sidecar is told when the others are gone, however late.
const SIDECAR_GRACE_SECONDS_MIN: i64 = 2;
/// A container that should be dead and is not is asked again after this long: upstream's retry of a failed sync.
const KILL_AGAIN_SECONDS: i64 = 10;
/// Cap of the retries of cleaning and removing.
const CLEAN_RETRY_SECONDS_MAX: u32 = 60;

/// Orders a kill. A second order changes nothing but an earlier deadline.
pub(crate) fn order(
    turn: &mut Turn<'_>,
    container: &ObservedContainer,
    cause: KillReason,
    deadline: Option<Timestamp>,
) {
    let name = container.labels.container_name.as_str();
    let deadline = deadline.unwrap_or_else(|| {
        let seconds = grace_seconds(turn, container, &cause);
        after(turn.now, i64::try_from(seconds).unwrap_or(i64::MAX))
    });
    if let Some(kill) = turn.memory.kills.get_mut(&container.id) {
        kill.deadline = kill.deadline.min(deadline);
        return;
    }
    let message = message(name, &cause);
    turn.normal("Killing", message, Some(name));
    let kill = Kill { cause, deadline, stage: KillStage::New, hook_ran: false };
    turn.memory.kills.insert(container.id.clone(), kill);
}

fn message(name: &str, cause: &KillReason) -> String {
    match cause {
        KillReason::PodTerminating
        | KillReason::PodFinished
        | KillReason::SandboxChanged
        | KillReason::Unwanted => format!("Stopping container {name}"),
        KillReason::SpecChanged => format!("Container {name} definition changed, will be restarted"),
        KillReason::LivenessFailed => format!("Container {name} failed liveness probe, will be restarted"),
        KillReason::StartupFailed => format!("Container {name} failed startup probe, will be restarted"),
        KillReason::PostStartFailed => "FailedPostStartHook".to_owned(),
    }
}

fn grace_seconds(turn: &Turn<'_>, container: &ObservedContainer, cause: &KillReason) -> u64 {
    use crate::action::ProbeKind::{Liveness, Startup};
    let member = pod::member(turn.spec, &container.labels.container_name);
    let probe = match cause {
        KillReason::LivenessFailed => member.and_then(|member| member.probe(Liveness)),
        KillReason::StartupFailed => member.and_then(|member| member.probe(Startup)),
        KillReason::PodTerminating
        | KillReason::PodFinished
        | KillReason::SpecChanged
        | KillReason::PostStartFailed
        | KillReason::SandboxChanged
        | KillReason::Unwanted => None,
    };
    let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
    own.map_or_else(|| pod::grace_seconds(turn.pod), |seconds| u64::try_from(seconds).unwrap_or(1))
}

fn seconds_until(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(at.duration_since(now).as_secs()).unwrap_or(0)
}

/// Carries every ordered kill on.
pub(crate) fn drive(turn: &mut Turn<'_>) {
    let ids: Vec<String> = turn.memory.kills.keys().cloned().collect();
    for id in ids {
        if let (Some(container), Some(kill)) = (turn.view.find(&id), turn.memory.kills.get(&id).cloned()) {
            advance(turn, container, kill);
        }
    }
}

fn advance(turn: &mut Turn<'_>, container: &ObservedContainer, kill: Kill) {
    let name = &container.labels.container_name;
    let left = seconds_until(kill.deadline, turn.now);
    let hook = pod::member(turn.spec, name).and_then(|member| member.pre_stop()).filter(|_| container.runs());
    let stage = match (&kill.stage, hook) {
        (KillStage::New, Some(handler)) if !kill.hook_ran && left > 0 => {
            let action = Action::RunPreStop {
                container: name.clone(),
                container_id: container.id.clone(),
                handler: handler.clone(),
                timeout_seconds: left,
            };
            turn.wake(kill.deadline);
            KillStage::PreStop(turn.job(action, "before the container is stopped"))
        }
        (KillStage::New, _) => stop(turn, container, &kill, left),
        (KillStage::PreStop(_), _) if turn.now >= kill.deadline => stop(turn, container, &kill, left),
        (KillStage::PreStop(_), _) => {
            turn.wake(kill.deadline);
            return;
        }
        (KillStage::Stopping { ends_at, .. }, _)
            if *ends_at > after(kill.deadline, 1) && *ends_at > after(turn.now, 2) =>
        {
            stop(turn, container, &kill, left)
        }
        (KillStage::Stopping { .. }, _) => return,
        (KillStage::Again(at), _) if turn.now < *at => {
            turn.wake(*at);
            return;
        }
        (KillStage::Again(_), _) => stop(turn, container, &kill, left),
    };
    if let Some(kill) = turn.memory.kills.get_mut(&container.id) {
        kill.stage = stage;
    }
}

fn stop(turn: &mut Turn<'_>, container: &ObservedContainer, kill: &Kill, left: u64) -> KillStage {
    let in_hook = kill.hook_ran || matches!(kill.stage, KillStage::PreStop(_));
    let grace_seconds = if in_hook { left.max(GRACE_AFTER_HOOK_SECONDS_MIN) } else { left };
    let action = Action::KillContainer {
        container: container.labels.container_name.clone(),
        container_id: container.id.clone(),
        grace_seconds,
        cause: kill.cause.clone(),
    };
    let ends_at = after(turn.now, i64::try_from(grace_seconds).unwrap_or(i64::MAX));
    KillStage::Stopping { job: turn.job(action, format!("{:?}", kill.cause)), ends_at }
}

/// When a kill's job has ended but the container may still live.
pub(crate) fn again_at(now: Timestamp) -> Timestamp {
    after(now, KILL_AGAIN_SECONDS)
}

pub(crate) fn remove(turn: &mut Turn<'_>, container: &ObservedContainer) {
    let id = &container.id;
    if turn
        .memory
        .doing(|action| matches!(action, Action::RemoveContainer { container_id, .. } if container_id == id))
    {
        return;
    }
    if let Some(at) = turn.memory.removing.wait(turn.now) {
        turn.wake(at);
        return;
    }
    // A start that is under way may be about to start it.
    if turn.memory.starting(&container.labels.container_name) {
        return;
    }
    let action = Action::RemoveContainer {
        container: container.labels.container_name.clone(),
        container_id: id.clone(),
    };
    turn.job(action, "no longer needed");
}

pub(crate) fn stop_sandbox(turn: &mut Turn<'_>, id: &str, reason: &str) {
    // Its containers are stopped first, with their grace.
    if turn.view.living().any(|container| container.sandbox_id == id) {
        return;
    }
    let stopping =
        turn.memory.doing(|action| matches!(action, Action::StopSandbox { id: other } if other == id));
    if stopping || turn.memory.stopped.contains(id) {
        return;
    }
    match turn.memory.cleaning.wait(turn.now) {
        Some(at) => turn.wake(at),
        None => {
            turn.job(Action::StopSandbox { id: id.to_owned() }, reason);
        }
    }
}

pub(crate) fn remove_sandbox(turn: &mut Turn<'_>, id: &str, reason: &str) {
    let removing =
        turn.memory.doing(|action| matches!(action, Action::RemoveSandbox { id: other } if other == id));
    match turn.memory.removing.wait(turn.now) {
        Some(at) => turn.wake(at),
        None if removing => (),
        None => {
            turn.job(Action::RemoveSandbox { id: id.to_owned() }, reason);
        }
    }
}

/// All containers: the others at once with running init containers, then sidecars from last to first. Together
/// they have one deadline.
pub(crate) fn terminate(turn: &mut Turn<'_>) {
    let (grace_seconds, cause) = grace(turn);
    let fresh = after(turn.now, i64::try_from(grace_seconds).unwrap_or(i64::MAX));
    let deadline = match &turn.memory.termination {
        Some(known) if known.grace_seconds <= grace_seconds => known.deadline,
        Some(known) => known.deadline.min(fresh),
        None => fresh,
    };
    let shortest = turn
        .memory
        .termination
        .as_ref()
        .map_or(grace_seconds, |known| known.grace_seconds.min(grace_seconds));
    turn.memory.termination = Some(Termination { grace_seconds: shortest, deadline });

    let mut sidecars = Vec::new();
    let mut others_live = false;
    let living: Vec<&ObservedContainer> = turn.view.living().collect();
    for container in living {
        let member = pod::member(turn.spec, &container.labels.container_name);
        match member.map(|member| member.role) {
            Some(Role::Sidecar) => sidecars.push(container),
            Some(Role::Init | Role::Main | Role::Ephemeral) | None => {
                others_live = true;
                end(turn, container, cause.clone(), deadline);
            }
        }
    }
    let order = |container: &&ObservedContainer| {
        pod::members(turn.spec).position(|member| member.name() == container.labels.container_name)
    };
    sidecars.sort_by_key(order);
    if !others_live && let Some(last) = sidecars.last() {
        // COMPAT(sidecars): what is left of the grace, at least two seconds.
        let least = after(turn.now, SIDECAR_GRACE_SECONDS_MIN);
        end(turn, last, cause, deadline.max(least));
    }
    drive(turn);
}

fn end(turn: &mut Turn<'_>, container: &ObservedContainer, cause: KillReason, deadline: Timestamp) {
    match container.state {
        ContainerState::Created => remove(turn, container),
        ContainerState::Running { .. } | ContainerState::Unknown | ContainerState::Exited { .. } => {
            order(turn, container, cause, Some(deadline));
        }
    }
}

/// The grace that counts now, at least a second, and why.
fn grace(turn: &Turn<'_>) -> (u64, KillReason) {
    let own = pod::grace_seconds(turn.pod);
    if let Intent::Terminate(TerminationCause::Evicted { grace_seconds, .. }) = &turn.desired.intent {
        return ((*grace_seconds).max(1).min(own), KillReason::PodTerminating);
    }
    if turn.pod.metadata.deletion_timestamp.is_some() {
        let asked = turn.pod.metadata.deletion_grace_period_seconds;
        let seconds = asked.map_or(own, |seconds| u64::try_from(seconds).unwrap_or(1)).max(1);
        return (seconds, KillReason::PodTerminating);
    }
    match turn.desired.intent {
        Intent::Terminate(_) => (own, KillReason::PodTerminating),
        Intent::Run if turn.memory.failed.is_some() => (own, KillReason::PodTerminating),
        Intent::Run => (own, KillReason::PodFinished),
    }
}

/// Sandboxes down, then volumes, directories and cgroups away.
pub(crate) fn clean_up(turn: &mut Turn<'_>) {
    let observed = turn.view.observed;
    for sandbox in &observed.sandboxes {
        stop_sandbox(turn, &sandbox.id, "no container lives in it any more");
    }
    let up = |id: &str| !turn.memory.stopped.contains(id);
    let waiting = observed.sandboxes.iter().any(|sandbox| up(&sandbox.id));
    if waiting || turn.memory.cleaned || turn.memory.doing(|action| *action == Action::CleanUp) {
        return;
    }
    match turn.memory.cleaning.wait(turn.now) {
        Some(at) => turn.wake(at),
        None => {
            turn.job(Action::CleanUp, "no container and no sandbox lives any more");
        }
    }
}

/// Dead sandboxes and containers away, then the API object.
pub(crate) fn remove_remains(turn: &mut Turn<'_>) {
    let observed = turn.view.observed;
    for sandbox in &observed.sandboxes {
        remove_sandbox(turn, &sandbox.id, "the Pod is gone");
    }
    let orphans: Vec<&ObservedContainer> = observed.containers.iter().collect();
    for container in orphans.into_iter().filter(|c| !observed.sandboxes.iter().any(|s| s.id == c.sandbox_id))
    {
        remove(turn, container);
    }
    if !observed.sandboxes.is_empty() || !observed.containers.is_empty() || !wants_api_delete(turn) {
        return;
    }
    if turn.memory.deleted_from_api || turn.memory.doing(|action| *action == Action::DeleteFromApi) {
        return;
    }
    match turn.memory.removing.wait(turn.now) {
        Some(at) => turn.wake(at),
        None => {
            turn.job(Action::DeleteFromApi, "nothing is left of it on the node");
        }
    }
}

/// An object that was deleted and waits for us; one that is already gone, and a static Pod, do not.
pub(crate) fn wants_api_delete(turn: &Turn<'_>) -> bool {
    let removed = matches!(turn.desired.intent, Intent::Terminate(TerminationCause::Removed));
    match turn.desired.source {
        PodSource::Api => turn.pod.metadata.deletion_timestamp.is_some() && !removed,
        PodSource::Static => false,
    }
}

pub(crate) fn retry_cap() -> u32 {
    CLEAN_RETRY_SECONDS_MAX
}
