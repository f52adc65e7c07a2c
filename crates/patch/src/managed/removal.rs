//! What an applier no longer applies is removed where nobody else owns it.
//!
//! Upstream: `prune` of `structured-merge-diff/merge/update.go`, `typed/remove.go`.

use api::scheme::Resource;
use serde_json::{Map, Value};

use super::compare::identity;
use super::element::Element;
use super::entries::Entry;
use super::field_set::field_set;
use super::set::Set;
use super::tree::Tree;
use super::types::Type;

/// From one version of a kind to another.
pub type Convert<'c> = &'c dyn Fn(&Value, &'static Resource, &'static Resource) -> Value;

/// `merged`, in the version `requested`, without what `former` names and none of `entries` (the applier's new one among
/// them) owns.
pub(super) fn prune(
    merged: Value,
    requested: &'static Resource,
    former: &Entry<'_>,
    entries: &[&Entry<'_>],
    convert: Convert<'_>,
) -> Value {
    let version = |name: &str| {
        let found = api::scheme::find_kind(name, requested.kind);
        found.filter(|found| found.storage() == requested.storage())
    };
    let Some(last_version) = version(&former.api_version).filter(|_| !former.fields.is_empty()) else {
        return merged;
    };
    let last_type = Type::root(last_version.definition);
    let last = named(&former.fields, last_type);
    let convert = |value: &Value, from: &'static Resource, to: &'static Resource| {
        if from == to { value.clone() } else { convert(value, from, to) }
    };
    let merged = convert(&merged, requested, last_version);
    let mut pruned = without(&merged, &last, last_type);

    // What somebody owns comes back, in each version in which somebody owns anything; the removed fields' first, so that
    // a conversion does not lack what it needs.
    let mut versions: Vec<&'static Resource> = vec![last_version];
    for found in entries.iter().filter_map(|entry| version(&entry.api_version)) {
        if !versions.contains(&found) {
            versions.push(found);
        }
    }
    let (mut current, mut all) = (last_version, merged.clone());
    for to in versions {
        (all, pruned) = (convert(&all, current, to), convert(&pruned, current, to));
        current = to;
        let type_ = Type::root(to.definition);
        let own = |entry: &&&Entry<'_>| version(&entry.api_version) == Some(to);
        let owned = entries
            .iter()
            .filter(own)
            .fold(Set::default(), |owned, entry| owned.union(&named(&entry.fields, type_).into_owned()));
        let kept = field_names(to, &pruned).union(&owned);
        let gone = field_names(to, &all).difference(&kept);
        pruned = without(&all, &gone, type_);
    }

    // What nobody owned, but did not stand in the last configuration either, was never the applier's to remove.
    let pruned = convert(&pruned, current, last_version);
    let gone = field_names(last_version, &merged).difference(&field_names(last_version, &pruned));
    let gone = gone.intersection(&last);
    convert(&without(&merged, &gone, last_type), last_version, requested)
}

/// Every path of an object, and those of the fields on the way.
fn field_names(version: &Resource, object: &Value) -> Set<'static> {
    let tree = Tree::whole(object);
    named(&field_set(version.definition, &tree), Type::root(version.definition)).into_owned()
}

/// With the fields of structs, which are no paths of their own where something below them is one.
fn named<'a>(set: &Set<'a>, type_: Type) -> Set<'a> {
    let mut all = Set::default();
    for node in set.nodes() {
        let (below, is_field) = match &node.element {
            Element::Field(name) => (type_.field(name), type_.def.is_some()),
            Element::Key(_) | Element::Value(_) | Element::Index(_) => (type_.item(), false),
        };
        let member = node.member || (is_field && !node.children.is_empty());
        all.push(node.element.clone(), member, named(&node.children, below));
    }
    all
}

/// An object without the members of a set. What nothing is left of is null.
fn without(value: &Value, gone: &Set<'_>, type_: Type) -> Value {
    if gone.is_empty() {
        return value.clone();
    }
    match value {
        Value::Object(map) if !type_.is_atomic_map() => {
            let mut kept = Map::new();
            for (name, value) in map {
                match gone.node(&Element::field(name)) {
                    None => kept.insert(name.clone(), value.clone()),
                    Some(node) if node.member => continue,
                    Some(node) => {
                        kept.insert(name.clone(), without(value, &node.children, type_.field(name)))
                    }
                };
            }
            if kept.is_empty() && !map.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Value::Array(list) if type_.is_list_of_owned() => {
            let mut kept = Vec::with_capacity(list.len());
            for item in list {
                let node = identity(item, type_).ok().and_then(|element| gone.node(&element));
                match node {
                    None => kept.push(item.clone()),
                    Some(node) if node.member => {}
                    Some(node) => kept.push(without(item, &node.children, type_.item())),
                }
            }
            if kept.is_empty() && !list.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        value => value.clone(),
    }
}
