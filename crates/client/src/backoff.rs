//! Exponential back-off with jitter.
//!
//! The steps are exact arithmetic; the jitter is drawn by [`jittered`] only where a delay is used, so that
//! the growth itself can be tested.

use std::time::Duration;

/// Limits of a doubling delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest }
    }

    /// The delay before attempt `failures + 1`: `first` after one failure, doubled for each further one.
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1_u32 << doublings).min(self.longest)
    }
}

/// `delay` stretched by up to `spread_percent` percent, so that clients that failed together do not return
/// together.
pub fn jittered(delay: Duration, spread_percent: u32) -> Duration {
    let share = getrandom::u32().map_or(0.5, |drawn| f64::from(drawn) / f64::from(u32::MAX));
    delay.mul_f64(1.0 + share * f64::from(spread_percent) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_doubles_up_to_its_limit() {
        let backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
        let delays: Vec<_> = [1, 2, 3, 9, 40, u32::MAX].map(|n| backoff.delay(n).as_millis()).into();
        assert_eq!(delays, [5, 10, 20, 1000, 1000, 1000]);
    }

    #[test]
    fn jitter_only_stretches_and_within_its_spread() {
        let delay = Duration::from_secs(10);
        for _ in 0..100 {
            let stretched = jittered(delay, 50);
            assert!(stretched >= delay && stretched <= Duration::from_secs(15), "{stretched:?}");
        }
    }
}
