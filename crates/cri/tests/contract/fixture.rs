//! What a claim needs from the runtime it is tried on.

use std::sync::Arc;
use std::time::Duration;

use cri::fake::{ExecAnswer, FakeRuntime, Program};
use cri::{ContainerConfig, NamespaceMode, Runtime, SandboxConfig};

/// What a test container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Sleeps,
    Exits(i32),
    /// Exits with 3 when told to stop.
    HeedsStop,
    IgnoresStop,
    DoesNotExist,
}

pub trait Fixture {
    fn runtime(&self) -> &dyn Runtime;
    /// A container of a name that behaves so. Attempt 0, label `app` = name.
    fn container(&self, name: &str, behaviour: Behaviour) -> ContainerConfig;
    /// Where the logs of its sandboxes go.
    fn log_directory(&self) -> String;
    fn cgroup_parent(&self) -> String;
    /// A name of the test image.
    fn image(&self) -> String;
    /// The runtime's daemon dies and comes back.
    fn restart(&mut self) -> impl Future<Output = ()>;

    /// A sandbox on the host's network.
    fn sandbox(&self, name: &str) -> SandboxConfig {
        let mut config = SandboxConfig {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            uid: format!("uid-{name}"),
            log_directory: format!("{}/{name}", self.log_directory()),
            cgroup_parent: self.cgroup_parent(),
            ..SandboxConfig::default()
        };
        config.labels.insert("io.kubernetes.pod.name".to_owned(), name.to_owned());
        config.annotations.insert("note".to_owned(), "kept as it is".to_owned());
        config.security.namespaces.network = NamespaceMode::Node;
        config
    }

    fn described(&self, name: &str, image: String, command: &[&str]) -> ContainerConfig {
        let mut config = ContainerConfig {
            name: name.to_owned(),
            user_image: image.clone(),
            image,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            log_path: format!("{name}/0.log"),
            ..ContainerConfig::default()
        };
        config.labels.insert("app".to_owned(), name.to_owned());
        config.annotations.insert("io.kubernetes.container.restartCount".to_owned(), "0".to_owned());
        config.security.namespaces.network = NamespaceMode::Node;
        config
    }
}

/// The runtime in memory, with one image for each behaviour.
pub struct Fake(FakeRuntime);

impl Fake {
    pub fn new() -> Self {
        let fake = FakeRuntime::new(Arc::new(process::SystemClock));
        fake.add_image("test/sleeps:1");
        fake.add_to_registry("test/sleeps:1");
        fake.on_exec(|_, command| match command.first().map(String::as_str) {
            Some("/bin/echo") => ExecAnswer::text("hello\n", 0),
            Some("/bin/false") => ExecAnswer::code(1),
            Some("/bin/sleep") => ExecAnswer::Hangs,
            _ => ExecAnswer::NoSuchCommand,
        });
        Self(fake)
    }

    fn image_that(&self, name: &str, program: Program) -> String {
        self.0.add_image(name);
        self.0.set_program(name, program);
        name.to_owned()
    }
}

impl Fixture for Fake {
    fn runtime(&self) -> &dyn Runtime {
        &self.0
    }

    fn container(&self, name: &str, behaviour: Behaviour) -> ContainerConfig {
        let image = match behaviour {
            Behaviour::Sleeps => self.image(),
            Behaviour::Exits(code) => {
                self.image_that(&format!("test/exits:{code}"), Program::ends_after(Duration::ZERO, code))
            }
            Behaviour::HeedsStop => {
                self.image_that("test/heeds:1", Program { stop: (Duration::ZERO, 3), ..Program::default() })
            }
            Behaviour::IgnoresStop => self.image_that("test/ignores:1", Program::ignores_stop()),
            Behaviour::DoesNotExist => self.image_that(
                "test/nothing:1",
                Program {
                    start_error: Some("exec: \"/nothing\": no such file".to_owned()),
                    ..Program::default()
                },
            ),
        };
        self.described(name, image, &[])
    }

    fn log_directory(&self) -> String {
        "/var/log/pods".to_owned()
    }

    fn cgroup_parent(&self) -> String {
        String::new()
    }

    fn image(&self) -> String {
        "test/sleeps:1".to_owned()
    }

    async fn restart(&mut self) {
        self.0.set_down(true);
        assert!(self.0.version().await.unwrap_err().is_unavailable());
        self.0.set_down(false);
    }
}
