//! The one thread that writes: batch, decide, commit, show, answer — in this order.
//!
//! When a commit fails the writer recovers at once, so that those who wait learn what came of their writes: most often
//! nothing. Then it takes a pause, refusing what comes, and goes on; each failure in a row doubles the pause, so that a
//! full disk costs no more than a look now and then. Where recovering fails too, the outcome is unknown and it
//! is tried again after the pause.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::RetryDelays;
use super::committed::{Committed, Trouble};
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
    delays: RetryDelays,
    /// The pause after the next failure.
    pause: Duration,
    /// Changes of which nobody knows yet whether they are on disk, and the revision of the last.
    unknown: Option<(Vec<Event>, Revision)>,
}

type Answer = (oneshot::Sender<Result<Revision, WriteError>>, String, Result<Revision, WriteError>);

/// What came of a batch's changes.
enum Outcome {
    Done,
    /// They have not happened, and the store knows why.
    NotDone(Trouble),
    /// They may be found to have happened when the store has recovered.
    Unknown(Trouble),
}

impl Writer {
    pub fn new(
        database: Database,
        committed: Arc<Committed>,
        pending: mpsc::Receiver<Pending>,
        measures: Measures,
        delays: RetryDelays,
    ) -> Writer {
        let pause = delays.first;
        Writer { database, committed, pending, measures, delays, pause, unknown: None }
    }

    /// Runs until the store is dropped.
    pub fn run(mut self) {
        while let Some(first) = self.pending.blocking_recv() {
            let batch = self.batch(first);
            // A panic outside of the library is a bug in what is kept here, which then is not to be built upon: the
            // answers that were not given are dropped, and nothing is acknowledged any more.
            if catch_unwind(AssertUnwindSafe(|| self.process(batch))).is_err() {
                tracing::error!("the store's writer panicked and takes no more writes");
                self.committed.set_trouble(Some(Trouble::Other));
                self.pending.close();
                self.refuse_what_waits(Trouble::Other);
                return;
            }
            if let Some(trouble) = self.committed.trouble()
                && !self.mend(trouble)
            {
                return;
            }
        }
    }

    /// Waits and tries until the store takes writes again; false if it was closed meanwhile.
    fn mend(&mut self, mut trouble: Trouble) -> bool {
        loop {
            self.refuse_what_waits(trouble);
            if !self.rest() {
                self.refuse_what_waits(trouble);
                return false;
            }
            if self.database.is_open() {
                break;
            }
            match self.recover() {
                Ok(()) => break,
                Err(error) => {
                    trouble = Trouble::of(&error);
                    self.committed.set_trouble(Some(trouble));
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, retry_in = ?self.pause, "the store could not recover yet");
                }
            }
        }
        tracing::info!("the store takes writes again");
        self.committed.set_trouble(None);
        self.measures.writable(true);
        true
    }

    /// The pause after a failure; false if the store was closed meanwhile.
    fn rest(&mut self) -> bool {
        let end = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(self.delays.longest);
        loop {
            if self.pending.is_closed() {
                return false;
            }
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return true;
            };
            // Who closes the store unparks this thread.
            std::thread::park_timeout(left);
        }
    }

    /// Opens the database again, and shows the changes that turn out to be on disk.
    fn recover(&mut self) -> Result<(), BackendError> {
        let recovering = catch_unwind(AssertUnwindSafe(|| self.database.recover(&self.committed)));
        let found = recovering.unwrap_or_else(|_| {
            self.database.distrust();
            Err(BackendError::Halted)
        })?;
        let (events, revision) = match self.unknown.take() {
            Some(unknown) => unknown,
            None => (Vec::new(), self.committed.revision()),
        };
        if found == revision {
            self.committed.apply(events);
            return Ok(());
        }
        if found == self.committed.revision() {
            return Ok(());
        }
        // Memory has what was acknowledged: the next try writes that down anew.
        self.database.distrust();
        Err(BackendError::Damaged(format!("it is at revision {}, which was never written", found.0)))
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

    fn process(&mut self, batch: Vec<Pending>) {
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
        if events.is_empty() {
            self.measures.refused(answers.len());
            answers.into_iter().for_each(|(answer, _, outcome)| drop(answer.send(outcome)));
            return;
        }
        let count = events.len();
        let outcome = self.commit(events, revision);
        if matches!(outcome, Outcome::Done) {
            self.measures.refused(answers.len() - count);
        }
        for (answer, key, decided) in answers {
            let told = match (&outcome, decided) {
                (Outcome::Done, decided) => decided,
                (Outcome::Unknown(trouble), Ok(_)) => {
                    Err(WriteError::Unknown { key, source: trouble.error() })
                }
                // A refusal may rest on a change of this batch that is not committed either.
                (Outcome::NotDone(trouble), _) | (Outcome::Unknown(trouble), Err(_)) => {
                    Err(WriteError::Refused { key, source: trouble.error() })
                }
            };
            // Nobody need be listening any more.
            let _ = answer.send(told);
        }
    }

    /// Makes a batch durable and shows it, or finds out what came of it.
    fn commit(&mut self, events: Vec<Event>, revision: Revision) -> Outcome {
        let begun = Instant::now();
        let count = events.len();
        let committing = catch_unwind(AssertUnwindSafe(|| self.database.commit(&events, revision)));
        let error = match committing {
            Ok(Ok(())) => {
                self.measures.committed(count, begun.elapsed());
                self.pause = self.delays.first;
                self.committed.apply(events);
                return Outcome::Done;
            }
            Ok(Err(error)) => error,
            Err(_) => {
                self.database.distrust();
                BackendError::Halted
            }
        };
        let trouble = Trouble::of(&error);
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, pause = ?self.pause, "a commit failed; reads go on, writes are refused for a while");
        self.committed.set_trouble(Some(trouble));
        self.measures.writable(false);
        self.unknown = Some((events, revision));
        match self.recover() {
            Ok(()) if self.committed.revision() == revision => {
                self.measures.committed(count, begun.elapsed());
                Outcome::Done
            }
            Ok(()) => Outcome::NotDone(trouble),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the store could not recover yet");
                self.measures.unknown(count);
                Outcome::Unknown(trouble)
            }
        }
    }

    fn refuse_what_waits(&mut self, trouble: Trouble) {
        while let Ok(Pending { write, answer }) = self.pending.try_recv() {
            let refused = WriteError::Refused { key: write.key, source: trouble.error() };
            let _ = answer.send(Err(refused));
        }
    }
}

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
