//! Back-off as upstream counts it: the first repetition is free, then doubling, forgotten after a long good run.

use jiff::{SignedDuration, Timestamp};

/// Upstream's first crash and pull back-off.
pub(crate) const INITIAL_SECONDS: u32 = 10;
/// Upstream's cap of both.
pub(crate) const MAX_SECONDS: u32 = 300;

/// One thing that is tried again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub seconds: u32,
    updated: Timestamp,
}

impl Backoff {
    /// The wait that a repetition brings, counted from `event` (the exit or the failure). `None` forgets: the last
    /// repetition is longer ago than twice the cap.
    pub fn next(current: Option<Backoff>, event: Timestamp, now: Timestamp, max_seconds: u32) -> Backoff {
        let seconds = match current {
            Some(backoff) if !backoff.expired(event, max_seconds) => backoff.seconds.saturating_mul(2),
            Some(_) | None => INITIAL_SECONDS,
        };
        Backoff { seconds: seconds.min(max_seconds.max(1)), updated: now }
    }

    fn expired(&self, event: Timestamp, max_seconds: u32) -> bool {
        event.duration_since(self.updated) > SignedDuration::from_secs(2 * i64::from(max_seconds))
    }

    /// Until when the thing that failed at `event` must wait; `None` when it need not.
    pub fn until(&self, event: Timestamp, now: Timestamp, max_seconds: u32) -> Option<Timestamp> {
        let until = after(event, i64::from(self.seconds));
        (!self.expired(event, max_seconds) && now < until).then_some(until)
    }
}

/// A repetition whose wait doubles from one second: volumes, sandboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retry {
    failures: u32,
    pub at: Option<Timestamp>,
}

impl Retry {
    pub fn failed(&mut self, now: Timestamp, max_seconds: u32) {
        let seconds = 1_u32.checked_shl(self.failures.min(16)).unwrap_or(max_seconds).min(max_seconds);
        self.failures = self.failures.saturating_add(1);
        self.at = Some(after(now, i64::from(seconds)));
    }

    /// Until when to wait, if it is not yet time.
    pub fn wait(&self, now: Timestamp) -> Option<Timestamp> {
        self.at.filter(|at| now < *at)
    }
}

/// Seconds later; the end of time stays where it is.
pub(crate) fn after(from: Timestamp, seconds: i64) -> Timestamp {
    from.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn waits_double_from_ten_seconds_to_the_cap() {
        let mut backoff = None;
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..7 {
            let next = Backoff::next(backoff, at(now), at(now), MAX_SECONDS);
            waits.push(next.seconds);
            now += i64::from(next.seconds);
            backoff = Some(next);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_run_of_more_than_ten_minutes_is_forgiven() {
        let old = Backoff { seconds: 300, updated: at(0) };
        assert_eq!(old.until(at(601), at(601), MAX_SECONDS), None);
        assert_eq!(Backoff::next(Some(old), at(601), at(601), MAX_SECONDS).seconds, 10);
        assert_eq!(old.until(at(600), at(600), MAX_SECONDS), Some(at(900)));
    }
}
