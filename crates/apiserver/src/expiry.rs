//! Events are kept for an hour after they were last written, then removed. Upstream gives them a lease in etcd at every
//! write; here one task looks every minute.

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
    for object in window.list("", |object| object.header.since_seconds < oldest).objects {
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

#[cfg(test)]
mod tests {
    use process::clock::manual::ManualClock;
    use serde_json::json;
    use store::MemoryStore;

    use super::*;
    use crate::access::User;
    use crate::body;
    use crate::{Config, Server};

    #[tokio::test]
    async fn events_go_an_hour_after_they_were_last_written() {
        const EVENTS: &str = "/api/v1/namespaces/default/events";
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let clock = ManualClock::at_new_year();
        let config = Config::new(Arc::new(clock.clone()));
        let server = Server::new(Arc::new(MemoryStore::new()), config).await.unwrap();
        let ask = async |method: &str, url: &str, content: serde_json::Value| {
            let request = http::Request::builder().method(method).uri(url);
            let request = request.header(
                "content-type",
                if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
            );
            let request = request.body(body::full(content.to_string())).unwrap();
            let mut service = server.service_for(User::admin());
            tower::Service::call(&mut service, request).await.unwrap().status().as_u16()
        };
        let left = async || {
            sweep(&server.inner).await;
            let window = server.inner.windows.window("events").unwrap();
            server.inner.windows.fresh().await.unwrap();
            let names = window.list("", |_| true).objects;
            names.iter().map(|object| object.header.name().to_owned()).collect::<Vec<String>>()
        };
        for name in ["counted", "silent"] {
            assert_eq!(ask("POST", EVENTS, json!({"metadata": {"name": name}})).await, 201);
        }
        clock.advance(minutes(50));
        assert_eq!(ask("PATCH", &format!("{EVENTS}/counted"), json!({"count": 2})).await, 200);
        assert_eq!(left().await, ["counted", "silent"]);
        clock.advance(minutes(20));
        assert_eq!(left().await, ["counted"]);
        clock.advance(minutes(41));
        assert_eq!(left().await, [""; 0]);
    }
}
