//! A heartbeat: one lease, renewed at a steady pace until shutdown.
//!
//! A lease that is missing is created, one that belongs to somebody else is taken over (a node owns its name), and
//! a failure is tried again soon. Upstream: component-helpers' lease controller in the kubelet.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use process::{Clock, Shutdown};

use crate::backoff::{Backoff, jittered};
use crate::write::Class;

/// Upstream: a node's lease lasts 40 s and is renewed every 10 s, stretched by up to 4 %.
pub const NODE_LEASE_SECONDS: i32 = 40;
pub const NODE_RENEW_SECONDS: u64 = 10;
pub const RENEW_SPREAD_PERCENT: u32 = 4;
/// Upstream's ensure-lease back-off: 0.2 s to 7 s.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(7));

/// What lease to keep.
pub struct Heartbeat {
    api: Api<Lease>,
    name: String,
    holder: String,
    lease_seconds: i32,
    renew_every: Duration,
    owner: OwnerFn,
    clock: Arc<dyn Clock>,
}

/// The owner to write, if it is known by now: a node's uid is known once it is registered.
pub type OwnerFn = Box<dyn Fn() -> Option<OwnerReference> + Send + Sync>;

impl Heartbeat {
    /// A node's heartbeat in `kube-node-lease`, with upstream's figures.
    pub fn node(client: Client, node: &str, owner: OwnerFn, clock: Arc<dyn Clock>) -> Heartbeat {
        Heartbeat {
            api: Api::namespaced(client, "kube-node-lease"),
            name: node.to_owned(),
            holder: node.to_owned(),
            lease_seconds: NODE_LEASE_SECONDS,
            renew_every: Duration::from_secs(NODE_RENEW_SECONDS),
            owner,
            clock,
        }
    }

    /// Another pace, for simulations.
    #[must_use]
    pub fn every(mut self, renew_every: Duration, lease_seconds: i32) -> Heartbeat {
        self.renew_every = renew_every;
        self.lease_seconds = lease_seconds;
        self
    }

    /// Keeps the lease until shutdown.
    pub async fn keep(self, shutdown: Shutdown) {
        tokio::select! {
            // A renewal that is cut off has either happened or not; the lease runs out by itself.
            () = shutdown.cancelled() => {}
            () = self.beat() => {}
        }
    }

    async fn beat(&self) {
        let mut known: Option<Lease> = None;
        let mut failures = 0;
        loop {
            match self.renew(known.take()).await {
                Ok(lease) => {
                    failures = 0;
                    known = Some(lease);
                    self.clock.sleep(jittered(self.renew_every, RENEW_SPREAD_PERCENT)).await;
                }
                Err(error) => {
                    failures += 1;
                    // One conflict is the ordinary way to learn of a changed lease.
                    if failures > 1 {
                        tracing::warn!(lease = %self.name, failures, error = %error, "cannot renew the lease");
                    }
                    self.clock.sleep(RETRY.delay(failures)).await;
                }
            }
        }
    }

    /// One renewal: of the lease as last written, else of what the API has, else by creating it.
    async fn renew(&self, known: Option<Lease>) -> Result<Lease, Error> {
        let current = match known {
            Some(lease) => Some(lease),
            None => self.api.get_opt(&self.name).await?,
        };
        let params = PostParams::default();
        let written = match current {
            Some(lease) => self.api.replace(&self.name, &params, &self.renewed(lease)).await,
            None => self.api.create(&params, &self.renewed(self.fresh())).await,
        };
        match written {
            // It went or changed since it was read: read it again at the next try, which comes at once.
            Err(error) if matches!(Class::of(&error), Class::Missing | Class::Stale | Class::Exists) => {
                tracing::debug!(lease = %self.name, error = %error, "lease has changed, reading it again");
                Err(error)
            }
            written => written,
        }
    }

    fn fresh(&self) -> Lease {
        Lease { metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, spec: None }
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        if lease.metadata.owner_references.as_ref().is_none_or(Vec::is_empty) {
            lease.metadata.owner_references = (self.owner)().map(|owner| vec![owner]);
        }
        lease.metadata.managed_fields = None;
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(self.holder.clone());
        spec.lease_duration_seconds = Some(self.lease_seconds);
        spec.renew_time = Some(MicroTime(micros(self.clock.now())));
        lease
    }
}

/// A MicroTime carries microseconds and no more.
pub(super) fn micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted_api::scripted;
    use process::clock::manual::ManualClock;
    use serde_json::json;

    #[tokio::test]
    async fn a_missing_lease_is_created_and_then_renewed_without_reading_it() {
        let (client, mut api) = scripted();
        let clock = ManualClock::at_new_year();
        let shutdown = Shutdown::new();
        let beat = Heartbeat::node(client, "node-a", Box::new(|| None), Arc::new(clock.clone()));
        let kept = tokio::spawn(beat.keep(shutdown.clone()));
        api.call().await.failure(404, "NotFound");
        let mut create = api.call().await;
        let mut lease = create.body().await;
        assert_eq!(lease["spec"]["holderIdentity"], "node-a");
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
        assert_eq!(lease["spec"]["renewTime"], "2026-01-01T00:00:00.000000Z");
        lease["metadata"]["resourceVersion"] = json!("5");
        create.json(201, &lease);
        clock.sleepers_reach(1).await;
        clock.advance(Duration::from_secs(11));
        let mut renew = api.call().await;
        let lease = renew.body().await;
        assert_eq!(renew.request.method(), "PUT");
        assert_eq!(lease["metadata"]["resourceVersion"], "5");
        assert_eq!(lease["spec"]["renewTime"], "2026-01-01T00:00:11.000000Z");
        shutdown.trigger();
        kept.await.expect("the heartbeat ends with the shutdown");
    }
}
