//! A runtime in memory: stateful, scriptable, driven by whatever clock it is given.
//!
//! It keeps the claims of `tests/contract.rs`, so that an agent that works on it meets no surprise on containerd:
//! names are reserved per attempt, a stopped sandbox takes no container, removing is repeatable. Containers run
//! for ever unless their image's [`Program`] says otherwise or a test ends them. Failures, latencies and
//! outages are scripted per operation.
//!
//! What it does not do: run processes, write logs, keep anything over a restart (it *is* what survives the agent's
//! restart: clones share one world).

mod program;
mod runtime;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use process::Clock;
use tokio::sync::broadcast;

pub use program::{Ending, ExecAnswer, Fault, Program};
use world::World;

use crate::error::{Error, Operation, Result};
use crate::events::RuntimeEvent;
use crate::types::*;

/// Events that a slow listener may be behind before it loses some: like the real stream, it is only a hint.
const EVENTS_BEHIND_MAX: usize = 1024;
/// Calls that are remembered for tests; older ones are forgotten.
const CALLS_REMEMBERED_MAX: usize = 4096;

type Exec = dyn Fn(&ContainerStatus, &[String]) -> ExecAnswer + Send + Sync;

/// A container runtime in memory. Clones share one world.
#[derive(Clone)]
pub struct FakeRuntime {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    world: Mutex<World>,
    script: Mutex<Script>,
    events: broadcast::Sender<RuntimeEvent>,
    exec: Mutex<Arc<Exec>>,
}

#[derive(Default)]
struct Script {
    down: bool,
    once: BTreeMap<Operation, std::collections::VecDeque<Fault>>,
    always: BTreeMap<Operation, Fault>,
    latency: BTreeMap<Operation, Duration>,
    calls: std::collections::VecDeque<(Operation, String)>,
}

impl FakeRuntime {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (events, _) = broadcast::channel(EVENTS_BEHIND_MAX);
        Self {
            shared: Arc::new(Shared {
                clock,
                world: Mutex::new(World::default()),
                script: Mutex::new(Script::default()),
                events,
                exec: Mutex::new(Arc::new(|_: &ContainerStatus, _: &[String]| ExecAnswer::default())),
            }),
        }
    }

    // --- images ---

    /// Puts an image on the node.
    pub fn add_image(&self, name: &str) {
        self.shared.world.lock().add_image(name);
    }

    /// Makes an image pullable. Until one is named, every image can be pulled.
    pub fn add_to_registry(&self, name: &str) {
        self.shared.world.lock().registry.get_or_insert_default().insert(world::normal_image_name(name));
    }

    /// What containers of this image do.
    pub fn set_program(&self, image: &str, program: Program) {
        self.shared.world.lock().programs.insert(world::normal_image_name(image), program);
    }

    /// What commands run in containers answer.
    pub fn on_exec(
        &self,
        answer: impl Fn(&ContainerStatus, &[String]) -> ExecAnswer + Send + Sync + 'static,
    ) {
        *self.shared.exec.lock() = Arc::new(answer);
    }

    // --- things that happen by themselves ---

    /// A container's process ends.
    pub fn exit_container(&self, id: &ContainerId, ending: Ending) {
        let now = self.shared.clock.now();
        let event = self.shared.world.lock().end(id, &ending, now);
        self.tell(event);
    }

    /// A container vanishes without a trace.
    pub fn lose_container(&self, id: &ContainerId) {
        self.shared.world.lock().containers.remove(id);
    }

    /// A sandbox dies, and all that runs in it.
    pub fn kill_sandbox(&self, id: &SandboxId) {
        let now = self.shared.clock.now();
        let events = self.shared.world.lock().stop_sandbox(id, now, &Ending::killed());
        events.into_iter().for_each(|event| self.tell(Some(event)));
    }

    /// Power off, power on: every sandbox is dead, every container ended with 255 for an unknown reason.
    pub fn reboot(&self) {
        let now = self.shared.clock.now();
        let mut world = self.shared.world.lock();
        let sandboxes: Vec<SandboxId> = world.sandboxes.keys().cloned().collect();
        for id in sandboxes {
            world.stop_sandbox(
                &id,
                now,
                &Ending { code: 255, reason: "Unknown".to_owned(), message: String::new() },
            );
        }
    }

    /// Ends the containers whose program's time is over, and tells listeners. Reads do the same by themselves.
    pub fn tick(&self) {
        self.with_world(|_| ());
    }

    // --- failures ---

    /// The runtime stops or starts answering; what runs goes on.
    pub fn set_down(&self, down: bool) {
        self.shared.script.lock().down = down;
    }

    /// The next call of this operation fails. Repeated: the one after it.
    pub fn fail_once(&self, operation: Operation, fault: Fault) {
        self.shared.script.lock().once.entry(operation).or_default().push_back(fault);
    }

    /// Every call of this operation fails, until [`heal`](Self::heal).
    pub fn fail_always(&self, operation: Operation, fault: Fault) {
        self.shared.script.lock().always.insert(operation, fault);
    }

    /// Each call of this operation takes so long, by the clock.
    pub fn set_latency(&self, operation: Operation, latency: Duration) {
        self.shared.script.lock().latency.insert(operation, latency);
    }

    /// Ends all scripted failures, latencies and outages.
    pub fn heal(&self) {
        let mut script = self.shared.script.lock();
        let calls = std::mem::take(&mut script.calls);
        *script = Script { calls, ..Script::default() };
    }

    // --- looking ---

    /// The latest calls, oldest first, each with its subject (a name or an id).
    pub fn calls(&self) -> Vec<(Operation, String)> {
        self.shared.script.lock().calls.iter().cloned().collect()
    }

    pub fn call_count(&self, operation: Operation) -> usize {
        self.shared.script.lock().calls.iter().filter(|(called, _)| *called == operation).count()
    }

    /// All containers, as the world is now.
    pub fn containers(&self) -> Vec<ContainerStatus> {
        self.with_world(|world| world.containers.values().map(|container| container.status.clone()).collect())
    }

    /// Containers of a Pod's container name that run now.
    pub fn running(&self, name: &str) -> Vec<ContainerId> {
        self.with_world(|world| {
            let running =
                |status: &&ContainerStatus| status.name == name && status.state == ContainerState::Running;
            world
                .containers
                .values()
                .map(|entry| &entry.status)
                .filter(running)
                .map(|s| s.id.clone())
                .collect()
        })
    }

    pub fn sandboxes(&self) -> Vec<Sandbox> {
        self.with_world(|world| world.sandboxes.values().map(|entry| entry.status.sandbox.clone()).collect())
    }

    /// The config a container was created with.
    pub fn container_config(&self, id: &ContainerId) -> Option<ContainerConfig> {
        self.with_world(|world| world.containers.get(id).map(|entry| entry.config.clone()))
    }

    /// The config a sandbox was created with.
    pub fn sandbox_config(&self, id: &SandboxId) -> Option<SandboxConfig> {
        self.with_world(|world| world.sandboxes.get(id).map(|entry| entry.config.clone()))
    }

    // --- inside ---

    /// Runs on the world after time has done its part.
    fn with_world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let now = self.shared.clock.now();
        let mut world = self.shared.world.lock();
        let events = world.advance(now);
        let answer = act(&mut world);
        drop(world);
        events.into_iter().for_each(|event| self.tell(Some(event)));
        answer
    }

    fn tell(&self, event: Option<RuntimeEvent>) {
        if let Some(event) = event {
            // No listener is no error.
            let _ = self.shared.events.send(event);
        }
    }

    /// The script's part of a call: remembers it, waits, fails. `Some` asks the call to happen and then to answer
    /// with this error.
    async fn enter(&self, operation: Operation, subject: &str) -> Result<Option<Error>> {
        let (latency, fault, down) = {
            let mut script = self.shared.script.lock();
            if script.calls.len() == CALLS_REMEMBERED_MAX {
                script.calls.pop_front();
            }
            script.calls.push_back((operation, subject.to_owned()));
            let once = script.once.get_mut(&operation).and_then(std::collections::VecDeque::pop_front);
            let fault = once.or_else(|| script.always.get(&operation).cloned());
            (script.latency.get(&operation).copied(), fault, script.down)
        };
        if let Some(latency) = latency {
            self.shared.clock.sleep(latency).await;
        }
        if down {
            return Err(Error::Unavailable { operation, message: "connection refused".to_owned() });
        }
        match fault {
            None => Ok(None),
            Some(Fault::LateAnswer) => {
                Ok(Some(Error::Timeout { operation, after: Duration::from_secs(120) }))
            }
            Some(fault) => Err(fault.error(operation)),
        }
    }
}
