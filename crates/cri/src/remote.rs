//! The real runtime: CRI v1 over a unix socket, containerd in the first place.
//!
//! One HTTP/2 connection, made when first needed and made again after it broke. Every call has a deadline
//! ([`Deadlines`]); messages up to [`MESSAGE_BYTES_MAX`]. Which gRPC status is which [`Error`] class is decided
//! here alone.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{StreamExt, TryStreamExt};
use prost::Message;
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::deadline::Deadlines;
use crate::error::{Error, Operation, Result};
use crate::events::{EventStream, RuntimeEvent, RuntimeEventKind};
use crate::generated::containerd_events_v1 as containerd;
use crate::generated::runtime_v1 as v1;
use crate::runtime::Runtime;
use crate::types::*;
use crate::wire::{answer, request};

/// Upstream's limit: an ExecSync may answer 16 MiB of output, and a full node's container list is long.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024 + 64 * 1024;
/// CNI plugins take a machine-wide iptables lock; thirty deletes at once make each other run out of time.
const SANDBOX_STOPS_AT_ONCE_MAX: usize = 8;
/// containerd keeps Kubernetes' containers in this namespace of its own.
const CONTAINERD_NAMESPACE: &str = "k8s.io";

/// A CRI v1 runtime behind a unix socket.
#[derive(Debug)]
pub struct RemoteRuntime {
    runtime: v1::runtime_service_client::RuntimeServiceClient<Channel>,
    images: v1::image_service_client::ImageServiceClient<Channel>,
    events: containerd::events_client::EventsClient<Channel>,
    deadlines: Deadlines,
    stops: Semaphore,
}

impl RemoteRuntime {
    /// `endpoint` is a socket's path, or `unix://` and the path. Nothing is dialled yet: a runtime that is not up
    /// shows as [`Error::Unavailable`] on the first call.
    ///
    /// # Errors
    /// [`Error::Refused`] when the endpoint is no absolute path. Must be called inside a tokio runtime.
    pub fn connect(endpoint: &str) -> Result<Self> {
        Self::connect_with(endpoint, Deadlines::default())
    }

    pub fn connect_with(endpoint: &str, deadlines: Deadlines) -> Result<Self> {
        let refused = |message: String| Error::Refused { operation: Operation::Connect, message };
        let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
        if !Path::new(path).is_absolute() {
            return Err(refused(format!(
                "runtime endpoint {endpoint:?} is not an absolute unix socket path"
            )));
        }
        let channel = Endpoint::from_shared(format!("unix://{path}"))
            .map_err(|error| refused(format!("runtime endpoint {endpoint:?}: {error}")))?
            .connect_lazy();
        Ok(Self {
            runtime: v1::runtime_service_client::RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            images: v1::image_service_client::ImageServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            events: containerd::events_client::EventsClient::new(channel),
            deadlines,
            stops: Semaphore::new(SANDBOX_STOPS_AT_ONCE_MAX),
        })
    }

    fn containerd_events(&self) -> EventStream {
        let mut client = self.events.clone();
        let filter = format!(r#"namespace=={CONTAINERD_NAMESPACE},topic~="^/tasks/(start|exit|oom)$""#);
        let mut request = Request::new(containerd::SubscribeRequest { filters: vec![filter] });
        request.metadata_mut().insert(
            "containerd-namespace",
            tonic::metadata::MetadataValue::from_static(CONTAINERD_NAMESPACE),
        );
        // containerd sends its headers with the first event: waiting for them belongs into the stream.
        let opened = async move { client.subscribe(request).await.map(Response::into_inner) };
        futures::stream::once(opened)
            .try_flatten()
            .map_err(|status| class(Operation::Events, Duration::ZERO, &status))
            .try_filter_map(async |envelope| Ok(task_event(envelope)))
            .boxed()
    }

    fn cri_events(&self) -> EventStream {
        let mut client = self.runtime.clone();
        let opened = async move {
            client.get_container_events(v1::GetEventsRequest {}).await.map(Response::into_inner)
        };
        futures::stream::once(opened)
            .try_flatten()
            .map_err(|status| class(Operation::Events, Duration::ZERO, &status))
            .try_filter_map(async |event| Ok(container_event(event)))
            .boxed()
    }
}

/// Waits for an answer, at most `after`, and classes what went wrong.
async fn within<T>(
    operation: Operation,
    after: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T> {
    match tokio::time::timeout(after, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(class(operation, after, &status)),
        Err(_elapsed) => Err(Error::Timeout { operation, after }),
    }
}

/// The class of a gRPC status. A status with a source was made by our own transport, not by the runtime.
fn class(operation: Operation, after: Duration, status: &Status) -> Error {
    let message = status.message().to_owned();
    let from_transport = std::error::Error::source(status).is_some();
    match status.code() {
        Code::NotFound => Error::NotFound { operation, message },
        Code::AlreadyExists => Error::AlreadyExists { operation, message },
        Code::Unavailable => Error::Unavailable { operation, message },
        Code::DeadlineExceeded => Error::Timeout { operation, after },
        _ if from_transport => Error::Unavailable { operation, message },
        // COMPAT(containerd): these come as Unknown.
        Code::Unknown if message.contains("is not initialized yet") => {
            Error::Unavailable { operation, message }
        }
        Code::Unknown if message.starts_with("Service was not ready") => {
            Error::Unavailable { operation, message }
        }
        Code::Unknown if message.starts_with("failed to reserve") => {
            Error::AlreadyExists { operation, message }
        }
        Code::Unknown if message.contains("context deadline exceeded") => Error::Timeout { operation, after },
        Code::Unknown if message.ends_with("not found") => Error::NotFound { operation, message },
        _ => Error::Refused { operation, message },
    }
}

fn missing(operation: Operation) -> Error {
    Error::Refused { operation, message: "the runtime's answer has no body".to_owned() }
}

fn gone_is_done(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}

fn task_event(envelope: containerd::Envelope) -> Option<RuntimeEvent> {
    let bytes = envelope.event?.value;
    match envelope.topic.as_str() {
        "/tasks/start" => {
            let event = containerd::TaskStart::decode(bytes.as_slice()).ok()?;
            Some(RuntimeEvent { id: event.container_id, kind: RuntimeEventKind::Started })
        }
        "/tasks/oom" => {
            let event = containerd::TaskOom::decode(bytes.as_slice()).ok()?;
            Some(RuntimeEvent { id: event.container_id, kind: RuntimeEventKind::OutOfMemory })
        }
        "/tasks/exit" => {
            let event = containerd::TaskExit::decode(bytes.as_slice()).ok()?;
            // An exec's end comes on the same topic with its own id.
            (event.id == event.container_id).then(|| RuntimeEvent {
                id: event.container_id,
                kind: RuntimeEventKind::Exited { exit_code: i32::try_from(event.exit_status).unwrap_or(255) },
            })
        }
        _ => None,
    }
}

fn container_event(event: v1::ContainerEventResponse) -> Option<RuntimeEvent> {
    let kind = match event.container_event_type() {
        v1::ContainerEventType::ContainerStartedEvent => RuntimeEventKind::Started,
        v1::ContainerEventType::ContainerStoppedEvent => {
            let status = event.containers_statuses.iter().find(|status| status.id == event.container_id);
            RuntimeEventKind::Exited { exit_code: status.map_or(0, |status| status.exit_code) }
        }
        v1::ContainerEventType::ContainerCreatedEvent | v1::ContainerEventType::ContainerDeletedEvent => {
            return None;
        }
    };
    Some(RuntimeEvent { id: event.container_id, kind })
}

#[async_trait]
impl Runtime for RemoteRuntime {
    async fn version(&self) -> Result<RuntimeVersion> {
        let mut client = self.runtime.clone();
        let call = client.version(v1::VersionRequest { version: "v1".to_owned() });
        let answer = within(Operation::Version, self.deadlines.read, call).await?;
        Ok(RuntimeVersion {
            name: answer.runtime_name,
            version: answer.runtime_version,
            api_version: answer.runtime_api_version,
        })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        let mut client = self.runtime.clone();
        let call = client.status(v1::StatusRequest { verbose: false });
        Ok(answer::runtime_status(within(Operation::Status, self.deadlines.read, call).await?))
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        let mut client = self.runtime.clone();
        let call = client.run_pod_sandbox(v1::RunPodSandboxRequest {
            config: Some(request::sandbox_config(config)),
            runtime_handler: config.runtime_handler.clone(),
        });
        Ok(SandboxId(within(Operation::RunSandbox, self.deadlines.write, call).await?.pod_sandbox_id))
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let _permit = self.stops.acquire().await;
        let mut client = self.runtime.clone();
        let call = client.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: id.0.clone() });
        gone_is_done(within(Operation::StopSandbox, self.deadlines.stop, call).await.map(drop))
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        let mut client = self.runtime.clone();
        let call = client.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: id.0.clone() });
        gone_is_done(within(Operation::RemoveSandbox, self.deadlines.stop, call).await.map(drop))
    }

    async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus> {
        let mut client = self.runtime.clone();
        let call = client
            .pod_sandbox_status(v1::PodSandboxStatusRequest { pod_sandbox_id: id.0.clone(), verbose: false });
        let answer = within(Operation::SandboxStatus, self.deadlines.read, call).await?;
        answer.status.map(answer::sandbox_status).ok_or_else(|| missing(Operation::SandboxStatus))
    }

    async fn sandbox_netns(&self, id: &SandboxId) -> Result<Option<String>> {
        let mut client = self.runtime.clone();
        let call = client
            .pod_sandbox_status(v1::PodSandboxStatusRequest { pod_sandbox_id: id.0.clone(), verbose: true });
        let answer = within(Operation::SandboxStatus, self.deadlines.read, call).await?;
        Ok(answer.info.get("info").and_then(|info| answer::netns(info)))
    }

    async fn list_sandboxes(&self, filter: &Filter) -> Result<Vec<Sandbox>> {
        let mut client = self.runtime.clone();
        let call =
            client.list_pod_sandbox(v1::ListPodSandboxRequest { filter: request::sandbox_filter(filter) });
        let answer = within(Operation::ListSandboxes, self.deadlines.read, call).await?;
        Ok(answer.items.into_iter().map(answer::sandbox).collect())
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        sandbox_config: &SandboxConfig,
    ) -> Result<ContainerId> {
        let mut client = self.runtime.clone();
        let call = client.create_container(v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.0.clone(),
            config: Some(request::container_config(config)),
            sandbox_config: Some(request::sandbox_config(sandbox_config)),
        });
        Ok(ContainerId(within(Operation::CreateContainer, self.deadlines.write, call).await?.container_id))
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let mut client = self.runtime.clone();
        let call = client.start_container(v1::StartContainerRequest { container_id: id.0.clone() });
        within(Operation::StartContainer, self.deadlines.write, call).await.map(drop)
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let mut client = self.runtime.clone();
        let timeout = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let call = client.stop_container(v1::StopContainerRequest { container_id: id.0.clone(), timeout });
        let after = self.deadlines.stop.saturating_add(grace);
        gone_is_done(within(Operation::StopContainer, after, call).await.map(drop))
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let mut client = self.runtime.clone();
        let call = client.remove_container(v1::RemoveContainerRequest { container_id: id.0.clone() });
        gone_is_done(within(Operation::RemoveContainer, self.deadlines.write, call).await.map(drop))
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let mut client = self.runtime.clone();
        let call = client
            .container_status(v1::ContainerStatusRequest { container_id: id.0.clone(), verbose: false });
        let answer = within(Operation::ContainerStatus, self.deadlines.read, call).await?;
        answer.status.map(answer::container_status).ok_or_else(|| missing(Operation::ContainerStatus))
    }

    async fn list_containers(&self, filter: &Filter) -> Result<Vec<Container>> {
        let mut client = self.runtime.clone();
        let call =
            client.list_containers(v1::ListContainersRequest { filter: request::container_filter(filter) });
        let answer = within(Operation::ListContainers, self.deadlines.read, call).await?;
        Ok(answer.containers.into_iter().map(answer::container).collect())
    }

    async fn update_resources(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        let mut client = self.runtime.clone();
        let call = client.update_container_resources(v1::UpdateContainerResourcesRequest {
            container_id: id.0.clone(),
            linux: Some(request::resources(resources)),
            ..Default::default()
        });
        within(Operation::UpdateResources, self.deadlines.write, call).await.map(drop)
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let mut client = self.runtime.clone();
        let call = client.reopen_container_log(v1::ReopenContainerLogRequest { container_id: id.0.clone() });
        within(Operation::ReopenLog, self.deadlines.write, call).await.map(drop)
    }

    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        let mut client = self.runtime.clone();
        // CRI's timeout is in whole seconds, and 0 means none: round up.
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        let call = client.exec_sync(v1::ExecSyncRequest {
            container_id: id.0.clone(),
            cmd: command.to_vec(),
            timeout: i64::try_from(seconds.max(1)).unwrap_or(i64::MAX),
        });
        let after = timeout.saturating_add(self.deadlines.exec_extra);
        let answer = within(Operation::ExecSync, after, call).await?;
        Ok(ExecOutput { stdout: answer.stdout, stderr: answer.stderr, exit_code: answer.exit_code })
    }

    async fn exec_url(&self, id: &ContainerId, command: &[String], streams: Streams) -> Result<String> {
        let mut client = self.runtime.clone();
        let call = client.exec(v1::ExecRequest {
            container_id: id.0.clone(),
            cmd: command.to_vec(),
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        });
        Ok(within(Operation::Exec, self.deadlines.read, call).await?.url)
    }

    async fn attach_url(&self, id: &ContainerId, streams: Streams) -> Result<String> {
        let mut client = self.runtime.clone();
        let call = client.attach(v1::AttachRequest {
            container_id: id.0.clone(),
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        });
        Ok(within(Operation::Attach, self.deadlines.read, call).await?.url)
    }

    async fn port_forward_url(&self, sandbox: &SandboxId, ports: &[u16]) -> Result<String> {
        let mut client = self.runtime.clone();
        let call = client.port_forward(v1::PortForwardRequest {
            pod_sandbox_id: sandbox.0.clone(),
            port: ports.iter().map(|port| i32::from(*port)).collect(),
        });
        Ok(within(Operation::PortForward, self.deadlines.read, call).await?.url)
    }

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats> {
        let mut client = self.runtime.clone();
        let call = client.container_stats(v1::ContainerStatsRequest { container_id: id.0.clone() });
        let answer = within(Operation::ContainerStats, self.deadlines.read, call).await?;
        answer.stats.map(answer::container_stats).ok_or_else(|| missing(Operation::ContainerStats))
    }

    async fn list_container_stats(&self, filter: &Filter) -> Result<Vec<ContainerStats>> {
        let mut client = self.runtime.clone();
        let call = client
            .list_container_stats(v1::ListContainerStatsRequest { filter: request::stats_filter(filter) });
        let answer = within(Operation::ContainerStats, self.deadlines.read, call).await?;
        Ok(answer.stats.into_iter().map(answer::container_stats).collect())
    }

    async fn pull_image(
        &self,
        image: &str,
        auth: Option<&RegistryAuth>,
        sandbox_config: Option<&SandboxConfig>,
    ) -> Result<ImageRef> {
        let mut client = self.images.clone();
        let call = client.pull_image(v1::PullImageRequest {
            image: request::image_spec(image),
            auth: auth.map(request::auth),
            sandbox_config: sandbox_config.map(request::sandbox_config),
        });
        Ok(ImageRef(within(Operation::PullImage, self.deadlines.pull, call).await?.image_ref))
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        let mut client = self.images.clone();
        let call =
            client.image_status(v1::ImageStatusRequest { image: request::image_spec(image), verbose: false });
        match within(Operation::ImageStatus, self.deadlines.read, call).await {
            Ok(answer) => Ok(answer.image.map(answer::image)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        let mut client = self.images.clone();
        let call = client.list_images(v1::ListImagesRequest { filter: None });
        let answer = within(Operation::ListImages, self.deadlines.read, call).await?;
        Ok(answer.images.into_iter().map(answer::image).collect())
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        let mut client = self.images.clone();
        let call = client.remove_image(v1::RemoveImageRequest { image: request::image_spec(image) });
        gone_is_done(within(Operation::RemoveImage, self.deadlines.write, call).await.map(drop))
    }

    async fn image_filesystem(&self) -> Result<Vec<FilesystemUsage>> {
        let mut client = self.images.clone();
        let call = client.image_fs_info(v1::ImageFsInfoRequest {});
        let answer = within(Operation::ImageFilesystem, self.deadlines.read, call).await?;
        Ok(answer.image_filesystems.into_iter().map(answer::filesystem).collect())
    }

    async fn events(&self) -> Result<Option<EventStream>> {
        let version = self.version().await?;
        Ok(Some(if version.name == "containerd" { self.containerd_events() } else { self.cri_events() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containerd_that_is_not_ready_yet_is_unavailable() {
        let class =
            |code, text: &str| class(Operation::Version, Duration::from_secs(1), &Status::new(code, text));
        for text in ["server is not initialized yet", "Service was not ready: cri"] {
            assert!(matches!(class(Code::Unknown, text), Error::Unavailable { .. }), "{text}");
        }
        assert!(matches!(class(Code::Unknown, "no such device"), Error::Refused { .. }));
        assert!(matches!(class(Code::Internal, "server is not initialized yet"), Error::Refused { .. }));
    }
}
