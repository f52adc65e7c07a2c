//! Which Nodes share a label: the topology domains that Pods' terms ask for.
//!
//! A key is kept from the first time that it is asked for; one Node's change costs the keys that are kept. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::meta::Meta;
use k8s_openapi::api::core::v1::Node;

/// Keys that are kept. Pods name keys as they like: beyond this many, whoever asks looks at all Nodes.
const KEYS_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Topology {
    by_key: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Topology {
    /// Keeps this key from now on; `nodes` are all that there are. False: too many are kept already.
    pub fn keep<'a>(&mut self, key: &str, nodes: impl Iterator<Item = &'a Node>) -> bool {
        if self.by_key.contains_key(key) {
            return true;
        }
        if self.by_key.len() >= KEYS_MAX {
            return false;
        }
        let mut domains: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in nodes {
            if let Some(value) = node.label(key) {
                domains.entry(value.to_owned()).or_default().insert(node.name().to_owned());
            }
        }
        self.by_key.insert(key.to_owned(), domains);
        true
    }

    pub fn change(&mut self, before: Option<&Node>, after: Option<&Node>) {
        for (key, domains) in &mut self.by_key {
            let value = |node: Option<&Node>| node.and_then(|node| node.label(key)).map(str::to_owned);
            let (old, new) = (value(before), value(after));
            if old == new {
                continue;
            }
            if let (Some(value), Some(node)) = (old, before)
                && let Some(nodes) = domains.get_mut(&value)
            {
                nodes.remove(node.name());
                if nodes.is_empty() {
                    domains.remove(&value);
                }
            }
            if let (Some(value), Some(node)) = (new, after) {
                domains.entry(value).or_default().insert(node.name().to_owned());
            }
        }
    }

    /// The Nodes that share the label with this one, itself among them; none where it lacks the label.
    pub fn domain_of<'a>(&'a self, key: &str, node: &Node) -> impl Iterator<Item = &'a str> {
        let nodes = node.label(key).and_then(|value| self.by_key.get(key)?.get(value));
        nodes.into_iter().flatten().map(String::as_str)
    }
}
