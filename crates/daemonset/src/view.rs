//! The incrementally maintained view: one row per Node, sums that are kept, the next batch of steps.
//!
//! An event touches only its own rows: the row is assessed again, its old share is taken out of the sums and its new
//! one put in. `plan` reads the indexes, so its cost follows the batch, not the number of Nodes. Only an edit of the
//! DaemonSet itself (template, strategy, readiness) touches all rows. [`crate::recount`] says the same from scratch.
//!
//! The view never acts on what it knows to be stale: what was done is kept as in flight until an event shows
//! it (or a limit passes), and a row with something in flight gets no new step. Upstream counts expectations instead.

mod flights;
mod ledger;
mod planning;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::meta::Meta;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::facts::{Claim, Deletion, NodeName, PodFacts, PodId};
use crate::history::{History, Template};
use crate::row::{Assessment, Backoff, Counts, Seen, assess};
use crate::verdict::{Verdict, verdict};
use crate::victims::{Zone, zone_of};
use crate::wanted::{Wanted, WantedError};

pub use flights::{FLIGHT_SECONDS_MAX, Outcome};
pub use text::Surroundings;

use flights::Flights;
use ledger::Ledger;

/// Something that happened in the cluster, as the caches tell it.
#[derive(Debug, Clone)]
pub enum Event {
    /// The DaemonSet was edited, or its status was written. Same uid and selector: see [`View::needs_rebuild`].
    DaemonSet(Arc<DaemonSet>),
    Node(Arc<Node>),
    NodeGone(NodeName),
    Pod(Arc<Pod>),
    PodGone(PodId),
    Revision(Arc<ControllerRevision>),
    RevisionGone {
        name: String,
    },
}

/// Whether an event could change the next plan. A Node's heartbeat cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    Changed,
}

/// How a Pod left the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    Gone,
    /// It may come back: released, or another's now.
    LetGo,
}

/// All that is known about one DaemonSet.
#[derive(Debug, Clone)]
pub struct View {
    wanted: Wanted,
    template: Template,
    /// The hash on Pods of the current template.
    hash: String,
    rows: BTreeMap<NodeName, Row>,
    /// By name. Those to be released are here, but in no row.
    pods: BTreeMap<String, PodFacts>,
    /// Pods to adopt or release, by name.
    claims: BTreeSet<String>,
    /// Owned Pods by hash, leftovers too.
    by_hash: BTreeMap<String, BTreeSet<String>>,
    history: History,
    flights: Flights,
    ledger: Ledger,
    /// The selector selects everything, and that has been said.
    selecting_all_told: bool,
}

/// One Node, whether it exists or only Pods point to it.
#[derive(Debug, Clone)]
struct Row {
    node: Option<Arc<Node>>,
    verdict: Option<Verdict>,
    pods: BTreeSet<String>,
    backoff: Option<Backoff>,
    /// The zone that its share of the sums is kept under.
    zone: Zone,
    /// The uid of the last Pod that was here and went.
    predecessor: String,
    /// That Pod is gone for good: what is still heard of it is old.
    predecessor_gone: bool,
    /// Names that turned out to be taken.
    attempt: u32,
    assessment: Assessment,
}

impl View {
    /// A view that has seen nothing but the DaemonSet.
    pub fn new(object: Arc<DaemonSet>) -> Result<Self, WantedError> {
        let wanted = Wanted::parse(object)?;
        let template = Template::of(&wanted);
        Ok(View {
            hash: template.hash.clone(),
            wanted,
            template,
            rows: BTreeMap::new(),
            pods: BTreeMap::new(),
            claims: BTreeSet::new(),
            by_hash: BTreeMap::new(),
            history: History::default(),
            flights: Flights::default(),
            ledger: Ledger::default(),
            selecting_all_told: false,
        })
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The hash that Pods of the current template carry.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    pub fn sums(&self) -> Counts {
        self.ledger.sums
    }

    /// Is this Pod in the view? Then its further events concern it, whatever they say.
    pub fn knows_pod(&self, name: &str) -> bool {
        self.pods.contains_key(name)
    }

    /// Something was done whose effect has not been seen yet.
    pub fn is_waiting(&self) -> bool {
        !self.flights.is_empty()
    }

    /// True if the edit changes whose Pods are whose: the view has to be built anew from the caches.
    pub fn needs_rebuild(&self, object: &DaemonSet) -> bool {
        Wanted::parse(Arc::new(object.clone())).map_or(true, |wanted| {
            wanted.uid != self.wanted.uid
                || wanted.selector != self.wanted.selector
                || wanted.life != self.wanted.life
        })
    }

    /// Takes an event in. Only its own rows are touched.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Result<Effect, WantedError> {
        match event {
            Event::DaemonSet(object) => self.apply_daemon_set(object, now)?,
            Event::Node(node) => return Ok(self.apply_node(node, now)),
            Event::NodeGone(name) => self.apply_node_gone(&name, now),
            Event::Pod(pod) => self.apply_pod(&pod, now),
            Event::PodGone(id) => self.apply_pod_gone(&id, Parting::Gone, now),
            Event::Revision(revision) => {
                self.history.upsert(&revision, &self.wanted, &self.template);
                self.revisions_changed(revision.name(), now);
            }
            Event::RevisionGone { name } => {
                self.history.remove(&name);
                self.revisions_changed(&name, now);
            }
        }
        Ok(Effect::Changed)
    }

    fn apply_daemon_set(&mut self, object: Arc<DaemonSet>, now: Timestamp) -> Result<(), WantedError> {
        let before = std::mem::replace(&mut self.wanted, Wanted::parse(object)?);
        self.selecting_all_told &= before.generation == self.wanted.generation;
        // A count of collisions never goes back; an older sight of the DaemonSet may say less than we wrote.
        self.wanted.status.collision_count =
            self.wanted.status.collision_count.max(before.status.collision_count);
        self.status_known(before.observed_generation(), now);
        let same_template = before.template == self.wanted.template;
        let hash_before = self.hash.clone();
        if !same_template || before.status.collision_count != self.wanted.status.collision_count {
            self.template = Template::of(&self.wanted);
            self.history.compare_with(&self.template);
            self.hash = self.history.current_hash(&self.template);
        }
        if !same_template {
            for row in self.rows.values_mut() {
                row.verdict = row.node.as_ref().map(|node| verdict(&self.wanted, node));
            }
        }
        if !same_template
            || self.hash != hash_before
            || before.strategy != self.wanted.strategy
            || before.min_ready_seconds != self.wanted.min_ready_seconds
            || before.template_generation != self.wanted.template_generation
        {
            self.refresh_all(now);
        }
        Ok(())
    }

    /// A processed spec change resets the back-off of failed Pods.
    fn status_known(&mut self, observed_before: i64, now: Timestamp) {
        if self.wanted.observed_generation() <= observed_before {
            return;
        }
        let backed_off: Vec<NodeName> =
            self.rows.iter().filter(|(_, row)| row.backoff.is_some()).map(|(name, _)| name.clone()).collect();
        for name in backed_off {
            if let Some(row) = self.rows.get_mut(&name) {
                row.backoff = None;
            }
            self.refresh(&name, now);
        }
    }

    fn apply_node(&mut self, node: Arc<Node>, now: Timestamp) -> Effect {
        let name = NodeName::from(node.name());
        let verdict = verdict(&self.wanted, &node);
        let row = self.rows.entry(name.clone()).or_default();
        let same_verdict = row.verdict.as_ref() == Some(&verdict);
        let same_zone = *row.zone == *zone_of(&node);
        if !same_zone {
            self.ledger.take_out(&name, &row.zone, &row.assessment);
            row.zone = Zone::from(zone_of(&node));
            self.ledger.put_in(&name, &row.zone, &row.assessment, self.flights.concerns(&name));
        }
        row.node = Some(node);
        row.verdict = Some(verdict);
        // A zone says whose turn it is, not whether there is something to do.
        if same_verdict {
            return Effect::Nothing;
        }
        self.refresh(&name, now);
        Effect::Changed
    }

    fn apply_node_gone(&mut self, name: &NodeName, now: Timestamp) {
        if let Some(row) = self.rows.get_mut(name) {
            row.node = None;
            row.verdict = None;
            self.refresh(name, now);
        }
    }

    fn apply_pod(&mut self, pod: &Pod, now: Timestamp) {
        let Some(mut facts) = PodFacts::of(pod, &self.wanted) else {
            // Not ours, or no longer.
            let id = PodId { name: pod.name().to_owned(), uid: pod.uid().to_owned() };
            return self.apply_pod_gone(&id, Parting::LetGo, now);
        };
        if self.is_known_gone(&facts) {
            return;
        }
        let mut touched: BTreeSet<NodeName> = self.flights.pod_seen(&facts).into_iter().collect();
        let earlier = self.pods.get_mut(&facts.id.name);
        if let Some(earlier) = &earlier
            && earlier.id == facts.id
            && !facts.is_deleting()
        {
            // A deletion is never taken back, so a Pod that does not show it is an older sight of it.
            facts.deletion = earlier.deletion;
        }
        match earlier {
            Some(earlier) if earlier.says_the_same(&facts) => earlier.version = facts.version,
            Some(_) => {
                touched.extend(self.unfile(&facts.id.name, Some(&facts), Parting::LetGo));
                touched.extend(self.file(facts));
            }
            None => touched.extend(self.file(facts)),
        }
        for name in touched {
            self.refresh(&name, now);
        }
    }

    /// The last Pod of its Node that went, heard of again: a word that was late.
    fn is_known_gone(&self, facts: &PodFacts) -> bool {
        let row = facts.place.node().and_then(|node| self.rows.get(node));
        row.is_some_and(|row| row.predecessor_gone && row.predecessor == facts.id.uid)
    }

    fn apply_pod_gone(&mut self, id: &PodId, parting: Parting, now: Timestamp) {
        let mut touched: BTreeSet<NodeName> = self.flights.pod_landed(id).into_iter().collect();
        // A late word about an earlier Pod of the same name.
        if self.pods.get(&id.name).is_some_and(|there| there.id.uid == id.uid || id.uid.is_empty()) {
            touched.extend(self.unfile(&id.name, None, parting));
        }
        for name in touched {
            self.refresh(&name, now);
        }
    }

    fn file(&mut self, facts: PodFacts) -> Option<NodeName> {
        let name = facts.id.name.clone();
        if facts.claim != Claim::Owned {
            self.claims.insert(name.clone());
        }
        let place = if facts.claim == Claim::Release { None } else { facts.place.node().cloned() };
        if facts.claim == Claim::Owned {
            self.by_hash.entry(facts.hash.clone()).or_default().insert(name.clone());
        }
        self.pods.insert(name.clone(), facts);
        let node = place?;
        self.rows.entry(node.clone()).or_default().pods.insert(name);
        Some(node)
    }

    /// Takes a Pod out; `replaced_by` is what the same name stands for from now on.
    fn unfile(&mut self, name: &str, replaced_by: Option<&PodFacts>, parting: Parting) -> Option<NodeName> {
        let facts = self.pods.remove(name)?;
        self.claims.remove(name);
        if let Some(of_hash) = self.by_hash.get_mut(&facts.hash) {
            of_hash.remove(name);
            if of_hash.is_empty() {
                self.by_hash.remove(&facts.hash);
            }
        }
        let node = facts.place.node()?.clone();
        let row = self.rows.get_mut(&node)?;
        row.pods.remove(name);
        if replaced_by.is_none_or(|now| now.id.uid != facts.id.uid || now.claim == Claim::Release) {
            // Another Pod under the same name is proof as well.
            row.predecessor_gone =
                parting == Parting::Gone || replaced_by.is_some_and(|now| now.id.uid != facts.id.uid);
            row.predecessor = facts.id.uid;
        }
        Some(node)
    }

    fn revisions_changed(&mut self, name: &str, now: Timestamp) {
        self.flights.revision_seen(name);
        self.current_hash_known(now);
    }

    /// The count of collisions changed, and with it the hash that a new revision gets.
    fn rehash(&mut self, now: Timestamp) {
        self.template = Template::of(&self.wanted);
        self.current_hash_known(now);
    }

    fn current_hash_known(&mut self, now: Timestamp) {
        let hash = self.history.current_hash(&self.template);
        if hash != self.hash {
            self.hash = hash;
            self.refresh_all(now);
        }
    }

    /// Nodes whose row waits for the sight of something that was done there.
    pub fn rows_in_flight(&self) -> BTreeSet<NodeName> {
        self.rows.keys().filter(|name| self.flights.concerns(name)).cloned().collect()
    }

    /// The uids of Pods in the view whose deletion stands as given.
    pub fn pods_by_deletion(&self, deletion: Deletion) -> BTreeSet<String> {
        let pods = self.pods.values().filter(|pod| pod.deletion == deletion);
        pods.map(|pod| pod.id.uid.clone()).collect()
    }

    /// Until when a failed Pod of this Node is left alone, if one was deleted there before.
    pub fn backoff_until(&self, node: &NodeName) -> Option<Timestamp> {
        self.rows.get(node)?.backoff.map(|backoff| backoff.until())
    }

    fn refresh_all(&mut self, now: Timestamp) {
        let names: Vec<NodeName> = self.rows.keys().cloned().collect();
        for name in names {
            self.refresh(&name, now);
        }
    }

    /// Assesses one row again, and moves its share of sums and indexes.
    fn refresh(&mut self, name: &NodeName, now: Timestamp) {
        let Some(row) = self.rows.get(name) else { return };
        let assessment = self.assess(row, now);
        let in_flight = self.flights.concerns(name);
        if row.node.is_none() && row.pods.is_empty() && !in_flight {
            if let Some(row) = self.rows.remove(name) {
                self.ledger.take_out(name, &row.zone, &row.assessment);
            }
            return;
        }
        if let Some(row) = self.rows.get_mut(name) {
            self.ledger.take_out(name, &row.zone, &row.assessment);
            row.assessment = assessment;
            self.ledger.put_in(name, &row.zone, &row.assessment, in_flight);
        }
    }

    fn assess(&self, row: &Row, now: Timestamp) -> Assessment {
        let pods = self.entries(row);
        assess(Seen {
            wanted: &self.wanted,
            hash: &self.hash,
            verdict: row.verdict.as_ref(),
            pods: &pods,
            backoff: row.backoff,
            now,
        })
    }

    /// The Pods that occupy a row, in their order.
    fn entries(&self, row: &Row) -> Vec<&PodFacts> {
        let known = row.pods.iter().filter_map(|name| self.pods.get(name));
        let mut pods: Vec<&PodFacts> = known.filter(|pod| !pod.is_leftover()).collect();
        pods.sort_by(|a, b| a.order().cmp(&b.order()));
        pods
    }
}

impl Default for Row {
    fn default() -> Self {
        Row {
            node: None,
            verdict: None,
            pods: BTreeSet::new(),
            backoff: None,
            zone: Zone::from(""),
            predecessor: String::new(),
            predecessor_gone: false,
            attempt: 0,
            assessment: Assessment {
                counts: Counts::default(),
                upkeep: Vec::new(),
                roll: crate::row::Roll::Nothing,
                stay: crate::row::Stay::Empty,
                look_again_at: None,
            },
        }
    }
}
