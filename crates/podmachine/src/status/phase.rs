//! The phase. Terminal ones stay; Running never goes back to Pending.

use k8s_openapi::api::core::v1::ContainerStatus;

use crate::desired::PodSource;
use crate::pod::{self, RestartPolicy, Role};
use crate::state::State;
use crate::turn::Turn;

pub(crate) fn is_terminal(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn last_exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.last_state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn runs(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

pub(super) fn phase(
    turn: &Turn<'_>,
    state: State,
    last: Option<&str>,
    mains: &[ContainerStatus],
    inits: &[ContainerStatus],
) -> &'static str {
    let last = match last {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        Some("Running") => "Running",
        Some(_) | None => "Pending",
    };
    let over = match state {
        State::Syncing | State::Terminating => false,
        State::CleaningUp | State::Finished | State::Removing | State::Gone => true,
    };
    if over && turn.memory.failed.is_some() {
        return "Failed";
    }
    let all_succeeded = mains.iter().all(|status| exit_code(status) == Some(0));
    // COMPAT(static): a static Pod that is merely taken down ends in the phase that it had.
    let deleted = over && turn.desired.source == PodSource::Api;
    if deleted {
        return if all_succeeded && !init_failed(turn, inits) { "Succeeded" } else { "Failed" };
    }
    let computed = alive(turn, mains, inits);
    // Terminal only when nothing lives any more: sidecars may still be stopping.
    match (over, computed) {
        (false, "Succeeded" | "Failed") => last,
        (_, "Pending") => last,
        (_, computed) => computed,
    }
}

fn init_failed(turn: &Turn<'_>, inits: &[ContainerStatus]) -> bool {
    let is_init = |name: &str| pod::member(turn.spec, name).is_some_and(|member| member.role == Role::Init);
    inits.iter().any(|status| is_init(&status.name) && exit_code(status).is_some_and(|code| code != 0))
}

fn alive(turn: &Turn<'_>, mains: &[ContainerStatus], inits: &[ContainerStatus]) -> &'static str {
    if turn.policy == RestartPolicy::Never && init_failed(turn, inits) {
        return "Failed";
    }
    let any_began = mains
        .iter()
        .any(|status| runs(status) || exit_code(status).is_some() || last_exit_code(status).is_some());
    let init_open =
        inits.iter().any(|status| match pod::member(turn.spec, &status.name).map(|member| member.role) {
            Some(Role::Sidecar) => !(runs(status) && status.started == Some(true)),
            Some(Role::Init | Role::Main | Role::Ephemeral) | None => exit_code(status) != Some(0),
        });
    let never_ran = |status: &ContainerStatus| {
        !runs(status) && exit_code(status).is_none() && last_exit_code(status).is_none()
    };
    if (init_open && !any_began) || mains.iter().any(never_ran) {
        return "Pending";
    }
    if mains.iter().any(runs) {
        return "Running";
    }
    let code = |status: &ContainerStatus| exit_code(status).or_else(|| last_exit_code(status));
    let all_succeeded = mains.iter().all(|status| code(status) == Some(0));
    match turn.policy {
        RestartPolicy::Always => "Running",
        RestartPolicy::OnFailure | RestartPolicy::Never if all_succeeded => "Succeeded",
        RestartPolicy::Never => "Failed",
        RestartPolicy::OnFailure => "Running",
    }
}
