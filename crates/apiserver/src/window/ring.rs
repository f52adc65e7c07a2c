//! A resource's recent events in order, and the lanes in which indexed watchers wait.
//!
//! A lane is the subsequence of events that touch one node or one name. It exists while someone watches it, so an event
//! costs a look-up and the watchers it concerns, not a visit to every watcher.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use store::Revision;
use tokio::sync::Notify;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::limits::{EVENT_LINES_MAX, RING_AGE_MAX, RING_BYTES_MAX, RING_EVENTS_MAX};
use crate::object::{Happened, Object};

/// One change of one object.
#[derive(Debug)]
pub struct Event {
    pub revision: Revision,
    pub happened: Happened,
    /// The new state; of a deletion, the last state at the revision of the deletion.
    pub object: Arc<Object>,
    /// The state before; absent for a creation.
    pub previous: Option<Arc<Object>>,
    /// The event's line, made for the first watcher that reads it and shared by all, as long as the event is young.
    line: Mutex<Option<Bytes>>,
    seen: Instant,
}

impl Event {
    pub fn new(happened: Happened, object: Arc<Object>, previous: Option<Arc<Object>>) -> Event {
        let (revision, seen) = (object.revision, Instant::now());
        Event { revision, happened, object, previous, line: Mutex::default(), seen }
    }

    /// The event as a watcher without a selector is told of it.
    pub fn line(&self) -> Bytes {
        self.line.lock().get_or_insert_with(|| self.object.frame(self.happened)).clone()
    }

    fn forget_line(&self) {
        *self.line.lock() = None;
    }
}

/// Which events wake a watcher.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Lane {
    All,
    /// Objects whose `spec.nodeName` is or was this.
    Node(String),
    /// Objects of this name.
    Name(String),
}

#[derive(Default)]
struct Waiting {
    watchers: Vec<(u64, Arc<Notify>)>,
    events: VecDeque<u64>,
    /// Events of the lane from this number on are in `events`.
    from: u64,
}

pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    /// Of the objects of all events.
    bytes: usize,
    /// The number of the first event kept.
    first: u64,
    /// Changes up to this revision are not kept.
    pub forgotten: Revision,
    lanes: HashMap<Lane, Waiting>,
    next_watcher: u64,
}

impl Ring {
    pub fn new(forgotten: Revision) -> Ring {
        Ring {
            events: VecDeque::new(),
            bytes: 0,
            first: 0,
            forgotten,
            lanes: HashMap::new(),
            next_watcher: 0,
        }
    }

    /// The number that the next event will have.
    pub fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The number of the first event after `revision`; nothing if some of them are no longer kept.
    pub fn after(&self, revision: Revision) -> Option<u64> {
        (revision >= self.forgotten)
            .then(|| self.first + self.events.partition_point(|event| event.revision <= revision) as u64)
    }

    /// The events after `revision`; nothing if some of them are no longer kept.
    pub fn later(&self, revision: Revision) -> Option<impl DoubleEndedIterator<Item = &Arc<Event>>> {
        let skip = usize::try_from(self.after(revision)? - self.first).ok()?;
        Some(self.events.range(skip..))
    }

    /// Keeps an event and wakes whom it concerns; returns how many.
    pub fn push(&mut self, event: Event) -> u64 {
        let number = self.next();
        let mut woken = 0;
        for lane in lanes_of(&event) {
            if let Some(waiting) = self.lanes.get_mut(&lane) {
                if lane != Lane::All {
                    waiting.events.push_back(number);
                }
                for (_, wake) in &waiting.watchers {
                    wake.notify_one();
                    woken += 1;
                }
            }
        }
        self.bytes += event.object.bytes();
        self.events.push_back(Arc::new(event));
        if let Some(old) = self.events.len().checked_sub(EVENT_LINES_MAX + 1) {
            self.events[old].forget_line();
        }
        while self.events.len() > RING_EVENTS_MAX || (self.bytes > RING_BYTES_MAX && self.events.len() > 1) {
            self.forget_first();
        }
        woken
    }

    /// Forgets what is too old by now.
    pub fn tidy(&mut self, now: Instant) {
        while self.events.front().is_some_and(|event| now.duration_since(event.seen) > RING_AGE_MAX) {
            self.forget_first();
        }
        // A calm resource gives back what its last storm has taken.
        if self.events.capacity() > 4 * self.events.len().max(EVENT_LINES_MAX) {
            self.events.shrink_to(2 * self.events.len());
        }
    }

    fn forget_first(&mut self) {
        let Some(event) = self.events.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(event.object.bytes());
        let number = self.first;
        self.first += 1;
        self.forgotten = event.revision;
        for lane in lanes_of(&event) {
            if let Some(waiting) = self.lanes.get_mut(&lane) {
                if waiting.events.front() == Some(&number) {
                    waiting.events.pop_front();
                }
                waiting.from = waiting.from.max(number + 1);
            }
        }
    }

    /// A watcher waits in a lane for events from number `from` on.
    pub fn join(&mut self, lane: &Lane, from: u64) -> (u64, Arc<Notify>) {
        let id = self.next_watcher;
        self.next_watcher += 1;
        let wake = Arc::new(Notify::new());
        let fresh = !self.lanes.contains_key(lane);
        let waiting = self.lanes.entry(lane.clone()).or_default();
        if *lane != Lane::All && (fresh || from < waiting.from) {
            waiting.from = from;
            let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
            waiting.events = self
                .events
                .iter()
                .enumerate()
                .skip(skip)
                .filter(|(_, event)| lanes_of(event).any(|touched| touched == *lane))
                .map(|(i, _)| self.first + i as u64)
                .collect();
        }
        waiting.watchers.push((id, Arc::clone(&wake)));
        (id, wake)
    }

    pub fn leave(&mut self, lane: &Lane, id: u64) {
        if let Some(waiting) = self.lanes.get_mut(lane) {
            waiting.watchers.retain(|(watcher, _)| *watcher != id);
            if waiting.watchers.is_empty() {
                self.lanes.remove(lane);
            }
        }
    }

    /// At most `limit` events of a lane from number `from` on, and the number after the last one looked at;
    /// nothing if events between are no longer kept.
    pub fn read(&self, lane: &Lane, from: u64, limit: usize) -> Option<(Vec<Arc<Event>>, u64)> {
        if *lane == Lane::All {
            let skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
            let events: Vec<_> = self.events.iter().skip(skip).take(limit).cloned().collect();
            let next = from + events.len() as u64;
            return Some((events, next));
        }
        let waiting = self.lanes.get(lane)?;
        if from < waiting.from {
            return None;
        }
        let start = waiting.events.partition_point(|number| *number < from);
        let mut events = Vec::new();
        for number in waiting.events.iter().skip(start).take(limit) {
            let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
            events.push(Arc::clone(self.events.get(at)?));
        }
        let next = match waiting.events.get(start + events.len()) {
            Some(more) => *more,
            None => self.next(),
        };
        Some((events, next))
    }

    /// Starts over after a gap: every cursor has fallen out.
    pub fn reset(&mut self, forgotten: Revision) {
        self.first = self.next() + 1;
        self.events.clear();
        self.bytes = 0;
        self.forgotten = forgotten;
        for waiting in self.lanes.values_mut() {
            waiting.events.clear();
            waiting.from = self.first;
            for (_, wake) in &waiting.watchers {
                wake.notify_one();
            }
        }
    }
}

/// Every lane that an event belongs to, each once.
fn lanes_of(event: &Event) -> impl Iterator<Item = Lane> {
    let node = |object: &Object| {
        object.header.field("spec.nodeName").filter(|node| !node.is_empty()).map(str::to_owned)
    };
    let new = node(&event.object);
    let old = event.previous.as_deref().and_then(node).filter(|old| Some(old) != new.as_ref());
    [
        Some(Lane::All),
        Some(Lane::Name(event.object.header.name().to_owned())),
        new.map(Lane::Node),
        old.map(Lane::Node),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::object::{Beside, encode};

    fn event(revision: u64, padding: usize) -> Event {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(format!("a{revision}"));
        object.data = Some([("text".to_owned(), "x".repeat(padding))].into());
        let beside = Beside { fields: &BTreeMap::new(), references: &[], managed: b"", since: None };
        let stored = encode(object, beside).unwrap();
        let object = Object::from_stored("ns/a".into(), Revision(revision), stored).unwrap();
        Event::new(Happened::Added, Arc::new(object), None)
    }

    #[test]
    fn events_of_large_objects_are_forgotten_sooner() {
        let mut ring = Ring::new(Revision(0));
        for revision in 1..=40 {
            ring.push(event(revision, RING_BYTES_MAX / 20));
        }
        assert!(ring.bytes <= RING_BYTES_MAX && ring.events.len() == 19, "{}", ring.events.len());
        assert!(ring.after(Revision(20)).is_none());
        assert!(ring.after(Revision(21)).is_some());
        ring.push(event(41, 2 * RING_BYTES_MAX));
        assert_eq!(ring.events.len(), 1, "one is kept, whatever its size");
    }

    #[test]
    fn old_events_are_forgotten_and_their_memory_given_back() {
        let mut ring = Ring::new(Revision(0));
        for revision in 1..=5_000 {
            ring.push(event(revision, 1));
        }
        let now = Instant::now();
        ring.tidy(now);
        assert_eq!(ring.events.len(), 5_000);
        ring.tidy(now + RING_AGE_MAX + Duration::from_secs(1));
        assert_eq!((ring.events.len(), ring.bytes), (0, 0));
        assert!(ring.events.capacity() < 1_000);
        assert_eq!(ring.forgotten, Revision(5_000));
    }
}
