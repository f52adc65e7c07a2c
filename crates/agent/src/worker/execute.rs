//! Carries out what the machine decided. Nothing is chosen here: each action ends in one outcome.

use std::sync::Arc;
use std::time::Duration;

use cri::{ContainerId, SandboxId};
use podmachine::{Action, Desired, Failure, Outcome};

use super::start;
use crate::context::NodeContext;
use crate::downward::Facts;
use crate::objects::{self, Names};
use crate::spec::PodId;
use crate::spec::container::ImageUser;
use crate::spec::sandbox::sandbox_config;
use crate::{hook, probe};

/// What an action may need beside itself.
#[derive(Clone)]
pub struct Order {
    pub context: Arc<NodeContext>,
    pub desired: Arc<Desired>,
    /// The image's own user, for a start.
    pub image_user: ImageUser,
}

/// Carries out one action.
pub async fn execute(order: Order, action: Action) -> Outcome {
    let context = &order.context;
    let runtime = &context.runtime;
    match action {
        Action::PrepareVolumes => done(prepare_volumes(&order).await),
        Action::CleanUp => done(clean_up(&order).await),
        Action::PullImage { image, .. } => pull(&order, &image).await,
        Action::CreateSandbox { attempt } => create_sandbox(&order, attempt).await,
        Action::StopSandbox { id } => called(runtime.stop_sandbox(&SandboxId(id)).await),
        Action::RemoveSandbox { id } => called(runtime.remove_sandbox(&SandboxId(id)).await),
        Action::StartContainer(wanted) => match start::start(&order, wanted).await {
            Ok(id) => Outcome::ContainerStarted { id },
            Err(failure) => Outcome::Failed(failure),
        },
        Action::RunPostStart { container, container_id, handler } => done(
            hook::run(context, &order.desired.pod, &container, &container_id, &handler, hook::NO_LIMIT).await,
        ),
        Action::RunPreStop { container, container_id, handler, timeout_seconds } => {
            let limit = Duration::from_secs(timeout_seconds);
            done(hook::run(context, &order.desired.pod, &container, &container_id, &handler, limit).await)
        }
        Action::KillContainer { container_id, grace_seconds, .. } => called(
            runtime.stop_container(&ContainerId(container_id), Duration::from_secs(grace_seconds)).await,
        ),
        Action::RemoveContainer { container_id, .. } => {
            called(runtime.remove_container(&ContainerId(container_id)).await)
        }
        Action::Probe(target) => probe::run(context, &order.desired.pod, &target).await,
        Action::DeleteFromApi => done(context.statuses.finish(&order.desired.pod).await.map_err(refused)),
    }
}

/// Whether an action may be cut off by our own end. What makes or unmakes a sandbox runs network plugins, which do
/// not like it.
pub fn must_end(action: &Action) -> bool {
    matches!(
        action,
        Action::CreateSandbox { .. }
            | Action::StopSandbox { .. }
            | Action::RemoveSandbox { .. }
            | Action::CleanUp
    )
}

fn refused(error: impl std::error::Error) -> Failure {
    Failure::Refused(crate::error_chain(&error))
}

fn done(result: Result<(), Failure>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(failure) => Outcome::Failed(failure),
    }
}

fn called(result: cri::Result<()>) -> Outcome {
    done(result.map_err(failure))
}

/// A runtime's refusal as the machine tells them apart.
pub fn failure(error: cri::Error) -> Failure {
    match error {
        cri::Error::Unavailable { message, .. } => Failure::Unavailable(message),
        cri::Error::Timeout { .. } => Failure::Timeout(error.to_string()),
        cri::Error::NotFound { message, .. }
        | cri::Error::AlreadyExists { message, .. }
        | cri::Error::Refused { message, .. } => Failure::Refused(message),
    }
}

async fn prepare_volumes(order: &Order) -> Result<(), Failure> {
    let context = &order.context;
    let pod = &order.desired.pod;
    let id = PodId::of(pod);
    if let Some(cgroups) = &context.cgroups
        && let Err(error) = cgroups.prepare(pod, &cgroups.pod(&id.uid))
    {
        return Err(Failure::Refused(format!("make the Pod's control group: {error}")));
    }
    let names = Names::of_volumes(pod);
    let shelf = context.objects_of(order.desired.source, &id.uid);
    let mut referenced = objects::fetch(shelf, &id.namespace, &names).await.map_err(refused)?;
    referenced.tokens = context.tokens.of_volumes(pod).await.map_err(refused)?;
    let facts = facts(context, pod, &[]);
    context.volumes.prepare(pod, &referenced, &facts).map_err(refused)
}

/// What a Pod may learn about itself.
pub fn facts<'a>(
    context: &'a NodeContext,
    pod: &'a k8s_openapi::api::core::v1::Pod,
    pod_ips: &'a [String],
) -> Facts<'a> {
    Facts { pod, pod_ips, host_ips: &context.host_ips, allocatable: context.allocatable.clone() }
}

async fn clean_up(order: &Order) -> Result<(), Failure> {
    let context = &order.context;
    let id = PodId::of(&order.desired.pod);
    context.tokens.forget(&id.uid);
    context.volumes.remove(&id.uid).map_err(refused)?;
    if let Some(cgroups) = &context.cgroups {
        cgroups
            .remove(&cgroups.pod(&id.uid))
            .map_err(|error| Failure::Refused(format!("remove the Pod's control group: {error}")))?;
    }
    Ok(())
}

async fn create_sandbox(order: &Order, attempt: u32) -> Outcome {
    let context = &order.context;
    let pod = &order.desired.pod;
    let id = PodId::of(pod);
    let cgroup = match &context.cgroups {
        Some(cgroups) => cgroups.pod(&id.uid),
        None => crate::cgroup::PodCgroup { path: String::new() },
    };
    let dns = Some(context.resolver.of(pod));
    let config = sandbox_config(pod, attempt, &context.log_root, dns, &cgroup, &context.sandbox_node());
    if context.cgroups.is_some()
        && let Err(error) = std::fs::create_dir_all(&config.log_directory)
    {
        return Outcome::Failed(Failure::Refused(format!(
            "make the log folder {}: {error}",
            config.log_directory
        )));
    }
    // Closed only when the agent ends.
    let Ok(_turn) = context.starts.acquire().await else {
        return Outcome::Failed(Failure::Unavailable("the agent is ending".to_owned()));
    };
    let made = match context.runtime.run_sandbox(&config).await {
        Ok(made) => made,
        Err(error) => return Outcome::Failed(failure(error)),
    };
    context.watchers.owns(&id.uid, made.as_str());
    let ips = if api::pod::is_host_network(pod) {
        Vec::new()
    } else {
        match context.runtime.sandbox_status(&made).await {
            Ok(status) => status.ips,
            Err(error) => return Outcome::Failed(failure(error)),
        }
    };
    Outcome::SandboxCreated { id: made.0, ips }
}

async fn pull(order: &Order, image: &str) -> Outcome {
    match crate::image::pull(&order.context, &order.desired.pod, order.desired.source, image).await {
        Ok(pulled) => Outcome::ImagePulled {
            image_ref: pulled.image_ref,
            size_bytes: pulled.size_bytes,
            took_ms: pulled.took_ms,
        },
        Err(failure) => Outcome::Failed(failure),
    }
}
