//! Which thresholds act now, and which conditions hold: what a node remembers between looks.

use std::collections::{BTreeMap, BTreeSet};

use api::quantity::Quantity;
use jiff::{SignedDuration, Timestamp};

use super::limits::{Limits, Threshold};
use super::{Condition, Readings, Signal};

/// The memory between looks. Thresholds are told by their place in [`Limits::thresholds`].
#[derive(Debug, Clone, Default)]
pub struct Watch {
    acting: BTreeSet<usize>,
    first_met: BTreeMap<usize, Timestamp>,
    last_met: BTreeMap<Condition, Timestamp>,
    conditions: BTreeSet<Condition>,
}

/// A threshold that acts: what it is, and what was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    pub signal: Signal,
    pub threshold: Quantity,
    pub available: Quantity,
    pub is_hard: bool,
}

impl Watch {
    /// Takes a look; answers the threshold to act on, the first of those whose grace is over.
    ///
    /// One that acted goes on until its minimum reclaim is there too. A condition begins with its threshold, before
    /// the grace, and holds for the transition period after it was last met.
    pub fn look(&mut self, limits: &Limits, readings: &Readings, now: Timestamp) -> Option<Met> {
        let is_met = |at: usize, threshold: &Threshold| {
            let reading = readings.get(&threshold.signal);
            reading.is_some_and(|reading| threshold.is_met(reading, self.acting.contains(&at)))
        };
        let met: BTreeSet<usize> = limits
            .thresholds
            .iter()
            .enumerate()
            .filter(|(at, threshold)| is_met(*at, threshold))
            .map(|(at, _)| at)
            .collect();
        self.first_met.retain(|at, _| met.contains(at));
        for at in &met {
            self.first_met.entry(*at).or_insert(now);
            self.last_met.insert(limits.thresholds[*at].signal.condition(), now);
        }
        let transition = seconds(limits.transition_seconds);
        // A clock that was set back makes no condition last for ever.
        self.last_met.retain(|_, last| (*last <= now) && now.duration_since(*last) < transition);
        self.conditions = self.last_met.keys().copied().collect();
        let is_due = |at: &usize| match limits.thresholds[*at].grace_seconds {
            None => true,
            Some(grace) => now.duration_since(self.first_met[at]) >= seconds(grace),
        };
        self.acting = met.into_iter().filter(is_due).collect();
        let first = &limits.thresholds[*self.acting.first()?];
        let reading = readings.get(&first.signal)?;
        Some(Met {
            signal: first.signal,
            threshold: first.amount.of(reading.capacity),
            available: reading.available,
            is_hard: first.grace_seconds.is_none(),
        })
    }

    /// What the node says of itself since the last look.
    pub fn conditions(&self) -> &BTreeSet<Condition> {
        &self.conditions
    }
}

/// Whether what was done suffices: no threshold is met, not even with what is to be reclaimed beyond it.
pub fn is_relieved(limits: &Limits, readings: &Readings) -> bool {
    limits.thresholds.iter().all(|threshold| {
        readings.get(&threshold.signal).is_none_or(|reading| !threshold.is_met(reading, true))
    })
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}
