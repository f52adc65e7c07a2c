//! Takes in what became of a job: memory and events, nothing else. The next step decides.

use jiff::Timestamp;

use crate::action::{Action, EventType, Failure, JobId, KillReason, Outcome, StartContainer};
use crate::backoff::{Backoff, MAX_SECONDS, after};
use crate::killing;
use crate::memory::{KillStage, Memory, PullFailure, StartError};
use crate::probing;

/// A start that failed before there was a container to restart: upstream's retry of a failed sync.
const START_RETRY_SECONDS: i64 = 10;
/// The runtime was away, which says nothing about the container.
const UNAVAILABLE_RETRY_SECONDS: i64 = 1;
/// Cap of the retries of a sandbox: the network may come any moment.
const SANDBOX_RETRY_SECONDS_MAX: u32 = 10;
/// Upstream's cap for mounts is two minutes and two seconds.
const VOLUMES_RETRY_SECONDS_MAX: u32 = 120;

pub(crate) fn take(memory: &mut Memory, id: JobId, outcome: &Outcome, now: Timestamp) {
    let Some(action) = memory.jobs.remove(&id) else { return };
    match &action {
        Action::Probe(_) | Action::RunPostStart { .. } | Action::RunPreStop { .. } => (),
        Action::PrepareVolumes
        | Action::CleanUp
        | Action::PullImage { .. }
        | Action::CreateSandbox { .. }
        | Action::StopSandbox { .. }
        | Action::RemoveSandbox { .. }
        | Action::StartContainer(_)
        | Action::KillContainer { .. }
        | Action::RemoveContainer { .. }
        | Action::DeleteFromApi => memory.finished += 1,
    }
    let failure = match outcome {
        Outcome::Failed(failure) => Some(failure),
        Outcome::Done
        | Outcome::SandboxCreated { .. }
        | Outcome::ContainerStarted { .. }
        | Outcome::ImagePulled { .. }
        | Outcome::ProbeSucceeded { .. }
        | Outcome::ProbeFailed { .. }
        | Outcome::ProbeUndecided { .. } => None,
    };
    match action {
        Action::PrepareVolumes => volumes(memory, failure, now),
        Action::CleanUp => match failure {
            Some(failure) => {
                memory.note(
                    EventType::Warning,
                    "FailedKillPod",
                    format!("error cleaning up pod: {failure}"),
                    None,
                );
                memory.cleaning.failed(now, killing::retry_cap());
            }
            None => memory.cleaned = true,
        },
        Action::PullImage { container, image } => pulled(memory, &container, &image, outcome, now),
        Action::CreateSandbox { .. } => match failure {
            Some(failure) => {
                let message = format!("Failed to create pod sandbox: {failure}");
                memory.note(EventType::Warning, "FailedCreatePodSandBox", message, None);
                memory.sandbox.failed(now, SANDBOX_RETRY_SECONDS_MAX);
            }
            None => memory.sandbox = Default::default(),
        },
        Action::StopSandbox { id } => match failure {
            Some(failure) => {
                memory.note(
                    EventType::Warning,
                    "FailedKillPod",
                    format!("error killing pod: {failure}"),
                    None,
                );
                memory.cleaning.failed(now, killing::retry_cap());
            }
            None => {
                memory.stopped.insert(id);
                memory.cleaning = Default::default();
            }
        },
        Action::RemoveSandbox { .. } | Action::RemoveContainer { .. } => match failure {
            Some(_) => memory.removing.failed(now, killing::retry_cap()),
            None => memory.removing = Default::default(),
        },
        Action::DeleteFromApi => match failure {
            Some(_) => memory.removing.failed(now, killing::retry_cap()),
            None => memory.deleted_from_api = true,
        },
        Action::StartContainer(start) => started(memory, &start, outcome, now),
        Action::RunPostStart { container, container_id, .. } => {
            memory.hooks.remove(&container_id);
            if let Some(failure) = failure {
                let message = format!("PostStartHook failed: {failure}");
                memory.note(EventType::Warning, "FailedPostStartHook", message, Some(&container));
                memory.condemned.insert(container_id, KillReason::PostStartFailed);
            }
        }
        Action::RunPreStop { container, container_id, .. } => {
            if let Some(failure) = failure {
                let message = format!("PreStopHook failed: {failure}");
                memory.note(EventType::Warning, "FailedPreStopHook", message, Some(&container));
            }
            if let Some(kill) = memory.kills.get_mut(&container_id)
                && matches!(kill.stage, KillStage::PreStop(job) if job == id)
            {
                kill.hook_ran = true;
                kill.stage = KillStage::New;
            }
        }
        Action::KillContainer { container, container_id, .. } => {
            if let Some(failure) = failure {
                let message = format!("error killing container {container}: {failure}");
                memory.note(EventType::Warning, "FailedKillPod", message, Some(&container));
            }
            if let Some(kill) = memory.kills.get_mut(&container_id)
                && matches!(kill.stage, KillStage::Stopping { job, .. } if job == id)
            {
                kill.stage = KillStage::Again(match failure {
                    Some(Failure::Unavailable(_)) => after(now, UNAVAILABLE_RETRY_SECONDS),
                    Some(_) | None => killing::again_at(now),
                });
            }
        }
        Action::Probe(target) => probing::result(memory, id, &target, outcome),
    }
}

fn volumes(memory: &mut Memory, failure: Option<&Failure>, now: Timestamp) {
    match failure {
        Some(failure) => {
            memory.note(EventType::Warning, "FailedMount", failure.to_string(), None);
            memory.volumes.failed(now, VOLUMES_RETRY_SECONDS_MAX);
        }
        None => memory.volumes = Default::default(),
    }
}

fn pulled(memory: &mut Memory, container: &str, image: &str, outcome: &Outcome, now: Timestamp) {
    match outcome {
        Outcome::ImagePulled { image_ref, size_bytes, took_ms } => {
            memory.pulls.remove(image);
            memory.pulled.insert(container.to_owned(), (image.to_owned(), image_ref.clone()));
            let took = if *took_ms < 1000 {
                format!("{took_ms}ms")
            } else {
                format!("{}.{:03}s", took_ms / 1000, took_ms % 1000)
            };
            let message = format!(
                "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {size_bytes} bytes."
            );
            memory.note(EventType::Normal, "Pulled", message, Some(container));
        }
        Outcome::Failed(failure) => {
            let message = format!("Failed to pull image \"{image}\": {failure}");
            memory.note(EventType::Warning, "Failed", message, Some(container));
            memory.note(EventType::Warning, "Failed", "Error: ErrImagePull".to_owned(), Some(container));
            let current = memory.pulls.get(image).map(|failure| failure.backoff);
            let backoff = Backoff::next(current, now, now, MAX_SECONDS);
            let failure = PullFailure { backoff, at: now, message: failure.to_string(), told: false };
            memory.pulls.insert(image.to_owned(), failure);
        }
        // Pulled, but not told what: the next look shows the image.
        Outcome::Done
        | Outcome::SandboxCreated { .. }
        | Outcome::ContainerStarted { .. }
        | Outcome::ProbeSucceeded { .. }
        | Outcome::ProbeFailed { .. }
        | Outcome::ProbeUndecided { .. } => {
            memory.pulls.remove(image);
        }
    }
}

fn started(memory: &mut Memory, start: &StartContainer, outcome: &Outcome, now: Timestamp) {
    let name = start.name.as_str();
    let failure = match outcome {
        Outcome::ContainerStarted { id } => {
            memory.start_errors.remove(name);
            memory.lost.remove(name);
            memory.hooks.insert(id.clone());
            memory.note(EventType::Normal, "Created", format!("Created container: {name}"), Some(name));
            memory.note(EventType::Normal, "Started", format!("Started container {name}"), Some(name));
            return;
        }
        Outcome::Failed(failure) => failure,
        Outcome::Done
        | Outcome::SandboxCreated { .. }
        | Outcome::ImagePulled { .. }
        | Outcome::ProbeSucceeded { .. }
        | Outcome::ProbeFailed { .. }
        | Outcome::ProbeUndecided { .. } => return,
    };
    let (reason, seconds) = match failure {
        Failure::Config(_) => ("CreateContainerConfigError", START_RETRY_SECONDS),
        Failure::Start(_) => ("RunContainerError", START_RETRY_SECONDS),
        Failure::Create(_) | Failure::Refused(_) | Failure::Pull(_) | Failure::Timeout(_) => {
            ("CreateContainerError", START_RETRY_SECONDS)
        }
        Failure::Unavailable(_) => ("CreateContainerError", UNAVAILABLE_RETRY_SECONDS),
    };
    let message = failure.to_string();
    memory.note(EventType::Warning, "Failed", format!("Error: {message}"), Some(name));
    let retry_at = after(now, seconds);
    let error = StartError { reason, message, hash: start.hash.clone(), retry_at };
    memory.start_errors.insert(name.to_owned(), error);
}
