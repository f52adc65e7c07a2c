//! One Node in the eyes of one DaemonSet: what counts, what to do, what to wait for.
//!
//! [`assess`] is a total function of the row and of `now`; it knows no other row. Budgets, which do concern other rows,
//! are the view's: here a row only says whether it uses the budget and whether it would like to. Upstream:
//! `podsShouldBeOnNode`, the loops of `rollingUpdate`, and the loop of `updateDaemonSetStatus`.

use jiff::{SignedDuration, Timestamp};

use crate::facts::{Availability, Ended, PodFacts, PodId, later};
use crate::plan::{CreateReason, DeleteReason};
use crate::verdict::{Unwanted, Verdict};
use crate::wanted::{Strategy, Wanted};

/// The first pause after a failed Pod was deleted.
pub const BACKOFF_FIRST_SECONDS: i64 = 1;
/// The longest pause: upstream's.
pub const BACKOFF_MAX_SECONDS: i64 = 15 * 60;
/// A back-off that was idle for this long starts over: twice the longest pause.
const BACKOFF_IDLE_SECONDS: i64 = 2 * BACKOFF_MAX_SECONDS;
/// Availability begins strictly after its moment.
const JUST_AFTER: SignedDuration = SignedDuration::from_millis(1);

/// The pause between two deletions of failed Pods on one Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub pause_seconds: i64,
    pub since: Timestamp,
}

impl Backoff {
    /// A failed Pod is deleted now.
    pub fn next(earlier: Option<Backoff>, now: Timestamp) -> Self {
        let pause_seconds = match earlier {
            Some(backoff) if !backoff.is_idle(now) => (backoff.pause_seconds * 2).min(BACKOFF_MAX_SECONDS),
            _ => BACKOFF_FIRST_SECONDS,
        };
        Backoff { pause_seconds, since: now }
    }

    pub fn until(&self) -> Timestamp {
        later(self.since, SignedDuration::from_secs(self.pause_seconds))
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        now > later(self.since, SignedDuration::from_secs(BACKOFF_IDLE_SECONDS))
    }
}

/// What a row adds to the DaemonSet's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub desired: u32,
    pub current: u32,
    pub misscheduled: u32,
    pub ready: u32,
    pub available: u32,
    pub updated: u32,
    /// Nodes that use up the update budget: unavailable ones, or surging ones.
    pub budget_used: u32,
}

/// What a row needs whatever the budget says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upkeep {
    Create(CreateReason),
    Delete(PodId, DeleteReason),
}

/// Where a row stands in the replacement of old Pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roll {
    #[default]
    Nothing,
    /// The old Pod is not available: delete it, whatever the budget.
    ReplaceNow(PodId),
    /// The old Pod is available: delete it if the budget allows.
    Replace(PodId),
    /// Create beside an old Pod that is not available, whatever the budget.
    SurgeNow { old: String },
    /// Create beside an old Pod if the budget allows.
    Surge { old: String },
    /// The new Pod is available: delete the old one.
    Retire { old: PodId, new: String },
}

/// Why nothing more is done for a row, where that is not obvious.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stay {
    /// All is as it should be.
    Keep {
        pod: String,
    },
    /// It stays although a new one would not be created.
    KeepOnly {
        pod: String,
        why: Unwanted,
    },
    /// Nothing there, and nothing wanted.
    Leave {
        why: Unwanted,
    },
    Adopting {
        pod: String,
    },
    Terminating {
        pod: String,
    },
    FailedBackoff {
        pod: String,
        until: Timestamp,
    },
    NotAvailable {
        pod: String,
    },
    /// Surging: the old Pod stays until the new one is available.
    NewNotAvailable {
        new: String,
        old: String,
    },
    /// The Pod is bound to a Node that is not there: the Pod garbage collector's.
    NodeGone {
        pod: String,
    },
    Empty,
}

/// Everything that is known of a row at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    pub counts: Counts,
    pub upkeep: Vec<Upkeep>,
    pub roll: Roll,
    pub stay: Stay,
    /// The row may change by itself then.
    pub look_again_at: Option<Timestamp>,
}

/// What a row is assessed from.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub wanted: &'a Wanted,
    /// The hash of the current template.
    pub hash: &'a str,
    /// `None`: there is no such Node.
    pub verdict: Option<&'a Verdict>,
    /// In their order, without leftovers.
    pub pods: &'a [&'a PodFacts],
    pub backoff: Option<Backoff>,
    pub now: Timestamp,
}

/// What one row is worth and needs.
pub fn assess(seen: Seen<'_>) -> Assessment {
    let mut upkeep = Vec::new();
    let mut look_again_at = None;
    let stay = if let Some(adopting) = seen.pods.iter().find(|pod| pod.claim == crate::facts::Claim::Adopt) {
        Stay::Adopting { pod: adopting.id.name.clone() }
    } else {
        upkeep_of(seen, &mut upkeep, &mut look_again_at)
    };
    let quiet = upkeep.is_empty() && !matches!(stay, Stay::Adopting { .. });
    let mut counts = status_counts(seen, &mut look_again_at);
    let (roll, used) = roll_of(seen, &mut look_again_at);
    counts.budget_used = used;
    let roll = if quiet { roll } else { Roll::Nothing };
    Assessment { counts, upkeep, roll, stay, look_again_at }
}

fn earliest(slot: &mut Option<Timestamp>, at: Timestamp) {
    *slot = Some(slot.map_or(at, |earlier| earlier.min(at)));
}

fn upkeep_of(seen: Seen<'_>, upkeep: &mut Vec<Upkeep>, look_again_at: &mut Option<Timestamp>) -> Stay {
    match seen.verdict {
        None => node_gone(seen, upkeep),
        Some(Verdict::Leave(why)) => {
            for pod in seen.pods.iter().filter(|pod| !pod.is_deleting()) {
                upkeep.push(Upkeep::Delete(pod.id.clone(), DeleteReason::Unwanted(why.clone())));
            }
            match seen.pods.first() {
                None => Stay::Leave { why: why.clone() },
                Some(pod) => Stay::Terminating { pod: pod.id.name.clone() },
            }
        }
        Some(Verdict::KeepOnly(why)) => match seen.pods.first() {
            None => Stay::Leave { why: why.clone() },
            Some(first) => match occupied(seen, first, upkeep, look_again_at) {
                Stay::Keep { pod } => Stay::KeepOnly { pod, why: why.clone() },
                other => other,
            },
        },
        Some(Verdict::Run) => match seen.pods.first() {
            None => {
                upkeep.push(Upkeep::Create(CreateReason::NoPod));
                Stay::Empty
            }
            Some(first) => occupied(seen, first, upkeep, look_again_at),
        },
    }
}

fn node_gone(seen: Seen<'_>, upkeep: &mut Vec<Upkeep>) -> Stay {
    for pod in seen.pods.iter().filter(|pod| !pod.is_deleting()) {
        if matches!(pod.place, crate::facts::Place::Pinned(_)) {
            upkeep.push(Upkeep::Delete(pod.id.clone(), DeleteReason::NodeGone));
        }
    }
    seen.pods.first().map_or(Stay::Empty, |pod| Stay::NodeGone { pod: pod.id.name.clone() })
}

/// A Node that may keep its Pod and has at least one.
fn occupied(
    seen: Seen<'_>,
    first: &PodFacts,
    upkeep: &mut Vec<Upkeep>,
    look_again_at: &mut Option<Timestamp>,
) -> Stay {
    let mut stay = None;
    let mut running = Vec::new();
    let mut ended = 0;
    let mut backoff = seen.backoff;
    for pod in seen.pods.iter().filter(|pod| !pod.is_deleting()) {
        match pod.ended {
            Ended::No => running.push(*pod),
            Ended::Succeeded => {
                ended += 1;
                upkeep.push(Upkeep::Delete(pod.id.clone(), DeleteReason::Succeeded));
            }
            Ended::Failed => {
                ended += 1;
                match backoff.map(|b| b.until()).filter(|until| seen.now < *until) {
                    Some(until) => {
                        earliest(look_again_at, until);
                        stay = Some(Stay::FailedBackoff { pod: pod.id.name.clone(), until });
                    }
                    None => {
                        upkeep.push(Upkeep::Delete(pod.id.clone(), DeleteReason::Failed));
                        // The next failed Pod of this Node waits for the pause that this deletion begins.
                        backoff = Some(Backoff::next(backoff, seen.now));
                    }
                }
            }
        }
    }
    let surges = matches!(seen.wanted.strategy, Strategy::Surge(_));
    match (running.as_slice(), surges) {
        ([], true) if ended == 0 && seen.verdict == Some(&Verdict::Run) => {
            // All there are terminating. DIFFERS(DS-surge): a failed Pod in back-off is not bypassed this way.
            upkeep.push(Upkeep::Create(CreateReason::OnlyTerminating));
        }
        ([kept, surplus @ ..], false) => {
            for pod in surplus {
                let reason = DeleteReason::Surplus { kept: kept.id.name.clone() };
                upkeep.push(Upkeep::Delete(pod.id.clone(), reason));
            }
        }
        ([_, _, ..], true) => prune_surging(seen, &running, upkeep, look_again_at),
        ([] | [_], _) => {}
    }
    stay.unwrap_or_else(|| staying(seen, first, &running))
}

/// With surge, the oldest Pod of the current template and the oldest of another may stand side by side for a while.
fn prune_surging(
    seen: Seen<'_>,
    running: &[&PodFacts],
    upkeep: &mut Vec<Upkeep>,
    look_again_at: &mut Option<Timestamp>,
) {
    let is_new = |pod: &&&PodFacts| !seen.hash.is_empty() && pod.hash == seen.hash;
    let new = running.iter().find(is_new);
    let old = running.iter().find(|pod| !is_new(pod));
    for pod in running {
        let kept = if is_new(&pod) { new } else { old };
        if let Some(kept) = kept.filter(|kept| kept.id != pod.id) {
            let reason = DeleteReason::Surplus { kept: kept.id.name.clone() };
            upkeep.push(Upkeep::Delete(pod.id.clone(), reason));
        }
    }
    let (Some(new), Some(old)) = (new, old) else { return };
    let reason = if !old.is_ready() {
        DeleteReason::OldNotReady { new: new.id.name.clone() }
    } else {
        match new.availability(seen.now, seen.wanted.min_ready_seconds) {
            Availability::Available => DeleteReason::Superseded { by: new.id.name.clone() },
            // Nothing else looks at a Node again that may only keep its Pods.
            Availability::After(moment) => return earliest(look_again_at, later(moment, JUST_AFTER)),
            Availability::NotReady => return,
        }
    };
    upkeep.push(Upkeep::Delete(old.id.clone(), reason));
}

fn staying(seen: Seen<'_>, first: &PodFacts, running: &[&PodFacts]) -> Stay {
    let available = |pod: &PodFacts| pod.is_available(seen.now, seen.wanted.min_ready_seconds);
    match running {
        [] => Stay::Terminating { pod: first.id.name.clone() },
        [pod] if available(pod) => Stay::Keep { pod: pod.id.name.clone() },
        [pod] => Stay::NotAvailable { pod: pod.id.name.clone() },
        [old, new, ..] => {
            let (new, old) = if old.hash == seen.hash { (old, new) } else { (new, old) };
            Stay::NewNotAvailable { new: new.id.name.clone(), old: old.id.name.clone() }
        }
    }
}

fn status_counts(seen: Seen<'_>, look_again_at: &mut Option<Timestamp>) -> Counts {
    let mut counts = Counts::default();
    match seen.verdict {
        None => {}
        Some(Verdict::KeepOnly(_) | Verdict::Leave(_)) => {
            counts.misscheduled = u32::from(!seen.pods.is_empty())
        }
        Some(Verdict::Run) => {
            counts.desired = 1;
            if let Some(first) = seen.pods.first() {
                counts.current = 1;
                counts.updated = u32::from(first.is_updated(seen.hash, seen.wanted.template_generation));
                counts.ready = u32::from(first.is_ready());
                match first.availability(seen.now, seen.wanted.min_ready_seconds) {
                    Availability::NotReady => {}
                    Availability::After(moment) => earliest(look_again_at, later(moment, JUST_AFTER)),
                    Availability::Available => counts.available = 1,
                }
            }
        }
    }
    counts
}

/// Where the row stands in an update, and how much of the budget it uses.
///
/// DIFFERS(DS-keep-only): upstream also rolls Nodes that may only keep their Pod, and so takes away a Pod that it will not
/// replace. Here only Nodes that should run a Pod are rolled.
fn roll_of(seen: Seen<'_>, look_again_at: &mut Option<Timestamp>) -> (Roll, u32) {
    if seen.verdict != Some(&Verdict::Run) || seen.wanted.strategy == Strategy::OnDelete {
        return (Roll::Nothing, 0);
    }
    let surges = matches!(seen.wanted.strategy, Strategy::Surge(_));
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for pod in seen.pods.iter().filter(|pod| !pod.is_deleting()) {
        let updated = pod.is_updated(seen.hash, seen.wanted.template_generation);
        if updated { new.push(*pod) } else { old.push(*pod) }
    }
    let mut available = |pod: &PodFacts| match pod.availability(seen.now, seen.wanted.min_ready_seconds) {
        Availability::NotReady => false,
        Availability::After(moment) => {
            earliest(look_again_at, later(moment, JUST_AFTER));
            false
        }
        Availability::Available => true,
    };
    match (new.as_slice(), old.as_slice(), surges) {
        // More than one of a kind: upkeep cleans up first.
        ([_, _, ..], _, _) | (_, [_, _, ..], _) => (Roll::Nothing, 1),
        ([], [], false) | ([_], [_], false) => (Roll::Nothing, 1),
        ([new], [], false) => (Roll::Nothing, u32::from(!available(new))),
        ([], [old], false) if available(old) => (Roll::Replace(old.id.clone()), 0),
        // COMPAT(>=1.31): it is replaced at once, and counts as unavailable.
        ([], [old], false) => (Roll::ReplaceNow(old.id.clone()), 1),
        ([], [], true) | ([_], [], true) => (Roll::Nothing, 0),
        ([], [old], true) if available(old) => (Roll::Surge { old: old.id.name.clone() }, 0),
        ([], [old], true) => (Roll::SurgeNow { old: old.id.name.clone() }, 0),
        ([new], [old], true) if available(new) => {
            (Roll::Retire { old: old.id.clone(), new: new.id.name.clone() }, 0)
        }
        ([_], [_], true) => (Roll::Nothing, 1),
    }
}
