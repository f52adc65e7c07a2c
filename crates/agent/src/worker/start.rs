//! Starting one container: everything that it needs, then create, then start.

use cri::{ContainerConfig, ContainerId, Filter, Mount, NamespaceMode, SandboxId};
use k8s_openapi::api::core::v1::Container;
use podmachine::{Event, EventType, Failure, StartContainer, labels};

use super::execute::{Order, facts, failure};
use crate::environment::environment;
use crate::objects::{self, Names};
use crate::spec::PodId;
use crate::spec::container::{Prepared, container_config, own_mount, propagation};
use crate::spec::sandbox::sandbox_config;
use crate::{hosts, logs, termination};

/// Creates and starts; the id of what runs.
pub async fn start(order: &Order, wanted: StartContainer) -> Result<String, Failure> {
    let context = &order.context;
    let pod = &order.desired.pod;
    let id = PodId::of(pod);
    let container = pod
        .spec
        .iter()
        .flat_map(api::pod::all_containers)
        .chain(&order.desired.ephemeral)
        .find(|container| container.name == wanted.name)
        .ok_or_else(|| Failure::Config(format!("the Pod has no container {:?}", wanted.name)))?;
    let mut config = configure(order, container, &wanted).await?;
    if let Some(target) = target(order, container).await? {
        config.security.namespaces.pid = NamespaceMode::Target(target);
    }
    let cgroup = match &context.cgroups {
        Some(cgroups) => cgroups.pod(&id.uid),
        None => crate::cgroup::PodCgroup { path: String::new() },
    };
    // Only names and the log folder are read from it here; DNS was settled with the sandbox.
    let sandbox = sandbox_config(
        pod,
        wanted.sandbox_attempt,
        &context.log_root,
        None,
        &cgroup,
        &context.sandbox_node(),
    );

    let Ok(_turn) = context.starts.acquire().await else {
        return Err(Failure::Unavailable("the agent is ending".to_owned()));
    };
    let sandbox_id = SandboxId(wanted.sandbox_id.clone());
    let created = match context.runtime.create_container(&sandbox_id, &config, &sandbox).await {
        Ok(created) => created,
        Err(cri::Error::AlreadyExists { message, .. }) => {
            created_before(order, &wanted).await.ok_or(Failure::Create(message))?
        }
        Err(error) => return Err(as_create(error)),
    };
    context.watchers.owns(&id.uid, created.as_str());
    context.runtime.start_container(&created).await.map_err(as_start)?;
    logs::link(&context.log_root, &id, &wanted.name, wanted.restart_count, created.as_str());
    Ok(created.0)
}

/// The container whose processes an ephemeral one wants to see.
async fn target(order: &Order, container: &Container) -> Result<Option<ContainerId>, Failure> {
    let listed = order.desired.pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let own = listed.into_iter().find(|one| one.name == container.name);
    let Some(name) = own.and_then(|one| one.target_container_name.clone()).filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    let uid = order.desired.pod.metadata.uid.as_deref().unwrap_or_default();
    let found =
        order.context.runtime.list_containers(&Filter::label(labels::POD_UID, uid)).await.map_err(failure)?;
    let runs = found.into_iter().find(|one| one.name == name && one.state == cri::ContainerState::Running);
    match runs {
        Some(one) => Ok(Some(one.id)),
        None => Err(Failure::Config(format!("unable to find target container {name}"))),
    }
}

/// A start that was cut off after create: the very same container.
async fn created_before(order: &Order, wanted: &StartContainer) -> Option<ContainerId> {
    let uid = order.desired.pod.metadata.uid.as_deref().unwrap_or_default();
    let found = order.context.runtime.list_containers(&Filter::label(labels::POD_UID, uid)).await.ok()?;
    found
        .into_iter()
        .find(|container| {
            container.name == wanted.name
                && container.attempt == wanted.restart_count
                && container.state == cri::ContainerState::Created
        })
        .map(|container| container.id)
}

fn as_create(error: cri::Error) -> Failure {
    match failure(error) {
        Failure::Refused(message) => Failure::Create(message),
        other => other,
    }
}

fn as_start(error: cri::Error) -> Failure {
    match failure(error) {
        Failure::Refused(message) => Failure::Start(message),
        other => other,
    }
}

async fn configure(
    order: &Order,
    container: &Container,
    wanted: &StartContainer,
) -> Result<ContainerConfig, Failure> {
    let context = &order.context;
    let pod = &order.desired.pod;
    let id = PodId::of(pod);
    let names = Names::of_environment(container);
    let referenced = objects::fetch(context.objects_of(order.desired.source, &id.uid), &id.namespace, &names)
        .await
        .map_err(|error| Failure::Config(crate::error_chain(&error)))?;
    let made = environment(container, &facts(context, pod, &wanted.pod_ips), &referenced)
        .map_err(|error| Failure::Config(error.to_string()))?;
    if !made.skipped.is_empty() {
        let event = Event {
            event_type: EventType::Warning,
            reason: "InvalidEnvironmentVariableNames".to_owned(),
            message: format!(
                "Keys [{}] were skipped since they are not names of variables",
                made.skipped.join(", ")
            ),
            field_path: Some(format!("spec.containers{{{}}}", container.name)),
        };
        context.say(pod, &event);
    }
    let mounts = mounts(order, container, wanted, &made.variables)?;
    let prepared = Prepared {
        restart_count: wanted.restart_count,
        hash: wanted.hash.clone(),
        image_ref: wanted.image_ref.clone(),
        image_user: order.image_user.clone(),
        variables: made.variables,
        mounts,
        node_memory_bytes: context.memory_bytes,
    };
    if context.cgroups.is_some() {
        let folder = id.log_folder(&context.log_root).join(&container.name);
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::Config(format!("make the log folder {}: {error}", folder.display())))?;
    }
    container_config(pod, container, prepared).map_err(|error| Failure::Config(error.to_string()))
}

fn mounts(
    order: &Order,
    container: &Container,
    wanted: &StartContainer,
    variables: &indexmap::IndexMap<String, String>,
) -> Result<Vec<Mount>, Failure> {
    let context = &order.context;
    let pod = &order.desired.pod;
    let folder = context.volumes.pod_folder(pod.metadata.uid.as_deref().unwrap_or_default());
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let resolved = context
            .volumes
            .resolve(pod, container, index, mount, variables)
            .map_err(|error| Failure::Config(error.to_string()))?;
        mounts.push(Mount {
            container_path: mount.mount_path.clone(),
            host_path: resolved.host_path.display().to_string(),
            read_only: resolved.read_only,
            recursive_read_only: mount.recursive_read_only.as_deref() == Some("Enabled"),
            propagation: propagation(mount.mount_propagation.as_deref()),
            selinux_relabel: false,
        });
    }
    if context.cgroups.is_none() {
        return Ok(mounts);
    }
    let refused =
        |what: &'static str| move |error: std::io::Error| Failure::Config(format!("{what}: {error}"));
    if hosts::is_wanted(container) {
        let path = hosts::write(&folder, pod, &wanted.pod_ips, &context.node_name)
            .map_err(refused("write the hosts file"))?;
        mounts.push(own_mount(hosts::CONTAINER_PATH, &path));
    }
    let message_path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    if !message_path.is_empty() {
        let path = termination::prepare(&folder, &container.name, wanted.restart_count)
            .map_err(refused("make the termination message file"))?;
        mounts.push(own_mount(message_path, &path));
    }
    Ok(mounts)
}
