//! The sums over all rows, and the rows by what they need.
//!
//! Each row's share is put in once and taken out as it was put in. A row with something in flight counts in the sums but
//! is in no index of work.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::facts::NodeName;
use crate::row::{Assessment, Counts, Roll};
use crate::victims::{Zone, ZoneRows};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    pub sums: Counts,
    /// Rows with steps that no budget holds back.
    pub upkeep: BTreeSet<NodeName>,
    /// Rows whose old Pod is replaced whatever the budget.
    pub roll_now: BTreeSet<NodeName>,
    /// By zone: what it has lost, and the rows whose old Pod is replaced when the budget allows.
    pub zones: BTreeMap<Zone, ZoneRows>,
    /// Rows that may change by themselves, by when.
    pub timers: BTreeSet<(Timestamp, NodeName)>,
}

impl Ledger {
    pub fn put_in(&mut self, name: &NodeName, zone: &Zone, row: &Assessment, in_flight: bool) {
        self.sums = add(self.sums, row.counts);
        if let Some(at) = row.look_again_at {
            self.timers.insert((at, name.clone()));
        }
        if row.counts.desired > 0 {
            // Only Nodes that should run a Pod use the budget and are candidates.
            let rows = self.zones.entry(zone.clone()).or_default();
            rows.desired += row.counts.desired;
            rows.budget_used += row.counts.budget_used;
            if !in_flight && matches!(row.roll, Roll::Replace(_) | Roll::Surge { .. }) {
                rows.candidates.insert(name.clone());
            }
        }
        if in_flight {
            return;
        }
        if !row.upkeep.is_empty() {
            self.upkeep.insert(name.clone());
        }
        if matches!(row.roll, Roll::ReplaceNow(_) | Roll::SurgeNow { .. } | Roll::Retire { .. }) {
            self.roll_now.insert(name.clone());
        }
    }

    pub fn take_out(&mut self, name: &NodeName, zone: &Zone, row: &Assessment) {
        self.sums = subtract(self.sums, row.counts);
        if let Some(at) = row.look_again_at {
            self.timers.remove(&(at, name.clone()));
        }
        self.upkeep.remove(name);
        self.roll_now.remove(name);
        if row.counts.desired > 0
            && let Some(rows) = self.zones.get_mut(zone)
        {
            rows.desired -= row.counts.desired;
            rows.budget_used -= row.counts.budget_used;
            rows.candidates.remove(name);
            if rows.desired == 0 {
                self.zones.remove(zone);
            }
        }
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
