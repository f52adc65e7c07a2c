//! Events are kept for an hour, then removed. Upstream gives them a lease in etcd; here one task looks every minute.

use std::sync::Arc;
use std::time::Duration;

use process::Shutdown;
use store::{Change, Expect, Write, WriteError};

use crate::limits::EVENT_AGE_MAX;
use crate::server::Inner;
use crate::window::PREFIX;

/// How often old events are looked for: an event lives at most this much longer.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

pub async fn run(server: Arc<Inner>, shutdown: Shutdown) {
    loop {
        sweep(&server).await;
        tokio::select! {
            // Dropping the sleep loses nothing.
            () = server.config.clock.sleep(SWEEP_INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Removes every event that was last written too long ago.
pub async fn sweep(server: &Inner) {
    let Some(window) = server.windows.window("events") else { return };
    let age = i64::try_from(EVENT_AGE_MAX.as_secs()).unwrap_or(i64::MAX);
    let oldest = server.config.clock.now().as_second().saturating_sub(age);
    for object in window.list("", |object| object.header.created_seconds < oldest).objects {
        let key = format!("{PREFIX}events/{}", object.key);
        let write = Write { key, expect: Expect::At(object.revision), change: Change::Delete };
        match server.store.write(write).await {
            Ok(_) | Err(WriteError::Mismatch { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "an old event could not be removed");
                return;
            }
        }
    }
}
