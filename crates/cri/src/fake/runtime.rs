//! The fake behind the door: each call asks the script first, then the world.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use super::FakeRuntime;
use super::program::{Ending, ExecAnswer};
use super::world::normal_image_name;
use crate::error::{Error, Operation, Result};
use crate::events::EventStream;
use crate::runtime::Runtime;
use crate::types::*;

/// The call happened; a late answer says otherwise.
fn answer<T>(value: T, late: Option<Error>) -> Result<T> {
    late.map_or(Ok(value), Err)
}

fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn version(&self) -> Result<RuntimeVersion> {
        self.enter(Operation::Version, "").await?;
        Ok(RuntimeVersion {
            name: "fake".to_owned(),
            version: "1.0.0".to_owned(),
            api_version: "v1".to_owned(),
        })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        self.enter(Operation::Status, "").await?;
        Ok(RuntimeStatus { runtime: Readiness::Ready, network: Readiness::Ready })
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        let late = self.enter(Operation::RunSandbox, &config.name).await?;
        let now = self.shared.clock.now();
        answer(self.with_world(|world| world.run_sandbox(config, now))?, late)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let late = self.enter(Operation::StopSandbox, &id.0).await?;
        let now = self.shared.clock.now();
        let events = self.with_world(|world| world.stop_sandbox(id, now, &Ending::killed()));
        events.into_iter().for_each(|event| self.tell(Some(event)));
        answer((), late)
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        let late = self.enter(Operation::RemoveSandbox, &id.0).await?;
        let now = self.shared.clock.now();
        let events = self.with_world(|world| {
            let events = world.stop_sandbox(id, now, &Ending::killed());
            world.remove_sandbox(id);
            events
        });
        events.into_iter().for_each(|event| self.tell(Some(event)));
        answer((), late)
    }

    async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus> {
        let operation = Operation::SandboxStatus;
        let late = self.enter(operation, &id.0).await?;
        answer(self.with_world(|world| world.sandbox(id, operation).map(|entry| entry.status.clone()))?, late)
    }

    async fn sandbox_netns(&self, id: &SandboxId) -> Result<Option<String>> {
        let status = self.sandbox_status(id).await?;
        Ok((status.network != NamespaceMode::Node).then(|| format!("/run/netns/{id}")))
    }

    async fn list_sandboxes(&self, filter: &Filter) -> Result<Vec<Sandbox>> {
        let late = self.enter(Operation::ListSandboxes, "").await?;
        let wanted = |sandbox: &&Sandbox| {
            carries(&sandbox.labels, &filter.labels)
                && filter.sandbox.as_ref().is_none_or(|id| *id == sandbox.id)
        };
        let listed = self.with_world(|world| {
            world.sandboxes.values().map(|entry| &entry.status.sandbox).filter(wanted).cloned().collect()
        });
        answer(listed, late)
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        _sandbox_config: &SandboxConfig,
    ) -> Result<ContainerId> {
        let late = self.enter(Operation::CreateContainer, &config.name).await?;
        let now = self.shared.clock.now();
        answer(self.with_world(|world| world.create_container(sandbox, config, now))?, late)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let late = self.enter(Operation::StartContainer, &id.0).await?;
        let now = self.shared.clock.now();
        let event = self.with_world(|world| world.start_container(id, now))?;
        self.tell(Some(event));
        answer((), late)
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let late = self.enter(Operation::StopContainer, &id.0).await?;
        let stop = self.with_world(|world| {
            let entry = world.containers.get(id)?;
            (entry.status.state == ContainerState::Running).then_some(entry.program.stop)
        });
        let (wait, ending) = match stop {
            Some((after, _)) if after >= grace => (grace, Ending::killed()),
            Some((after, code)) => (after, Ending::code(code)),
            None => (Duration::ZERO, Ending::killed()),
        };
        if !wait.is_zero() {
            self.shared.clock.sleep(wait).await;
        }
        self.tick();
        self.exit_container(id, ending);
        answer((), late)
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let late = self.enter(Operation::RemoveContainer, &id.0).await?;
        self.exit_container(id, Ending::killed());
        self.with_world(|world| world.containers.remove(id));
        answer((), late)
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let operation = Operation::ContainerStatus;
        let late = self.enter(operation, &id.0).await?;
        answer(
            self.with_world(|world| world.container(id, operation).map(|entry| entry.status.clone()))?,
            late,
        )
    }

    async fn list_containers(&self, filter: &Filter) -> Result<Vec<Container>> {
        let late = self.enter(Operation::ListContainers, "").await?;
        let listed = self.with_world(|world| {
            let wanted = |entry: &&super::world::ContainerEntry| {
                carries(&entry.status.labels, &filter.labels)
                    && filter.sandbox.as_ref().is_none_or(|id| *id == entry.sandbox)
            };
            let row = |entry: &super::world::ContainerEntry| Container {
                id: entry.status.id.clone(),
                sandbox: entry.sandbox.clone(),
                name: entry.status.name.clone(),
                attempt: entry.status.attempt,
                image: entry.config.image.clone(),
                image_ref: entry.status.image_ref.clone(),
                state: entry.status.state,
                created_at: entry.status.created_at,
                labels: entry.status.labels.clone(),
                annotations: entry.status.annotations.clone(),
            };
            world.containers.values().filter(wanted).map(row).collect()
        });
        answer(listed, late)
    }

    async fn update_resources(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        let operation = Operation::UpdateResources;
        let late = self.enter(operation, &id.0).await?;
        self.with_world(|world| {
            world.container(id, operation)?;
            if let Some(entry) = world.containers.get_mut(id) {
                entry.status.resources = Some(resources.clone());
            }
            Ok(())
        })?;
        answer((), late)
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let operation = Operation::ReopenLog;
        let late = self.enter(operation, &id.0).await?;
        self.with_world(|world| world.running(id, operation).map(|_| ()))?;
        answer((), late)
    }

    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        let operation = Operation::ExecSync;
        let late = self.enter(operation, &id.0).await?;
        let status = self.with_world(|world| world.running(id, operation).cloned())?;
        let exec = self.shared.exec.lock().clone();
        match exec(&status, command) {
            ExecAnswer::Output(output) => answer(output, late),
            ExecAnswer::Hangs => {
                self.shared.clock.sleep(timeout).await;
                Err(Error::Timeout { operation, after: timeout })
            }
            ExecAnswer::NoSuchCommand => {
                let message = format!("exec: {command:?}: executable file not found in $PATH");
                Err(Error::Refused { operation, message })
            }
        }
    }

    async fn exec_url(&self, id: &ContainerId, _command: &[String], _streams: Streams) -> Result<String> {
        let operation = Operation::Exec;
        let late = self.enter(operation, &id.0).await?;
        self.with_world(|world| world.running(id, operation).map(|_| ()))?;
        answer(format!("http://127.0.0.1:0/exec/{id}"), late)
    }

    async fn attach_url(&self, id: &ContainerId, _streams: Streams) -> Result<String> {
        let operation = Operation::Attach;
        let late = self.enter(operation, &id.0).await?;
        self.with_world(|world| world.running(id, operation).map(|_| ()))?;
        answer(format!("http://127.0.0.1:0/attach/{id}"), late)
    }

    async fn port_forward_url(&self, sandbox: &SandboxId, _ports: &[u16]) -> Result<String> {
        let operation = Operation::PortForward;
        let late = self.enter(operation, &sandbox.0).await?;
        self.with_world(|world| world.sandbox(sandbox, operation).map(|_| ()))?;
        answer(format!("http://127.0.0.1:0/portforward/{sandbox}"), late)
    }

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats> {
        let operation = Operation::ContainerStats;
        let late = self.enter(operation, &id.0).await?;
        let status =
            self.with_world(|world| world.container(id, operation).map(|entry| entry.status.clone()))?;
        answer(self.stats(&status), late)
    }

    async fn list_container_stats(&self, filter: &Filter) -> Result<Vec<ContainerStats>> {
        let late = self.enter(Operation::ContainerStats, "").await?;
        let statuses = self.with_world(|world| {
            let running = world.containers.values().filter(|entry| {
                entry.status.state == ContainerState::Running && carries(&entry.status.labels, &filter.labels)
            });
            running.map(|entry| entry.status.clone()).collect::<Vec<_>>()
        });
        answer(statuses.iter().map(|status| self.stats(status)).collect(), late)
    }

    async fn pull_image(
        &self,
        image: &str,
        _auth: Option<&RegistryAuth>,
        _sandbox_config: Option<&SandboxConfig>,
    ) -> Result<ImageRef> {
        let operation = Operation::PullImage;
        let late = self.enter(operation, image).await?;
        let pulled = self.with_world(|world| {
            let name = normal_image_name(image);
            if world.registry.as_ref().is_some_and(|registry| !registry.contains(&name)) {
                let message = format!("failed to pull and unpack image {name:?}: {name}: not found");
                return Err(Error::NotFound { operation, message });
            }
            Ok(world.add_image(image))
        })?;
        answer(pulled, late)
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        let late = self.enter(Operation::ImageStatus, image).await?;
        answer(self.with_world(|world| world.find_image(image).cloned()), late)
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        let late = self.enter(Operation::ListImages, "").await?;
        answer(self.with_world(|world| world.images.values().cloned().collect()), late)
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        let late = self.enter(Operation::RemoveImage, image).await?;
        self.with_world(|world| {
            let id = world.find_image(image).map(|image| image.id.clone());
            world.images.retain(|_, image| Some(&image.id) != id.as_ref());
        });
        answer((), late)
    }

    async fn image_filesystem(&self) -> Result<Vec<FilesystemUsage>> {
        let late = self.enter(Operation::ImageFilesystem, "").await?;
        let used_bytes = self.with_world(|world| world.images.values().map(|image| image.size_bytes).sum());
        answer(vec![FilesystemUsage { mountpoint: "/".to_owned(), used_bytes, inodes_used: 1 }], late)
    }

    async fn events(&self) -> Result<Option<EventStream>> {
        self.enter(Operation::Events, "").await?;
        let listener = BroadcastStream::new(self.shared.events.subscribe());
        // A listener that fell behind loses events, like on the real stream: the relist finds them.
        Ok(Some(listener.filter_map(async |event| event.ok().map(Ok)).boxed()))
    }
}

impl FakeRuntime {
    /// One per cent of a core and a mebibyte for each container that runs.
    fn stats(&self, status: &ContainerStatus) -> ContainerStats {
        let now = self.shared.clock.now();
        let ran = status.started_at.map_or(0, |start| now.duration_since(start).as_nanos().max(0));
        ContainerStats {
            id: Some(status.id.clone()),
            name: status.name.clone(),
            labels: status.labels.clone(),
            at: Some(now),
            cpu_core_nanoseconds: Some(u64::try_from(ran / 100).unwrap_or(u64::MAX)),
            memory_working_set_bytes: Some(1 << 20),
            memory_usage_bytes: Some(1 << 20),
            memory_rss_bytes: Some(1 << 20),
            ..ContainerStats::default()
        }
    }
}
