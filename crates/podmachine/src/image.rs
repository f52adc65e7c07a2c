//! Is the image there for this start, and if not, why not.

use crate::action::Action;
use crate::backoff::{MAX_SECONDS, after};
use crate::observed::ImageState;
use crate::pod::Member;
use crate::turn::Turn;

/// How long a failed pull shows as ErrImagePull before it shows as ImagePullBackOff.
const PULL_ERROR_SHOWN_SECONDS: i64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

fn policy(member: Member<'_>) -> PullPolicy {
    let latest = || {
        let last = member.image().rsplit('/').next().unwrap_or_default();
        !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
    };
    match member.container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some(_) => PullPolicy::IfNotPresent,
        None if latest() => PullPolicy::Always,
        None => PullPolicy::IfNotPresent,
    }
}

/// The reference to start from, or `None` with a pull under way or a reason in `turn.waiting`.
pub(crate) fn ready(turn: &mut Turn<'_>, member: Member<'_>) -> Option<String> {
    let (name, image) = (member.name(), member.image());
    if let Some((_, image_ref)) = turn.memory.pulled.get(name).filter(|(pulled, _)| pulled == image) {
        return Some(image_ref.clone());
    }
    let state = turn.view.observed.images.get(image).unwrap_or(&ImageState::Unknown);
    match (state, policy(member)) {
        (ImageState::Unknown, _) => None,
        (ImageState::InvalidName { message }, _) => {
            let message = format!("Failed to apply default image tag \"{image}\": {message}");
            refuse(turn, member, "InspectFailed", "InvalidImageName", message);
            None
        }
        (ImageState::Present { image_ref, .. }, PullPolicy::IfNotPresent | PullPolicy::Never) => {
            Some(image_ref.clone())
        }
        (ImageState::Absent, PullPolicy::Never) => {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            refuse(turn, member, "ErrImageNeverPull", "ErrImageNeverPull", message);
            None
        }
        (ImageState::Absent, PullPolicy::Always | PullPolicy::IfNotPresent)
        | (ImageState::Present { .. }, PullPolicy::Always) => {
            pull(turn, member);
            None
        }
    }
}

fn refuse(
    turn: &mut Turn<'_>,
    member: Member<'_>,
    event: &'static str,
    reason: &'static str,
    message: String,
) {
    let name = member.name();
    if turn.memory.image_told.insert(format!("{name} {}", member.image())) {
        turn.warning(event, message.clone(), Some(name));
        turn.warning("Failed", format!("Error: {reason}"), Some(name));
    }
    turn.waiting.insert(name.to_owned(), (reason, message));
}

fn pull(turn: &mut Turn<'_>, member: Member<'_>) {
    let (name, image) = (member.name(), member.image());
    let pulling = turn
        .memory
        .doing(|action| matches!(action, Action::PullImage { container, .. } if container == name));
    if pulling {
        return;
    }
    if let Some(failure) = turn.memory.pulls.get(image).cloned()
        && let Some(until) = failure.backoff.until(failure.at, turn.now, MAX_SECONDS)
    {
        turn.wake(until);
        let shown_until = after(failure.at, PULL_ERROR_SHOWN_SECONDS);
        if turn.now < shown_until {
            turn.wake(shown_until);
            turn.waiting.insert(name.to_owned(), ("ErrImagePull", failure.message));
            return;
        }
        let message = format!("Back-off pulling image \"{image}\"");
        if !failure.told {
            turn.normal("BackOff", message.clone(), Some(name));
            turn.warning("Failed", "Error: ImagePullBackOff".to_owned(), Some(name));
            if let Some(failure) = turn.memory.pulls.get_mut(image) {
                failure.told = true;
            }
        }
        let message = format!("{message}: ErrImagePull: {}", failure.message);
        turn.waiting.insert(name.to_owned(), ("ImagePullBackOff", message));
        return;
    }
    if let Some(failure) = turn.memory.pulls.get(image) {
        let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", failure.message);
        turn.waiting.insert(name.to_owned(), ("ImagePullBackOff", message));
    }
    turn.normal("Pulling", format!("Pulling image \"{image}\""), Some(name));
    let action = Action::PullImage { container: name.to_owned(), image: image.to_owned() };
    turn.job(action, "the image is needed for a start");
}

/// The event of a start that needed no pull.
pub(crate) fn announce(turn: &mut Turn<'_>, member: Member<'_>) {
    let pulled = turn.memory.pulled.get(member.name());
    if pulled.is_none_or(|(image, _)| image != member.image()) {
        let message = format!("Container image \"{}\" already present on machine", member.image());
        turn.normal("Pulled", message, Some(member.name()));
    }
}
