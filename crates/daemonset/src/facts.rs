//! What the planner keeps of a Pod: some words instead of kilobytes.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use api::meta::Meta;
use api::well_known::daemon_set as names;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::wanted::{Life, Wanted};

/// A Node's name; cheap to copy, since it is in several indexes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        NodeName(Arc::from(name))
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One Pod and no later one of the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    pub name: String,
    pub uid: String,
}

/// Where a Pod belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// spec.nodeName
    Bound(NodeName),
    /// The one Node that its required affinity names; the scheduler has not bound it yet.
    Pinned(NodeName),
    /// No Node that could be told.
    Nowhere,
}

impl Place {
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Place::Bound(node) | Place::Pinned(node) => Some(node),
            Place::Nowhere => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    No,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    NotAsked,
    /// Asked for by us, and no answer came: it may be on its way out.
    Doubtful,
    Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    No,
    /// Since when, if the condition says so.
    Since(Option<Timestamp>),
}

/// Long enough ready, not yet, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    NotReady,
    /// Ready, and available just after this moment.
    After(Timestamp),
    Available,
}

/// Whose Pod it is, as seen by one DaemonSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Its controller is this DaemonSet, and the selector matches.
    Owned,
    /// Nobody's, and the selector matches: to be adopted.
    Adopt,
    /// Its controller is this DaemonSet, but the selector no longer matches: to be let go.
    Release,
}

/// What the planner keeps of one Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    pub id: PodId,
    pub claim: Claim,
    pub place: Place,
    pub created: Timestamp,
    pub deletion: Deletion,
    pub ended: Ended,
    pub ready: Ready,
    /// The label with the hash of the template it was made from; empty if it has none.
    pub hash: String,
    /// The label with the template generation; empty if it has none.
    pub template_generation: String,
    /// The version that was seen, for steps that rest on what it said.
    pub version: Box<str>,
}

impl PodFacts {
    /// `None`: the Pod is none of this DaemonSet's business.
    pub fn of(pod: &Pod, wanted: &Wanted) -> Option<Self> {
        let matches = wanted.selector.matches(pod.labels());
        let claim = match pod.controller_owner() {
            Some(owner) if owner.uid == wanted.uid && matches => Claim::Owned,
            Some(owner) if owner.uid == wanted.uid => Claim::Release,
            Some(_) => return None,
            None if matches && !pod.is_deleting() && wanted.life == Life::Alive => Claim::Adopt,
            None => return None,
        };
        let place = match (api::pod::node_name(pod), api::pod::target_node_name(pod)) {
            (Some(node), _) => Place::Bound(node.into()),
            (None, Some(node)) => Place::Pinned(node.into()),
            (None, None) => Place::Nowhere,
        };
        let ended = if api::pod::is_failed(pod) {
            Ended::Failed
        } else if api::pod::is_succeeded(pod) {
            Ended::Succeeded
        } else {
            Ended::No
        };
        let since = || {
            api::pod::ready_condition(pod).and_then(|c| c.last_transition_time.as_ref()).map(|time| time.0)
        };
        Some(PodFacts {
            id: PodId { name: pod.name().to_owned(), uid: pod.uid().to_owned() },
            claim,
            place,
            created: pod.creation_timestamp().unwrap_or(Timestamp::MIN),
            deletion: if pod.is_deleting() { Deletion::Asked } else { Deletion::NotAsked },
            ended,
            ready: if api::pod::is_ready(pod) { Ready::Since(since()) } else { Ready::No },
            hash: pod.label(names::REVISION_HASH_LABEL).unwrap_or_default().to_owned(),
            template_generation: pod.label(names::TEMPLATE_GENERATION_LABEL).unwrap_or_default().to_owned(),
            version: pod.resource_version().into(),
        })
    }

    /// The same but for the version: nothing happened that the planner asks about.
    pub fn says_the_same(&self, other: &PodFacts) -> bool {
        let PodFacts {
            id,
            claim,
            place,
            created,
            deletion,
            ended,
            ready,
            hash,
            template_generation,
            version: _,
        } = self;
        *id == other.id
            && *claim == other.claim
            && *place == other.place
            && *created == other.created
            && *deletion == other.deletion
            && *ended == other.ended
            && *ready == other.ready
            && *hash == other.hash
            && *template_generation == other.template_generation
    }

    /// Which of several Pods on a Node comes first: bound before unbound, then the oldest, then by name.
    pub fn order(&self) -> (bool, Timestamp, &str) {
        (!matches!(self.place, Place::Bound(_)), self.created, &self.id.name)
    }

    pub fn is_deleting(&self) -> bool {
        self.deletion == Deletion::Asked
    }

    /// Ended and on its way out, held by a finalizer at most: its Node counts as free.
    pub fn is_leftover(&self) -> bool {
        self.is_deleting() && self.ended != Ended::No
    }

    pub fn is_ready(&self) -> bool {
        self.ready != Ready::No
    }

    /// Made from the current template: by hash or by template generation.
    pub fn is_updated(&self, hash: &str, template_generation: Option<i64>) -> bool {
        let by_hash = !hash.is_empty() && self.hash == hash;
        by_hash
            || template_generation
                .is_some_and(|generation| self.template_generation == generation.to_string())
    }

    /// Strictly longer ready than the minimum; without a minimum, ready is enough. A Pod that may have been deleted is not
    /// counted on.
    pub fn availability(&self, now: Timestamp, min_ready_seconds: i32) -> Availability {
        if self.deletion == Deletion::Doubtful {
            return Availability::NotReady;
        }
        let Ready::Since(since) = self.ready else { return Availability::NotReady };
        if min_ready_seconds <= 0 {
            return Availability::Available;
        }
        // COMPAT(apps/v1): a Ready condition without a time is never available.
        let Some(since) = since else { return Availability::NotReady };
        let minimum = SignedDuration::from_secs(i64::from(min_ready_seconds));
        let after = later(since, minimum);
        if now > after { Availability::Available } else { Availability::After(after) }
    }

    pub fn is_available(&self, now: Timestamp, min_ready_seconds: i32) -> bool {
        self.availability(now, min_ready_seconds) == Availability::Available
    }
}

/// As late as there is, where that would be later.
pub fn later(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}
