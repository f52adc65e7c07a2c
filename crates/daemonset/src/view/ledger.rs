//! The sums over all rows, and the rows by what they need.
//!
//! Each row's share is put in once and taken out as it was put in. A row with something in flight counts in the sums but
//! is in no index of work.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::facts::NodeName;
use crate::row::{Assessment, Counts, Roll};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    pub sums: Counts,
    /// Rows with steps that no budget holds back.
    pub upkeep: BTreeSet<NodeName>,
    /// Rows whose old Pod is replaced whatever the budget.
    pub roll_now: BTreeSet<NodeName>,
    /// Rows whose old Pod is replaced when the budget allows.
    pub roll_in_budget: BTreeSet<NodeName>,
    /// Rows that may change by themselves, by when.
    pub timers: BTreeSet<(Timestamp, NodeName)>,
}

impl Ledger {
    pub fn put_in(&mut self, name: &NodeName, row: &Assessment, in_flight: bool) {
        self.sums = add(self.sums, row.counts);
        if let Some(at) = row.look_again_at {
            self.timers.insert((at, name.clone()));
        }
        if in_flight {
            return;
        }
        if !row.upkeep.is_empty() {
            self.upkeep.insert(name.clone());
        }
        match row.roll {
            Roll::Nothing => {}
            Roll::ReplaceNow(_) | Roll::SurgeNow { .. } | Roll::Retire { .. } => {
                self.roll_now.insert(name.clone());
            }
            Roll::Replace(_) | Roll::Surge { .. } => {
                self.roll_in_budget.insert(name.clone());
            }
        }
    }

    pub fn take_out(&mut self, name: &NodeName, row: &Assessment) {
        self.sums = subtract(self.sums, row.counts);
        if let Some(at) = row.look_again_at {
            self.timers.remove(&(at, name.clone()));
        }
        self.upkeep.remove(name);
        self.roll_now.remove(name);
        self.roll_in_budget.remove(name);
    }
}

fn add(a: Counts, b: Counts) -> Counts {
    Counts {
        desired: a.desired + b.desired,
        current: a.current + b.current,
        misscheduled: a.misscheduled + b.misscheduled,
        ready: a.ready + b.ready,
        available: a.available + b.available,
        updated: a.updated + b.updated,
        budget_used: a.budget_used + b.budget_used,
    }
}

fn subtract(a: Counts, b: Counts) -> Counts {
    Counts {
        desired: a.desired - b.desired,
        current: a.current - b.current,
        misscheduled: a.misscheduled - b.misscheduled,
        ready: a.ready - b.ready,
        available: a.available - b.available,
        updated: a.updated - b.updated,
        budget_used: a.budget_used - b.budget_used,
    }
}
