//! What must hold of every write that the API took, whoever lost the answer.
//!
//! It keeps its own picture of the Pods, from the writes alone, and knows the Nodes from whoever changes them. Held:
//! - at no moment are more Nodes without a ready Pod because of the controller than maxUnavailable; with surge, none. Only Nodes
//!   that never get a taint are counted: what leaves the others is not an update's doing;
//! - no Pod is made twice: never a second live Pod of one template on a Node;
//! - no Pod is made for a Node whose taint has been there for longer than news takes.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

/// Longest that news of a Node may take, with every fault on.
const NEWS_SECONDS: i64 = 60;

/// A write that took effect.
pub struct Write<'a> {
    pub by_controller: bool,
    pub method: &'a Method,
    pub path: &'a str,
    pub body: &'a [u8],
}

/// A Pod as the writes tell it.
#[derive(Debug, Clone)]
pub struct Known {
    uid: String,
    node: String,
    generation: String,
    pub ready: bool,
    pub bound: bool,
    /// Its deletion has been asked for.
    pub going: bool,
    /// Deleted, or ended.
    pub over: bool,
}

#[derive(Debug, Default)]
pub struct Checks {
    pub pods: BTreeMap<String, Known>,
    /// Nodes whose ready Pod the controller took, and that have had none since.
    down: BTreeSet<String>,
    /// Nodes that may get taints, and since when they have one.
    pub fickle: BTreeSet<String>,
    pub tainted: BTreeMap<String, Timestamp>,
    pub max_unavailable: usize,
    /// What was broken first.
    pub broken: Option<String>,
    /// Writes of the controller so far, but for Events.
    pub writes: u64,
    pub log: Vec<String>,
}

impl Checks {
    fn fail(&mut self, what: String) {
        let last = self.log.len().saturating_sub(30);
        let log = self.log[last..].join("\n  ");
        self.broken.get_or_insert_with(|| format!("{what}\n  {log}"));
    }

    pub fn say(&mut self, now: Timestamp, what: &str) {
        self.log.push(format!("{now} {what}"));
    }

    pub fn took(&mut self, write: &Write<'_>, now: Timestamp) {
        if write.by_controller && !write.path.contains("/events") && !write.path.contains("/leases") {
            self.writes += 1;
            self.say(now, &format!("controller {} {}", write.method, write.path));
        }
        if let Some(name) = write.path.strip_suffix("/binding").and_then(|path| path.rsplit('/').next()) {
            if let Some(pod) = self.pods.get_mut(name) {
                pod.bound = true;
            }
            return;
        }
        let is_pod = write.path.ends_with("/pods") || write.path.contains("/pods/");
        if !is_pod {
            return;
        }
        let Ok(pod) = serde_json::from_slice::<Pod>(write.body) else {
            // Of a Pod that is gone at once, some answers are a Status.
            let name = write.path.rsplit('/').next().unwrap_or_default();
            if *write.method == Method::DELETE
                && let Some(gone) = self.pods.get_mut(name)
            {
                gone.over = true;
            }
            return;
        };
        let name = pod.metadata.name.clone().unwrap_or_default();
        let known = Known {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: api::pod::target_node_name(&pod).unwrap_or_default().to_owned(),
            generation: pod
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get("pod-template-generation").cloned())
                .unwrap_or_default(),
            ready: api::pod::is_ready(&pod),
            bound: api::pod::node_name(&pod).is_some(),
            going: pod.metadata.deletion_timestamp.is_some(),
            over: pod.metadata.deletion_timestamp.is_some() || api::pod::is_terminal(&pod),
        };
        if known.ready && !known.over && self.pods.get(&name).is_none_or(|before| !before.ready) {
            self.say(now, &format!("{name} on {} is ready", known.node));
        }
        match (write.method.as_str(), write.by_controller) {
            ("POST", true) => self.made(&name, known, now),
            ("DELETE", by_controller) => self.deleted(&name, known, by_controller, now),
            _ => self.changed(name, known),
        }
    }

    fn changed(&mut self, name: String, known: Known) {
        if known.ready && !known.over {
            self.down.remove(&known.node);
        }
        self.pods.insert(name, known);
    }

    fn made(&mut self, name: &str, known: Known, now: Timestamp) {
        let twin = |(_, other): &(&String, &Known)| {
            !other.over && other.node == known.node && other.generation == known.generation
        };
        if let Some((other, _)) = self.pods.iter().find(twin) {
            let text = format!("{name} is made beside {other} of the same template on {}", known.node);
            self.fail(text);
        }
        if let Some(since) = self.tainted.get(&known.node)
            && now.duration_since(*since).as_secs() > NEWS_SECONDS
        {
            let text = format!("{name} is made for {}, tainted since {since}", known.node);
            self.fail(text);
        }
        self.pods.insert(name.to_owned(), known);
    }

    fn deleted(&mut self, name: &str, mut known: Known, by_controller: bool, now: Timestamp) {
        let before = self.pods.get(name).filter(|before| before.uid == known.uid);
        let was_over = before.is_some_and(|before| before.over);
        let (node, ready) = (known.node.clone(), known.ready);
        known.over = true;
        known.going = true;
        self.say(now, &format!("{name} on {node} is deleted, ready: {ready}"));
        self.pods.insert(name.to_owned(), known);
        let other = self.pods.values().any(|pod| pod.node == node && pod.ready && !pod.over);
        if !by_controller || was_over || !ready || other || self.fickle.contains(&node) {
            return;
        }
        self.down.insert(node);
        if self.down.len() > self.max_unavailable {
            let text = format!(
                "{now}: {name} is deleted, and {:?} have no ready pod because of it; {} allowed",
                self.down, self.max_unavailable
            );
            self.fail(text);
        }
    }

    /// A Pod is gone for good.
    pub fn forget(&mut self, name: &str) {
        self.pods.remove(name);
    }
}
