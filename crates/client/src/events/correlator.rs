//! Which events are said anew, which are counted up, and which are dropped.
//!
//! Pure: the time is in what is said. Upstream: client-go's `EventCorrelator` with its default options. Events
//! that differ only in their message are combined after [`AGGREGATE_AFTER_MESSAGES`] within
//! [`AGGREGATE_WINDOW_SECONDS`]; the same event again raises the count of the first; one speaker may say
//! [`SPAM_BURST_EVENTS`] things about one object at once, and one more every [`SPAM_REFILL_SECONDS`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Severity, Speaker};

pub const AGGREGATE_AFTER_MESSAGES: usize = 10;
pub const AGGREGATE_WINDOW_SECONDS: i64 = 600;
pub const SPAM_BURST_EVENTS: f64 = 25.0;
pub const SPAM_REFILL_SECONDS: f64 = 300.0;
/// Things remembered of each sort; the least recently used go first, as upstream.
pub const REMEMBERED_MAX: usize = 4_096;
const COMBINED: &str = "(combined from similar events): ";

/// One utterance.
#[derive(Debug, Clone)]
pub struct Said {
    pub speaker: Speaker,
    pub regarding: ObjectReference,
    pub severity: Severity,
    pub reason: String,
    pub message: String,
    pub at: Timestamp,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Create(Event),
    /// The event of this name exists: its count, last time and message change.
    Update(Event),
    Drop,
}

/// The memory of one recorder.
#[derive(Default)]
pub struct Correlator {
    similar: Recent<SimilarKey, Similar>,
    known: Recent<(SimilarKey, String), Known>,
    budgets: Recent<SpamKey, Budget>,
}

/// What makes two events similar: everything but the message.
type SimilarKey = (Speaker, Regarding, Severity, String);
type SpamKey = (Speaker, Regarding);
/// The parts of an object reference that identify: kind, namespace, name, uid, apiVersion, fieldPath.
type Regarding = [String; 6];

struct Similar {
    messages: BTreeSet<String>,
    last: Timestamp,
}

struct Known {
    name: String,
    count: i32,
    first: Timestamp,
}

struct Budget {
    left: f64,
    at: Timestamp,
}

impl Correlator {
    /// Hears one utterance and says what to write.
    pub fn hear(&mut self, said: Said) -> Verdict {
        let regarding = regarding_key(&said.regarding);
        let similar_key = (said.speaker.clone(), regarding.clone(), said.severity, said.reason.clone());
        let (message, known_key) = match self.aggregate(&similar_key, &said) {
            Some(combined) => (combined, (similar_key, String::new())),
            None => (said.message.clone(), (similar_key, said.message.clone())),
        };
        let (verdict_is_update, name, count, first) = match self.known.get(&known_key) {
            Some(known) => {
                known.count = known.count.saturating_add(1);
                (true, known.name.clone(), known.count, known.first)
            }
            None => {
                let name = event_name(&said);
                self.known.put(known_key, Known { name: name.clone(), count: 1, first: said.at });
                (false, name, 1, said.at)
            }
        };
        if !self.spend((said.speaker.clone(), regarding), said.at) {
            return Verdict::Drop;
        }
        let event = event(said, name, message, count, first);
        if verdict_is_update { Verdict::Update(event) } else { Verdict::Create(event) }
    }

    /// The combined message, once this utterance is one of too many similar ones.
    fn aggregate(&mut self, key: &SimilarKey, said: &Said) -> Option<String> {
        if self.similar.get(key).is_none() {
            self.similar.put(key.clone(), Similar { messages: BTreeSet::new(), last: said.at });
        }
        let similar = self.similar.get(key)?;
        if said.at.duration_since(similar.last).as_secs() > AGGREGATE_WINDOW_SECONDS {
            similar.messages.clear();
        }
        similar.last = said.at;
        similar.messages.insert(said.message.clone());
        if similar.messages.len() < AGGREGATE_AFTER_MESSAGES {
            return None;
        }
        // Keeps the set at its limit, as upstream pops any.
        similar.messages.pop_first();
        Some(format!("{COMBINED}{}", said.message))
    }

    fn spend(&mut self, key: SpamKey, now: Timestamp) -> bool {
        let Some(budget) = self.budgets.get(&key) else {
            self.budgets.put(key, Budget { left: SPAM_BURST_EVENTS - 1.0, at: now });
            return true;
        };
        let passed_seconds = now.duration_since(budget.at).as_secs_f64().max(0.0);
        budget.left = (budget.left + passed_seconds / SPAM_REFILL_SECONDS).min(SPAM_BURST_EVENTS);
        budget.at = now;
        let granted = budget.left >= 1.0;
        if granted {
            budget.left -= 1.0;
        }
        granted
    }
}

fn event(said: Said, name: String, message: String, count: i32, first: Timestamp) -> Event {
    let namespace = event_namespace(&said.regarding).to_owned();
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: said.regarding,
        reason: Some(said.reason),
        message: Some(message),
        source: Some(EventSource {
            component: Some(said.speaker.component.clone()),
            host: Some(said.speaker.host.clone()).filter(|host| !host.is_empty()),
        }),
        first_timestamp: Some(Time(first)),
        last_timestamp: Some(Time(said.at)),
        count: Some(count),
        type_: Some(said.severity.as_str().to_owned()),
        reporting_component: Some(said.speaker.component),
        reporting_instance: Some(said.speaker.host),
        ..Event::default()
    }
}

/// Events about cluster-scoped objects live in `default`.
fn event_namespace(regarding: &ObjectReference) -> &str {
    regarding.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

/// `<object>.<hexadecimal nanoseconds>`, as upstream.
fn event_name(said: &Said) -> String {
    let object = said.regarding.name.as_deref().unwrap_or_default();
    format!("{object}.{:x}", said.at.as_nanosecond())
}

fn regarding_key(reference: &ObjectReference) -> Regarding {
    [
        &reference.kind,
        &reference.namespace,
        &reference.name,
        &reference.uid,
        &reference.api_version,
        &reference.field_path,
    ]
    .map(|part| part.clone().unwrap_or_default())
}

/// A map that forgets what was not used for longest once it holds [`REMEMBERED_MAX`].
struct Recent<K, V> {
    tick: u64,
    entries: BTreeMap<K, (u64, V)>,
    by_tick: BTreeMap<u64, K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Recent { tick: 0, entries: BTreeMap::new(), by_tick: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, V> Recent<K, V> {
    fn get(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        self.tick += 1;
        if let Some(key) = self.by_tick.remove(used) {
            self.by_tick.insert(self.tick, key);
        }
        *used = self.tick;
        Some(value)
    }

    fn put(&mut self, key: K, value: V) {
        self.tick += 1;
        if let Some((used, _)) = self.entries.insert(key.clone(), (self.tick, value)) {
            self.by_tick.remove(&used);
        }
        self.by_tick.insert(self.tick, key);
        if self.entries.len() > REMEMBERED_MAX
            && let Some((_, oldest)) = self.by_tick.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(seconds: i64, message: &str) -> Said {
        Said {
            speaker: Speaker::component("daemonset-controller"),
            regarding: ObjectReference {
                kind: Some("DaemonSet".into()),
                namespace: Some("logging".into()),
                name: Some("fluentd".into()),
                uid: Some("u1".into()),
                ..ObjectReference::default()
            },
            severity: Severity::Warning,
            reason: "FailedCreate".into(),
            message: message.into(),
            at: Timestamp::from_second(1_700_000_000 + seconds).unwrap(),
        }
    }

    fn message_and_count(verdict: &Verdict) -> (String, i32) {
        match verdict {
            Verdict::Create(event) | Verdict::Update(event) => {
                (event.message.clone().unwrap(), event.count.unwrap())
            }
            Verdict::Drop => panic!("dropped"),
        }
    }

    #[test]
    fn the_same_event_again_raises_the_count_of_the_first() {
        let mut correlator = Correlator::default();
        let Verdict::Create(first) = correlator.hear(said(0, "no")) else { panic!("not created") };
        assert_eq!(first.metadata.name.as_deref(), Some("fluentd.17979cfe362a0000"));
        let Verdict::Update(second) = correlator.hear(said(5, "no")) else { panic!("not updated") };
        assert_eq!((second.metadata.name, second.count), (first.metadata.name, Some(2)));
        assert_eq!(second.first_timestamp, first.first_timestamp);
    }

    #[test]
    fn ten_similar_events_are_combined_into_one() {
        let mut correlator = Correlator::default();
        for i in 0..9 {
            let verdict = correlator.hear(said(i, &format!("no {i}")));
            assert!(matches!(verdict, Verdict::Create(_)), "{i}");
        }
        let tenth = correlator.hear(said(9, "no 9"));
        assert!(matches!(tenth, Verdict::Create(_)));
        assert_eq!(message_and_count(&tenth), ("(combined from similar events): no 9".into(), 1));
        let eleventh = correlator.hear(said(10, "no 10"));
        assert!(matches!(eleventh, Verdict::Update(_)));
        assert_eq!(message_and_count(&eleventh), ("(combined from similar events): no 10".into(), 2));
    }

    #[test]
    fn similar_events_far_apart_are_not_combined() {
        let mut correlator = Correlator::default();
        for i in 0..20 {
            let verdict = correlator.hear(said(i * 601, &format!("no {i}")));
            assert_eq!(message_and_count(&verdict), (format!("no {i}"), 1));
        }
    }

    #[test]
    fn the_twenty_sixth_event_at_once_is_dropped_and_one_is_granted_after_five_minutes() {
        let mut correlator = Correlator::default();
        for i in 0..25 {
            assert_ne!(correlator.hear(said(0, "no")), Verdict::Drop, "{i}");
        }
        assert_eq!(correlator.hear(said(0, "no")), Verdict::Drop);
        assert_ne!(correlator.hear(said(301, "no")), Verdict::Drop);
        assert_eq!(correlator.hear(said(302, "no")), Verdict::Drop);
    }

    #[test]
    fn an_event_about_a_node_lives_in_default() {
        let mut about_node = said(0, "ready");
        about_node.regarding.namespace = None;
        let Verdict::Create(event) = Correlator::default().hear(about_node) else { panic!("not created") };
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for i in 0..REMEMBERED_MAX + 10 {
            recent.put(i, i);
            recent.get(&0);
        }
        assert_eq!(recent.entries.len(), REMEMBERED_MAX);
        assert!(recent.get(&0).is_some() && recent.get(&1).is_none());
    }
}
