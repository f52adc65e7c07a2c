//! A clock that stands still until a test moves it.
//!
//! Sleepers wake in the order of their due times when the clock passes them. A test that must know that
//! the code under test has reached its wait asks [`ManualClock::sleepers_reach`] before it moves time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::Clock;

/// Clones share the time.
#[derive(Clone)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
    waiting: watch::Sender<usize>,
}

struct State {
    now: Timestamp,
    next: u64,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    pub fn new(now: Timestamp) -> ManualClock {
        ManualClock {
            state: Arc::new(Mutex::new(State { now, next: 0, sleepers: BTreeMap::new() })),
            waiting: watch::Sender::new(0),
        }
    }

    /// A clock that begins at 2026-01-01T00:00:00Z: any whole second serves most tests.
    pub fn at_new_year() -> ManualClock {
        ManualClock::new(Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Moves time on and wakes everyone who is due by then.
    pub fn advance(&self, by: Duration) {
        let now = self.state.lock().now;
        self.set(later(now, by));
    }

    /// Sets the time, which may also be earlier; wakes everyone who is due.
    pub fn set(&self, now: Timestamp) {
        let mut state = self.state.lock();
        state.now = now;
        let still = state.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.sleepers, still);
        let left = state.sleepers.values().filter(|sleeper| !sleeper.is_closed()).count();
        drop(state);
        self.waiting.send_replace(left);
        for sleeper in due.into_values() {
            // A sleeper that was dropped meanwhile does not wait any more.
            let _ = sleeper.send(());
        }
    }

    /// Waits until at least `count` tasks sleep on this clock.
    pub async fn sleepers_reach(&self, count: usize) {
        // The sender lives in self, so the channel cannot close.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await;
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().now
    }

    async fn sleep(&self, duration: Duration) {
        let woken = {
            let mut state = self.state.lock();
            if duration.is_zero() {
                return;
            }
            let (wake, woken) = oneshot::channel();
            state.next += 1;
            let due = (later(state.now, duration), state.next);
            state.sleepers.insert(due, wake);
            state.sleepers.retain(|_, sleeper| !sleeper.is_closed());
            self.waiting.send_replace(state.sleepers.len());
            woken
        };
        // An error means that the clock is gone, and nobody will move it again.
        if woken.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = ManualClock::at_new_year();
        let begin = clock.now();
        let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
        for seconds in [10, 20] {
            let (clock, report) = (clock.clone(), report.clone());
            tokio::spawn(async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                report.send(seconds).unwrap();
            });
        }
        clock.sleepers_reach(2).await;
        clock.advance(Duration::from_secs(9));
        clock.advance(Duration::from_secs(1));
        assert_eq!(reports.recv().await, Some(10));
        assert!(reports.try_recv().is_err());
        clock.advance(Duration::from_secs(10));
        assert_eq!(reports.recv().await, Some(20));
        assert_eq!(clock.now().duration_since(begin).as_secs(), 20);
    }
}
