//! The ControllerRevisions of a DaemonSet: which one is current, what to write, what to clean up.
//!
//! Revisions are compared by what their template means, not byte by byte: a server that once wrote
//! `creationTimestamp: null` and today does not must not set off a rollout. Upstream: `constructHistory`,
//! `dedupCurHistories`, `cleanupHistory` in `pkg/controller/daemon/update.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::meta::{Meta, controller_ref};
use api::well_known::daemon_set as names;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use crate::facts::{Claim, PodId};
use crate::plan::{RevisionGoes, Step};
use crate::template;
use crate::wanted::{Life, Wanted};

/// What is kept of one revision.
#[derive(Debug, Clone, PartialEq)]
struct Revision {
    id: PodId,
    number: i64,
    /// Its hash label; empty if it has none.
    label: String,
    kinship: Kinship,
    template: Value,
    /// Its template means the same as the current one. Kept, because comparing is dear and plans are many.
    current: bool,
}

/// Whose revision it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinship {
    Ours(Claim),
    /// Someone else's under a name that could be ours.
    Foreign,
}

/// The template as it is now, in the forms that revisions are compared and named by.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub canonical: Arc<Value>,
    /// The hash that a new revision would get.
    pub hash: String,
}

impl Template {
    pub fn of(wanted: &Wanted) -> Self {
        let canonical = template::canonical(&wanted.template);
        let hash = template::hash(&canonical, wanted.status.collision_count);
        Template { canonical: Arc::new(canonical), hash }
    }
}

/// What history asks for: before Pods are touched, and after.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Review {
    pub before: Vec<Step>,
    /// Copies of the current revision whose hash still is on Pods: their hash, and the kept one.
    pub relabel: Option<Relabel>,
    pub after: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relabel {
    pub from: Vec<String>,
    pub to: String,
    /// To be deleted when no Pod carries their hash.
    pub copies: Vec<PodId>,
}

/// All revisions that concern one DaemonSet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    revisions: BTreeMap<String, Revision>,
}

impl Revision {
    fn hash(&self) -> &str {
        // A revision without a hash gets its own name as one.
        if self.label.is_empty() { &self.id.name } else { &self.label }
    }

    fn is_ours(&self) -> bool {
        matches!(self.kinship, Kinship::Ours(Claim::Owned | Claim::Adopt))
    }
}

impl History {
    /// A revision was added or changed. Those of others are kept only if their name could get in the way.
    pub fn upsert(&mut self, revision: &ControllerRevision, wanted: &Wanted, current: &Template) {
        let name = revision.name().to_owned();
        match kinship(revision, wanted) {
            None => {
                self.revisions.remove(&name);
            }
            Some(kinship) => {
                let template = template_of(revision);
                let id = PodId { name: name.clone(), uid: revision.uid().to_owned() };
                let label = revision.label(names::REVISION_HASH_LABEL).unwrap_or_default().to_owned();
                let number = revision.revision;
                let current = template == *current.canonical;
                self.revisions.insert(name, Revision { id, number, label, kinship, template, current });
            }
        }
    }

    /// The current template is another one.
    pub fn compare_with(&mut self, template: &Template) {
        for revision in self.revisions.values_mut() {
            revision.current = revision.template == *template.canonical;
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.revisions.remove(name);
    }

    /// The hash that Pods of the current template carry.
    pub fn current_hash(&self, template: &Template) -> String {
        match self.current().first() {
            Some(kept) => kept.hash().to_owned(),
            None => template.hash.clone(),
        }
    }

    /// Revisions that equal the current template, the one to keep first.
    fn current(&self) -> Vec<&Revision> {
        let mut current: Vec<&Revision> =
            self.revisions.values().filter(|r| r.is_ours() && r.current).collect();
        current.sort_by(|a, b| b.number.cmp(&a.number).then_with(|| a.id.cmp(&b.id)));
        current
    }

    /// What to write. `is_live` tells whether any Pod carries a hash.
    pub fn review(&self, wanted: &Wanted, template: &Template, is_live: impl Fn(&str) -> bool) -> Review {
        let mut review = Review::default();
        self.claim(&mut review.before);
        let current = self.current();
        let mut old: Vec<&Revision> = self.revisions.values().filter(|r| r.is_ours() && !r.current).collect();
        old.sort_by(|a, b| a.number.cmp(&b.number).then_with(|| a.id.cmp(&b.id)));
        let next = old.last().map_or(0, |newest| newest.number) + 1;
        match current.split_first() {
            None => review.before.extend(self.new_revision(wanted, template, next)),
            Some((kept, copies)) => {
                if kept.number < next {
                    review.before.push(Step::RenumberRevision { revision: kept.id.clone(), to: next });
                }
                if !copies.is_empty() {
                    let differs = |copy: &&&Revision| copy.hash() != kept.hash();
                    review.relabel = Some(Relabel {
                        from: copies.iter().filter(differs).map(|copy| copy.hash().to_owned()).collect(),
                        to: kept.hash().to_owned(),
                        copies: copies.iter().map(|copy| copy.id.clone()).collect(),
                    });
                }
            }
        }
        let too_many = old.len().saturating_sub(wanted.old_revisions_max);
        let unused = old.iter().filter(|revision| !is_live(revision.hash()));
        let reason = RevisionGoes::OverLimit;
        review
            .after
            .extend(unused.take(too_many).map(|r| Step::DeleteRevision { revision: r.id.clone(), reason }));
        review
    }

    fn claim(&self, steps: &mut Vec<Step>) {
        for revision in self.revisions.values() {
            match revision.kinship {
                Kinship::Ours(Claim::Adopt) => steps.push(Step::AdoptRevision(revision.id.clone())),
                Kinship::Ours(Claim::Release) => steps.push(Step::ReleaseRevision(revision.id.clone())),
                Kinship::Ours(Claim::Owned) if revision.label.is_empty() => steps.push(Step::LabelRevision {
                    revision: revision.id.clone(),
                    hash: revision.id.name.clone(),
                }),
                Kinship::Ours(Claim::Owned) | Kinship::Foreign => {}
            }
        }
    }

    fn new_revision(&self, wanted: &Wanted, template: &Template, number: i64) -> Option<Step> {
        let name = template::revision_name(&wanted.name, &template.hash);
        match self.revisions.get(&name) {
            None => Some(Step::CreateRevision(Box::new(revision(wanted, template, name, number)))),
            // Someone else's with the same content: as good as ours until it goes.
            Some(taken) if taken.current => None,
            Some(_) => {
                let to = wanted.status.collision_count.unwrap_or_default().saturating_add(1);
                Some(Step::CountCollision { taken: name, to })
            }
        }
    }
}

fn kinship(revision: &ControllerRevision, wanted: &Wanted) -> Option<Kinship> {
    let matches = wanted.selector.matches(revision.labels());
    match revision.controller_owner() {
        Some(owner) if owner.uid == wanted.uid && matches => return Some(Kinship::Ours(Claim::Owned)),
        Some(owner) if owner.uid == wanted.uid => return Some(Kinship::Ours(Claim::Release)),
        None if matches && !revision.is_deleting() && wanted.life == Life::Alive => {
            return Some(Kinship::Ours(Claim::Adopt));
        }
        Some(_) | None => {}
    }
    let suffix = revision.name().strip_prefix(wanted.name.as_str()).and_then(|rest| rest.strip_prefix('-'));
    suffix.filter(|hash| !hash.contains(['-', '.'])).map(|_| Kinship::Foreign)
}

fn template_of(revision: &ControllerRevision) -> Value {
    let data = revision.data.as_ref().map(|data| &data.0);
    let template = data.and_then(|data| data.pointer("/spec/template")).cloned().unwrap_or(Value::Null);
    template::canonical_value(template)
}

/// The data of a revision: a strategic merge patch that puts its template back.
fn revision(wanted: &Wanted, template: &Template, name: String, number: i64) -> ControllerRevision {
    let mut patch = serde_json::to_value(&*wanted.template).unwrap_or(Value::Null);
    if let Some(fields) = patch.as_object_mut() {
        fields.insert("$patch".to_owned(), Value::from("replace"));
    }
    let mut labels = wanted.template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(names::REVISION_HASH_LABEL.to_owned(), template.hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(wanted.namespace.clone()),
            labels: Some(labels),
            annotations: wanted.object.metadata.annotations.clone(),
            owner_references: Some(vec![controller_ref(names::API_VERSION, names::KIND, &*wanted.object)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(json!({"spec": {"template": patch}}))),
        revision: number,
    }
}
