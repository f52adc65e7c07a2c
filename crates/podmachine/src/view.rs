//! One look, put in order: which sandbox is the Pod's, which instance of a container is the newest.

use std::collections::BTreeMap;

use crate::observed::{ContainerState, Observed, ObservedContainer, ObservedSandbox, SandboxState};

pub(crate) struct View<'a> {
    pub observed: &'a Observed,
    /// Highest attempt, dead or alive.
    pub sandbox: Option<&'a ObservedSandbox>,
    /// Oldest first.
    instances: BTreeMap<&'a str, Vec<&'a ObservedContainer>>,
}

impl ObservedContainer {
    /// Not known to be dead.
    pub fn lives(&self) -> bool {
        match self.state {
            ContainerState::Created | ContainerState::Running { .. } | ContainerState::Unknown => true,
            ContainerState::Exited { .. } => false,
        }
    }

    pub fn runs(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }

    pub fn exit_code(&self) -> Option<i32> {
        match self.state {
            ContainerState::Exited { exit_code, .. } => Some(exit_code),
            ContainerState::Created | ContainerState::Running { .. } | ContainerState::Unknown => None,
        }
    }
}

impl<'a> View<'a> {
    pub fn new(observed: &'a Observed) -> Self {
        let mut instances: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
        for container in &observed.containers {
            instances.entry(&container.labels.container_name).or_default().push(container);
        }
        for list in instances.values_mut() {
            list.sort_by(|a, b| {
                let key = |c: &ObservedContainer| (c.labels.restart_count, c.created_at);
                key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
            });
        }
        let sandbox = observed
            .sandboxes
            .iter()
            .max_by_key(|sandbox| (sandbox.attempt, sandbox.created_at, &sandbox.id));
        Self { observed, sandbox, instances }
    }

    /// The sandbox that takes containers.
    pub fn ready_sandbox(&self) -> Option<&'a ObservedSandbox> {
        self.sandbox.filter(|sandbox| sandbox.state == SandboxState::Ready)
    }

    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.instances.keys().copied()
    }

    pub fn instances(&self, name: &str) -> &[&'a ObservedContainer] {
        self.instances.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn newest(&self, name: &str) -> Option<&'a ObservedContainer> {
        self.instances(name).last().copied()
    }

    /// The newest in the sandbox that takes containers.
    pub fn current(&self, name: &str) -> Option<&'a ObservedContainer> {
        let sandbox = self.ready_sandbox()?;
        self.instances(name).iter().rev().find(|container| container.sandbox_id == sandbox.id).copied()
    }

    pub fn lives(&self, name: &str) -> bool {
        self.instances(name).iter().any(|container| container.lives())
    }

    pub fn living(&self) -> impl Iterator<Item = &'a ObservedContainer> {
        self.observed.containers.iter().filter(|container| container.lives())
    }

    pub fn find(&self, id: &str) -> Option<&'a ObservedContainer> {
        self.observed.containers.iter().find(|container| container.id == id)
    }
}
