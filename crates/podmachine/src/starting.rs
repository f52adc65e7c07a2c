//! A Pod that shall run: volumes, sandbox, and which container is to be started now.
//!
//! Init containers one after the other, a sidecar lets the next one go once it has started; then the others at
//! once, except behind one whose post-start hook has still to run. What starts is decided by looking at the
//! instances in the sandbox that takes containers: a new sandbox starts all over.

use jiff::Timestamp;

use crate::action::{Action, KillReason, StartContainer};
use crate::backoff::Backoff;
use crate::image;
use crate::killing;
use crate::machine::last_status;
use crate::observed::{ContainerState, ObservedContainer, SandboxState, VolumeState};
use crate::pod::{self, Member, RestartPolicy, Role};
use crate::turn::Turn;

pub(crate) fn sync(turn: &mut Turn<'_>) {
    kill_what_must_not_live(turn);
    remove_surplus(turn);
    volumes(turn);
    let wanted = wanted(turn);
    sandbox(turn, !wanted.is_empty());
    start_all(turn, &ephemeral(turn));
    start_all(turn, &wanted);
    killing::drive(turn);
}

/// Living containers that are not the one instance of today's spec in today's sandbox.
fn kill_what_must_not_live(turn: &mut Turn<'_>) {
    let names: Vec<&str> = turn.view.names().collect();
    for name in names {
        let member = turn.member(name);
        let living: Vec<&ObservedContainer> =
            turn.view.instances(name).iter().copied().filter(|container| container.lives()).collect();
        let newest = living.last().map(|container| container.id.as_str());
        for container in living {
            let cause = verdict(turn, member, container, newest);
            match (container.state.clone(), cause) {
                // Left behind by a start that did not come to its end.
                (ContainerState::Created, _) => killing::remove(turn, container),
                (ContainerState::Unknown, cause) => {
                    killing::order(turn, container, cause.unwrap_or(KillReason::Unwanted), None);
                }
                (ContainerState::Running { .. }, Some(cause)) => killing::order(turn, container, cause, None),
                (ContainerState::Running { .. } | ContainerState::Exited { .. }, None) => (),
                (ContainerState::Exited { .. }, Some(_)) => (),
            }
        }
    }
}

fn verdict(
    turn: &Turn<'_>,
    member: Option<Member<'_>>,
    container: &ObservedContainer,
    newest: Option<&str>,
) -> Option<KillReason> {
    let Some(member) = member else { return Some(KillReason::Unwanted) };
    if newest != Some(container.id.as_str()) {
        return Some(KillReason::Unwanted);
    }
    match turn.view.ready_sandbox() {
        Some(sandbox) if sandbox.id == container.sandbox_id => (),
        Some(_) | None => return Some(KillReason::SandboxChanged),
    }
    if !turn.same_spec(member, container) {
        return Some(KillReason::SpecChanged);
    }
    turn.memory.condemned.get(&container.id).cloned()
}

/// One dead instance is kept for its logs and as last state; an old sandbox goes when it is empty.
fn remove_surplus(turn: &mut Turn<'_>) {
    let names: Vec<&str> = turn.view.names().collect();
    for name in names {
        let dead: Vec<&ObservedContainer> =
            turn.view.instances(name).iter().copied().filter(|container| !container.lives()).collect();
        let surplus = dead.len().saturating_sub(1);
        for container in dead.into_iter().take(surplus) {
            killing::remove(turn, container);
        }
    }
    let Some(current) = turn.view.ready_sandbox() else { return };
    let observed = turn.view.observed;
    for old in observed.sandboxes.iter().filter(|sandbox| sandbox.id != current.id) {
        let empty = !observed.containers.iter().any(|container| container.sandbox_id == old.id);
        match old.state {
            SandboxState::Ready => killing::stop_sandbox(turn, &old.id, "a newer sandbox is the Pod's"),
            SandboxState::NotReady if empty => killing::remove_sandbox(turn, &old.id, "empty"),
            SandboxState::NotReady => (),
        }
    }
}

fn volumes(turn: &mut Turn<'_>) {
    match turn.view.observed.volumes {
        VolumeState::Ready => return,
        VolumeState::Absent | VolumeState::Failed { .. } => (),
    }
    if turn.memory.doing(|action| *action == Action::PrepareVolumes) {
        return;
    }
    match turn.memory.volumes.wait(turn.now) {
        Some(at) => turn.wake(at),
        None => {
            turn.job(Action::PrepareVolumes, "volumes are not ready");
        }
    }
}

/// Members to start, in order. Back-offs do not count here.
fn wanted<'a>(turn: &Turn<'a>) -> Vec<Member<'a>> {
    let mut wanted = Vec::new();
    let failed_init = |member: &Member<'_>| {
        member.role == Role::Init
            && turn.policy == RestartPolicy::Never
            && turn
                .view
                .current(member.name())
                .and_then(ObservedContainer::exit_code)
                .is_some_and(|code| code != 0)
    };
    if turn.has_ended() || pod::members(turn.spec).any(|member| failed_init(&member)) {
        return wanted;
    }
    let mains_began = pod::mains(turn.spec).any(|member| turn.view.current(member.name()).is_some());
    for member in pod::members(turn.spec).filter(|member| member.role != Role::Main) {
        match (turn.view.current(member.name()), member.role) {
            (None, Role::Init) if mains_began => (),
            (None, _) => wanted.push(member),
            (Some(container), Role::Sidecar) if turn.started(member, container) => continue,
            (Some(container), role) => match container.exit_code() {
                Some(0) if role == Role::Init => continue,
                Some(_) if role == Role::Init && mains_began => continue,
                Some(_) => wanted.push(member),
                None => (),
            },
        }
        if !mains_began {
            return wanted;
        }
    }
    wanted.extend(pod::mains(turn.spec).filter(|member| main_is_wanted(turn, *member)));
    wanted
}

/// Ephemeral containers that never ran. They wait for nobody, so that a Pod that does not get on can be looked at; for
/// them alone no sandbox is made.
fn ephemeral<'a>(turn: &Turn<'a>) -> Vec<Member<'a>> {
    if turn.view.ready_sandbox().is_none() || turn.has_ended() {
        return Vec::new();
    }
    let last = last_status(turn);
    let began = |name: &str| {
        let known = last.ephemeral_container_statuses.iter().flatten().find(|status| status.name == name);
        turn.view.newest(name).is_some() || known.is_some_and(|status| status.container_id.is_some())
    };
    turn.ephemeral().filter(|member| !began(member.name())).collect()
}

fn main_is_wanted(turn: &Turn<'_>, member: Member<'_>) -> bool {
    let same = turn.view.newest(member.name()).is_none_or(|container| turn.same_spec(member, container));
    match turn.view.current(member.name()) {
        Some(container) if container.lives() => false,
        Some(_) | None => {
            !same || turn.ended(member.name()).is_none_or(|code| member.restarts(turn.policy, code))
        }
    }
}

fn sandbox(turn: &mut Turn<'_>, needed: bool) {
    if turn.view.ready_sandbox().is_some() || !needed {
        return;
    }
    let observed = turn.view.observed;
    for old in &observed.sandboxes {
        killing::stop_sandbox(turn, &old.id, "it is dead: its network is taken down");
    }
    let busy = |action: &Action| matches!(action, Action::CreateSandbox { .. } | Action::StopSandbox { .. });
    let stopped = observed.sandboxes.iter().all(|old| turn.memory.stopped.contains(&old.id));
    if turn.memory.doing(busy) || !stopped || turn.view.living().next().is_some() {
        return;
    }
    if let Some(at) = turn.memory.sandbox.wait(turn.now) {
        turn.wake(at);
        return;
    }
    let attempt = turn.view.sandbox.map_or(0, |sandbox| sandbox.attempt.saturating_add(1));
    if turn.view.sandbox.is_some() && turn.memory.sandbox.at.is_none() {
        let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
        turn.normal("SandboxChanged", message, None);
    }
    turn.job(Action::CreateSandbox { attempt }, "the Pod has no living sandbox");
}

fn start_all(turn: &mut Turn<'_>, wanted: &[Member<'_>]) {
    for member in wanted {
        // COMPAT(lifecycle): a container starts only after the post-start hooks of those before it.
        if member.role == Role::Main && hook_is_ahead(turn, *member) {
            return;
        }
        start(turn, *member);
    }
}

fn hook_is_ahead(turn: &Turn<'_>, member: Member<'_>) -> bool {
    let earlier = pod::mains(turn.spec).take_while(|other| other.name() != member.name());
    earlier.filter(|other| other.post_start().is_some()).any(|other| {
        let hooking = turn.view.current(other.name()).is_some_and(|c| turn.memory.hooks.contains(&c.id));
        hooking || turn.memory.starting(other.name())
    })
}

fn start(turn: &mut Turn<'_>, member: Member<'_>) {
    let name = member.name();
    let leftover = turn.view.lives(name);
    if leftover
        || turn.memory.starting(name)
        || in_crash_backoff(turn, member)
        || in_start_backoff(turn, member)
    {
        return;
    }
    let Some(image_ref) = image::ready(turn, member) else { return };
    let Some(sandbox) = turn.view.ready_sandbox() else { return };
    if turn.view.observed.volumes != VolumeState::Ready {
        return;
    }
    let hash = turn.hash(name).to_owned();
    let restart_count = restart_count(turn, name);
    if let Some(event) = last_exit(turn, member) {
        let key = (name.to_owned(), hash.clone());
        let current = turn.memory.crashes.get(&key).copied();
        let next = Backoff::next(current, event, turn.now, crash_seconds_max(turn));
        turn.memory.crashes.insert(key, next);
    }
    image::announce(turn, member);
    turn.memory.pulled.remove(name);
    let reason = match restart_count {
        0 => "first start".to_owned(),
        count => format!("restart {count}"),
    };
    let start = StartContainer {
        name: name.to_owned(),
        sandbox_id: sandbox.id.clone(),
        sandbox_attempt: sandbox.attempt,
        restart_count,
        hash,
        image_ref,
        pod_ips: sandbox.ips.clone(),
    };
    turn.job(Action::StartContainer(start), reason);
}

/// When the newest instance of today's spec ended.
fn last_exit(turn: &Turn<'_>, member: Member<'_>) -> Option<Timestamp> {
    let container = turn.view.newest(member.name()).filter(|container| turn.same_spec(member, container))?;
    match &container.state {
        ContainerState::Exited { finished_at, .. } => {
            Some(finished_at.or(container.created_at).unwrap_or(turn.now))
        }
        ContainerState::Created | ContainerState::Running { .. } | ContainerState::Unknown => None,
    }
}

fn crash_seconds_max(turn: &Turn<'_>) -> u32 {
    turn.desired.host.crash_backoff_seconds_max.unwrap_or(crate::backoff::MAX_SECONDS)
}

fn in_crash_backoff(turn: &mut Turn<'_>, member: Member<'_>) -> bool {
    let name = member.name();
    let Some(event) = last_exit(turn, member) else { return false };
    let key = (name.to_owned(), turn.hash(name).to_owned());
    let Some(backoff) = turn.memory.crashes.get(&key).copied() else { return false };
    let Some(until) = backoff.until(event, turn.now, crash_seconds_max(turn)) else { return false };
    turn.wake(until);
    let title = pod::title(turn.pod);
    let wait = duration(backoff.seconds);
    let message = format!("back-off {wait} restarting failed container={name} pod={title}");
    turn.waiting.insert(name.to_owned(), ("CrashLoopBackOff", message));
    let id = turn.view.newest(name).map(|container| container.id.clone()).unwrap_or_default();
    if turn.memory.crash_told.insert(id) {
        let message = format!("Back-off restarting failed container {name} in pod {title}");
        turn.warning("BackOff", message, Some(name));
    }
    true
}

/// Go's way of writing whole seconds: `10s`, `2m40s`, `5m0s`.
fn duration(seconds: u32) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

fn in_start_backoff(turn: &mut Turn<'_>, member: Member<'_>) -> bool {
    let name = member.name();
    let Some(error) = turn.memory.start_errors.get(name).cloned() else { return false };
    if error.hash != turn.hash(name) {
        turn.memory.start_errors.remove(name);
        return false;
    }
    turn.waiting.insert(name.to_owned(), (error.reason, error.message));
    if turn.now < error.retry_at {
        turn.wake(error.retry_at);
        return true;
    }
    false
}

/// One more than the newest instance's, or than the last status says of one that is gone.
fn restart_count(turn: &Turn<'_>, name: &str) -> u32 {
    if let Some(newest) = turn.view.newest(name) {
        return newest.labels.restart_count.saturating_add(1);
    }
    if let Some(lost) = turn.memory.lost.get(name) {
        return lost.restart_count.saturating_add(1);
    }
    let status = turn.memory.status.as_ref().or(turn.pod.status.as_ref());
    let lists = status.map(|status| status.container_statuses.iter().chain(&status.init_container_statuses));
    let last = lists.into_iter().flatten().flatten().find(|status| status.name == name);
    let last = last.filter(|status| status.container_id.as_ref().is_some_and(|id| !id.is_empty()));
    last.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0).saturating_add(1))
}

#[cfg(test)]
mod tests {
    #[test]
    fn waits_are_written_as_upstream_writes_them() {
        let written: Vec<String> = [10, 80, 160, 300].into_iter().map(super::duration).collect();
        assert_eq!(written, ["10s", "1m20s", "2m40s", "5m0s"]);
    }
}
