//! Places that were promised: Pods for which others are being removed, and on which Node each waits for its place.
//!
//! A promise is made here the moment that preemption is decided, and told to the API as `status.nominatedNodeName`. An older
//! view of the Pod that does not have it yet takes nothing back; one that had it and has it no more does. Pure. Upstream: the
//! scheduling queue's nominator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::meta::Meta;
use client::ObjectKey;
use k8s_openapi::api::core::v1::Pod;
use placement::{Demand, PodTerms, Resident};

#[derive(Default)]
pub struct Promises {
    by_pod: BTreeMap<ObjectKey, Promise>,
    by_node: BTreeMap<String, BTreeSet<ObjectKey>>,
}

struct Promise {
    pod: Arc<Pod>,
    node: String,
    demand: Demand,
    terms: PodTerms,
    /// The API has said it: it counts until the API says otherwise.
    told: bool,
}

impl Promises {
    /// A Pod without a Node as the API shows it.
    pub fn see(&mut self, pod: &Arc<Pod>) {
        let key = ObjectKey::of(&pod.metadata);
        let named = pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
        match (named.filter(|node| !node.is_empty()), self.by_pod.get(&key)) {
            (Some(node), _) => self.put(key, pod, node, true),
            (None, Some(known)) if known.told || known.pod.uid() != pod.uid() => self.forget(&key),
            (None, Some(known)) => {
                let node = known.node.clone();
                self.put(key, pod, node, false);
            }
            (None, None) => {}
        }
    }

    pub fn make(&mut self, pod: &Arc<Pod>, node: &str) {
        self.put(ObjectKey::of(&pod.metadata), pod, node.to_owned(), false);
    }

    pub fn forget(&mut self, key: &ObjectKey) {
        let Some(promise) = self.by_pod.remove(key) else { return };
        if let Some(here) = self.by_node.get_mut(&promise.node) {
            here.remove(key);
            if here.is_empty() {
                self.by_node.remove(&promise.node);
            }
        }
    }

    /// Where this Pod's place was promised.
    pub fn node_of(&self, key: &ObjectKey) -> Option<&str> {
        self.by_pod.get(key).map(|promise| promise.node.as_str())
    }

    /// Those who wait for a place on this Node and are at least as important, but the Pod itself.
    pub fn on<'a>(&'a self, node: &str, pod: &Pod) -> Vec<Resident<'a>> {
        let priority = api::pod::priority(pod);
        self.waiting_on(node)
            .filter(|promise| api::pod::priority(&promise.pod) >= priority && promise.pod.uid() != pod.uid())
            .map(|promise| Resident {
                pod: &promise.pod,
                demand: &promise.demand,
                terms: Some(&promise.terms).filter(|terms| !terms.is_empty()),
            })
            .collect()
    }

    /// Those who wait for a place on this Node and are less important: a stronger Pod's coming may take it from them.
    pub fn weaker_on(&self, node: &str, pod: &Pod) -> Vec<Arc<Pod>> {
        let priority = api::pod::priority(pod);
        self.waiting_on(node)
            .filter(|promise| api::pod::priority(&promise.pod) < priority)
            .map(|promise| Arc::clone(&promise.pod))
            .collect()
    }

    fn waiting_on(&self, node: &str) -> impl Iterator<Item = &Promise> {
        self.by_node.get(node).into_iter().flatten().filter_map(|key| self.by_pod.get(key))
    }

    fn put(&mut self, key: ObjectKey, pod: &Arc<Pod>, node: String, told: bool) {
        self.forget(&key);
        self.by_node.entry(node.clone()).or_default().insert(key.clone());
        let (demand, terms) = (Demand::of(pod), PodTerms::of(pod));
        self.by_pod.insert(key, Promise { pod: Arc::clone(pod), node, demand, terms, told });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, priority: i32, nominated: Option<&str>) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"priority": priority, "containers": []}, "status": {"nominatedNodeName": nominated}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn names(promised: &[Resident<'_>]) -> Vec<String> {
        promised.iter().filter_map(|resident| resident.pod.metadata.name.clone()).collect()
    }

    #[test]
    fn an_older_view_takes_no_promise_back_and_a_newer_one_does() {
        let mut promises = Promises::default();
        let key = ObjectKey::namespaced("ns", "a");
        promises.make(&pod("a", 5, None), "n");
        promises.see(&pod("a", 5, None));
        assert_eq!(promises.node_of(&key), Some("n"));
        promises.see(&pod("a", 5, Some("n")));
        assert_eq!(promises.node_of(&key), Some("n"));
        promises.see(&pod("a", 5, None));
        assert_eq!(promises.node_of(&key), None);
        promises.see(&pod("a", 5, Some("m")));
        assert_eq!(promises.node_of(&key), Some("m"), "as after a restart");
    }

    #[test]
    fn a_promise_binds_weaker_pods_only() {
        let mut promises = Promises::default();
        promises.make(&pod("a", 5, None), "n");
        promises.make(&pod("b", 1, None), "n");
        assert_eq!(names(&promises.on("n", &pod("weak", 3, None))), ["a"]);
        assert_eq!(names(&promises.on("n", &pod("a", 5, None))), Vec::<String>::new(), "not against itself");
        assert!(promises.on("m", &pod("weak", 0, None)).is_empty());
        let weaker = promises.weaker_on("n", &pod("strong", 5, None));
        assert_eq!(weaker.iter().map(|pod| pod.name()).collect::<Vec<_>>(), ["b"]);
    }
}
