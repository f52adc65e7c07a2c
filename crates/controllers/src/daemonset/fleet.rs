//! All views, who is to hear of which change, and whose turn it is.
//!
//! While a view's plan is being carried out, its events wait in its slot (the latest of each object), so that the view learns
//! what was done before it sees the effects. Nothing here waits or writes.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use api::meta::Meta;
use client::backoff::Backoff;
use client::cache::Change;
use client::queue::RETRY;
use client::{Cache, ObjectKey};
use daemonset::{Effect, Event, NodeName, Plan, PodId, Step, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::AnyChange;
use super::executor::Report;

/// Failed plans are tried again after the work queue's pauses.
const PLAN_RETRY: Backoff = RETRY;

/// Where views are built from.
pub struct Caches {
    pub sets: Cache<DaemonSet>,
    pub revisions: Cache<ControllerRevision>,
    pub nodes: Cache<Node>,
    pub pods: Cache<Pod>,
}

/// A plan to be carried out.
pub struct Job {
    pub key: ObjectKey,
    pub object: Arc<DaemonSet>,
    pub plan: Plan,
}

pub struct Fleet {
    caches: Caches,
    slots: BTreeMap<ObjectKey, Slot>,
    /// Slots that may have something to do now.
    dirty: BTreeSet<ObjectKey>,
    /// Slots that will have, by when.
    due: BTreeSet<(Timestamp, ObjectKey)>,
}

struct Slot {
    /// `None`: it crashed, and is built anew when its pause is over.
    view: Option<View>,
    phase: Phase,
    /// Events that wait for the plan under way, the latest of each object.
    inbox: BTreeMap<About, Event>,
    failures: u32,
    due: Option<Timestamp>,
    /// When the last plan was begun that wrote the status.
    status_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    /// After a failure: events do not hasten the next try.
    Pausing,
    Working,
    /// Working, and the view is to be built anew afterwards.
    WorkingOnOld,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    DaemonSet,
    Node(String),
    Pod(String),
    Revision(String),
}

impl Fleet {
    pub fn new(caches: Caches) -> Self {
        Fleet { caches, slots: BTreeMap::new(), dirty: BTreeSet::new(), due: BTreeSet::new() }
    }

    /// A view for every DaemonSet that there is.
    pub fn build_all(&mut self, now: Timestamp) {
        for object in self.caches.sets.list() {
            self.build(&ObjectKey::of(&object.metadata), now);
        }
    }

    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes a change in: every view that it may concern hears of it.
    pub fn take_in(&mut self, change: AnyChange, now: Timestamp) {
        match change {
            AnyChange::Set(change) => self.set_changed(&change, now),
            AnyChange::Node(change) => {
                let keys: Vec<ObjectKey> = self.slots.keys().cloned().collect();
                let about = About::Node(change.key.name.clone());
                let event = match &change.after {
                    Some(node) => Event::Node(Arc::clone(node)),
                    None => Event::NodeGone(NodeName::from(change.key.name.as_str())),
                };
                for key in keys {
                    self.tell(&key, about.clone(), event.clone(), now);
                }
            }
            AnyChange::Pod(change) => {
                let Some(event) = pod_event(&change) else { return };
                for key in self.concerned(&change) {
                    self.tell(&key, About::Pod(change.key.name.clone()), event.clone(), now);
                }
            }
            AnyChange::Revision(change) => {
                let event = match &change.after {
                    Some(revision) => Event::Revision(Arc::clone(revision)),
                    None => Event::RevisionGone { name: change.key.name.clone() },
                };
                for key in self.in_namespace(&change.key.namespace) {
                    self.tell(&key, About::Revision(change.key.name.clone()), event.clone(), now);
                }
            }
        }
    }

    fn in_namespace(&self, namespace: &str) -> Vec<ObjectKey> {
        let from = ObjectKey::namespaced(namespace, "");
        self.slots
            .range(from..)
            .map(|(key, _)| key)
            .take_while(|key| key.namespace == namespace)
            .cloned()
            .collect()
    }

    /// DaemonSets that own or owned the Pod, that know it, or that might adopt it.
    fn concerned(&self, change: &Change<Pod>) -> Vec<ObjectKey> {
        let owner = |pod: Option<&Arc<Pod>>| {
            pod.and_then(|pod| pod.controller_owner()).map(|owner| owner.uid.clone()).unwrap_or_default()
        };
        let (before, after) = (owner(change.before.as_ref()), owner(change.after.as_ref()));
        let orphan = change.after.is_some() && after.is_empty();
        let mut keys = self.in_namespace(&change.key.namespace);
        keys.retain(|key| {
            self.slots.get(key).and_then(|slot| slot.view.as_ref()).is_some_and(|view| {
                let uid = &view.wanted().uid;
                orphan || *uid == before || *uid == after || view.knows_pod(&change.key.name)
            })
        });
        keys
    }

    fn set_changed(&mut self, change: &Change<DaemonSet>, now: Timestamp) {
        let key = &change.key;
        let Some(object) = &change.after else {
            // Its own plan under way finds the slot gone when it ends.
            self.remove(key);
            return;
        };
        let rebuild = match self.slots.get(key).map(|slot| (slot.phase, &slot.view)) {
            Some((Phase::Pausing, None)) => return,
            Some((_, Some(view))) => view.needs_rebuild(object),
            Some((_, None)) | None => true,
        };
        match self.slots.get_mut(key) {
            Some(slot) if rebuild && matches!(slot.phase, Phase::Working | Phase::WorkingOnOld) => {
                slot.phase = Phase::WorkingOnOld;
            }
            Some(_) if !rebuild => {
                self.tell(key, About::DaemonSet, Event::DaemonSet(Arc::clone(object)), now);
            }
            Some(_) | None => self.build(key, now),
        }
    }

    fn remove(&mut self, key: &ObjectKey) {
        if let Some(slot) = self.slots.remove(key)
            && let Some(due) = slot.due
        {
            self.due.remove(&(due, key.clone()));
        }
        self.dirty.remove(key);
    }

    /// Builds the view of a DaemonSet from all that the caches hold.
    fn build(&mut self, key: &ObjectKey, now: Timestamp) {
        self.remove(key);
        let Some(object) = self.caches.sets.get(key) else { return };
        let events: Vec<Event> = (self.caches.nodes.list().into_iter().map(Event::Node))
            .chain(self.caches.revisions.in_namespace(&key.namespace).into_iter().map(Event::Revision))
            .chain(self.caches.pods.in_namespace(&key.namespace).into_iter().map(Event::Pod))
            .collect();
        let built = catch_unwind(AssertUnwindSafe(|| {
            let mut view = View::new(object)?;
            for event in events {
                view.apply(event, now)?;
            }
            Ok::<View, daemonset::WantedError>(view)
        }));
        match built {
            Ok(Ok(view)) => {
                let slot = Slot {
                    view: Some(view),
                    phase: Phase::Idle,
                    inbox: BTreeMap::new(),
                    failures: 0,
                    due: None,
                    status_at: None,
                };
                self.slots.insert(key.clone(), slot);
                self.dirty.insert(key.clone());
            }
            // The API refuses such objects; an edit builds the view again.
            Ok(Err(error)) => tracing::warn!(daemonset = %key, %error, "cannot be planned for"),
            Err(_) => self.crashed(key, now),
        }
    }

    /// A view (or its plan's execution) panicked: away with it, and build it anew after a pause.
    pub fn crashed(&mut self, key: &ObjectKey, now: Timestamp) {
        let failures = self.slots.get(key).map_or(0, |slot| slot.failures).saturating_add(1);
        self.remove(key);
        let due = later(now, PLAN_RETRY.delay(failures).max(CRASH_PAUSE));
        let slot = Slot {
            view: None,
            phase: Phase::Pausing,
            inbox: BTreeMap::new(),
            failures,
            due: Some(due),
            status_at: None,
        };
        self.slots.insert(key.clone(), slot);
        self.due.insert((due, key.clone()));
        tracing::error!(daemonset = %key, failures, "planning panicked; the view is built anew later");
    }

    fn tell(&mut self, key: &ObjectKey, about: About, event: Event, now: Timestamp) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if matches!(slot.phase, Phase::Working | Phase::WorkingOnOld) {
            slot.inbox.insert(about, event);
            return;
        }
        self.apply(key, event, now);
    }

    fn apply(&mut self, key: &ObjectKey, event: Event, now: Timestamp) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Some(view) = slot.view.as_mut() else { return };
        match catch_unwind(AssertUnwindSafe(|| view.apply(event, now))) {
            Ok(Ok(Effect::Nothing)) => {}
            Ok(Ok(Effect::Changed)) => {
                if slot.phase == Phase::Idle {
                    self.dirty.insert(key.clone());
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(daemonset = %key, %error, "cannot be planned for");
                self.remove(key);
            }
            Err(_) => self.crashed(key, now),
        }
    }

    /// The next plan that has something to do, if any.
    pub fn next_job(&mut self, now: Timestamp) -> Option<Job> {
        self.wake_due(now);
        while let Some(key) = self.dirty.pop_first() {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let Some(view) = slot.view.as_mut() else { continue };
            let Ok(plan) = catch_unwind(AssertUnwindSafe(|| view.plan(now))) else {
                self.crashed(&key, now);
                continue;
            };
            if plan.steps.is_empty() && plan.notes.is_empty() {
                let look_again_at = plan.look_again_at;
                self.set_due(&key, look_again_at);
                continue;
            }
            if let Some(at) = slot.status_at.map(|at| later(at, STATUS_PAUSE))
                && now < at
                && plan.notes.is_empty()
                && plan.steps.iter().all(|step| matches!(step, Step::WriteStatus(_)))
            {
                let look_again_at = plan.look_again_at.map_or(at, |other| other.min(at));
                self.set_due(&key, Some(look_again_at));
                continue;
            }
            if plan.status().is_some() {
                slot.status_at = Some(now);
            }
            slot.phase = Phase::Working;
            let object = Arc::clone(&view.wanted().object);
            self.set_due(&key, None);
            return Some(Job { key, object, plan });
        }
        None
    }

    fn wake_due(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.due.first().cloned()
            && at <= now
        {
            self.due.remove(&(at, key.clone()));
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.due = None;
            if slot.view.is_none() {
                let failures = slot.failures;
                self.build(&key, now);
                if let Some(slot) = self.slots.get_mut(&key) {
                    slot.failures = failures;
                }
                continue;
            }
            if slot.phase == Phase::Pausing {
                slot.phase = Phase::Idle;
            }
            if slot.phase == Phase::Idle {
                self.dirty.insert(key);
            }
        }
    }

    fn set_due(&mut self, key: &ObjectKey, at: Option<Timestamp>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Some(before) = std::mem::replace(&mut slot.due, at) {
            self.due.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.due.insert((at, key.clone()));
        }
    }

    /// A plan has been carried out: the view learns what came of it, then what happened meanwhile.
    pub fn finished(&mut self, key: &ObjectKey, report: Report, now: Timestamp) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.phase == Phase::WorkingOnOld {
            return self.build(key, now);
        }
        if slot.phase != Phase::Working {
            return;
        }
        let Some(view) = slot.view.as_mut() else { return };
        for (step, outcome) in report.outcomes {
            view.acted(&step, outcome, now);
        }
        slot.phase = Phase::Idle;
        let inbox = std::mem::take(&mut slot.inbox);
        let pause = report.trouble.map(|at_least| {
            slot.failures = slot.failures.saturating_add(1);
            PLAN_RETRY.delay(slot.failures).max(at_least)
        });
        match pause {
            Some(pause) => {
                slot.phase = Phase::Pausing;
                self.set_due(key, Some(later(now, pause)));
            }
            None => {
                slot.failures = 0;
                self.dirty.insert(key.clone());
            }
        }
        for event in inbox.into_values() {
            self.apply(key, event, now);
        }
    }
}

/// While Pods become ready by the thousand, the status is written this often at most, unless there is something to do besides.
const STATUS_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// A crash is a bug: it is not tried again at once.
const CRASH_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

fn later(now: Timestamp, pause: std::time::Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

fn pod_event(change: &Change<Pod>) -> Option<Event> {
    match (&change.after, &change.before) {
        (Some(pod), _) => Some(Event::Pod(Arc::clone(pod))),
        (None, Some(pod)) => {
            Some(Event::PodGone(PodId { name: change.key.name.clone(), uid: pod.uid().to_owned() }))
        }
        (None, None) => None,
    }
}
