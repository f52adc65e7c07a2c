//! Named background tasks: no orphan spawns, no silent panics, and a shutdown that says who is late.
//!
//! A task that panics is reported by name. One started with [`Tasks::supervise`] is started again after a
//! back-off that doubles with each panic in a row and is forgotten once the task has run for a while; one
//! started with [`Tasks::spawn`] stays down. A task that returns has done its job and is not restarted.
//! What a task does is unknown here.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::Shutdown;

/// First pause after a panic: long enough that a task which dies at its first step does not fill the log.
pub const RESTART_BACKOFF_MIN_MS: u64 = 100;
/// Longest pause: a broken part is tried twice a minute, so that it is back soon after its cause is gone.
pub const RESTART_BACKOFF_MAX_MS: u64 = 30_000;
/// A task that ran this long since its last start counts as healthy again.
pub const RESTART_FORGIVE_MS: u64 = 60_000;

/// The tasks of a process or of a part of it. Clones share them.
#[derive(Clone)]
pub struct Tasks {
    shutdown: Shutdown,
    shared: Arc<Shared>,
}

struct Shared {
    tracker: TaskTracker,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    next: u64,
    by_number: BTreeMap<u64, (String, Option<AbortHandle>)>,
}

impl Tasks {
    pub fn new(shutdown: Shutdown) -> Tasks {
        Tasks {
            shutdown,
            shared: Arc::new(Shared { tracker: TaskTracker::new(), running: Mutex::default() }),
        }
    }

    /// The signal that these tasks are stopped by; hand clones of it to them.
    pub fn shutdown_signal(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Runs `task` until it returns. A panic ends it and is logged under `name`.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let logged = name.clone();
        self.start(name, async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tracing::error!(task = %logged, panic = panic_text(&*panic), "task panicked and stays down");
            }
        });
    }

    /// Runs what `make` returns, and after a panic what it returns then, with back-off, until one returns
    /// or the shutdown is triggered.
    pub fn supervise<M, F>(&self, name: impl Into<String>, mut make: M)
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let logged = name.clone();
        let shutdown = self.shutdown.clone();
        self.start(name, async move {
            let mut panics_in_a_row = 0;
            while !shutdown.is_cancelled() {
                let started = Instant::now();
                // The closure is inside, so that a panic while making the future is contained too.
                let attempt = AssertUnwindSafe(async { make().await }).catch_unwind().await;
                let Err(panic) = attempt else { return };
                if started.elapsed() >= Duration::from_millis(RESTART_FORGIVE_MS) {
                    panics_in_a_row = 0;
                }
                let pause = restart_backoff(panics_in_a_row);
                panics_in_a_row += 1;
                tracing::error!(
                    task = %logged, panic = panic_text(&*panic), restart_in_ms = pause.as_millis() as u64,
                    "task panicked and will be restarted"
                );
                tokio::select! {
                    // Dropping either side loses nothing: one is a timer, the other a flag.
                    () = tokio::time::sleep(pause) => {}
                    () = shutdown.cancelled() => return,
                }
            }
        });
    }

    /// Names of the tasks that run now, in the order of their start.
    pub fn names(&self) -> Vec<String> {
        self.shared.running.lock().by_number.values().map(|(name, _)| name.clone()).collect()
    }

    /// Triggers the shutdown, waits at most `deadline` for every task, and returns the names of those that
    /// are late, after aborting them.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<String> {
        self.shutdown.trigger();
        self.shared.tracker.close();
        if tokio::time::timeout(deadline, self.shared.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let late: Vec<_> = self.shared.running.lock().by_number.values().cloned().collect();
        for (name, handle) in &late {
            tracing::warn!(task = %name, "task is late to stop and is aborted");
            if let Some(handle) = handle {
                handle.abort();
            }
        }
        late.into_iter().map(|(name, _)| name).collect()
    }

    fn start<F>(&self, name: String, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let number = {
            let mut running = self.shared.running.lock();
            running.next += 1;
            let number = running.next;
            running.by_number.insert(number, (name, None));
            number
        };
        let entry = Entry { number, shared: self.shared.clone() };
        let handle = self.shared.tracker.spawn(async move {
            let _entry = entry;
            task.await;
        });
        // The task may have ended already; then its entry is gone and there is nothing to abort.
        if let Some(slot) = self.shared.running.lock().by_number.get_mut(&number) {
            slot.1 = Some(handle.abort_handle());
        }
    }
}

/// Takes the task off the list when it ends, however it ends.
struct Entry {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.running.lock().by_number.remove(&self.number);
    }
}

fn restart_backoff(panics_in_a_row: u32) -> Duration {
    let doubled = RESTART_BACKOFF_MIN_MS.saturating_mul(1 << panics_in_a_row.min(20));
    Duration::from_millis(doubled.min(RESTART_BACKOFF_MAX_MS))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "panic without a text"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn supervised_task_is_restarted_after_a_panic_and_not_after_it_returns() {
        let tasks = Tasks::new(Shutdown::new());
        let starts = Arc::new(AtomicU32::new(0));
        let (done, finished) = tokio::sync::oneshot::channel();
        let mut done = Some(done);
        let counted = starts.clone();
        tasks.supervise("shaky", move || {
            let start = counted.fetch_add(1, Ordering::SeqCst);
            assert!(start > 0, "the first start fails while it is being made");
            let done = if start == 2 { done.take() } else { None };
            async move { done.expect("the second start fails while it runs").send(()).unwrap() }
        });
        tokio::time::timeout(DEADLINE, finished).await.unwrap().unwrap();
        assert!(tasks.shutdown(DEADLINE).await.is_empty());
        assert_eq!(starts.load(Ordering::SeqCst), 3);
        assert!(tasks.names().is_empty());
    }

    #[tokio::test]
    async fn panic_of_a_plain_task_leaves_the_others_alone() {
        let tasks = Tasks::new(Shutdown::new());
        let signal = tasks.shutdown_signal().clone();
        tasks.spawn("broken", async { panic!("as the test wants") });
        tasks.spawn("sound", async move { signal.cancelled().await });
        assert!(tasks.shutdown(DEADLINE).await.is_empty());
    }

    #[tokio::test]
    async fn shutdown_names_the_late_and_aborts_them() {
        let tasks = Tasks::new(Shutdown::new());
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("deaf", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let signal = tasks.shutdown_signal().clone();
        tasks.spawn("obedient", async move { signal.cancelled().await });
        assert_eq!(tasks.shutdown(Duration::from_millis(50)).await, ["deaf"]);
        assert!(dropped.await.is_err(), "the aborted task was dropped");
    }

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        assert_eq!(restart_backoff(0), Duration::from_millis(100));
        assert_eq!(restart_backoff(3), Duration::from_millis(800));
        assert_eq!(restart_backoff(u32::MAX), Duration::from_millis(RESTART_BACKOFF_MAX_MS));
    }
}
