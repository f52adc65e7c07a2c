//! Is the image there for this start, and if not, why not.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;

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

/// By container name: image and reference, pulled for its next start.
pub type PulledImages = BTreeMap<String, (String, String)>;

/// What is to be done about an image before its container can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageVerdict {
    /// It is not known yet whether it is there.
    Ask,
    Use {
        image_ref: String,
    },
    Pull,
    /// With the waiting reason and the event's.
    Refuse {
        reason: &'static str,
        event: &'static str,
        message: String,
    },
}

/// Decides by the container's pull policy.
pub fn verdict(container: &Container, state: &ImageState) -> ImageVerdict {
    let image = container.image.as_deref().unwrap_or_default();
    match (state, policy(container)) {
        (ImageState::Unknown, _) => ImageVerdict::Ask,
        (ImageState::InvalidName { message }, _) => ImageVerdict::Refuse {
            reason: "InvalidImageName",
            event: "InspectFailed",
            message: format!("Failed to apply default image tag \"{image}\": {message}"),
        },
        (ImageState::Present { image_ref, .. }, PullPolicy::IfNotPresent | PullPolicy::Never) => {
            ImageVerdict::Use { image_ref: image_ref.clone() }
        }
        (ImageState::Absent, PullPolicy::Never) => ImageVerdict::Refuse {
            reason: "ErrImageNeverPull",
            event: "ErrImageNeverPull",
            message: format!("Container image \"{image}\" is not present with pull policy of Never"),
        },
        (ImageState::Absent, PullPolicy::Always | PullPolicy::IfNotPresent)
        | (ImageState::Present { .. }, PullPolicy::Always) => ImageVerdict::Pull,
    }
}

fn policy(container: &Container) -> PullPolicy {
    let image = container.image.as_deref().unwrap_or_default();
    let latest = || {
        let last = image.rsplit('/').next().unwrap_or_default();
        !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
    };
    match container.image_pull_policy.as_deref() {
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
    match verdict(member.container, state) {
        ImageVerdict::Ask => None,
        ImageVerdict::Use { image_ref } => Some(image_ref),
        ImageVerdict::Refuse { reason, event, message } => {
            refuse(turn, member, event, reason, message);
            None
        }
        ImageVerdict::Pull => {
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
