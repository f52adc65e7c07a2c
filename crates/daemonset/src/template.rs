//! From a Pod template to Pods and revisions: tolerations, the pin to a Node, labels, names, the hash.
//!
//! Names and hashes are functions of what they stand for, so that a create that is sent twice meets itself. Upstream:
//! `util.CreatePodTemplate`, `util.AddOrUpdateDaemonPodTolerations`, `history.HashControllerRevision`; the value of
//! the hash is upstream's own business, its alphabet and stability are kept.

use std::collections::BTreeMap;
use std::hash::Hasher;

use api::meta::controller_ref;
use api::well_known::{METADATA_NAME, daemon_set as names, taint};
use fnv::FnvHasher;
use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::facts::NodeName;
use crate::wanted::Wanted;

/// No vowels and no look-alikes: names that spell nothing.
const SAFE_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// A Pod's name is its host name too, and that is one DNS label.
const POD_NAME_LENGTH_MAX: usize = 63;
/// 27^10 names: a clash inside one DaemonSet is out of reach, and is survived (another attempt, another name).
const POD_SUFFIX_LENGTH: usize = 10;
/// Of a ControllerRevision: a DNS subdomain.
const REVISION_NAME_LENGTH_MAX: usize = 253;

/// The tolerations that every daemon Pod gets, with the effect they cover.
const ALWAYS_TOLERATED: [(&str, &str); 6] = [
    (taint::NOT_READY, taint::NO_EXECUTE),
    (taint::UNREACHABLE, taint::NO_EXECUTE),
    (taint::DISK_PRESSURE, taint::NO_SCHEDULE),
    (taint::MEMORY_PRESSURE, taint::NO_SCHEDULE),
    (taint::PID_PRESSURE, taint::NO_SCHEDULE),
    (taint::UNSCHEDULABLE, taint::NO_SCHEDULE),
];

/// The template's tolerations with those of a daemon added; one that is there already (same key, effect, operator and
/// value) is replaced.
pub fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut all = spec.tolerations.clone().unwrap_or_default();
    let on_host_network = spec.host_network.unwrap_or_default();
    let network = on_host_network.then_some((taint::NETWORK_UNAVAILABLE, taint::NO_SCHEDULE));
    for (key, effect) in ALWAYS_TOLERATED.into_iter().chain(network) {
        let added = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let same = |t: &&mut Toleration| {
            t.key == added.key
                && t.effect == added.effect
                && t.operator == added.operator
                && t.value.as_deref().unwrap_or_default().is_empty()
        };
        match all.iter_mut().find(same) {
            Some(there) => *there = added,
            None => all.push(added),
        }
    }
    all
}

/// What makes two Pods of one DaemonSet different by name.
#[derive(Debug, Clone, Copy)]
pub struct Seed<'a> {
    pub node: &'a NodeName,
    /// The template's hash.
    pub hash: &'a str,
    /// The uid of the Pod that was or is there before; empty if none is known.
    pub predecessor: &'a str,
    /// How often a name was taken by a Pod that is not ours.
    pub attempt: u32,
}

/// The Pod to create on a Node.
pub fn pod(wanted: &Wanted, seed: Seed<'_>) -> Pod {
    let metadata = wanted.template.metadata.as_ref();
    let mut labels = metadata.and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(names::REVISION_HASH_LABEL.to_owned(), seed.hash.to_owned());
    if let Some(generation) = wanted.template_generation {
        labels.insert(names::TEMPLATE_GENERATION_LABEL.to_owned(), generation.to_string());
    }
    let mut spec = wanted.template.spec.clone().unwrap_or_default();
    spec.tolerations = Some(wanted.tolerations.clone());
    pin(&mut spec, seed.node);
    Pod {
        metadata: ObjectMeta {
            name: Some(pod_name(&wanted.name, &wanted.uid, seed)),
            generate_name: Some(format!("{}-", wanted.name)),
            namespace: Some(wanted.namespace.clone()),
            labels: Some(labels),
            annotations: metadata.and_then(|m| m.annotations.clone()),
            finalizers: metadata.and_then(|m| m.finalizers.clone()),
            owner_references: Some(vec![controller_ref(names::API_VERSION, names::KIND, &*wanted.object)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// Required node affinity becomes exactly one term that names the Node. The template's own required terms have been
/// answered by the verdict; all else stays.
fn pin(spec: &mut PodSpec, node: &NodeName) {
    let requirement = NodeSelectorRequirement {
        key: METADATA_NAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_string()]),
    };
    let term = NodeSelectorTerm { match_expressions: None, match_fields: Some(vec![requirement]) };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// `<name>-<suffix>`, the same for the same seed, always a legal Pod name.
pub fn pod_name(daemon_set: &str, uid: &str, seed: Seed<'_>) -> String {
    let mut hasher = FnvHasher::default();
    for part in [uid, seed.node.as_str(), seed.hash, seed.predecessor] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0);
    }
    hasher.write_u32(seed.attempt);
    let mut rest = mix(hasher.finish());
    let mut name: String =
        format!("{daemon_set}-").chars().take(POD_NAME_LENGTH_MAX - POD_SUFFIX_LENGTH).collect();
    for _ in 0..POD_SUFFIX_LENGTH {
        name.push(char::from(SAFE_ALPHABET[(rest % 27) as usize]));
        rest /= 27;
    }
    name
}

/// FNV's low bits follow the last bytes too closely; this spreads them (the finalizer of MurmurHash3).
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// `<name>-<hash>`
pub fn revision_name(daemon_set: &str, hash: &str) -> String {
    let room = REVISION_NAME_LENGTH_MAX - hash.len() - 1;
    let base: String = daemon_set.chars().take(room).collect();
    format!("{base}-{hash}")
}

/// At most ten characters of the safe alphabet; the same for templates that mean the same.
pub fn hash(template: &Value, collision_count: Option<i32>) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    let mut write = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    write(template.to_string().as_bytes());
    if let Some(count) = collision_count {
        write(&count.to_le_bytes());
        write(&[0; 4]);
    }
    hash.to_string().bytes().map(|digit| char::from(SAFE_ALPHABET[usize::from(digit) % 27])).collect()
}

/// A template as a JSON value in which what means the same is the same: keys sorted, nothing null, no empty lists, no
/// creation time. Empty objects stay, because an empty selector is not an absent one.
pub fn canonical(template: &PodTemplateSpec) -> Value {
    canonical_value(serde_json::to_value(template).unwrap_or(Value::Null))
}

/// [`canonical`] for a template that is JSON already.
pub fn canonical_value(mut template: Value) -> Value {
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    if let Some(object) = template.as_object_mut() {
        object.remove("$patch");
    }
    let mut pruned = prune(template).unwrap_or(Value::Null);
    if let Some(object) = pruned.as_object_mut()
        && object.get("metadata").and_then(Value::as_object).is_some_and(|m| m.is_empty())
    {
        object.remove("metadata");
    }
    pruned
}

fn prune(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => {
            Some(Value::Array(items.into_iter().map(|item| prune(item).unwrap_or(Value::Null)).collect()))
        }
        Value::Object(fields) => {
            // Through a sorted map, so that the text is the same whatever features serde_json was built with.
            let sorted: BTreeMap<String, Value> =
                fields.into_iter().filter_map(|(key, field)| Some((key, prune(field)?))).collect();
            Some(Value::Object(sorted.into_iter().collect()))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value),
    }
}
