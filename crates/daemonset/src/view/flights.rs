//! What was done and has not been seen yet.
//!
//! Each write is waited for by the name (and uid) of what it writes, not by a count: a create until its Pod shows up, a delete
//! until the Pod shows its deletion. An event that never comes is given up after a limit.
//!
//! What the API answered stays known beyond that: a Pod whose deletion was accepted is on its way out whatever a cache still
//! says. A deletion that got no answer leaves a doubt, and such a Pod is not counted on until an answer ends the doubt: that
//! of the next try, or of a look at the API itself. Time alone ends none, for nobody knows how late the caches are.

use std::collections::{BTreeMap, BTreeSet};

use api::meta::Meta;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;

use super::{Parting, View};
use crate::facts::{Claim, Deletion, NodeName, PodFacts, PodId, later};
use crate::plan::{DeleteReason, Step};
use crate::row::Backoff;

/// How long an effect is waited for before the caches are believed again: upstream's expectations.
pub const FLIGHT_SECONDS_MAX: i64 = 5 * 60;
/// How long after a look that failed the next one waits.
const LOOK_AGAIN_SECONDS: i64 = 10;

/// What came of a step.
#[derive(Debug, Clone)]
pub enum Outcome {
    Done,
    /// The object was not there (any more): for a deletion as good as done.
    Missing,
    /// The name is taken by this Pod.
    PodExists(Box<Pod>),
    /// The name is taken by this revision.
    RevisionExists(Box<ControllerRevision>),
    /// It was refused, or never asked for.
    Failed,
    /// It was asked for and nobody knows what came of it: no answer, or half of one.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Create,
    Delete {
        uid: String,
    },
    /// Adopt, release or relabel.
    Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Flight {
    what: What,
    node: Option<NodeName>,
    until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Flights {
    /// By Pod name.
    pods: BTreeMap<String, Flight>,
    rows: BTreeMap<NodeName, BTreeSet<String>>,
    /// By revision name.
    revisions: BTreeMap<String, Timestamp>,
    /// Pods whose deletion got no answer, by name: when to look at them, if nothing was heard by then.
    doubts: BTreeMap<String, Timestamp>,
}

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty() && !self.history_waits()
    }

    pub fn history_waits(&self) -> bool {
        !self.revisions.is_empty()
    }

    pub fn concerns(&self, row: &NodeName) -> bool {
        self.rows.contains_key(row)
    }

    pub fn concerns_pod(&self, name: &str) -> bool {
        self.pods.contains_key(name)
    }

    pub fn of_row(&self, row: &NodeName) -> Option<&str> {
        self.rows.get(row)?.first().map(String::as_str)
    }

    /// The Pod was seen: does that show what was done to it? If so, the row that waited for it.
    pub fn pod_seen(&mut self, facts: &PodFacts) -> Option<NodeName> {
        let shown = match &self.pods.get(&facts.id.name)?.what {
            What::Create | What::Change => true,
            What::Delete { uid } => facts.is_deleting() || facts.id.uid != *uid,
        };
        if shown { self.landed(&facts.id.name) } else { None }
    }

    /// The Pod is not there: was that waited for? A late word about an earlier Pod of the same name does not count.
    pub fn pod_landed(&mut self, id: &PodId) -> Option<NodeName> {
        match &self.pods.get(&id.name)?.what {
            What::Delete { uid } if !id.uid.is_empty() && *uid != id.uid => None,
            What::Delete { .. } | What::Create | What::Change => self.landed(&id.name),
        }
    }

    fn landed(&mut self, name: &str) -> Option<NodeName> {
        let node = self.pods.remove(name)?.node?;
        if let Some(names) = self.rows.get_mut(&node) {
            names.remove(name);
            if names.is_empty() {
                self.rows.remove(&node);
            }
        }
        Some(node)
    }

    pub fn revision_seen(&mut self, name: &str) {
        self.revisions.remove(name);
    }

    /// The next moment that changes something by itself. A doubt that is due has its step in every plan.
    pub fn earliest_limit(&self, now: Timestamp) -> Option<Timestamp> {
        let pods = self.pods.values().map(|flight| flight.until);
        let revisions = self.revisions.values().copied();
        let doubts = self.doubts.values().copied().filter(|at| *at > now);
        pods.chain(revisions).chain(doubts).min()
    }

    /// Gives up what is overdue; the rows that waited for it.
    pub fn expire(&mut self, now: Timestamp) -> Vec<NodeName> {
        self.revisions.retain(|_, until| *until > now);
        let overdue: Vec<String> =
            self.pods.iter().filter(|(_, f)| f.until <= now).map(|(name, _)| name.clone()).collect();
        overdue.iter().filter_map(|name| self.landed(name)).collect()
    }

    /// Pods whose doubt has lasted long enough.
    pub fn doubts_due(&self, now: Timestamp) -> BTreeSet<&str> {
        self.doubts.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.as_str()).collect()
    }

    fn start(&mut self, name: &str, what: What, node: Option<NodeName>, now: Timestamp) {
        if let Some(node) = &node {
            self.rows.entry(node.clone()).or_default().insert(name.to_owned());
        }
        self.pods.insert(name.to_owned(), Flight { what, node, until: limit(now) });
    }
}

fn limit(now: Timestamp) -> Timestamp {
    after(now, FLIGHT_SECONDS_MAX)
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    later(now, SignedDuration::from_secs(seconds))
}

impl View {
    /// Takes in what came of a step.
    pub fn acted(&mut self, step: &Step, outcome: Outcome, now: Timestamp) {
        match (step, outcome) {
            (Step::CreatePod { node, pod, .. }, outcome) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                self.created(node, &name, outcome, now);
            }
            (Step::DeletePod { node, pod, reason, .. }, Outcome::Done | Outcome::Missing) => {
                self.deleted(node, pod, reason, now);
            }
            (Step::DeletePod { node, pod, .. }, Outcome::Unknown) => self.doubt(node, pod, now),
            (Step::LookAtPod(pod), outcome) => self.looked(pod, &outcome, now),
            (
                Step::AdoptPod(pod) | Step::ReleasePod(pod) | Step::RelabelPod { pod, .. },
                Outcome::Done | Outcome::Missing,
            ) => {
                let node = self.pods.get(&pod.name).and_then(|facts| facts.place.node().cloned());
                self.fly(&pod.name, What::Change, node, now);
            }
            (Step::CreateRevision(_), Outcome::RevisionExists(there)) => {
                // It says what is there sooner than the cache does; the next plan reuses it or counts a collision.
                self.history.upsert(&there, &self.wanted, &self.template);
                self.revisions_changed(there.metadata.name.as_deref().unwrap_or_default(), now);
            }
            (Step::CreateRevision(revision), Outcome::Done) => {
                let name = revision.metadata.name.clone().unwrap_or_default();
                self.flights.revisions.insert(name, limit(now));
            }
            (
                Step::AdoptRevision(id)
                | Step::ReleaseRevision(id)
                | Step::LabelRevision { revision: id, .. }
                | Step::RenumberRevision { revision: id, .. }
                | Step::DeleteRevision { revision: id, .. },
                Outcome::Done | Outcome::Missing,
            ) => {
                self.flights.revisions.insert(id.name.clone(), limit(now));
            }
            (Step::CountCollision { to, .. }, Outcome::Done) => {
                self.wanted.status.collision_count = Some(*to);
                self.rehash(now);
            }
            (Step::WriteStatus(status), Outcome::Done) => {
                let before = self.wanted.observed_generation();
                let collisions = self.wanted.status.collision_count;
                self.wanted.status = (**status).clone();
                // A collision counted in the same plan is not in the status that was planned with it.
                self.wanted.status.collision_count = collisions;
                self.status_known(before, now);
            }
            // Failures, and answers that such a step cannot get: nothing is known to have changed.
            _ => {}
        }
    }

    fn created(&mut self, node: &NodeName, name: &str, outcome: Outcome, now: Timestamp) {
        let ours_and_unseen = match &outcome {
            Outcome::Done => !self.pods.contains_key(name),
            Outcome::PodExists(there) => PodFacts::of(there, &self.wanted).is_some_and(|facts| {
                facts.claim == Claim::Owned && self.pods.get(name).is_none_or(|known| known.id != facts.id)
            }),
            Outcome::Missing | Outcome::RevisionExists(_) | Outcome::Failed | Outcome::Unknown => {
                return;
            }
        };
        if ours_and_unseen {
            self.fly(name, What::Create, Some(node.clone()), now);
        } else if matches!(outcome, Outcome::PodExists(_))
            && let Some(row) = self.rows.get_mut(node)
        {
            row.attempt = row.attempt.wrapping_add(1);
        }
    }

    fn deleted(&mut self, node: &NodeName, pod: &PodId, reason: &DeleteReason, now: Timestamp) {
        if *reason == DeleteReason::Failed
            && let Some(row) = self.rows.get_mut(node)
        {
            row.backoff = Some(Backoff::next(row.backoff, now));
        }
        let unseen = match self.pods.get_mut(&pod.name) {
            Some(known) if known.id == *pod && !known.is_deleting() => {
                known.deletion = Deletion::Asked;
                true
            }
            Some(_) | None => false,
        };
        if unseen {
            self.fly(&pod.name, What::Delete { uid: pod.uid.clone() }, Some(node.clone()), now);
        } else {
            self.refresh(node, now);
        }
    }

    fn doubt(&mut self, node: &NodeName, pod: &PodId, now: Timestamp) {
        if let Some(known) = self.pods.get_mut(&pod.name)
            && known.id == *pod
            && !known.is_deleting()
        {
            known.deletion = Deletion::Doubtful;
            self.flights.doubts.insert(pod.name.clone(), limit(now));
            self.refresh(node, now);
        }
    }

    /// The API itself was asked about a Pod in doubt. What else it said comes in its order with the events.
    fn looked(&mut self, pod: &PodId, outcome: &Outcome, now: Timestamp) {
        let deletion = match outcome {
            Outcome::PodExists(there) if there.uid() == pod.uid && there.is_deleting() => Deletion::Asked,
            Outcome::PodExists(there) if there.uid() == pod.uid => Deletion::NotAsked,
            Outcome::Missing | Outcome::PodExists(_) => {
                self.flights.doubts.remove(&pod.name);
                return self.apply_pod_gone(pod, Parting::Gone, now);
            }
            Outcome::Done | Outcome::RevisionExists(_) | Outcome::Failed | Outcome::Unknown => {
                self.flights.doubts.insert(pod.name.clone(), after(now, LOOK_AGAIN_SECONDS));
                return;
            }
        };
        self.flights.doubts.remove(&pod.name);
        let known = self.pods.get_mut(&pod.name).filter(|known| known.id == *pod && !known.is_deleting());
        if let Some(known) = known {
            known.deletion = deletion;
            if let Some(row) = known.place.node().cloned() {
                self.refresh(&row, now);
            }
        }
    }

    /// Gives up what is overdue.
    pub(super) fn expire(&mut self, now: Timestamp) {
        for row in self.flights.expire(now) {
            self.refresh(&row, now);
        }
        let pods = &self.pods;
        let in_doubt = |name: &String| pods.get(name).is_some_and(|pod| pod.deletion == Deletion::Doubtful);
        self.flights.doubts.retain(|name, at| *at > now || in_doubt(name));
    }

    fn fly(&mut self, name: &str, what: What, node: Option<NodeName>, now: Timestamp) {
        self.flights.start(name, what, node.clone(), now);
        if let Some(node) = node {
            self.refresh(&node, now);
        }
    }
}
