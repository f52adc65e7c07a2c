//! The door itself: what a node agent may ask of a container runtime.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::events::EventStream;
use crate::types::*;

/// A container runtime. All calls are safe to repeat unless said otherwise; every one has a deadline.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version, e.g. `containerd` `1.6.20`.
    async fn version(&self) -> Result<RuntimeVersion>;
    /// Whether containers may be started and whether the Pod network is set up.
    async fn status(&self) -> Result<RuntimeStatus>;

    /// Creates and starts a sandbox. A second call with the same name, namespace, uid and attempt is
    /// [`AlreadyExists`](crate::Error::AlreadyExists).
    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId>;
    /// Stops a sandbox and kills what runs in it. Stopping twice is success.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()>;
    /// Removes a sandbox with all its containers. An unknown id is success.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()>;
    /// State and addresses.
    async fn sandbox_status(&self, id: &SandboxId) -> Result<SandboxStatus>;
    /// Path of the sandbox's network namespace, where the runtime tells it. Dearer than the status.
    async fn sandbox_netns(&self, id: &SandboxId) -> Result<Option<String>>;
    async fn list_sandboxes(&self, filter: &Filter) -> Result<Vec<Sandbox>>;

    /// Creates a container, not running yet. `sandbox_config` is the one given to `run_sandbox`.
    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        sandbox_config: &SandboxConfig,
    ) -> Result<ContainerId>;
    async fn start_container(&self, id: &ContainerId) -> Result<()>;
    /// Sends the stop signal, and after `grace` SIGKILL. Returns when it is dead. Unknown or dead is success.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()>;
    /// Removes a container, killing it if it runs. An unknown id is success.
    async fn remove_container(&self, id: &ContainerId) -> Result<()>;
    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus>;
    async fn list_containers(&self, filter: &Filter) -> Result<Vec<Container>>;
    async fn update_resources(&self, id: &ContainerId, resources: &Resources) -> Result<()>;
    /// Tells the runtime to open the log file again, after a rotation.
    async fn reopen_log(&self, id: &ContainerId) -> Result<()>;

    /// Runs a command and waits for its end. A command that outlives `timeout` is
    /// [`Timeout`](crate::Error::Timeout); a non-zero exit code is a success of the call.
    async fn exec_sync(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput>;
    /// URL of a streaming endpoint for an interactive command.
    async fn exec_url(&self, id: &ContainerId, command: &[String], streams: Streams) -> Result<String>;
    async fn attach_url(&self, id: &ContainerId, streams: Streams) -> Result<String>;
    async fn port_forward_url(&self, sandbox: &SandboxId, ports: &[u16]) -> Result<String>;

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats>;
    async fn list_container_stats(&self, filter: &Filter) -> Result<Vec<ContainerStats>>;

    /// Pulls an image; answers the reference to start containers with.
    async fn pull_image(
        &self,
        image: &str,
        auth: Option<&RegistryAuth>,
        sandbox_config: Option<&SandboxConfig>,
    ) -> Result<ImageRef>;
    /// `None` when the image is not on this node.
    async fn image_status(&self, image: &str) -> Result<Option<Image>>;
    async fn list_images(&self) -> Result<Vec<Image>>;
    async fn remove_image(&self, image: &str) -> Result<()>;
    /// Where images lie and how much they use.
    async fn image_filesystem(&self) -> Result<Vec<FilesystemUsage>>;

    /// Containers' starts and ends as they happen, where the runtime can tell; `None` where it cannot.
    /// Never complete: events are lost while the stream is down, so a relist always stands behind it.
    /// The subscription begins when the stream is first polled.
    async fn events(&self) -> Result<Option<EventStream>>;
}
