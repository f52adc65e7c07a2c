//! Old revisions are forgotten, by one of the servers that share an etcd.
//!
//! Each server wakes at the same interval and tries to write the key `compacted` on the condition that nobody else has
//! since its last look. Whoever succeeds compacts up to what was the newest revision at its own last look: so changes are
//! kept for at least one interval, and no server is needed. It is the protocol of upstream's API server
//! (staging/src/k8s.io/apiserver/pkg/storage/etcd3/compact.go), with a key of our own.

use std::sync::Arc;
use std::time::Duration;

use super::layout::revision;
use super::members::Failed;
use super::{Inner, operation, wire};
use crate::{BackendError, Revision};

pub async fn run(inner: Arc<Inner>, interval: Duration) {
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(interval).await;
        match look(&inner, seen).await {
            Ok(next) => seen = next,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "etcd could not be compacted");
            }
        }
    }
}

/// What a server knows from its last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// How often the key had been written.
    version: i64,
    /// etcd's newest revision then.
    newest: Revision,
}

async fn look(inner: &Inner, seen: Seen) -> Result<Seen, BackendError> {
    let key = inner.layout.compacted.clone();
    let compare = wire::Compare {
        relation: wire::Relation::Equal.into(),
        subject: wire::Subject::Version.into(),
        key: key.clone(),
        with: Some(wire::compare::With::Version(seen.version)),
    };
    let put = wire::PutRequest { key: key.clone(), value: seen.newest.0.to_string().into() };
    let read = wire::RangeRequest { key, ..Default::default() };
    let transaction = wire::TxnRequest {
        compare: vec![compare],
        success: vec![operation(wire::operation::Kind::Put(put))],
        failure: vec![operation(wire::operation::Kind::Range(read))],
    };
    let answer: wire::TxnResponse =
        inner.members.write(wire::TXN, transaction).await.map_err(|failed| match failed {
            Failed::NotDone(error) | Failed::Unknown(error) => error,
        })?;
    let newest = revision(answer.header.unwrap_or_default().revision);
    if answer.succeeded {
        if seen.newest > Revision(0) {
            inner.compact(seen.newest).await?;
            tracing::debug!(revision = seen.newest.0, "etcd was compacted");
        }
        return Ok(Seen { version: seen.version + 1, newest });
    }
    let version = answer.responses.iter().find_map(|outcome| match &outcome.kind {
        Some(wire::outcome::Kind::Range(range)) => range.kvs.first().map(|row| row.version),
        _ => None,
    });
    Ok(Seen { version: version.unwrap_or_default(), newest })
}
