//! One containerd: adopt it or start it, wait until it answers, start it again when it dies.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cri::Runtime;
use process::Shutdown;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ContainerdError;
use super::layout::{Layout, Programs, config_text, find};
use super::mounts::{self, Place};
use crate::network::PodNetwork;
use crate::{image, pause};

/// First pause before a dead containerd is started again: a crash at once is not a busy loop.
const RESTART_BACKOFF_MIN_MS: u64 = 500;
/// Longest pause: containers run meanwhile, but none is restarted.
const RESTART_BACKOFF_MAX_MS: u64 = 15_000;
/// A containerd that lived this long starts from the shortest pause again.
const HEALTHY_AFTER_MS: u64 = 60_000;
/// How often a booting containerd is asked; it boots in some 60 ms.
const BOOT_POLL_MS: u64 = 10;
/// After a crash of the machine with many dead Pods it takes seconds; then it is killed and started again.
const BOOT_DEADLINE_MS: u64 = 120_000;
/// The log of an earlier life is kept up to this size.
const LOG_BYTES_MAX: u64 = 10 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisorState {
    Starting,
    /// Answers, and has the sandbox image.
    Running {
        pid: u32,
    },
    /// Not running, and why.
    Down {
        reason: String,
    },
}

/// Keeps one containerd alive.
pub struct Supervisor {
    layout: Layout,
    network: PodNetwork,
    runtime: Arc<dyn Runtime>,
    state: watch::Sender<SupervisorState>,
}

impl Supervisor {
    pub fn new(
        layout: Layout,
        network: PodNetwork,
        runtime: Arc<dyn Runtime>,
    ) -> (Supervisor, watch::Receiver<SupervisorState>) {
        let (state, told) = watch::channel(SupervisorState::Starting);
        (Supervisor { layout, network, runtime, state }, told)
    }

    /// Until the shutdown. Leaving it leaves containerd running.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut pause_ms = RESTART_BACKOFF_MIN_MS;
        loop {
            let started = Instant::now();
            tokio::select! {
                // Dropping a life in the middle leaves the process and its pid file; the next start adopts it.
                () = shutdown.cancelled() => return,
                ended = self.one_life() => {
                    let reason = match ended {
                        Ok(()) => "containerd ended".to_owned(),
                        Err(error) => crate::error_chain(&error),
                    };
                    tracing::error!(%reason, restart_in_ms = pause_ms, "containerd is down; containers go on");
                    self.state.send_replace(SupervisorState::Down { reason });
                }
            }
            if started.elapsed() >= Duration::from_millis(HEALTHY_AFTER_MS) {
                pause_ms = RESTART_BACKOFF_MIN_MS;
            }
            tokio::select! {
                // Both are a timer and a flag: nothing is lost.
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            }
            pause_ms = (pause_ms * 2).min(RESTART_BACKOFF_MAX_MS);
        }
    }

    /// From adopting or starting one process to its end.
    async fn one_life(&self) -> Result<(), ContainerdError> {
        let programs = Programs::find()?;
        let pid = match running(&self.layout) {
            Some(pid) => {
                tracing::info!(pid = pid.as_raw_nonzero().get(), "containerd is running already: adopted");
                pid
            }
            None => self.spawn(&programs).await?,
        };
        let raw = pid.as_raw_nonzero().get().unsigned_abs();
        let mut end = std::pin::pin!(wait_for_end(pid));
        tokio::select! {
            // Whatever is dropped is asked anew in the next life.
            ended = &mut end => return ended,
            answered = self.until_it_answers(&programs) => {
                if let Err(error) = answered {
                    // It hangs: a new one is better. Containers and shims are not its children.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    let _ = end.await;
                    return Err(error);
                }
            }
        }
        self.state.send_replace(SupervisorState::Running { pid: raw });
        end.await
    }

    async fn spawn(&self, programs: &Programs) -> Result<Pid, ContainerdError> {
        let layout = &self.layout;
        let written = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ContainerdError::Write { path, source }
        };
        std::fs::create_dir_all(&layout.folder).map_err(written(&layout.folder))?;
        let socket = layout.socket();
        if let Some(folder) = socket.parent() {
            std::fs::create_dir_all(folder).map_err(written(folder))?;
        }
        self.network.write().map_err(|error| ContainerdError::Write {
            path: self.network.config_folder.clone(),
            source: io::Error::other(error),
        })?;
        let config = layout.config();
        std::fs::write(&config, config_text(layout, programs, &self.network)).map_err(written(&config))?;
        let log_path = layout.log();
        if std::fs::metadata(&log_path).is_ok_and(|file| file.len() > LOG_BYTES_MAX) {
            let _ = std::fs::rename(&log_path, layout.folder.join("containerd.log.1"));
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(written(&log_path))?;
        let errors = log.try_clone().map_err(written(&log_path))?;

        // setsid and nsenter replace themselves, so the pid that we get is containerd's.
        let mut command = Command::new(find("setsid")?);
        if let Place::Pinned(pin) = mounts::prepare(layout).await? {
            command.arg(find("nsenter")?).arg(format!("--mount={}", pin.display())).arg("--");
        }
        command.arg(&programs.containerd).arg("--config").arg(&config);
        let program = programs.containerd.display().to_string();
        let mut child = command
            .current_dir("/")
            .env("PATH", &programs.path)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(false)
            .spawn()
            .map_err(|source| ContainerdError::Run { program: program.clone(), source })?;
        let raw = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = raw
            .and_then(Pid::from_raw)
            .ok_or(ContainerdError::Failed { program, output: "it ended at once".to_owned() })?;
        let pid_file = layout.pid();
        std::fs::write(&pid_file, format!("{}\n", pid.as_raw_nonzero())).map_err(written(&pid_file))?;
        tracing::info!(pid = pid.as_raw_nonzero().get(), "containerd started");
        // Reaps it when it ends before we do; who is waiting looks at a pidfd instead.
        tokio::spawn(async move {
            let _ = child.wait().await;
        });
        Ok(pid)
    }

    /// Until CRI answers and the sandbox image is there.
    async fn until_it_answers(&self, programs: &Programs) -> Result<(), ContainerdError> {
        let deadline = Instant::now() + Duration::from_millis(BOOT_DEADLINE_MS);
        loop {
            match self.runtime.version().await {
                Ok(version) => {
                    tracing::info!(name = %version.name, version = %version.version, "container runtime answers");
                    break;
                }
                Err(error) if Instant::now() >= deadline => {
                    return Err(ContainerdError::Failed {
                        program: "containerd".to_owned(),
                        output: format!("no answer within {BOOT_DEADLINE_MS} ms: {error}"),
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(BOOT_POLL_MS)).await,
            }
        }
        if let Ok(Some(_)) = self.runtime.image_status(pause::IMAGE).await {
            return Ok(());
        }
        let architecture = pause::Architecture::here().ok_or(ContainerdError::Failed {
            program: "pause".to_owned(),
            output: format!("no sandbox program for {}", std::env::consts::ARCH),
        })?;
        let path = self.layout.folder.join("pause.tar");
        std::fs::write(&path, pause::archive(architecture))
            .map_err(|source| ContainerdError::Write { path: path.clone(), source })?;
        image::import(&programs.ctr, &self.layout.socket(), &path).await?;
        Ok(())
    }
}

/// The containerd that runs for this layout, if one does.
pub fn running(layout: &Layout) -> Option<Pid> {
    let text = std::fs::read_to_string(layout.pid()).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?)?;
    // A pid is used again after a while: the command line tells whether it is still the one.
    let command = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    let config = layout.config();
    let ours = command.split(|byte| *byte == 0).any(|word| word == config.as_os_str().as_encoded_bytes());
    ours.then_some(pid)
}

/// Resolves when the process has ended, whoever's child it is.
pub async fn wait_for_end(pid: Pid) -> Result<(), ContainerdError> {
    let failed = |source: io::Error| ContainerdError::Run { program: "pidfd_open".to_owned(), source };
    let fd: OwnedFd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
    };
    // Deprecated for types whose descriptor may change under it; an OwnedFd's cannot, and the new way is unsafe.
    #[expect(deprecated)]
    let fd = AsyncFd::with_interest(fd, tokio::io::Interest::READABLE).map_err(failed)?;
    fd.readable().await.map(|_| ()).map_err(failed)
}
