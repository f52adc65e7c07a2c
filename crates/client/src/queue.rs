//! A work queue: what is to be looked at, each item once.
//!
//! An item that is added while it waits is not added again; one that is added while it is being worked on comes
//! back when that work is done, so no two workers hold the same item. Failures are retried with a back-off that
//! doubles for each item alone; delayed items wait in time order. There is no task behind it: waiting workers
//! bring due items forward. Upstream: client-go's rate-limiting queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use process::{Clock, Shutdown};
use tokio::sync::Notify;

use crate::backoff::Backoff;

/// Upstream's per-item back-off: 5 ms doubling. Its limit of 1000 s is cut to 60 s, so that what failed while the
/// API was away is done within a minute of its return.
pub const RETRY: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(60));
/// Distinct items that wait: more than the objects of one kind that any cluster has. Adding beyond it is refused
/// and says so, which only a bug can bring about, because items are keys.
pub const ITEMS_MAX: usize = 1_000_000;

/// What came of adding an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    Queued,
    /// It waits already, or will come back when the present work on it is done.
    Merged,
    /// [`ITEMS_MAX`] items wait.
    Refused,
}

/// How the work on an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing left to do until it is added again.
    Done,
    /// Look again after this long; forgets earlier failures.
    Again(Duration),
    /// Look again after the item's back-off.
    Failed,
    /// Look again after at least this long, and count it as a failure.
    FailedFor(Duration),
}

/// Clones share the queue.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        WorkQueue { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T> {
    items: Mutex<Items<T>>,
    filled: Notify,
    clock: Arc<dyn Clock>,
    retry: Backoff,
}

struct Items<T> {
    ready: VecDeque<T>,
    /// Everything in `ready`, and what was added while it is in `working`.
    dirty: BTreeSet<T>,
    working: BTreeSet<T>,
    /// Due time of each delayed item, and the same ordered by time.
    due: BTreeMap<T, Timestamp>,
    by_due: BTreeSet<(Timestamp, T)>,
    failures: BTreeMap<T, u32>,
}

impl<T: Ord + Clone + Send + 'static> WorkQueue<T> {
    pub fn new(clock: Arc<dyn Clock>) -> WorkQueue<T> {
        WorkQueue::with_retry(clock, RETRY)
    }

    pub fn with_retry(clock: Arc<dyn Clock>, retry: Backoff) -> WorkQueue<T> {
        let items = Items {
            ready: VecDeque::new(),
            dirty: BTreeSet::new(),
            working: BTreeSet::new(),
            due: BTreeMap::new(),
            by_due: BTreeSet::new(),
            failures: BTreeMap::new(),
        };
        WorkQueue {
            shared: Arc::new(Shared { items: Mutex::new(items), filled: Notify::new(), clock, retry }),
        }
    }

    /// Adds an item now.
    pub fn add(&self, item: T) -> Added {
        let added = self.shared.items.lock().add(item);
        if added == Added::Queued {
            self.shared.filled.notify_one();
        }
        added
    }

    /// Adds an item after `delay`. One that is delayed already keeps the earlier time.
    pub fn add_after(&self, item: T, delay: Duration) -> Added {
        if delay.is_zero() {
            return self.add(item);
        }
        let due = later(self.shared.clock.now(), delay);
        let added = self.shared.items.lock().delay(item, due);
        if added == Added::Queued {
            // A worker that waits for a later time has to wait anew.
            self.shared.filled.notify_waiters();
            self.shared.filled.notify_one();
        }
        added
    }

    /// Adds an item after its own back-off, which grows with each call until [`forget`](Self::forget).
    pub fn add_failed(&self, item: T) -> Added {
        let failures = {
            let mut items = self.shared.items.lock();
            let failures = items.failures.entry(item.clone()).or_insert(0);
            *failures = failures.saturating_add(1);
            *failures
        };
        self.add_after(item, self.shared.retry.delay(failures))
    }

    /// Forgets an item's failures.
    pub fn forget(&self, item: &T) {
        self.shared.items.lock().failures.remove(item);
    }

    /// How often an item has failed in a row.
    pub fn failures(&self, item: &T) -> u32 {
        self.shared.items.lock().failures.get(item).copied().unwrap_or(0)
    }

    /// Items that are ready to be worked on.
    pub fn len(&self) -> usize {
        self.shared.items.lock().ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next item; waits for one. It must be given back with [`done`](Self::done).
    /// Cancel safe: a dropped wait takes nothing out.
    pub async fn next(&self) -> T {
        loop {
            let filled = self.shared.filled.notified();
            let wait = {
                let mut items = self.shared.items.lock();
                items.bring_forward(self.shared.clock.now());
                if let Some(item) = items.take() {
                    if !items.ready.is_empty() {
                        self.shared.filled.notify_one();
                    }
                    return item;
                }
                items.by_due.first().map(|(due, _)| until(self.shared.clock.now(), *due))
            };
            match wait {
                None => filled.await,
                Some(wait) => tokio::select! {
                    // Either way the loop looks again; neither side holds an item.
                    () = filled => {}
                    () = self.shared.clock.sleep(wait) => {}
                },
            }
        }
    }

    /// Gives an item back; if it was added meanwhile it is ready again.
    pub fn done(&self, item: &T) {
        if self.shared.items.lock().done(item) {
            self.shared.filled.notify_one();
        }
    }

    /// Works on items one after the other until shutdown. Run it several times over for more workers.
    pub async fn work<F, Fut>(&self, shutdown: &Shutdown, mut reconcile: F)
    where
        F: FnMut(T) -> Fut,
        Fut: Future<Output = Outcome>,
    {
        loop {
            let item = tokio::select! {
                // Checked first, so that a full queue does not hold up a shutdown.
                biased;
                () = shutdown.cancelled() => return,
                // Dropping the wait takes nothing out of the queue.
                item = self.next() => item,
            };
            // A panic in `reconcile` unwinds through here: the guard gives the item back as failed.
            let mut held = Held { queue: self, item: Some(item.clone()) };
            let outcome = reconcile(item.clone()).await;
            held.item = None;
            self.finish(item, outcome);
        }
    }

    fn finish(&self, item: T, outcome: Outcome) {
        self.done(&item);
        match outcome {
            Outcome::Done => self.forget(&item),
            Outcome::Again(delay) => {
                self.forget(&item);
                self.add_after(item, delay);
            }
            Outcome::Failed => {
                self.add_failed(item);
            }
            Outcome::FailedFor(delay) => {
                let failures = self.failures(&item) + 1;
                self.shared.items.lock().failures.insert(item.clone(), failures);
                self.add_after(item, delay.max(self.shared.retry.delay(failures)));
            }
        }
    }
}

/// An item in work; dropped with the item still inside, the work did not end.
struct Held<'a, T: Ord + Clone + Send + 'static> {
    queue: &'a WorkQueue<T>,
    item: Option<T>,
}

impl<T: Ord + Clone + Send + 'static> Drop for Held<'_, T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.queue.finish(item, Outcome::Failed);
        }
    }
}

impl<T: Ord + Clone> Items<T> {
    fn add(&mut self, item: T) -> Added {
        if self.dirty.contains(&item) {
            return Added::Merged;
        }
        if self.dirty.len() >= ITEMS_MAX {
            return Added::Refused;
        }
        self.undelay(&item);
        self.dirty.insert(item.clone());
        if self.working.contains(&item) {
            return Added::Merged;
        }
        self.ready.push_back(item);
        Added::Queued
    }

    fn delay(&mut self, item: T, due: Timestamp) -> Added {
        if self.dirty.contains(&item) || self.due.get(&item).is_some_and(|earlier| *earlier <= due) {
            return Added::Merged;
        }
        if self.due.len() >= ITEMS_MAX {
            return Added::Refused;
        }
        self.undelay(&item);
        self.due.insert(item.clone(), due);
        self.by_due.insert((due, item));
        Added::Queued
    }

    fn undelay(&mut self, item: &T) {
        if let Some(due) = self.due.remove(item) {
            self.by_due.remove(&(due, item.clone()));
        }
    }

    fn bring_forward(&mut self, now: Timestamp) {
        while let Some((due, item)) = self.by_due.first().cloned() {
            if due > now {
                break;
            }
            self.by_due.pop_first();
            self.due.remove(&item);
            self.add(item);
        }
    }

    fn take(&mut self) -> Option<T> {
        let item = self.ready.pop_front()?;
        self.dirty.remove(&item);
        self.working.insert(item.clone());
        Some(item)
    }

    /// Whether the item is ready again.
    fn done(&mut self, item: &T) -> bool {
        self.working.remove(item);
        let again = self.dirty.contains(item);
        if again {
            self.ready.push_back(item.clone());
        }
        again
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
