//! The fake's state and its laws. Time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::program::{Ending, Program};
use crate::error::{Error, Operation, Result};
use crate::events::{RuntimeEvent, RuntimeEventKind};
use crate::types::*;

#[derive(Default)]
pub struct World {
    pub sandboxes: BTreeMap<SandboxId, SandboxEntry>,
    pub containers: BTreeMap<ContainerId, ContainerEntry>,
    /// By normal name.
    pub images: BTreeMap<String, Image>,
    /// What can be pulled; `None` is everything.
    pub registry: Option<BTreeSet<String>>,
    pub programs: BTreeMap<String, Program>,
    made: u64,
}

pub struct SandboxEntry {
    pub status: SandboxStatus,
    pub config: SandboxConfig,
}

pub struct ContainerEntry {
    pub status: ContainerStatus,
    pub sandbox: SandboxId,
    pub config: ContainerConfig,
    pub program: Program,
}

/// `nginx` is `docker.io/library/nginx:latest`, as containerd sees it.
pub fn normal_image_name(name: &str) -> String {
    let (path, digest) = name.split_once('@').map_or((name, None), |(path, digest)| (path, Some(digest)));
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (path, None),
    };
    let first = path.split('/').next().unwrap_or_default();
    let has_registry = path.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let path = match (has_registry, path.contains('/')) {
        (true, _) => path.to_owned(),
        (false, true) => format!("docker.io/{path}"),
        (false, false) => format!("docker.io/library/{path}"),
    };
    match (tag, digest) {
        (_, Some(digest)) => format!("{path}@{digest}"),
        (Some(tag), None) => format!("{path}:{tag}"),
        (None, None) => format!("{path}:latest"),
    }
}

fn not_found(operation: Operation, what: &str, id: &str) -> Error {
    Error::NotFound {
        operation,
        message: format!("an error occurred when try to find {what} {id:?}: not found"),
    }
}

impl World {
    fn next_id(&mut self) -> String {
        self.made += 1;
        format!("{:064x}", self.made)
    }

    pub fn add_image(&mut self, name: &str) -> ImageRef {
        let name = normal_image_name(name);
        let id = format!(
            "sha256:{:064x}",
            name.bytes().fold(7_u128, |hash, byte| hash.wrapping_mul(131) + u128::from(byte))
        );
        let repository = name.rsplit_once(':').map_or(name.as_str(), |(path, _)| path).to_owned();
        let image = Image {
            id: id.clone(),
            repo_tags: vec![name.clone()],
            repo_digests: vec![format!("{repository}@{id}")],
            size_bytes: 1 << 20,
            uid: None,
            username: String::new(),
            pinned: false,
        };
        self.images.insert(name, image);
        ImageRef(id)
    }

    pub fn find_image(&self, name: &str) -> Option<&Image> {
        self.images.get(&normal_image_name(name)).or_else(|| {
            self.images.values().find(|i| i.id == name || i.repo_digests.iter().any(|d| d == name))
        })
    }

    pub fn run_sandbox(&mut self, config: &SandboxConfig, now: Timestamp) -> Result<SandboxId> {
        let same = |entry: &SandboxEntry| {
            let sandbox = &entry.status.sandbox;
            (&sandbox.name, &sandbox.namespace, &sandbox.uid, sandbox.attempt)
                == (&config.name, &config.namespace, &config.uid, config.attempt)
        };
        if let Some(other) = self.sandboxes.values().find(|entry| same(entry)) {
            let name = format!("{}_{}_{}_{}", config.name, config.namespace, config.uid, config.attempt);
            let message = format!(
                "failed to reserve sandbox name {name:?}: reserved for {:?}",
                other.status.sandbox.id.0
            );
            return Err(Error::AlreadyExists { operation: Operation::RunSandbox, message });
        }
        if config.security.namespaces.network == NamespaceMode::Node && !config.hostname.is_empty() {
            let message = "unable to set hostname without a private UTS namespace".to_owned();
            return Err(Error::Refused { operation: Operation::RunSandbox, message });
        }
        let id = SandboxId(self.next_id());
        let network = config.security.namespaces.network.clone();
        let ips = match network {
            NamespaceMode::Node => Vec::new(),
            NamespaceMode::Pod | NamespaceMode::Container | NamespaceMode::Target(_) => {
                vec![format!("10.88.{}.{}", self.made / 250 % 256, self.made % 250 + 2)]
            }
        };
        let sandbox = Sandbox {
            id: id.clone(),
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            uid: config.uid.clone(),
            attempt: config.attempt,
            state: SandboxState::Ready,
            created_at: Some(now),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        };
        let status = SandboxStatus { sandbox, ips, network };
        self.sandboxes.insert(id.clone(), SandboxEntry { status, config: config.clone() });
        Ok(id)
    }

    pub fn stop_sandbox(&mut self, id: &SandboxId, now: Timestamp, ending: &Ending) -> Vec<RuntimeEvent> {
        let Some(entry) = self.sandboxes.get_mut(id) else { return Vec::new() };
        let was_ready = entry.status.sandbox.state == SandboxState::Ready;
        entry.status.sandbox.state = SandboxState::NotReady;
        entry.status.ips.clear();
        let inside: Vec<ContainerId> =
            self.containers.iter().filter(|(_, c)| c.sandbox == *id).map(|(id, _)| id.clone()).collect();
        let mut events: Vec<RuntimeEvent> =
            inside.iter().filter_map(|container| self.end(container, ending, now)).collect();
        if was_ready {
            events.push(RuntimeEvent { id: id.0.clone(), kind: RuntimeEventKind::Exited { exit_code: 0 } });
        }
        events
    }

    pub fn remove_sandbox(&mut self, id: &SandboxId) {
        self.sandboxes.remove(id);
        self.containers.retain(|_, container| container.sandbox != *id);
    }

    pub fn create_container(
        &mut self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        now: Timestamp,
    ) -> Result<ContainerId> {
        let operation = Operation::CreateContainer;
        let entry = self.sandboxes.get(sandbox).ok_or_else(|| not_found(operation, "sandbox", &sandbox.0))?;
        if entry.status.sandbox.state == SandboxState::NotReady {
            let message = format!("sandbox {:?} is not running", sandbox.0);
            return Err(Error::Refused { operation, message });
        }
        let log_path = format!("{}/{}", entry.config.log_directory, config.log_path);
        let taken = |c: &ContainerEntry| {
            c.sandbox == *sandbox && c.status.name == config.name && c.status.attempt == config.attempt
        };
        if self.containers.values().any(taken) {
            let message = format!("failed to reserve container name {:?}", config.name);
            return Err(Error::AlreadyExists { operation, message });
        }
        let image =
            self.find_image(&config.image).ok_or_else(|| not_found(operation, "image", &config.image))?;
        let name = image.repo_tags.first().cloned().unwrap_or_default();
        let image_ref = image.repo_digests.first().cloned().unwrap_or_default();
        let program = self.programs.get(&name).cloned().unwrap_or_default();
        let id = ContainerId(self.next_id());
        let status = ContainerStatus {
            id: id.clone(),
            name: config.name.clone(),
            attempt: config.attempt,
            state: ContainerState::Created,
            created_at: Some(now),
            started_at: None,
            finished_at: None,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: name,
            image_ref,
            log_path,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            resources: Some(config.resources.clone()),
        };
        let entry = ContainerEntry { status, sandbox: sandbox.clone(), config: config.clone(), program };
        self.containers.insert(id.clone(), entry);
        Ok(id)
    }

    pub fn start_container(&mut self, id: &ContainerId, now: Timestamp) -> Result<RuntimeEvent> {
        let operation = Operation::StartContainer;
        let entry = self.containers.get_mut(id).ok_or_else(|| not_found(operation, "container", &id.0))?;
        if entry.status.state != ContainerState::Created {
            let message = format!("container {:?} is in {:?} state", id.0, entry.status.state);
            return Err(Error::Refused { operation, message });
        }
        if let Some(message) = entry.program.start_error.clone() {
            entry.status.state = ContainerState::Exited;
            entry.status.finished_at = Some(now);
            entry.status.exit_code = 128;
            entry.status.reason = "StartError".to_owned();
            entry.status.message = message.clone();
            return Err(Error::Refused { operation, message });
        }
        entry.status.state = ContainerState::Running;
        entry.status.started_at = Some(now);
        Ok(RuntimeEvent { id: id.0.clone(), kind: RuntimeEventKind::Started })
    }

    /// A process ends; one that does not run stays as it is, except that a created one can no longer start.
    pub fn end(&mut self, id: &ContainerId, ending: &Ending, at: Timestamp) -> Option<RuntimeEvent> {
        let status = &mut self.containers.get_mut(id)?.status;
        if !matches!(status.state, ContainerState::Running | ContainerState::Created) {
            return None;
        }
        status.state = ContainerState::Exited;
        status.finished_at = Some(at);
        status.exit_code = ending.code;
        status.reason = ending.reason.clone();
        status.message = ending.message.clone();
        Some(RuntimeEvent { id: id.0.clone(), kind: RuntimeEventKind::Exited { exit_code: ending.code } })
    }

    /// Ends what ended by itself until now, at the time it did.
    pub fn advance(&mut self, now: Timestamp) -> Vec<RuntimeEvent> {
        let due = |entry: &ContainerEntry| {
            let (run, ending) = entry.program.ends.as_ref()?;
            let at = later(entry.status.started_at?, *run);
            (entry.status.state == ContainerState::Running && at <= now).then(|| (at, ending.clone()))
        };
        let over: Vec<_> = self
            .containers
            .iter()
            .filter_map(|(id, e)| due(e).map(|(at, ending)| (id.clone(), at, ending)))
            .collect();
        over.into_iter().filter_map(|(id, at, ending)| self.end(&id, &ending, at)).collect()
    }

    pub fn running(&self, id: &ContainerId, operation: Operation) -> Result<&ContainerStatus> {
        let entry = self.containers.get(id).ok_or_else(|| not_found(operation, "container", &id.0))?;
        if entry.status.state != ContainerState::Running {
            let message = format!("container {:?} is in {:?} state", id.0, entry.status.state);
            return Err(Error::Refused { operation, message });
        }
        Ok(&entry.status)
    }

    pub fn container(&self, id: &ContainerId, operation: Operation) -> Result<&ContainerEntry> {
        self.containers.get(id).ok_or_else(|| not_found(operation, "container", &id.0))
    }

    pub fn sandbox(&self, id: &SandboxId, operation: Operation) -> Result<&SandboxEntry> {
        self.sandboxes.get(id).ok_or_else(|| not_found(operation, "sandbox", &id.0))
    }
}

/// A duration too long for the calendar is for ever.
pub fn later(from: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::normal_image_name;

    #[test]
    fn short_image_names_mean_the_public_registry_and_latest() {
        assert_eq!(normal_image_name("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(normal_image_name("bitnami/nginx:1"), "docker.io/bitnami/nginx:1");
        assert_eq!(normal_image_name("127.0.0.1:5000/pause:3.9"), "127.0.0.1:5000/pause:3.9");
        assert_eq!(normal_image_name("localhost/a"), "localhost/a:latest");
        assert_eq!(normal_image_name("a.example/b:1@sha256:00"), "a.example/b@sha256:00");
    }
}
