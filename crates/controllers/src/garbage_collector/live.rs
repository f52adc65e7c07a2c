//! Looking at objects in the API itself, and carrying verdicts out. Every write names the uid and version it is for.

use client::events::Severity;
use client::queue::Outcome;
use client::write::{self, Class, Deletion, Expect, WriteError};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;
use kube::{Api, Error};
use serde_json::json;
use thiserror::Error as ThisError;

use super::graph::{Item, Standing, Work};
use super::verdict::{Dependents, OwnerState, Unblock, Verdict, judge};
use super::{Collector, Meta};
use crate::kinds::Reach;
use api::well_known::finalizer;

#[derive(Debug, ThisError)]
pub(super) enum LiveError {
    #[error("cannot read {what}")]
    Read { what: String, source: Box<Error> },
    #[error("owner {owner} of {what} is of a kind that is not served")]
    UnknownKind { what: String, owner: String },
    #[error("owner {owner} of {what} is namespaced, and its dependent is not")]
    OwnerOutOfReach { what: String, owner: String },
    #[error("cannot write {what}")]
    Write { what: String, source: WriteError },
}

impl LiveError {
    pub fn outcome(&self, work: &Work) -> Outcome {
        let class = match self {
            LiveError::Read { source, .. } => Class::of(source),
            LiveError::Write { source, .. } => source.class().clone(),
            // Nothing to do until the object changes.
            LiveError::OwnerOutOfReach { .. } => {
                tracing::warn!(?work, "{self}");
                return Outcome::Done;
            }
            LiveError::UnknownKind { .. } => {
                tracing::debug!(?work, "{self}");
                return Outcome::Failed;
            }
        };
        match class {
            Class::Retry(after) => Outcome::FailedFor(after),
            Class::Missing | Class::Stale | Class::Exists => Outcome::Failed,
            Class::NamespaceTerminating | Class::Fatal(_) => {
                let cause = std::error::Error::source(self).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(?work, cause, "{self}");
                Outcome::Failed
            }
        }
    }
}

impl Collector {
    pub(super) async fn judge(&self, uid: &str) -> Result<Outcome, LiveError> {
        let Some(item) = self.graph.lock().get(uid).cloned() else { return Ok(Outcome::Done) };
        if matches!(item.standing, Standing::Deleting | Standing::Orphaning) {
            return Ok(Outcome::Done);
        }
        let Some(meta) = self.look(&item).await? else { return Ok(Outcome::Done) };
        let mut owners = Vec::new();
        if meta.deletion_timestamp.is_none() {
            for owner in meta.owner_references.iter().flatten() {
                owners.push((owner.clone(), self.owner_state(&item, owner).await?));
            }
        }
        let finalizers = meta.finalizers.as_deref().unwrap_or_default();
        let verdict = judge(Standing::of(&meta), &owners, finalizers, self.dependents(uid));
        match verdict {
            Verdict::Keep => {}
            Verdict::CheckDependents => self.check_dependents(&item, &meta).await?,
            Verdict::StripOwners(uids) => {
                tracing::info!(object = %name(&item), ?uids, "taking out owners that are gone");
                let left = left(&meta, |owner| !uids.contains(&owner.uid));
                self.patch(&item, &meta, json!({"ownerReferences": left})).await?;
            }
            Verdict::Delete { propagation, unblock } => {
                self.delete(&item, &meta, propagation, unblock).await?
            }
        }
        Ok(Outcome::Done)
    }

    /// Takes the owner out of its dependents, then its finalizer out of it.
    pub(super) async fn orphan(&self, uid: &str) -> Result<Outcome, LiveError> {
        let (item, dependents) = {
            let graph = self.graph.lock();
            let Some(item) = graph.get(uid).cloned() else { return Ok(Outcome::Done) };
            (item, graph.dependents_of(uid).cloned().collect::<Vec<Item>>())
        };
        let Some(meta) = self.look(&item).await? else { return Ok(Outcome::Done) };
        if Standing::of(&meta) != Standing::Orphaning {
            return Ok(Outcome::Done);
        }
        for dependent in dependents {
            let Some(theirs) = self.look(&dependent).await? else { continue };
            if theirs.owner_references.iter().flatten().any(|owner| owner.uid == uid) {
                let left = left(&theirs, |owner| owner.uid != uid);
                self.patch(&dependent, &theirs, json!({"ownerReferences": left})).await?;
            }
        }
        tracing::info!(object = %name(&item), "dependents are orphaned");
        self.drop_finalizer(&item, &meta, finalizer::ORPHAN).await?;
        Ok(Outcome::Done)
    }

    async fn check_dependents(&self, item: &Item, meta: &ObjectMeta) -> Result<(), LiveError> {
        let blocking: Vec<Item> = {
            let graph = self.graph.lock();
            graph.dependents_of(&item.uid).filter(|dependent| dependent.blocks(&item.uid)).cloned().collect()
        };
        if blocking.is_empty() {
            tracing::info!(object = %name(item), "no dependent is left in the way");
            return self.drop_finalizer(item, meta, finalizer::FOREGROUND).await;
        }
        for dependent in blocking.into_iter().filter(|dependent| dependent.standing == Standing::Living) {
            self.queue.add(Work::Judge(dependent.uid));
        }
        Ok(())
    }

    async fn delete(
        &self,
        item: &Item,
        meta: &ObjectMeta,
        propagation: PropagationPolicy,
        unblock: Unblock,
    ) -> Result<(), LiveError> {
        let mut expect = Expect::uid(item.uid.clone());
        expect.resource_version.clone_from(&meta.resource_version);
        if unblock == Unblock::Yes {
            let mut owners = meta.owner_references.clone().unwrap_or_default();
            owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
            let patched = self.patch(item, meta, json!({"ownerReferences": owners})).await?;
            expect.resource_version = patched.and_then(|patched| patched.metadata.resource_version);
        }
        tracing::info!(object = %name(item), ?propagation, "deleting: its owners are gone or going");
        let deletion = Deletion { expect, grace_seconds: None, propagation: Some(propagation) };
        match write::delete(&self.api(item), &item.name, deletion).await {
            Ok(_) => Ok(()),
            Err(source) => Err(LiveError::Write { what: name(item), source }),
        }
    }

    async fn drop_finalizer(&self, item: &Item, meta: &ObjectMeta, dropped: &str) -> Result<(), LiveError> {
        let left: Vec<&String> = meta.finalizers.iter().flatten().filter(|held| *held != dropped).collect();
        self.patch(item, meta, json!({"finalizers": left})).await.map(drop)
    }

    /// Merge-patches the metadata of the object that was looked at; `None` if it is gone.
    async fn patch(
        &self,
        item: &Item,
        seen: &ObjectMeta,
        metadata: serde_json::Value,
    ) -> Result<Option<Meta>, LiveError> {
        let expect = Expect { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
        match write::merge(&self.api(item), &item.name, json!({"metadata": metadata}), &expect).await {
            Ok(patched) => Ok(Some(patched)),
            Err(error) if *error.class() == Class::Missing => Ok(None),
            Err(source) => Err(LiveError::Write { what: name(item), source }),
        }
    }

    /// The object's metadata as it is now; `None`, and out of the graph, if it is not there any more.
    async fn look(&self, item: &Item) -> Result<Option<ObjectMeta>, LiveError> {
        let read = self.api(item).get_metadata_opt(&item.name).await;
        let found = read.map_err(|source| LiveError::Read { what: name(item), source: Box::new(source) })?;
        let meta = found.map(|found| found.metadata).filter(|meta| meta.uid.as_deref() == Some(&item.uid));
        if meta.is_none() {
            let work = self.graph.lock().remove(&item.uid);
            self.add(work);
        }
        Ok(meta)
    }

    async fn owner_state(&self, item: &Item, owner: &OwnerReference) -> Result<OwnerState, LiveError> {
        let named = || format!("{} {} {}", owner.api_version, owner.kind, owner.name);
        let Some(kind) = self.kind_of(&owner.api_version, &owner.kind) else {
            return Err(LiveError::UnknownKind { what: name(item), owner: named() });
        };
        let client = self.context.client.clone();
        let api: Api<Meta> = match (kind.reach, item.namespace.as_str()) {
            (Reach::Cluster, _) => Api::all_with(client, &kind.resource),
            (Reach::Namespaced, "") => {
                return Err(LiveError::OwnerOutOfReach { what: name(item), owner: named() });
            }
            (Reach::Namespaced, namespace) => Api::namespaced_with(client, namespace, &kind.resource),
        };
        let read = api.get_metadata_opt(&owner.name).await;
        let found = read.map_err(|source| LiveError::Read { what: named(), source: Box::new(source) })?;
        let meta = found.map(|found| found.metadata).filter(|meta| meta.uid.as_deref() == Some(&owner.uid));
        Ok(match meta {
            None => {
                self.warn_of_foreign_owner(item, owner);
                OwnerState::Gone
            }
            Some(meta) if Standing::of(&meta) == Standing::AwaitingDependents => {
                OwnerState::AwaitingDependents
            }
            Some(_) => OwnerState::There,
        })
    }

    /// An owner of this uid exists in another namespace: the reference cannot reach it, and users should know.
    fn warn_of_foreign_owner(&self, item: &Item, owner: &OwnerReference) {
        let graph = self.graph.lock();
        let Some(found) = graph.get(&owner.uid) else { return };
        if found.namespace.is_empty() || found.namespace == item.namespace {
            return;
        }
        let message = format!(
            "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace {:?}",
            owner.api_version, owner.kind, item.namespace, owner.name, owner.uid, item.namespace
        );
        let regarding = ObjectReference {
            api_version: Some(item.resource.api_version.clone()),
            kind: Some(item.resource.kind.clone()),
            namespace: Some(item.namespace.clone()),
            name: Some(item.name.clone()),
            uid: Some(item.uid.clone()),
            ..ObjectReference::default()
        };
        self.recorder.event(&regarding, Severity::Warning, "OwnerRefInvalidNamespace", &message);
    }

    fn dependents(&self, uid: &str) -> Dependents {
        let graph = self.graph.lock();
        let mut dependents = graph.dependents_of(uid).peekable();
        if dependents.peek().is_none() {
            return Dependents::None;
        }
        let awaiting = dependents.any(|dependent| dependent.standing == Standing::AwaitingDependents);
        if awaiting { Dependents::SomeAwaiting } else { Dependents::Some }
    }

    fn api(&self, item: &Item) -> Api<Meta> {
        let client = self.context.client.clone();
        if item.namespace.is_empty() {
            Api::all_with(client, &item.resource)
        } else {
            Api::namespaced_with(client, &item.namespace, &item.resource)
        }
    }
}

fn left(meta: &ObjectMeta, keep: impl Fn(&OwnerReference) -> bool) -> Vec<&OwnerReference> {
    meta.owner_references.iter().flatten().filter(|owner| keep(owner)).collect()
}

/// `pods ns/name`.
fn name(item: &Item) -> String {
    match item.namespace.as_str() {
        "" => format!("{} {}", item.resource.plural, item.name),
        namespace => format!("{} {namespace}/{}", item.resource.plural, item.name),
    }
}
