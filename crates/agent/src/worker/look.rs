//! One look at everything in the runtime that belongs to a Pod.

use std::collections::{BTreeMap, BTreeSet};

use cri::{Filter, ImageRef};
use k8s_openapi::api::core::v1::PodSpec;
use podmachine::labels::{self, ContainerLabels};
use podmachine::{
    ContainerState, Desired, ImageState, Mark, Observed, ObservedContainer, ObservedSandbox, SandboxState,
    VolumeState,
};

use crate::context::NodeContext;
use crate::spec::PodId;
use crate::spec::container::ImageUser;
use crate::termination;

/// What a worker remembers between looks, so that it does not ask again for what cannot have changed.
#[derive(Debug, Default)]
pub struct Known {
    containers: BTreeMap<String, (cri::ContainerState, ObservedContainer)>,
    sandbox_ips: BTreeMap<String, Vec<String>>,
    images: BTreeMap<String, ImageState>,
    /// By image reference.
    pub users: BTreeMap<ImageRef, ImageUser>,
}

impl Known {
    /// A pull or a kill may have changed what an image is.
    pub fn forget_image(&mut self, image: &str) {
        self.images.remove(image);
    }

    /// Ask again for the details of these containers, whatever the list says.
    pub fn forget_containers(&mut self, ids: &BTreeSet<String>) {
        self.containers.retain(|id, _| !ids.contains(id));
    }
}

/// Looks. `volumes` is what the worker itself knows.
pub async fn look(
    context: &NodeContext,
    desired: &Desired,
    mark: Mark,
    volumes: VolumeState,
    known: &mut Known,
) -> cri::Result<Observed> {
    let id = PodId::of(&desired.pod);
    let filter = Filter::label(labels::POD_UID, &id.uid);
    let (sandboxes, containers) = futures::future::try_join(
        context.runtime.list_sandboxes(&filter),
        context.runtime.list_containers(&filter),
    )
    .await?;

    let mut observed = Observed { mark, volumes, ..Observed::default() };
    for sandbox in sandboxes {
        let ready = sandbox.state == cri::SandboxState::Ready;
        let ips = if ready { sandbox_ips(context, &sandbox.id, known).await? } else { Vec::new() };
        observed.sandboxes.push(ObservedSandbox {
            id: sandbox.id.0,
            attempt: sandbox.attempt,
            state: if ready { SandboxState::Ready } else { SandboxState::NotReady },
            created_at: sandbox.created_at,
            ips,
        });
    }
    let mut seen = BTreeSet::new();
    for container in containers {
        let Some(parsed) = ContainerLabels::parse(&container.labels, &container.annotations) else {
            continue;
        };
        seen.insert(container.id.0.clone());
        if let Some((state, details)) = known.containers.get(&container.id.0)
            && *state == container.state
        {
            observed.containers.push(details.clone());
            continue;
        }
        let status = match context.runtime.container_status(&container.id).await {
            Ok(status) => status,
            // Gone between list and question.
            Err(cri::Error::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        let details = details(context, &id, parsed, container.sandbox.0, &status);
        known.containers.insert(container.id.0, (status.state, details.clone()));
        observed.containers.push(details);
    }
    known.containers.retain(|id, _| seen.contains(id));
    known.sandbox_ips.retain(|id, _| observed.sandboxes.iter().any(|sandbox| sandbox.id == *id));
    images(context, desired, &mut observed, known).await?;
    Ok(observed)
}

async fn sandbox_ips(
    context: &NodeContext,
    id: &cri::SandboxId,
    known: &mut Known,
) -> cri::Result<Vec<String>> {
    if let Some(ips) = known.sandbox_ips.get(id.as_str()) {
        return Ok(ips.clone());
    }
    let ips = match context.runtime.sandbox_status(id).await {
        Ok(status) => status.ips,
        Err(cri::Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    known.sandbox_ips.insert(id.0.clone(), ips.clone());
    Ok(ips)
}

fn details(
    context: &NodeContext,
    id: &PodId,
    labels: ContainerLabels,
    sandbox_id: String,
    status: &cri::ContainerStatus,
) -> ObservedContainer {
    let state = match status.state {
        cri::ContainerState::Created => ContainerState::Created,
        cri::ContainerState::Running => ContainerState::Running {
            started_at: status.started_at.or(status.created_at).unwrap_or_else(|| context.clock.now()),
        },
        cri::ContainerState::Exited => ContainerState::Exited {
            started_at: status.started_at,
            finished_at: status.finished_at,
            exit_code: status.exit_code,
            reason: status.reason.clone(),
            message: termination::message(&context.volumes.pod_folder(&id.uid), &labels, status),
        },
        cri::ContainerState::Unknown => ContainerState::Unknown,
    };
    ObservedContainer {
        id: status.id.0.clone(),
        sandbox_id,
        labels,
        state,
        created_at: status.created_at,
        image: status.image.clone(),
        image_id: status.image_ref.clone(),
    }
}

/// Images are asked for only where something may have to be started from them.
async fn images(
    context: &NodeContext,
    desired: &Desired,
    observed: &mut Observed,
    known: &mut Known,
) -> cri::Result<()> {
    let default = PodSpec::default();
    let spec = desired.pod.spec.as_ref().unwrap_or(&default);
    for container in api::pod::all_containers(spec).chain(&desired.ephemeral) {
        let Some(image) = container.image.clone() else { continue };
        if observed.images.contains_key(&image) {
            continue;
        }
        let runs = observed.containers.iter().any(|seen| {
            seen.labels.container_name == container.name
                && matches!(seen.state, ContainerState::Running { .. })
        });
        let remembered = known.images.get(&image).filter(|_| runs).cloned();
        let state = match remembered {
            Some(state) => state,
            None => image_state(context, &image, known).await?,
        };
        known.images.insert(image.clone(), state.clone());
        observed.images.insert(image, state);
    }
    Ok(())
}

async fn image_state(context: &NodeContext, image: &str, known: &mut Known) -> cri::Result<ImageState> {
    Ok(match context.runtime.image_status(image).await {
        Ok(Some(found)) => {
            let user = ImageUser { uid: found.uid, name: found.username };
            known.users.insert(ImageRef::new(found.id.clone()), user);
            ImageState::Present { image_ref: found.id, size_bytes: found.size_bytes }
        }
        Ok(None) => ImageState::Absent,
        Err(cri::Error::Refused { message, .. }) if message.contains("invalid reference") => {
            ImageState::InvalidName { message }
        }
        Err(error) => return Err(error),
    })
}
