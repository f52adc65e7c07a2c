//! Owners and dependents of all kinds, by uid, as far as they have been seen. Pure.
//!
//! Each change answers with what has to be looked at because of it. An owner that has not been seen is simply not in
//! here: whether it exists is for a look at the API to say.

use std::collections::{BTreeMap, BTreeSet};

use api::well_known::finalizer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::ApiResource;

pub type Uid = String;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Whether this object has to go, or may go on going.
    Judge(Uid),
    /// Take this owner out of its dependents, then let it go.
    Orphan(Uid),
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub resource: ApiResource,
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub owners: Vec<OwnerReference>,
    pub standing: Standing,
}

/// What an object is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Living,
    /// Deleted, and waiting for something that is not ours.
    Deleting,
    /// Deleted in the foreground: waiting for its blocking dependents.
    AwaitingDependents,
    /// Deleted with `orphan`: waiting to be taken out of its dependents.
    Orphaning,
}

#[derive(Debug, Default)]
pub struct Graph {
    items: BTreeMap<Uid, Item>,
    dependents: BTreeMap<Uid, BTreeSet<Uid>>,
}

impl Standing {
    pub fn of(meta: &ObjectMeta) -> Standing {
        let holds = |wanted| meta.finalizers.iter().flatten().any(|held| held == wanted);
        match &meta.deletion_timestamp {
            None => Standing::Living,
            Some(_) if holds(finalizer::ORPHAN) => Standing::Orphaning,
            Some(_) if holds(finalizer::FOREGROUND) => Standing::AwaitingDependents,
            Some(_) => Standing::Deleting,
        }
    }
}

impl Item {
    pub fn of(resource: &ApiResource, meta: &ObjectMeta) -> Item {
        Item {
            resource: resource.clone(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            standing: Standing::of(meta),
        }
    }

    /// The owner waits for this dependent before it goes.
    pub fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|reference| reference.uid == owner && reference.block_owner_deletion == Some(true))
    }
}

impl Graph {
    /// Takes in an object as it is now.
    pub fn set(&mut self, item: Item) -> Vec<Work> {
        let uid = item.uid.clone();
        let before = self.items.insert(uid.clone(), item.clone());
        let was_of: BTreeSet<Uid> = before.iter().flat_map(owner_uids).collect();
        let is_of: BTreeSet<Uid> = owner_uids(&item).collect();
        for owner in was_of.difference(&is_of) {
            self.unlink(owner, &uid);
        }
        for owner in &is_of {
            self.dependents.entry(owner.clone()).or_default().insert(uid.clone());
        }

        let mut work = BTreeSet::new();
        let owner_missing = is_of.iter().any(|owner| !self.items.contains_key(owner));
        let owner_awaits = is_of.iter().any(|owner| self.awaits(owner));
        let owners_changed = before.as_ref().is_none_or(|before| before.owners != item.owners);
        if (owners_changed && owner_missing) || owner_awaits {
            work.insert(Work::Judge(uid.clone()));
        }
        // An owner that waits may wait no longer: for this object's reference, its blocking, or its life.
        for owner in was_of.union(&is_of).filter(|owner| self.awaits(owner)) {
            work.insert(Work::Judge(owner.clone()));
        }
        let turned = before.is_none_or(|before| before.standing != item.standing);
        match item.standing {
            Standing::Orphaning if turned => {
                work.insert(Work::Orphan(uid));
            }
            Standing::AwaitingDependents if turned => {
                work.extend(self.dependents_of(&uid).map(|dependent| Work::Judge(dependent.uid.clone())));
                work.insert(Work::Judge(uid));
            }
            Standing::Living | Standing::Deleting | Standing::Orphaning | Standing::AwaitingDependents => {}
        }
        work.into_iter().collect()
    }

    /// An object is gone.
    pub fn remove(&mut self, uid: &str) -> Vec<Work> {
        let Some(item) = self.items.remove(uid) else { return Vec::new() };
        let mut work = BTreeSet::new();
        for owner in owner_uids(&item) {
            self.unlink(&owner, uid);
            if self.awaits(&owner) {
                work.insert(Work::Judge(owner));
            }
        }
        work.extend(self.dependents_of(uid).map(|dependent| Work::Judge(dependent.uid.clone())));
        work.into_iter().collect()
    }

    pub fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    /// The objects that name this one as an owner, by uid.
    pub fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &Item> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|dependent| self.items.get(dependent))
    }

    fn awaits(&self, owner: &str) -> bool {
        self.items.get(owner).is_some_and(|owner| owner.standing == Standing::AwaitingDependents)
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

fn owner_uids(item: &Item) -> impl Iterator<Item = Uid> {
    item.owners.iter().map(|owner| owner.uid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::GroupVersionKind;

    fn owner(uid: &str, blocking: bool) -> OwnerReference {
        OwnerReference {
            api_version: "apps/v1".into(),
            kind: "DaemonSet".into(),
            name: uid.into(),
            uid: uid.into(),
            controller: Some(true),
            block_owner_deletion: Some(blocking),
        }
    }

    fn item(uid: &str, owners: &[OwnerReference], standing: Standing) -> Item {
        Item {
            resource: ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod")),
            namespace: "ns".into(),
            name: uid.into(),
            uid: uid.into(),
            owners: owners.to_vec(),
            standing,
        }
    }

    fn judge(uid: &str) -> Work {
        Work::Judge(uid.into())
    }

    use Standing::{AwaitingDependents, Deleting, Living, Orphaning};

    #[test]
    fn an_object_with_an_owner_that_is_not_seen_is_judged_once() {
        let mut graph = Graph::default();
        assert_eq!(graph.set(item("pod", &[owner("ds", true)], Living)), [judge("pod")]);
        assert_eq!(graph.set(item("pod", &[owner("ds", true)], Living)), []);
        assert_eq!(graph.set(item("ds", &[], Living)), []);
    }

    #[test]
    fn when_an_owner_goes_its_dependents_are_judged() {
        let mut graph = Graph::default();
        graph.set(item("ds", &[], Living));
        assert_eq!(graph.set(item("a", &[owner("ds", true)], Living)), []);
        graph.set(item("b", &[owner("ds", true)], Living));
        graph.set(item("other", &[], Living));
        assert_eq!(graph.remove("ds"), [judge("a"), judge("b")]);
        assert_eq!(graph.remove("ds"), []);
    }

    #[test]
    fn an_owner_that_waits_is_judged_whenever_a_dependent_goes_or_lets_go() {
        let mut graph = Graph::default();
        graph.set(item("ds", &[], Living));
        for uid in ["a", "b", "c"] {
            graph.set(item(uid, &[owner("ds", true)], Living));
        }
        assert_eq!(
            graph.set(item("ds", &[], AwaitingDependents)),
            [judge("a"), judge("b"), judge("c"), judge("ds")]
        );
        assert_eq!(graph.remove("a"), [judge("ds")]);
        assert_eq!(graph.set(item("b", &[], Living)), [judge("ds")]);
        assert_eq!(graph.set(item("c", &[owner("ds", false)], Deleting)), [judge("c"), judge("ds")]);
        assert_eq!(graph.dependents_of("ds").map(|item| item.uid.as_str()).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn an_owner_deleted_with_orphan_is_orphaned_once() {
        let mut graph = Graph::default();
        graph.set(item("ds", &[], Living));
        assert_eq!(graph.set(item("ds", &[], Orphaning)), [Work::Orphan("ds".into())]);
        assert_eq!(graph.set(item("ds", &[], Orphaning)), []);
    }

    #[test]
    fn links_are_kept_from_both_ends_and_leave_nothing_behind() {
        let mut graph = Graph::default();
        graph.set(item("a", &[owner("b", true)], Living));
        graph.set(item("b", &[owner("a", true)], Living));
        graph.remove("a");
        graph.remove("b");
        assert!(graph.items.is_empty() && graph.dependents.is_empty());
    }
}
