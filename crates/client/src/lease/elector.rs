//! Leader election by Lease: at most one of several candidates works at a time.
//!
//! A candidate takes a lease that is free, or whose holder has not renewed it for its length *as seen by the
//! candidate's own clock since it first saw that renewal* (clocks of different machines are never compared). A leader
//! that cannot renew within the deadline, which is shorter than the lease, stops working. Upstream:
//! client-go's leaderelection, whose defaults are 15 s, 10 s and 2 s.
//! DIFFERS(leader-election): 10 s, 7 s and 2 s, and a candidate looks again the moment that the lease runs out, so that
//! somebody else acts within 15 s after a leader was killed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use process::{Clock, Shutdown};

use super::heartbeat::micros;
use crate::backoff::jittered;
use crate::write::Class;

pub const LEASE_SECONDS: i32 = 10;
pub const RENEW_DEADLINE_SECONDS: i64 = 7;
pub const RETRY_SECONDS: u64 = 2;
/// Candidates look every 2 to 3 s. A renewal that was seen late counts from then: upstream's up to 120 % more would make the
/// take-over late by as much.
const RETRY_SPREAD_PERCENT: u32 = 50;

/// A candidate for one lease.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    clock: Arc<dyn Clock>,
}

/// Which lease to compete for, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    pub namespace: String,
    pub name: String,
    /// Must differ between candidates: upstream uses `<hostname>_<uuid>`.
    pub identity: String,
}

impl Candidacy {
    /// For a lease in `kube-system`, as an identity that no other process has.
    pub fn for_component(name: &str, host: &str) -> Candidacy {
        Candidacy {
            namespace: "kube-system".to_owned(),
            name: name.to_owned(),
            identity: format!("{host}_{}", uuid::Uuid::new_v4()),
        }
    }
}

/// Runs `work` until shutdown: at once without a candidacy, else whenever and as long as this candidate leads.
/// Each time `work` gets a signal of its own that says when to stop.
pub async fn while_leading<F, Fut>(
    client: &Client,
    candidacy: Option<&Candidacy>,
    clock: &Arc<dyn Clock>,
    shutdown: &Shutdown,
    mut work: F,
) where
    F: FnMut(Shutdown) -> Fut,
    Fut: Future<Output = ()>,
{
    let Some(Candidacy { namespace, name, identity }) = candidacy else {
        return work(shutdown.clone()).await;
    };
    let elector = Elector::new(client.clone(), namespace, name, identity, Arc::clone(clock));
    while !shutdown.is_cancelled() {
        match elector.lead(shutdown, &mut work).await {
            Lost::Finished | Lost::Shutdown => return,
            Lost::Lease => tracing::warn!(lease = name, "lost the lease, competing again"),
        }
    }
}

/// Why leading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The work returned by itself.
    Finished,
    /// The lease could not be renewed in time, or another holds it.
    Lease,
    /// Shutdown.
    Shutdown,
}

/// What a candidate has seen of the lease.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    spec: LeaseSpec,
    at: Timestamp,
}

/// What a look at the lease allows.
#[derive(Debug, PartialEq, Eq)]
enum Chance {
    /// It is ours: renew.
    Renew,
    /// It is free or has run out: take it.
    Take,
    /// Another holds it.
    Wait,
}

impl Elector {
    /// `identity` must differ between candidates: upstream uses `<hostname>_<uuid>`.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        clock: Arc<dyn Clock>,
    ) -> Elector {
        Elector {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            clock,
        }
    }

    /// Waits until this candidate leads, then runs `work` until the lease is lost, the work returns or shutdown.
    /// `work` gets a signal that is triggered when it has to stop; it is waited for. Call again to compete again.
    pub async fn lead<F, Fut>(&self, shutdown: &Shutdown, work: F) -> Lost
    where
        F: FnOnce(Shutdown) -> Fut,
        Fut: Future<Output = ()>,
    {
        tokio::select! {
            // A cut-off attempt may have taken the lease; it then runs out by itself.
            () = shutdown.cancelled() => return Lost::Shutdown,
            () = self.acquire() => {}
        }
        tracing::info!(lease = %self.name, identity = %self.identity, "leading");
        let stop = shutdown.child();
        let mut work = std::pin::pin!(work(stop.clone()));
        let lost = tokio::select! {
            // The work keeps its state in its own future, which is only dropped after it has returned below.
            () = &mut work => {
                // Work that hears of the shutdown may end before this task does.
                let lost = if shutdown.is_cancelled() { Lost::Shutdown } else { Lost::Finished };
                return self.release_as(lost).await;
            }
            () = self.hold() => Lost::Lease,
            () = shutdown.cancelled() => Lost::Shutdown,
        };
        stop.trigger();
        work.await;
        tracing::info!(lease = %self.name, identity = %self.identity, ?lost, "no longer leading");
        self.release_as(lost).await
    }

    async fn acquire(&self) {
        let mut seen = None;
        while !matches!(self.attempt(&mut seen).await, Ok(true)) {
            let pause = jittered(Duration::from_secs(RETRY_SECONDS), RETRY_SPREAD_PERCENT);
            let left = seen.as_ref().and_then(|seen| left(seen, &self.identity, self.clock.now()));
            self.clock.sleep(left.map_or(pause, |left| pause.min(left))).await;
        }
    }

    /// Returns when the lease counts as lost.
    async fn hold(&self) {
        let mut seen = None;
        let mut renewed = self.clock.now();
        loop {
            let held = self.clock.now().duration_since(renewed);
            let left = Duration::from_secs(RENEW_DEADLINE_SECONDS.unsigned_abs())
                .saturating_sub(Duration::try_from(held).unwrap_or_default());
            let renew = async {
                self.clock.sleep(Duration::from_secs(RETRY_SECONDS)).await;
                self.attempt(&mut seen).await
            };
            let renewal = tokio::select! {
                biased;
                // A renewal under way that is dropped may have been made: it then runs out by itself.
                () = self.clock.sleep(left) => return,
                renewal = renew => renewal,
            };
            match renewal {
                Ok(true) => renewed = self.clock.now(),
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(lease = %self.name, error = %error, "cannot renew leadership");
                }
            }
        }
    }

    /// One try to take or renew; `Ok(true)` is leadership.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<bool, Error> {
        // A request that hangs must not outlive the lease.
        let patience = Duration::from_secs(RENEW_DEADLINE_SECONDS.unsigned_abs() / 2);
        match tokio::time::timeout(patience, self.try_once(seen)).await {
            Ok(result) => result,
            Err(elapsed) => Err(Error::Service(Box::new(elapsed))),
        }
    }

    async fn try_once(&self, seen: &mut Option<Seen>) -> Result<bool, Error> {
        let now = self.clock.now();
        let params = PostParams::default();
        let written = match self.api.get_opt(&self.name).await? {
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let spec = Some(next_spec(&LeaseSpec::default(), &self.identity, now));
                self.api.create(&params, &Lease { metadata, spec }).await
            }
            Some(mut lease) => {
                let spec = lease.spec.take().unwrap_or_default();
                if seen.as_ref().is_none_or(|seen| seen.spec != spec) {
                    *seen = Some(Seen { spec: spec.clone(), at: now });
                }
                let observed = seen.as_ref().map_or(now, |seen| seen.at);
                if chance(&spec, &self.identity, observed, now) == Chance::Wait {
                    return Ok(false);
                }
                lease.metadata.managed_fields = None;
                lease.spec = Some(next_spec(&spec, &self.identity, now));
                self.api.replace(&self.name, &params, &lease).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Another candidate was faster.
            Err(error) if matches!(Class::of(&error), Class::Stale | Class::Exists) => Err(error),
            Err(error) => Err(error),
        }
    }

    /// Gives the lease back, so that the next candidate need not wait for it to run out.
    async fn release_as(&self, lost: Lost) -> Lost {
        if lost == Lost::Lease {
            return lost;
        }
        let patience = Duration::from_secs(RETRY_SECONDS);
        // Best effort: a lease that is not released runs out.
        match tokio::time::timeout(patience, self.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(lease = %self.name, error = %error, "cannot give the lease back")
            }
            Err(_) => tracing::warn!(lease = %self.name, "cannot give the lease back in time"),
        }
        lost
    }

    async fn release(&self) -> Result<(), Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(());
        }
        spec.holder_identity = None;
        // Upstream's releaser shortens the lease to one second.
        spec.lease_duration_seconds = Some(1);
        lease.metadata.managed_fields = None;
        self.api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
    }
}

/// How long the lease that another holds still has, as far as was seen; `None` where there is nothing to wait for.
fn left(seen: &Seen, identity: &str, now: Timestamp) -> Option<Duration> {
    if chance(&seen.spec, identity, seen.at, now) != Chance::Wait {
        return None;
    }
    let length = i64::from(seen.spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS));
    let waited = now.duration_since(seen.at);
    Duration::try_from(jiff::SignedDuration::from_secs(length) - waited).ok()
}

fn chance(spec: &LeaseSpec, identity: &str, observed: Timestamp, now: Timestamp) -> Chance {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder == identity {
        return Chance::Renew;
    }
    let length = i64::from(spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS));
    if holder.is_empty() || now.duration_since(observed).as_secs() >= length {
        Chance::Take
    } else {
        Chance::Wait
    }
}

fn next_spec(spec: &LeaseSpec, identity: &str, now: Timestamp) -> LeaseSpec {
    let now = MicroTime(micros(now));
    let ours = spec.holder_identity.as_deref() == Some(identity);
    let transitions = spec.lease_transitions.unwrap_or(0);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        acquire_time: if ours { spec.acquire_time.clone() } else { Some(now.clone()) },
        renew_time: Some(now),
        lease_transitions: Some(if ours || spec.holder_identity.is_none() {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..spec.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted_api::{ScriptedApi, scripted};
    use process::clock::manual::ManualClock;
    use serde_json::{Value, json};

    struct Candidate {
        api: ScriptedApi,
        clock: ManualClock,
        shutdown: Shutdown,
        /// The work's signal, once it runs.
        working: tokio::sync::mpsc::UnboundedReceiver<Shutdown>,
        led: tokio::task::JoinHandle<Lost>,
    }

    fn candidate() -> Candidate {
        let (client, api) = scripted();
        let clock = ManualClock::at_new_year();
        let shutdown = Shutdown::new();
        let (tell, working) = tokio::sync::mpsc::unbounded_channel();
        let elector = Elector::new(client, "kube-system", "l", "me", Arc::new(clock.clone()));
        let stop = shutdown.clone();
        let led = tokio::spawn(async move {
            let work = |stop: Shutdown| async move {
                tell.send(stop.clone()).expect("the test listens");
                stop.cancelled().await;
            };
            elector.lead(&stop, work).await
        });
        Candidate { api, clock, shutdown, working, led }
    }

    fn lease(holder: &str, renewed: &str) -> Value {
        json!({"metadata": {"name": "l", "namespace": "kube-system", "resourceVersion": "1"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed}})
    }

    impl Candidate {
        /// Answers one look with `lease`, and the write that follows, if one may, with what was written.
        async fn sees(&mut self, lease: &Value, then_writes: bool) {
            self.api.call().await.json(200, lease);
            if then_writes {
                let mut write = self.api.call().await;
                assert_eq!(write.request.method(), "PUT");
                let written = write.body().await;
                assert_eq!(written["spec"]["holderIdentity"], "me");
                write.json(200, &written);
            }
        }

        async fn wait(&self, seconds: u64) {
            self.clock.sleepers_reach(1).await;
            self.clock.advance(Duration::from_secs(seconds));
        }

        /// As a leader, it waits for its turn to renew and for its deadline.
        async fn wait_leading(&self, seconds: u64) {
            self.clock.sleepers_reach(2).await;
            self.clock.advance(Duration::from_secs(seconds));
        }
    }

    #[tokio::test]
    async fn a_candidate_takes_over_only_after_the_lease_was_seen_unrenewed_for_its_length() {
        let mut me = candidate();
        // The holder's clock is an hour behind: what counts is when we saw the renewal.
        me.sees(&lease("other", "2025-12-31T23:00:00.000000Z"), false).await;
        me.wait(14).await;
        me.sees(&lease("other", "2025-12-31T23:00:10.000000Z"), false).await;
        me.wait(14).await;
        me.sees(&lease("other", "2025-12-31T23:00:10.000000Z"), false).await;
        assert!(me.working.try_recv().is_err());
        // One second is left: it looks again when that is over, not when its turn would come.
        me.wait(1).await;
        me.sees(&lease("other", "2025-12-31T23:00:10.000000Z"), true).await;
        assert!(me.working.recv().await.is_some_and(|stop| !stop.is_cancelled()));
    }

    #[tokio::test]
    async fn a_leader_stops_when_another_holds_the_lease() {
        let mut me = candidate();
        me.sees(&lease("", "2026-01-01T00:00:00.000000Z"), true).await;
        let stop = me.working.recv().await.expect("it works");
        me.wait_leading(2).await;
        me.sees(&lease("other", "2026-01-01T00:00:01.000000Z"), false).await;
        stop.cancelled().await;
        assert_eq!(me.led.await.expect("led"), Lost::Lease);
    }

    #[tokio::test]
    async fn a_leader_that_cannot_renew_stops_before_the_lease_runs_out() {
        let mut me = candidate();
        me.sees(&lease("", "2026-01-01T00:00:00.000000Z"), true).await;
        let stop = me.working.recv().await.expect("it works");
        for _ in 0..3 {
            me.wait_leading(2).await;
            me.api.call().await.failure(500, "InternalError");
        }
        assert!(!stop.is_cancelled(), "six seconds are within the deadline");
        me.wait_leading(1).await;
        stop.cancelled().await;
        assert_eq!(me.led.await.expect("led"), Lost::Lease);
    }

    #[tokio::test]
    async fn at_shutdown_the_work_ends_first_and_the_lease_is_given_back() {
        let mut me = candidate();
        me.sees(&lease("", "2026-01-01T00:00:00.000000Z"), true).await;
        me.working.recv().await.expect("it works");
        me.shutdown.trigger();
        me.api.call().await.json(200, &lease("me", "2026-01-01T00:00:00.000000Z"));
        let mut release = me.api.call().await;
        let written = release.body().await;
        assert_eq!(written["spec"]["holderIdentity"], Value::Null);
        release.json(200, &written);
        assert_eq!(me.led.await.expect("led"), Lost::Shutdown);
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_free_or_unrenewed_for_its_length() {
        let table = [
            ("me", 0, Chance::Renew),
            ("me", 100, Chance::Renew),
            ("other", 0, Chance::Wait),
            ("other", 14, Chance::Wait),
            ("other", 15, Chance::Take),
            ("", 0, Chance::Take),
        ];
        for (holder, waited, expected) in table {
            assert_eq!(chance(&held_by(holder), "me", at(0), at(waited)), expected, "{holder} {waited}");
        }
    }

    #[test]
    fn taking_over_counts_a_transition_and_renewing_does_not() {
        let taken = next_spec(&held_by("other"), "me", at(0));
        assert_eq!(taken.lease_transitions, Some(1));
        let renewed = next_spec(&taken, "me", at(5));
        assert_eq!(renewed.lease_transitions, Some(1));
        assert_eq!(renewed.acquire_time, taken.acquire_time);
        assert_ne!(renewed.renew_time, taken.renew_time);
    }
}
