//! Claims in the store: made before a Service is written, given back after it has let go, and swept where neither came about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use process::Shutdown;
use store::{Change, Expect, ReadError, Revision, Store, Write, WriteError};

use super::{Allotment, Claim};
use crate::server::Inner;
use crate::window::{PREFIX, Windows};

/// Where claims lie: among the server's keys, beside the resources.
const PLACE: &str = "serviceclaims/";
/// How often claims without a Service are looked for; one that is found twice in a row is given back. Upstream repairs
/// every three minutes as well.
const SWEEP_INTERVAL: Duration = Duration::from_secs(180);

/// What came of making claims.
#[derive(Debug, PartialEq, Eq)]
pub enum Claimed {
    /// All are the Service's.
    All,
    /// One went to another Service meanwhile; those that were made are given back.
    Lost,
}

impl Allotment {
    /// Makes the claims one after another.
    pub async fn claim(
        &self,
        store: &dyn Store,
        owner: &str,
        claims: &[Claim],
    ) -> Result<Claimed, WriteError> {
        for (made, claim) in claims.iter().enumerate() {
            let change = Change::Put(Bytes::copy_from_slice(owner.as_bytes()));
            let write = Write { key: key(*claim), expect: Expect::Absent, change };
            match store.write(write).await {
                Ok(_) => self.learn(*claim),
                Err(WriteError::Mismatch { .. }) => {
                    self.release(store, &claims[..made]).await;
                    self.learn(*claim);
                    return Ok(Claimed::Lost);
                }
                Err(error) => {
                    self.release(store, &claims[..made]).await;
                    return Err(error);
                }
            }
        }
        Ok(Claimed::All)
    }

    /// Gives claims back; one that cannot be given back now is found by the sweep.
    pub async fn release(&self, store: &dyn Store, claims: &[Claim]) {
        for claim in claims {
            let write = Write { key: key(*claim), expect: Expect::Anything, change: Change::Delete };
            match store.write(write).await {
                Ok(_) | Err(WriteError::Mismatch { .. }) => self.forget(*claim),
                Err(error) => {
                    tracing::warn!(%error, claim = claim.text(), "a number could not be given back")
                }
            }
        }
    }

    /// Reads all claims anew, makes those that Services lack, and gives back those of `suspects` that still have no
    /// Service. Answers with the suspects of the next time.
    pub async fn sweep(
        &self,
        store: &dyn Store,
        windows: &Windows,
        suspects: &BTreeMap<Claim, Revision>,
    ) -> Result<BTreeMap<Claim, Revision>, ReadError> {
        let prefix = format!("{PREFIX}{PLACE}");
        let entries = store.scan(&prefix, None, None).await?.entries;
        let found: BTreeMap<Claim, Revision> = entries
            .iter()
            .filter_map(|entry| Some((Claim::parse(entry.key.strip_prefix(&prefix)?)?, entry.modified)))
            .collect();
        let mut held = BTreeMap::new();
        for object in windows.window("services").map(|w| w.list("", |_| true).objects).unwrap_or_default() {
            for claim in object.header.references().filter_map(Claim::parse) {
                held.insert(claim, Arc::clone(&object.key));
            }
        }
        self.replace(found.keys().chain(held.keys()).copied().collect::<BTreeSet<_>>());
        for (claim, owner) in held.iter().filter(|(claim, _)| !found.contains_key(claim)) {
            if let Err(error) = self.claim(store, owner, &[*claim]).await {
                tracing::warn!(%error, claim = claim.text(), "a Service's number could not be claimed");
            }
        }
        let mut next = BTreeMap::new();
        for (claim, revision) in found.into_iter().filter(|(claim, _)| !held.contains_key(claim)) {
            if suspects.get(&claim) != Some(&revision) {
                next.insert(claim, revision);
                continue;
            }
            tracing::info!(claim = claim.text(), "no Service has this number any more");
            let write = Write { key: key(claim), expect: Expect::At(revision), change: Change::Delete };
            match store.write(write).await {
                Ok(_) => self.forget(claim),
                Err(error) => {
                    tracing::warn!(%error, claim = claim.text(), "a number could not be given back")
                }
            }
        }
        Ok(next)
    }
}

fn key(claim: Claim) -> String {
    format!("{PREFIX}{PLACE}{}", claim.text())
}

/// Sweeps until the server ends.
pub async fn run(server: Arc<Inner>, mut suspects: BTreeMap<Claim, Revision>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            // Dropping the sleep loses nothing.
            () = server.config.clock.sleep(SWEEP_INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
        match server.allotment.sweep(&*server.store, &server.windows, &suspects).await {
            Ok(next) => suspects = next,
            Err(error) => tracing::warn!(%error, "claims could not be read"),
        }
    }
}
