//! When which probe runs, and what its results mean.
//!
//! Startup holds the others back; it and liveness condemn a container when they fail often enough; readiness only
//! counts for the status. A probe's first run is its initial delay after the container's start; after a restart of
//! the agent the runs are spread over one period, by the container's id. One run at a time.

use std::hash::Hasher;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;

use crate::action::{Action, EventType, JobId, KillReason, Outcome, ProbeKind, ProbeTarget};
use crate::backoff::after;
use crate::memory::{Memory, ProbeState};
use crate::observed::{ContainerState, ObservedContainer};
use crate::pod::{self, Member};
use crate::state::State;
use crate::turn::Turn;

const KINDS: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

fn positive(value: Option<i32>, default: i32) -> i64 {
    i64::from(value.filter(|value| *value > 0).unwrap_or(default))
}

fn threshold(value: Option<i32>, default: i32) -> u32 {
    u32::try_from(positive(value, default)).unwrap_or(1)
}

/// Plans the probes of all running containers and starts those that are due.
pub(crate) fn run(turn: &mut Turn<'_>, state: State) {
    let view_ids: Vec<&ObservedContainer> = turn.view.living().filter(|container| container.runs()).collect();
    turn.memory.probes.retain(|(id, _), _| view_ids.iter().any(|container| container.id == *id));
    for container in view_ids {
        let name = container.labels.container_name.as_str();
        let Some(member) = pod::member(turn.spec, name) else { continue };
        let current = turn.view.current(name).is_some_and(|current| current.id == container.id);
        if !current || turn.memory.hooks.contains(&container.id) || turn.memory.starting(name) {
            continue;
        }
        for kind in KINDS {
            if let Some(probe) = member.probe(kind) {
                plan(turn, state, member, container, kind, probe);
            }
        }
    }
}

fn plan(
    turn: &mut Turn<'_>,
    state: State,
    member: Member<'_>,
    container: &ObservedContainer,
    kind: ProbeKind,
    probe: &Probe,
) {
    let key = (container.id.clone(), kind);
    if !turn.memory.probes.contains_key(&key) {
        let fresh = fresh(turn, container, kind, probe);
        turn.memory.probes.insert(key.clone(), fresh);
    }
    let held = match kind {
        ProbeKind::Startup => turn.memory.probes[&key].passed == Some(true),
        ProbeKind::Liveness | ProbeKind::Readiness => !turn.started(member, container),
    };
    let stopping = turn.memory.kills.contains_key(&container.id) || state != State::Syncing;
    if held || (stopping && kind != ProbeKind::Readiness) || turn.memory.condemned.contains_key(&container.id)
    {
        return;
    }
    let probe_state = &turn.memory.probes[&key];
    if probe_state.job.is_some() {
        return;
    }
    if turn.now < probe_state.next_at {
        let at = probe_state.next_at;
        turn.wake(at);
        return;
    }
    let target = ProbeTarget {
        kind,
        container: member.name().to_owned(),
        container_id: container.id.clone(),
        probe: probe.clone(),
        pod_ip: pod_ip(turn),
    };
    let job = turn.job(Action::Probe(target), "due");
    let next_at = after(turn.now, positive(probe.period_seconds, 10));
    if let Some(state) = turn.memory.probes.get_mut(&key) {
        state.job = Some(job);
        state.next_at = next_at;
    }
}

fn pod_ip(turn: &Turn<'_>) -> String {
    let own = turn.view.ready_sandbox().and_then(|sandbox| sandbox.ips.first());
    own.or_else(|| turn.desired.host.ips.first()).cloned().unwrap_or_default()
}

/// A probe's beginning. What the last status says of this very container is believed, so that a restart of the agent
/// does not make a ready Pod unready.
fn fresh(turn: &Turn<'_>, container: &ObservedContainer, kind: ProbeKind, probe: &Probe) -> ProbeState {
    let started_at = match container.state {
        ContainerState::Running { started_at } => started_at,
        ContainerState::Created | ContainerState::Unknown | ContainerState::Exited { .. } => turn.now,
    };
    let first = after(started_at, positive(probe.initial_delay_seconds, 0));
    let adopted = turn.desired.host.agent_started_at.is_some_and(|agent| started_at < agent);
    let next_at = if adopted { first.max(spread(&container.id, kind, probe, turn.now)) } else { first };
    let last = pod::last_status(turn.pod, &container.labels.container_name)
        .filter(|status| status.container_id.as_deref().is_some_and(|id| id.ends_with(&container.id)));
    let passed = match (kind, last) {
        (ProbeKind::Startup, Some(last)) => (last.started == Some(true)).then_some(true),
        (ProbeKind::Readiness, Some(last)) => Some(last.ready),
        (ProbeKind::Readiness, None) => Some(false),
        (ProbeKind::Startup, None) => None,
        (ProbeKind::Liveness, _) => Some(true),
    };
    ProbeState { next_at, job: None, passed, successes: 0, failures: 0 }
}

/// Somewhere in the next period, the same for the same container.
fn spread(id: &str, kind: ProbeKind, probe: &Probe, now: Timestamp) -> Timestamp {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(id.as_bytes());
    hasher.write_u8(kind as u8);
    let period_ms = positive(probe.period_seconds, 10).unsigned_abs() * 1000;
    let ms = i64::try_from(hasher.finish() % period_ms).unwrap_or(0);
    now.checked_add(jiff::SignedDuration::from_millis(ms)).unwrap_or(now)
}

/// Takes a probe's result in.
pub(crate) fn result(memory: &mut Memory, job: JobId, target: &ProbeTarget, outcome: &Outcome) {
    let key = (target.container_id.clone(), target.kind);
    let Some(state) = memory.probes.get_mut(&key) else { return };
    if state.job == Some(job) {
        state.job = None;
    }
    let word = match target.kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Liveness => "Liveness",
        ProbeKind::Readiness => "Readiness",
    };
    match outcome {
        Outcome::ProbeSucceeded { warning } => {
            state.failures = 0;
            state.successes = state.successes.saturating_add(1);
            if state.successes >= threshold(target.probe.success_threshold, 1) {
                state.passed = Some(true);
            }
            if let Some(warning) = warning {
                let message = format!("{word} probe warning: {warning}");
                memory.note(EventType::Warning, "ProbeWarning", message, Some(&target.container));
            }
        }
        Outcome::ProbeFailed { output } => {
            state.successes = 0;
            state.failures = state.failures.saturating_add(1);
            let failed = state.failures >= threshold(target.probe.failure_threshold, 3);
            if failed {
                state.passed = Some(false);
            }
            let message = format!("{word} probe failed: {output}");
            memory.note(EventType::Warning, "Unhealthy", message, Some(&target.container));
            match target.kind {
                ProbeKind::Startup if failed => condemn(memory, target, KillReason::StartupFailed),
                ProbeKind::Liveness if failed => condemn(memory, target, KillReason::LivenessFailed),
                ProbeKind::Startup | ProbeKind::Liveness | ProbeKind::Readiness => (),
            }
        }
        // COMPAT(prober): an error of the probe itself leaves the result as it was.
        Outcome::ProbeUndecided { .. }
        | Outcome::Failed(_)
        | Outcome::Done
        | Outcome::SandboxCreated { .. }
        | Outcome::ContainerStarted { .. }
        | Outcome::ImagePulled { .. } => (),
    }
}

fn condemn(memory: &mut Memory, target: &ProbeTarget, cause: KillReason) {
    memory.condemned.entry(target.container_id.clone()).or_insert(cause);
}
