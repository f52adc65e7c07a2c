//! Latencies that a seed decides: the same seed, node, Pod and step give the same time, in whatever order they are asked.

use std::time::Duration;

/// From the shortest to the longest, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub shortest: Duration,
    pub longest: Duration,
}

impl Range {
    pub const fn millis(shortest: u64, longest: u64) -> Range {
        Range { shortest: Duration::from_millis(shortest), longest: Duration::from_millis(longest) }
    }

    /// A point of the range: `share` of `u64::MAX` of the way.
    fn at(&self, share: u64) -> Duration {
        let width = self.longest.saturating_sub(self.shortest);
        self.shortest + width.mul_f64(share as f64 / u64::MAX as f64)
    }
}

/// How long a node takes for each step of a Pod's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latencies {
    /// Sandbox, image and containers, from the binding to running.
    pub start: Range,
    /// From the deletion to gone, within the grace period.
    pub stop: Range,
}

impl Default for Latencies {
    /// Of the size of a real node with the image at hand.
    fn default() -> Self {
        Latencies { start: Range::millis(200, 1_500), stop: Range::millis(50, 500) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Start,
    Stop,
}

impl Latencies {
    pub fn of(&self, step: Step, seed: u64, node: &str, pod_uid: &str) -> Duration {
        let (range, salt) = match step {
            Step::Start => (&self.start, 1),
            Step::Stop => (&self.stop, 2),
        };
        let mut state = scramble(seed ^ scramble(salt));
        for byte in node.bytes().chain([0]).chain(pod_uid.bytes()) {
            state = scramble(state ^ u64::from(byte));
        }
        range.at(state)
    }
}

/// SplitMix64's finaliser: every input bit reaches every output bit.
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_every_latency_and_they_fill_their_range() {
        let latencies = Latencies { start: Range::millis(100, 200), stop: Range::millis(5, 5) };
        let of = |seed, i: u32| latencies.of(Step::Start, seed, "n", &format!("uid-{i}")).as_micros();
        let times: Vec<u128> = (0..1_000).map(|i| of(7, i)).collect();
        assert_eq!(times, (0..1_000).map(|i| of(7, i)).collect::<Vec<_>>());
        assert_ne!(times, (0..1_000).map(|i| of(8, i)).collect::<Vec<_>>());
        assert!(times.iter().all(|time| (100_000..=200_000).contains(time)));
        assert!(times.iter().any(|time| *time < 110_000) && times.iter().any(|time| *time > 190_000));
        assert_eq!(latencies.of(Step::Stop, 7, "n", "u"), Duration::from_millis(5));
    }
}
