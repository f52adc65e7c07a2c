//! A small cluster of plain objects beside the view: what tests change, and what plans are carried out on.

use std::collections::BTreeMap;
use std::sync::Arc;

use daemonset::{Event, NodeName, Outcome, Plan, PodId, Step, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

pub const UID: &str = "ds-uid";

/// Objects as the API has them, and the view that has seen them all.
#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    pub daemon_set: DaemonSet,
    pub nodes: BTreeMap<String, Node>,
    pub pods: BTreeMap<String, Pod>,
    pub revisions: BTreeMap<String, ControllerRevision>,
    pub view: View,
    uids: u32,
}

pub fn rolling(max_unavailable: Value) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": max_unavailable, "maxSurge": 0}}})
}

pub fn surging(max_surge: Value) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": max_surge}}})
}

pub fn on_delete() -> Value {
    json!({"updateStrategy": {"type": "OnDelete"}})
}

/// The two strategies under which upstream runs most of its cases.
pub fn both() -> [Value; 2] {
    [on_delete(), rolling(json!(1))]
}

fn daemon_set(spec: Value) -> DaemonSet {
    let mut object = json!({
        "metadata": {"name": "foo", "namespace": "ns", "uid": UID, "generation": 1,
            "annotations": {"deprecated.daemonset.template.generation": "1"}},
        "spec": {
            "selector": {"matchLabels": {"app": "foo"}},
            "template": {
                "metadata": {"labels": {"app": "foo"}},
                "spec": {"containers": [{"name": "c", "image": "image:1"}]}}},
    });
    merge(&mut object["spec"], spec);
    serde_json::from_value(object).unwrap()
}

pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

impl World {
    pub fn new(spec: Value) -> Self {
        World::of(daemon_set(spec))
    }

    pub fn of(daemon_set: DaemonSet) -> Self {
        let view = View::new(Arc::new(daemon_set.clone())).unwrap();
        World {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            daemon_set,
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            revisions: BTreeMap::new(),
            view,
            uids: 0,
        }
    }

    /// With nodes `node-0` … and a first revision already there.
    pub fn with_nodes(spec: Value, count: usize) -> Self {
        let mut world = World::new(spec);
        for i in 0..count {
            world.node(&format!("node-{i}"), json!({}));
        }
        world
    }

    pub fn apply(&mut self, event: Event) {
        self.view.apply(event, self.now).unwrap();
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        format!("uid-{}", self.uids)
    }

    pub fn node(&mut self, name: &str, patch: Value) {
        let mut node = json!({"metadata": {"name": name}, "spec": {}});
        merge(&mut node, patch);
        let node: Node = serde_json::from_value(node).unwrap();
        self.nodes.insert(name.to_owned(), node.clone());
        self.apply(Event::Node(Arc::new(node)));
    }

    pub fn label_node(&mut self, name: &str, labels: Value) {
        self.node(name, json!({"metadata": {"labels": labels}}));
    }

    pub fn taint_node(&mut self, name: &str, taint: &str) {
        let (key, effect) = taint.split_once(':').unwrap();
        self.node(name, json!({"spec": {"taints": [{"key": key, "effect": effect}]}}));
    }

    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
        self.apply(Event::NodeGone(NodeName::from(name)));
    }

    /// A Pod of the DaemonSet's current template, bound to a Node.
    pub fn own_pod(&mut self, name: &str, node: &str, patch: Value) {
        let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "foo", "uid": UID,
            "controller": true, "blockOwnerDeletion": true}]);
        let hash = self.view.hash().to_owned();
        let labels = json!({"app": "foo", "controller-revision-hash": hash});
        let mut pod = json!({"metadata": {"labels": labels, "ownerReferences": owner}});
        merge(&mut pod, patch);
        self.pod(name, node, pod);
    }

    /// Any Pod on a Node.
    pub fn pod(&mut self, name: &str, node: &str, patch: Value) {
        let created = self.now.to_string();
        let mut pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": self.uid(),
            "creationTimestamp": created}, "spec": {"nodeName": node, "containers": [{"name": "c"}]}});
        merge(&mut pod, patch);
        self.put_pod(serde_json::from_value(pod).unwrap());
    }

    pub fn put_pod(&mut self, pod: Pod) {
        self.pods.insert(pod.metadata.name.clone().unwrap(), pod.clone());
        self.apply(Event::Pod(Arc::new(pod)));
    }

    pub fn patch_pod(&mut self, name: &str, patch: Value) {
        let mut pod = serde_json::to_value(&self.pods[name]).unwrap();
        merge(&mut pod, patch);
        self.put_pod(serde_json::from_value(pod).unwrap());
    }

    pub fn remove_pod(&mut self, name: &str) {
        let pod = self.pods.remove(name).unwrap();
        let id = PodId { name: name.to_owned(), uid: pod.metadata.uid.unwrap_or_default() };
        self.apply(Event::PodGone(id));
    }

    pub fn terminate(&mut self, name: &str) {
        let at = self.now.to_string();
        self.patch_pod(name, json!({"metadata": {"deletionTimestamp": at}}));
    }

    pub fn ready(&mut self, name: &str) {
        let at = self.now.to_string();
        self.patch_pod(
            name,
            json!({"status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}]}}),
        );
    }

    pub fn unready(&mut self, name: &str) {
        let at = self.now.to_string();
        self.patch_pod(
            name,
            json!({"status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": at}]}}),
        );
    }

    pub fn phase(&mut self, name: &str, phase: &str) {
        self.patch_pod(name, json!({"status": {"phase": phase, "conditions": []}}));
    }

    /// All Pods that are not on their way out become ready.
    pub fn all_ready(&mut self) {
        let names: Vec<String> = self.pods.keys().cloned().collect();
        for name in names {
            if !api::pod::is_ready(&self.pods[&name]) {
                self.ready(&name);
            }
        }
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// An edit of the spec, as the API server would take it.
    pub fn edit(&mut self, spec: Value) {
        let mut object = serde_json::to_value(&self.daemon_set).unwrap();
        let template = object["spec"]["template"].clone();
        merge(&mut object["spec"], spec);
        let changed = object["spec"]["template"] != template;
        let mut edited: DaemonSet = serde_json::from_value(object).unwrap();
        edited.metadata.generation = edited.metadata.generation.map(|g| g + 1);
        if changed {
            let annotations = edited.metadata.annotations.as_mut().unwrap();
            let generation = annotations.get_mut("deprecated.daemonset.template.generation").unwrap();
            *generation = (generation.parse::<i64>().unwrap() + 1).to_string();
        }
        self.put_daemon_set(edited);
    }

    pub fn image(&mut self, image: &str) {
        self.edit(json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}));
    }

    pub fn put_daemon_set(&mut self, object: DaemonSet) {
        self.daemon_set = object.clone();
        self.apply(Event::DaemonSet(Arc::new(object)));
    }

    pub fn put_revision(&mut self, revision: ControllerRevision) {
        self.revisions.insert(revision.metadata.name.clone().unwrap(), revision.clone());
        self.apply(Event::Revision(Arc::new(revision)));
    }

    pub fn plan(&mut self) -> Plan {
        self.view.plan(self.now)
    }

    pub fn explain(&mut self) -> String {
        self.view.explain(self.now)
    }

    /// The steps that concern Pods, as text.
    pub fn steps(&mut self) -> Vec<String> {
        let plan = self.plan();
        pod_steps(&plan)
    }

    /// Plans, carries out everything, and says what was done to Pods.
    pub fn sync(&mut self) -> Vec<String> {
        let plan = self.plan();
        for step in &plan.steps {
            let outcome = self.act(step);
            self.view.acted(step, outcome, self.now);
        }
        self.see(&plan);
        pod_steps(&plan)
    }

    /// Syncs until nothing is left to do; panics if that takes too long.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            let plan = self.plan();
            if plan.steps.is_empty() {
                return;
            }
            self.sync();
        }
        panic!("does not settle:\n{}", self.explain());
    }

    /// Carries a step out on the objects, as an API server would; the view sees nothing of it yet.
    pub fn act(&mut self, step: &Step) -> Outcome {
        match step {
            Step::CreatePod { pod, .. } => {
                let name = pod.metadata.name.clone().unwrap();
                if let Some(there) = self.pods.get(&name) {
                    return Outcome::PodExists(Box::new(there.clone()));
                }
                let mut pod = (**pod).clone();
                pod.metadata.uid = Some(self.uid());
                pod.metadata.creation_timestamp = Some(Time(self.now));
                self.pods.insert(name, pod);
            }
            Step::DeletePod { pod, .. } => {
                if self.pods.get(&pod.name).is_none_or(|p| p.metadata.uid.as_deref() != Some(&pod.uid)) {
                    return Outcome::Missing;
                }
                self.pods.remove(&pod.name);
            }
            Step::LookAtPod(id) => {
                return match self.pods.get(&id.name) {
                    Some(there) => Outcome::PodExists(Box::new(there.clone())),
                    None => Outcome::Missing,
                };
            }
            Step::AdoptPod(id) => {
                let owner = api::meta::controller_ref("apps/v1", "DaemonSet", &self.daemon_set);
                let Some(pod) = self.pods.get_mut(&id.name) else { return Outcome::Missing };
                pod.metadata.owner_references.get_or_insert_default().push(owner);
            }
            Step::ReleasePod(id) => {
                let Some(pod) = self.pods.get_mut(&id.name) else { return Outcome::Missing };
                pod.metadata.owner_references = None;
            }
            Step::RelabelPod { pod, hash } => {
                let Some(pod) = self.pods.get_mut(&pod.name) else { return Outcome::Missing };
                let labels = pod.metadata.labels.get_or_insert_default();
                labels.insert("controller-revision-hash".to_owned(), hash.clone());
            }
            Step::CreateRevision(revision) => {
                let name = revision.metadata.name.clone().unwrap();
                if let Some(there) = self.revisions.get(&name) {
                    return Outcome::RevisionExists(Box::new(there.clone()));
                }
                let mut revision = (**revision).clone();
                revision.metadata.uid = Some(self.uid());
                self.revisions.insert(name, revision);
            }
            Step::RenumberRevision { revision, to } => {
                let Some(there) = self.revisions.get_mut(&revision.name) else { return Outcome::Missing };
                there.revision = *to;
            }
            Step::LabelRevision { revision, hash } => {
                let Some(there) = self.revisions.get_mut(&revision.name) else { return Outcome::Missing };
                let labels = there.metadata.labels.get_or_insert_default();
                labels.insert("controller-revision-hash".to_owned(), hash.clone());
            }
            Step::AdoptRevision(id) => {
                let owner = api::meta::controller_ref("apps/v1", "DaemonSet", &self.daemon_set);
                let Some(there) = self.revisions.get_mut(&id.name) else { return Outcome::Missing };
                there.metadata.owner_references.get_or_insert_default().push(owner);
            }
            Step::ReleaseRevision(id) => {
                let Some(there) = self.revisions.get_mut(&id.name) else { return Outcome::Missing };
                there.metadata.owner_references = None;
            }
            Step::DeleteRevision { revision, .. } => {
                self.revisions.remove(&revision.name);
            }
            Step::CountCollision { to, .. } => {
                self.daemon_set.status.get_or_insert_default().collision_count = Some(*to);
            }
            Step::WriteStatus(status) => {
                // A patch of the counters: collisions are counted by their own step.
                let there = self.daemon_set.status.get_or_insert_default();
                let collision_count = there.collision_count;
                *there = (**status).clone();
                there.collision_count = collision_count;
            }
        }
        Outcome::Done
    }

    /// The view sees everything that a plan touched.
    pub fn see(&mut self, plan: &Plan) {
        for step in &plan.steps {
            self.see_step(step);
        }
    }

    pub fn see_step(&mut self, step: &Step) {
        match step {
            Step::CreatePod { pod, .. } => self.see_pod(&pod.metadata.name.clone().unwrap(), ""),
            Step::DeletePod { pod, .. }
            | Step::AdoptPod(pod)
            | Step::ReleasePod(pod)
            | Step::RelabelPod { pod, .. } => self.see_pod(&pod.name, &pod.uid),
            Step::CreateRevision(revision) => {
                self.see_revision(&revision.metadata.name.clone().unwrap());
            }
            Step::RenumberRevision { revision, .. }
            | Step::LabelRevision { revision, .. }
            | Step::AdoptRevision(revision)
            | Step::ReleaseRevision(revision)
            | Step::DeleteRevision { revision, .. } => self.see_revision(&revision.name),
            Step::LookAtPod(_) => {}
            Step::CountCollision { .. } | Step::WriteStatus(_) => {
                self.apply(Event::DaemonSet(Arc::new(self.daemon_set.clone())));
            }
        }
    }

    fn see_pod(&mut self, name: &str, uid: &str) {
        let event = match self.pods.get(name) {
            Some(pod) => Event::Pod(Arc::new(pod.clone())),
            None => Event::PodGone(PodId { name: name.to_owned(), uid: uid.to_owned() }),
        };
        self.apply(event);
    }

    fn see_revision(&mut self, name: &str) {
        let event = match self.revisions.get(name) {
            Some(revision) => Event::Revision(Arc::new(revision.clone())),
            None => Event::RevisionGone { name: name.to_owned() },
        };
        self.apply(event);
    }

    pub fn status(&self) -> (i32, i32, i32, i32) {
        let status = self.view.status();
        (
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready,
            status.number_misscheduled,
        )
    }
}

/// Nodes with an old, available Pod `p0`, `p1`, … each; the current template is another one.
pub fn outdated(spec: Value, count: usize) -> World {
    outdated_on(spec, std::iter::repeat_n(json!({}), count))
}

/// As [`outdated`], on Nodes with these labels.
pub fn outdated_on(spec: Value, labels: impl IntoIterator<Item = Value>) -> World {
    let mut world = World::new(spec);
    for (i, labels) in labels.into_iter().enumerate() {
        world.label_node(&format!("node-{i}"), labels);
        world.own_pod(&format!("p{i}"), &format!("node-{i}"), json!({}));
        world.ready(&format!("p{i}"));
    }
    world.settle();
    world.pass(60);
    world.image("image:2");
    world
}

pub fn pod_steps(plan: &Plan) -> Vec<String> {
    let is_pod = |step: &&Step| matches!(step, Step::CreatePod { .. } | Step::DeletePod { .. });
    plan.steps.iter().filter(is_pod).map(|step| normal(&step.to_string())).collect()
}

/// One space between words.
pub fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub fn creates(nodes: impl IntoIterator<Item = usize>) -> Vec<String> {
    nodes.into_iter().map(|i| format!("node-{i} create no pod here")).collect()
}
