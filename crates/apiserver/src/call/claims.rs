//! Storing a Service together with its numbers: claimed before, given back after.

use std::collections::BTreeSet;

use bytes::Bytes;
use store::{Expect, Revision};

use super::{Committed, Stored};
use crate::allotment::{Claim, Claimed};
use crate::error::ApiError;
use crate::object::Object;

impl Stored<'_> {
    pub(super) fn has_numbers(&self) -> bool {
        self.resource.group.is_empty() && self.resource.plural == "services"
    }

    /// As [`Stored::put_plain`], for a Service.
    pub(super) async fn put_service(
        &self,
        name: &str,
        bytes: Bytes,
        expect: Expect,
    ) -> Result<Committed, ApiError> {
        let key = self.key(name);
        let object = self.unshared(&key, Revision(0), bytes.clone())?;
        let wanted = claims(&object);
        let before = match expect {
            Expect::At(revision) => self.window.get(&key).filter(|object| object.revision == revision),
            Expect::Absent | Expect::Anything => None,
        };
        let before = before.map(|object| claims(&object)).unwrap_or_default();
        let added: Vec<Claim> = wanted.difference(&before).copied().collect();
        let dropped: Vec<Claim> = before.difference(&wanted).copied().collect();
        let server = &self.call.server;
        let claimed = server.allotment.claim(&*server.store, &key, &added).await;
        match claimed.map_err(|error| super::write_failed(&error))? {
            Claimed::All => {}
            Claimed::Lost => return Ok(Committed::Again),
        }
        // Where the outcome is not known the claims stay: the sweep sees what came of it.
        let done = self.put_plain(name, bytes, expect).await?;
        let given_back = if matches!(done, Committed::Done(_)) { &dropped } else { &added };
        server.allotment.release(&*server.store, given_back).await;
        Ok(done)
    }

    /// What a Service that has gone leaves to others.
    pub(super) async fn give_back(&self, gone: &Object) {
        let server = &self.call.server;
        let claims: Vec<Claim> = claims(gone).into_iter().collect();
        server.allotment.release(&*server.store, &claims).await;
    }
}

fn claims(object: &Object) -> BTreeSet<Claim> {
    object.header.references().filter_map(Claim::parse).collect()
}
