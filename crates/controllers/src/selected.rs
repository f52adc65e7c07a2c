//! Which Pods each selector selects, and what their owner needs to know of them: one row a selected Pod.
//!
//! Owners (disruption budgets, Services) are known by their key. A changed Pod touches the owners of its namespace, and
//! only those whose row of it changed are named: a status that says nothing new costs nobody any work. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::label::Selector;
use api::meta::Meta;
use client::ObjectKey;
use k8s_openapi::api::core::v1::Pod;

/// The owners and their rows, by Pod name. `R` is what an owner needs to know of a Pod.
pub struct Selected<R> {
    by_namespace: BTreeMap<String, BTreeMap<String, Owner<R>>>,
}

struct Owner<R> {
    selector: Selector,
    rows: BTreeMap<String, R>,
}

impl<R> Default for Selected<R> {
    fn default() -> Self {
        Selected { by_namespace: BTreeMap::new() }
    }
}

impl<R: PartialEq + Clone> Selected<R> {
    /// A new owner, or a changed selector: the namespace's Pods are looked through once.
    pub fn select(
        &mut self,
        owner: &ObjectKey,
        selector: Selector,
        pods: &[Arc<Pod>],
        row: impl Fn(&Pod) -> Option<R>,
    ) {
        let selected = pods.iter().filter(|pod| selector.matches(pod.labels()));
        let rows = selected.filter_map(|pod| Some((pod.name().to_owned(), row(pod)?))).collect();
        let owners = self.by_namespace.entry(owner.namespace.clone()).or_default();
        owners.insert(owner.name.clone(), Owner { selector, rows });
    }

    /// Whether the owner is known with this selector.
    pub fn has(&self, owner: &ObjectKey, selector: &Selector) -> bool {
        self.owner(owner).is_some_and(|known| known.selector == *selector)
    }

    pub fn forget(&mut self, owner: &ObjectKey) {
        if let Some(owners) = self.by_namespace.get_mut(&owner.namespace) {
            owners.remove(&owner.name);
            if owners.is_empty() {
                self.by_namespace.remove(&owner.namespace);
            }
        }
    }

    /// Takes a Pod's change in; the owners whose row of it is another now.
    pub fn pod(
        &mut self,
        key: &ObjectKey,
        pod: Option<&Pod>,
        row: impl Fn(&Pod) -> Option<R>,
    ) -> Vec<ObjectKey> {
        let Some(owners) = self.by_namespace.get_mut(&key.namespace) else { return Vec::new() };
        // Made once, for the first owner that wants it.
        let mut made: Option<Option<R>> = None;
        let mut touched = Vec::new();
        for (name, owner) in owners {
            let selected = pod.filter(|pod| owner.selector.matches(pod.labels()));
            let now = selected.and_then(|pod| made.get_or_insert_with(|| row(pod)).clone());
            if owner.rows.get(&key.name) == now.as_ref() {
                continue;
            }
            match now {
                Some(now) => owner.rows.insert(key.name.clone(), now),
                None => owner.rows.remove(&key.name),
            };
            touched.push(ObjectKey::namespaced(&key.namespace, name));
        }
        touched
    }

    /// The owner's rows in the order of the Pods' names; none if it is not known.
    pub fn rows(&self, owner: &ObjectKey) -> Option<Vec<(String, R)>> {
        let rows = &self.owner(owner)?.rows;
        Some(rows.iter().map(|(name, row)| (name.clone(), row.clone())).collect())
    }

    fn owner(&self, owner: &ObjectKey) -> Option<&Owner<R>> {
        self.by_namespace.get(&owner.namespace)?.get(&owner.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, app: &str, ip: &str) -> Arc<Pod> {
        let pod = json!({"metadata": {"namespace": "ns", "name": name, "labels": {"app": app}}, "status": {"podIP": ip}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn address(pod: &Pod) -> Option<String> {
        pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty())
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::namespaced("ns", name)
    }

    #[test]
    fn only_owners_whose_row_changed_are_touched() {
        let mut selected = Selected::default();
        let of = |app: &str| Selector::from_set(&[("app".to_owned(), app.to_owned())].into());
        let pods = [pod("p", "a", "1"), pod("q", "b", "2"), pod("r", "a", "")];
        selected.select(&key("for-a"), of("a"), &pods, address);
        selected.select(&key("for-b"), of("b"), &pods, address);
        selected.select(&key("for-all"), Selector::everything(), &pods, address);
        selected.select(&ObjectKey::namespaced("other", "for-all"), Selector::everything(), &[], address);
        assert_eq!(selected.rows(&key("for-a")), Some(vec![("p".into(), "1".into())]), "r has no address");

        let mut change = |pod: &Arc<Pod>, gone: bool| {
            let touched = selected.pod(&key(pod.name()), (!gone).then_some(pod), address);
            touched.into_iter().map(|owner| owner.name).collect::<Vec<_>>()
        };
        assert_eq!(change(&pods[0], false), Vec::<String>::new(), "nothing new");
        assert_eq!(change(&pod("r", "a", "3"), false), ["for-a", "for-all"]);
        assert_eq!(change(&pod("r", "b", "3"), false), ["for-a", "for-b"], "its labels changed");
        assert_eq!(change(&pods[1], true), ["for-all", "for-b"]);
        selected.forget(&key("for-b"));
        assert_eq!(selected.rows(&key("for-b")), None);
        assert!(!selected.has(&key("for-a"), &of("b")) && selected.has(&key("for-a"), &of("a")));
    }
}
