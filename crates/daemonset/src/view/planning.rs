//! From the view to the next plan.
//!
//! The order is upstream's sync: claim, history, upkeep of each Node, and only when that has nothing to do and nothing is in
//! flight the update step; then clean-up and status.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSetStatus;

use super::{Row, View};
use crate::facts::{Claim, Deletion, NodeName, PodFacts, PodId};
use crate::history::Relabel;
use crate::plan::{
    Budget, CLAIMS_PER_PLAN_MAX, CreateReason, DeleteReason, EventType, Note, PODS_PER_PLAN_MAX, Plan,
    RevisionGoes, Step,
};
use crate::row::{Counts, Roll, Upkeep};
use crate::template::{self, Seed};
use crate::victims;
use crate::wanted::{Life, Wanted};

/// Room left in a plan for Pod creates and deletes.
struct Room {
    creates: usize,
    deletes: usize,
}

impl View {
    /// The next steps. Time passes here: rows whose moment has come are assessed again.
    pub fn plan(&mut self, now: Timestamp) -> Plan {
        self.tick(now);
        let mut plan = Plan::default();
        if self.wanted.selector.is_everything() {
            let note = Note {
                kind: EventType::Warning,
                reason: "SelectingAll",
                message: "This daemon set is selecting all pods. A non-empty selector is required."
                    .to_owned(),
            };
            // Once for each edit: a plan that only speaks would be asked for again and again.
            plan.notes.extend((!self.selecting_all_told).then_some(note));
            self.selecting_all_told = true;
            return plan;
        }
        if self.wanted.life == Life::Deleting {
            return plan;
        }
        self.plan_claims(&mut plan);
        let review =
            self.history.review(&self.wanted, &self.template, |hash| self.by_hash.contains_key(hash));
        let mut relabelling = false;
        if !self.flights.history_waits() {
            plan.steps.extend(review.before);
            if let Some(relabel) = review.relabel {
                relabelling = self.plan_relabel(&mut plan, &relabel);
            }
        }
        let blocked = plan.steps.iter().any(|step| matches!(step, Step::CountCollision { .. }));
        if !blocked {
            self.plan_pods(&mut plan, relabelling);
        }
        if !self.flights.history_waits() {
            plan.steps.extend(review.after);
        }
        self.plan_looks(&mut plan, now);
        plan.steps.extend(self.plan_status());
        plan.look_again_at = self.look_again_at(now);
        plan
    }

    fn tick(&mut self, now: Timestamp) {
        self.expire(now);
        while let Some((at, row)) = self.ledger.timers.first().cloned()
            && at <= now
        {
            // Taken out first, so that a row that wants the same moment again cannot hold this loop.
            self.ledger.timers.remove(&(at, row.clone()));
            self.refresh(&row, now);
        }
    }

    fn look_again_at(&self, now: Timestamp) -> Option<Timestamp> {
        let timer = self.ledger.timers.first().map(|(at, _)| *at);
        [timer, self.flights.earliest_limit(now)].into_iter().flatten().min()
    }

    fn plan_claims(&self, plan: &mut Plan) {
        let open = self.claims.iter().filter(|name| !self.flights.concerns_pod(name));
        for facts in open.filter_map(|name| self.pods.get(name)).take(CLAIMS_PER_PLAN_MAX) {
            match facts.claim {
                Claim::Adopt => plan.steps.push(Step::AdoptPod(facts.id.clone())),
                Claim::Release => plan.steps.push(Step::ReleasePod(facts.id.clone())),
                Claim::Owned => {}
            }
        }
    }

    /// DIFFERS(DS-dedupe): upstream gives every Pod the kept hash, old ones too, and so forgets to update them; here only
    /// Pods that carry the hash of a copy are relabelled.
    fn plan_relabel(&self, plan: &mut Plan, relabel: &Relabel) -> bool {
        let carriers = relabel.from.iter().filter_map(|hash| self.by_hash.get(hash)).flatten();
        let pods: Vec<_> =
            carriers.filter_map(|name| self.pods.get(name)).map(|pod| pod.id.clone()).collect();
        let all_fit = pods.len() <= CLAIMS_PER_PLAN_MAX;
        for pod in pods.iter().take(CLAIMS_PER_PLAN_MAX).filter(|pod| !self.flights.concerns_pod(&pod.name)) {
            plan.steps.push(Step::RelabelPod { pod: pod.clone(), hash: relabel.to.clone() });
        }
        if all_fit {
            let reason = RevisionGoes::Copy;
            let copies = relabel.copies.iter().cloned();
            plan.steps.extend(copies.map(|revision| Step::DeleteRevision { revision, reason }));
        }
        !pods.is_empty()
    }

    fn plan_pods(&self, plan: &mut Plan, relabelling: bool) {
        let mut room = Room { creates: PODS_PER_PLAN_MAX, deletes: PODS_PER_PLAN_MAX };
        let before = plan.steps.len();
        for name in &self.ledger.upkeep {
            if room.creates == 0 && room.deletes == 0 {
                break;
            }
            if let Some(row) = self.rows.get(name) {
                self.plan_upkeep(plan, name, row, &mut room);
            }
        }
        let quiet = plan.steps.len() == before && self.flights.is_empty() && !relabelling;
        if quiet {
            self.plan_rollout(plan, &mut room);
        }
    }

    fn plan_upkeep(&self, plan: &mut Plan, name: &NodeName, row: &Row, room: &mut Room) {
        for need in &row.assessment.upkeep {
            match need {
                Upkeep::Create(reason) => self.create(plan, name, row, reason.clone(), room),
                Upkeep::Delete(pod, reason) if room.deletes > 0 => {
                    room.deletes -= 1;
                    plan.notes.extend(self.note_about(name, &pod.name, reason));
                    plan.steps.push(self.delete(name, pod, reason.clone()));
                }
                Upkeep::Delete(..) => {}
            }
        }
    }

    /// Rows that need no budget first, by name; then as many as the budget has room for, as [`victims`] orders them.
    fn plan_rollout(&self, plan: &mut Plan, room: &mut Room) {
        let sums = self.ledger.sums;
        let max = self.wanted.strategy.budget(sums.desired);
        for name in &self.ledger.roll_now {
            let Some(row) = self.rows.get(name) else { continue };
            match &row.assessment.roll {
                Roll::ReplaceNow(pod) => {
                    let doubtful = |pod: &PodFacts| pod.deletion == Deletion::Doubtful;
                    let reason = match self.pods.get(&pod.name) {
                        // It counts already; but it may be alive, and the budget smaller than when it was chosen.
                        Some(pod) if doubtful(pod) && sums.budget_used > max => continue,
                        Some(pod) if doubtful(pod) => DeleteReason::AskedBefore,
                        Some(_) | None => DeleteReason::OutdatedUnavailable,
                    };
                    self.roll_out(plan, name, pod, reason, room);
                }
                Roll::Retire { old, new } => {
                    self.roll_out(plan, name, old, DeleteReason::Superseded { by: new.clone() }, room);
                }
                Roll::SurgeNow { old } => {
                    self.create(plan, name, row, CreateReason::BesideUnavailable { old: old.clone() }, room);
                }
                Roll::Nothing | Roll::Replace(_) | Roll::Surge { .. } => {}
            }
        }
        let free = (max.saturating_sub(sums.budget_used) as usize).min(PODS_PER_PLAN_MAX);
        for (taken, name) in victims::choose(&self.ledger.zones, free).into_iter().enumerate() {
            let Some(row) = self.rows.get(name) else { continue };
            let used = sums.budget_used + u32::try_from(taken).unwrap_or(u32::MAX) + 1;
            let budget = Budget { used, max };
            match &row.assessment.roll {
                Roll::Replace(pod) => {
                    self.roll_out(plan, name, pod, DeleteReason::Outdated { budget }, room);
                }
                Roll::Surge { old } => {
                    self.create(plan, name, row, CreateReason::Beside { old: old.clone(), budget }, room);
                }
                Roll::Nothing | Roll::ReplaceNow(_) | Roll::SurgeNow { .. } | Roll::Retire { .. } => {}
            }
        }
    }

    fn roll_out(&self, plan: &mut Plan, node: &NodeName, pod: &PodId, reason: DeleteReason, room: &mut Room) {
        if room.deletes > 0 {
            room.deletes -= 1;
            plan.steps.push(self.delete(node, pod, reason));
        }
    }

    fn delete(&self, node: &NodeName, pod: &PodId, reason: DeleteReason) -> Step {
        // A Pod may have become ready since it was seen; then it is not for the taking.
        let rests_on_what_was_seen =
            matches!(reason, DeleteReason::OutdatedUnavailable | DeleteReason::OldNotReady { .. });
        let seen = self.pods.get(&pod.name).filter(|_| rests_on_what_was_seen);
        let version = seen.map(|facts| facts.version.clone()).filter(|version| !version.is_empty());
        Step::DeletePod { node: node.clone(), pod: pod.clone(), version, reason }
    }

    fn create(&self, plan: &mut Plan, name: &NodeName, row: &Row, reason: CreateReason, room: &mut Room) {
        if room.creates == 0 {
            return;
        }
        room.creates -= 1;
        let there = row.pods.iter().filter_map(|pod| self.pods.get(pod));
        let latest = there.max_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let predecessor = latest.map_or(row.predecessor.as_str(), |pod| pod.id.uid.as_str());
        let seed = Seed { node: name, hash: &self.hash, predecessor, attempt: row.attempt };
        let pod = Box::new(template::pod(&self.wanted, seed));
        plan.steps.push(Step::CreatePod { node: name.clone(), pod, reason });
    }

    /// Deletions that got no answer long ago, and are not tried again in this plan.
    fn plan_looks(&self, plan: &mut Plan, now: Timestamp) {
        let due = self.flights.doubts_due(now);
        if due.is_empty() {
            return;
        }
        let tried: BTreeSet<String> = plan.deletes().map(|(_, pod, _)| pod.name.clone()).collect();
        let open = due.into_iter().filter(|name| !tried.contains(*name));
        let pods = open.filter_map(|name| self.pods.get(name)).take(CLAIMS_PER_PLAN_MAX);
        plan.steps.extend(pods.map(|pod| Step::LookAtPod(pod.id.clone())));
    }

    fn note_about(&self, node: &NodeName, pod: &str, reason: &DeleteReason) -> Option<Note> {
        let namespace = &self.wanted.namespace;
        match reason {
            DeleteReason::Failed => Some(Note {
                kind: EventType::Warning,
                reason: "FailedDaemonPod",
                message: format!(
                    "Found failed daemon pod {namespace}/{pod} on node {node}, will try to kill it"
                ),
            }),
            DeleteReason::Succeeded => Some(Note {
                kind: EventType::Normal,
                reason: "SucceededDaemonPod",
                message: format!(
                    "Found succeeded daemon pod {namespace}/{pod} on node {node}, will try to delete it"
                ),
            }),
            DeleteReason::Unwanted(_)
            | DeleteReason::Surplus { .. }
            | DeleteReason::NodeGone
            | DeleteReason::OutdatedUnavailable
            | DeleteReason::Outdated { .. }
            | DeleteReason::Superseded { .. }
            | DeleteReason::AskedBefore
            | DeleteReason::OldNotReady { .. } => None,
        }
    }

    fn plan_status(&self) -> Option<Step> {
        status_step(&self.wanted, self.ledger.sums, self.is_waiting())
    }

    /// The status that the rows add up to.
    pub fn status(&self) -> DaemonSetStatus {
        status(&self.wanted, self.ledger.sums, self.is_waiting())
    }
}

/// Writes the status if it says something new. The generation counts as observed only when nothing is in flight.
pub(crate) fn status_step(wanted: &Wanted, sums: Counts, waiting: bool) -> Option<Step> {
    let next = status(wanted, sums, waiting);
    let known = &wanted.status;
    let zero = |count: Option<i32>| count.unwrap_or_default();
    let same = known.desired_number_scheduled == next.desired_number_scheduled
        && known.current_number_scheduled == next.current_number_scheduled
        && known.number_misscheduled == next.number_misscheduled
        && known.number_ready == next.number_ready
        && zero(known.updated_number_scheduled) == zero(next.updated_number_scheduled)
        && zero(known.number_available) == zero(next.number_available)
        && zero(known.number_unavailable) == zero(next.number_unavailable)
        && wanted.observed_generation() >= next.observed_generation.unwrap_or_default();
    (!same).then(|| Step::WriteStatus(Box::new(next)))
}

pub(crate) fn status(wanted: &Wanted, sums: Counts, waiting: bool) -> DaemonSetStatus {
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let observed = if waiting { wanted.observed_generation() } else { wanted.generation };
    DaemonSetStatus {
        desired_number_scheduled: number(sums.desired),
        current_number_scheduled: number(sums.current),
        number_misscheduled: number(sums.misscheduled),
        number_ready: number(sums.ready),
        updated_number_scheduled: Some(number(sums.updated)),
        number_available: Some(number(sums.available)),
        number_unavailable: Some(number(sums.desired.saturating_sub(sums.available))),
        observed_generation: Some(observed),
        collision_count: wanted.status.collision_count,
        conditions: wanted.status.conditions.clone(),
    }
}
