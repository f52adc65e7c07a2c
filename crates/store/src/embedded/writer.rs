//! The one thread that writes: batch, decide, commit, show, answer — in this order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::committed::Committed;
use super::database::Database;
use crate::measures::Measures;
use crate::{BackendError, Change, Entry, Event, Expect, Revision, Write, WriteError};

/// Writes in one commit: beyond this the price of the sync no longer shows in a write's share.
pub(super) const BATCH_WRITES_MAX: usize = 256;
/// Bytes in one commit: bounds the memory and the time of one, so that small writes wait briefly.
pub(super) const BATCH_BYTES_MAX: usize = 8 << 20;

/// A write that waits, and who waits for it.
pub(super) struct Pending {
    pub write: Write,
    pub answer: oneshot::Sender<Result<Revision, WriteError>>,
}

pub(super) struct Writer {
    database: Database,
    committed: Arc<Committed>,
    pending: mpsc::Receiver<Pending>,
    measures: Measures,
}

type Answer = (oneshot::Sender<Result<Revision, WriteError>>, String, Result<Revision, WriteError>);

impl Writer {
    pub fn new(
        database: Database,
        committed: Arc<Committed>,
        pending: mpsc::Receiver<Pending>,
        measures: Measures,
    ) -> Writer {
        Writer { database, committed, pending, measures }
    }

    /// Runs until the store is dropped or a commit fails.
    pub fn run(mut self) {
        while let Some(first) = self.pending.blocking_recv() {
            let batch = self.batch(first);
            // A panic drops the answers that were not given: nothing is acknowledged.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.process(batch)));
            match outcome {
                Ok(Ok(())) => continue,
                Ok(Err(Failed)) => {}
                Err(_) => tracing::error!("the store's writer panicked and takes no more writes"),
            }
            self.committed.halt();
            self.refuse_the_rest();
            return;
        }
    }

    fn batch(&mut self, first: Pending) -> Vec<Pending> {
        let mut bytes = size(&first);
        let mut batch = vec![first];
        while batch.len() < BATCH_WRITES_MAX && bytes < BATCH_BYTES_MAX {
            let Ok(next) = self.pending.try_recv() else { break };
            bytes += size(&next);
            batch.push(next);
        }
        batch
    }

    fn process(&mut self, batch: Vec<Pending>) -> Result<(), Failed> {
        let mut revision = self.committed.revision();
        let mut staged = BTreeMap::new();
        let mut events = Vec::with_capacity(batch.len());
        let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
        for Pending { write, answer } in batch {
            // Who gave up before the write was begun need not be served.
            if answer.is_closed() {
                continue;
            }
            let key = write.key.clone();
            let current = staged.get(&key).cloned().unwrap_or_else(|| self.committed.get(&key));
            let outcome = decide(write, current, Revision(revision.0 + 1)).map(|event| {
                revision = event.revision();
                staged.insert(key.clone(), after(&event));
                events.push(event);
                revision
            });
            answers.push((answer, key, outcome));
        }
        let begun = Instant::now();
        if !events.is_empty()
            && let Err(error) = self.database.commit(&events, revision)
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a commit failed; the store takes no more writes until it is opened again"
            );
            self.committed.halt();
            for (answer, key, outcome) in answers {
                // A refusal may rest on a change of this batch that is not committed either.
                let failed = match outcome {
                    Ok(_) => WriteError::Unknown { key, source: same_kind(&error) },
                    Err(_) => WriteError::Refused { key, source: BackendError::Halted },
                };
                // Nobody need be listening any more.
                let _ = answer.send(Err(failed));
            }
            return Err(Failed);
        }
        if !events.is_empty() {
            self.measures.committed(events.len(), begun.elapsed());
        }
        self.measures.refused(answers.len() - events.len());
        self.committed.apply(events);
        for (answer, _, outcome) in answers {
            let _ = answer.send(outcome);
        }
        Ok(())
    }

    fn refuse_the_rest(mut self) {
        self.pending.close();
        while let Ok(Pending { write, answer }) = self.pending.try_recv() {
            let refused = WriteError::Refused { key: write.key, source: BackendError::Halted };
            let _ = answer.send(Err(refused));
        }
    }
}

/// The commit failed and everyone has been told.
struct Failed;

/// The change that `write` makes to `current`, or why it makes none.
fn decide(write: Write, current: Option<Entry>, revision: Revision) -> Result<Event, WriteError> {
    let Write { key, expect, change } = write;
    let holds = match expect {
        Expect::Anything => current.is_some() || matches!(change, Change::Put(_)),
        Expect::Absent => current.is_none() && matches!(change, Change::Put(_)),
        Expect::At(at) => current.as_ref().is_some_and(|entry| entry.modified == at),
    };
    if !holds {
        return Err(WriteError::Mismatch { key, current });
    }
    Ok(match change {
        Change::Put(value) => {
            let created = current.map_or(revision, |entry| entry.created);
            Event::Put(Entry { key, value, created, modified: revision })
        }
        Change::Delete => Event::Delete { key, revision },
    })
}

fn after(event: &Event) -> Option<Entry> {
    match event {
        Event::Put(entry) => Some(entry.clone()),
        Event::Delete { .. } => None,
    }
}

fn size(pending: &Pending) -> usize {
    let value = match &pending.write.change {
        Change::Put(value) => value.len(),
        Change::Delete => 0,
    };
    pending.write.key.len() + value
}

/// One failure for everyone who waited for the commit; the log has its causes.
fn same_kind(error: &BackendError) -> BackendError {
    match error {
        BackendError::DiskFull(source) => BackendError::DiskFull(source.kind().into()),
        BackendError::Io(source) => BackendError::Io(source.kind().into()),
        BackendError::Damaged(what) => BackendError::Damaged(what.clone()),
        BackendError::Closed => BackendError::Closed,
        BackendError::TooLarge => BackendError::TooLarge,
        BackendError::Halted | BackendError::Library { .. } => BackendError::Halted,
    }
}
