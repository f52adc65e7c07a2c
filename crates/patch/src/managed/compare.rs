//! What one object has that another has not, and where they differ: as sets of field paths.
//!
//! Upstream: `structured-merge-diff/typed/compare.go`. Lists and maps that are owned as a whole are one path; a list or
//! map that is new is itself a path beside all that is in it. Items of a list that cannot be told apart are one path.

use std::cmp::Ordering;

use serde_json::Value;

use super::element::{Element, key_of};
use super::set::Set;
use super::tree::{At, Node, Shape, Tree};
use super::types::Type;
use crate::keys::Structure;

/// The paths in which two objects differ.
#[derive(Debug, Default, PartialEq)]
pub struct Difference<'t> {
    pub added: Set<'t>,
    pub modified: Set<'t>,
    pub removed: Set<'t>,
}

impl<'t> Difference<'t> {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    pub fn map(self, change: impl Fn(&Set<'t>) -> Set<'t>) -> Difference<'t> {
        Difference {
            added: change(&self.added),
            modified: change(&self.modified),
            removed: change(&self.removed),
        }
    }

    fn push(&mut self, element: Element<'t>, mark: Option<Mark>, below: Difference<'t>) {
        let is = |wanted| mark == Some(wanted);
        // The element is cloned only for the sets that it goes into, mostly one.
        let Difference { added, modified, removed } = below;
        for (set, member, children) in [
            (&mut self.added, is(Mark::Added), added),
            (&mut self.modified, is(Mark::Modified), modified),
            (&mut self.removed, is(Mark::Removed), removed),
        ] {
            if member || !children.is_empty() {
                set.push(element.clone(), member, children);
            }
        }
    }

    fn sorted(self) -> Difference<'t> {
        Difference {
            added: self.added.sorted(),
            modified: self.modified.sorted(),
            removed: self.removed.sorted(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Added,
    Modified,
    Removed,
}

/// One of the two values that are compared.
#[derive(Debug, Clone, Copy)]
enum Side<'t> {
    Absent,
    /// Not there, where Kubernetes' encoder would write something empty.
    Implied,
    At(At<'t>),
}

impl<'t> Side<'t> {
    fn at(self) -> Option<At<'t>> {
        match self {
            Side::At(at) => Some(at),
            Side::Absent | Side::Implied => None,
        }
    }

    fn is_absent(self) -> bool {
        matches!(self, Side::Absent)
    }

    fn is_empty(self) -> bool {
        self.at().is_none_or(At::is_empty)
    }

    /// A field of it: of what is not there, nothing is.
    fn field(self, found: Option<At<'t>>, always: bool) -> Side<'t> {
        match (found, self) {
            (Some(at), _) => Side::At(at),
            (None, Side::Absent) => Side::Absent,
            (None, Side::Implied | Side::At(_)) if always => Side::Implied,
            (None, Side::Implied | Side::At(_)) => Side::Absent,
        }
    }
}

/// From `old` to `new`, two objects of a root definition; an absent object is one without any fields.
pub fn compare<'t>(definition: &str, old: Option<&'t Tree>, new: &'t Tree) -> Difference<'t> {
    let old = old.and_then(Tree::root).map_or(Side::Implied, Side::At);
    let new = new.root().map_or(Side::Implied, Side::At);
    fields(old, new, Type::root(definition))
}

fn node<'t>(old: Side<'t>, new: Side<'t>, type_: Type) -> (Option<Mark>, Difference<'t>) {
    let mark = match (old, new) {
        (Side::Absent, Side::Absent) => return (None, Difference::default()),
        (Side::Absent, _) => Some(Mark::Added),
        (_, Side::Absent) => Some(Mark::Removed),
        _ => None,
    };
    let both_empty = old.is_empty() && new.is_empty();
    match common_shape(old, new) {
        Some(Shape::Map) if !type_.is_atomic_map() && !both_empty => (mark, fields(old, new, type_)),
        Some(Shape::List) if type_.is_list_of_owned() && !both_empty => (mark, items(old, new, type_)),
        _ => (mark.or_else(|| differs(old, new).then_some(Mark::Modified)), Difference::default()),
    }
}

/// List or map where that is what both are, or one of them and the other is nothing.
fn common_shape(old: Side<'_>, new: Side<'_>) -> Option<Shape> {
    let shape = |side: Side<'_>| side.at().map(At::shape).filter(|shape| *shape != Shape::Null);
    match (shape(old), shape(new)) {
        (Some(a), Some(b)) if a == b => Some(a),
        (Some(_), Some(_)) => None,
        (a, b) => a.or(b),
    }
}

fn differs(old: Side<'_>, new: Side<'_>) -> bool {
    match (old.at(), new.at()) {
        (Some(old), Some(new)) => !old.equals(new),
        // What is implied is empty.
        _ => !(old.is_empty() && new.is_empty()),
    }
}

fn fields<'t>(old: Side<'t>, new: Side<'t>, type_: Type) -> Difference<'t> {
    let mut difference = Difference::default();
    let (left, right) = (named(old), named(new));
    let always = type_.always();
    let mut add = |name: &'t str, found_old: Option<At<'t>>, found_new: Option<At<'t>>| {
        let implied = always.contains(&name);
        let (mark, below) =
            node(old.field(found_old, implied), new.field(found_new, implied), type_.field(name));
        difference.push(Element::field(name), mark, below);
    };
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.name().cmp(b.name()),
        };
        let found_old = if order.is_le() { left.next() } else { None };
        let found_new = if order.is_ge() { right.next() } else { None };
        if let Some(name) = found_new.or(found_old).map(At::name) {
            add(name, found_old, found_new);
        }
    }
    for name in always {
        // Neither has it: it counts where only one of the two could have had it.
        let missing = |side: Side<'t>| side.at().is_none_or(|at| at.child(name).is_none());
        if old.is_absent() != new.is_absent() && missing(old) && missing(new) {
            add(name, None, None);
        }
    }
    difference.sorted()
}

/// The fields of a map, sorted.
fn named(side: Side<'_>) -> Vec<At<'_>> {
    let mut fields: Vec<At<'_>> =
        side.at().filter(|at| at.shape() == Shape::Map).map(|at| at.children().collect()).unwrap_or_default();
    if !fields.is_sorted_by(|a, b| a.name() < b.name()) {
        fields.sort_by(|a, b| a.name().cmp(b.name()));
    }
    fields
}

fn items<'t>(old: Side<'t>, new: Side<'t>, type_: Type) -> Difference<'t> {
    let mut difference = Difference::default();
    let (left, right) = (identified(old, type_), identified(new, type_));
    let (mut left, mut right) = (left.as_slice(), right.as_slice());
    while let Some(element) = [left.first(), right.first()].into_iter().flatten().map(|(e, _)| e).min() {
        let (own, others) = run(left, element);
        let (new_own, new_others) = run(right, element);
        let (mark, below) = match (own, new_own) {
            ([], [(_, new)]) => node(Side::Absent, Side::At(*new), type_.item()),
            ([(_, old)], []) => node(Side::At(*old), Side::Absent, type_.item()),
            ([(_, old)], [(_, new)]) => node(Side::At(*old), Side::At(*new), type_.item()),
            // Items that cannot be told apart are compared as a whole.
            ([], _) => (Some(Mark::Added), Difference::default()),
            (_, []) => (Some(Mark::Removed), Difference::default()),
            (own, new_own) => {
                let same = own.len() == new_own.len()
                    && own.iter().zip(new_own).all(|((_, old), (_, new))| old.equals(*new));
                ((!same).then_some(Mark::Modified), Difference::default())
            }
        };
        difference.push(element.clone(), mark, below);
        (left, right) = (others, new_others);
    }
    difference
}

type Item<'t> = (Element<'t>, At<'t>);

/// The items at the beginning that have this element, and the rest.
fn run<'s, 't>(items: &'s [Item<'t>], element: &Element<'t>) -> (&'s [Item<'t>], &'s [Item<'t>]) {
    items.split_at(items.iter().take_while(|(found, _)| found == element).count())
}

/// A list's items by what identifies them, sorted; those that nothing identifies are left out.
fn identified(side: Side<'_>, type_: Type) -> Vec<Item<'_>> {
    let list = side.at().filter(|at| at.shape() == Shape::List);
    let mut items: Vec<Item<'_>> = list
        .into_iter()
        .flat_map(At::children)
        .filter_map(|item| Some((identity(item, type_).ok()?, item)))
        .collect();
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    items
}

/// Why an item has no identity, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    #[error("associative list with keys may not have a null element")]
    NullItem,
    #[error("associative list with keys may not have non-map elements")]
    NoMap,
    #[error(
        "associative list with keys has an element that omits key field \"{0}\" (and doesn't have default value)"
    )]
    KeyMissing(&'static str),
    #[error("associative list without keys has an element that's an explicit null")]
    NullValue,
    #[error("associative list without keys has an element that's a map type")]
    MapValue,
    #[error("not supported: set with lists as elements")]
    ListValue,
}

/// What identifies an item of a list of objects of this definition, or of scalars.
pub fn item_element<'v>(
    definition: Option<&str>,
    structure: Structure,
    item: &'v Value,
) -> Result<Element<'v>, NoIdentity> {
    let def = definition.and_then(|definition| Type::root(definition).def);
    identity(item, Type { def, structure: Some(structure) })
}

/// What identifies an item of a list of this type.
pub(super) fn identity<'t, N: Node<'t>>(item: N, list: Type) -> Result<Element<'t>, NoIdentity> {
    let Some(Structure::MapList(keys)) = list.structure else {
        return match item.shape() {
            Shape::Null => Err(NoIdentity::NullValue),
            Shape::Map => Err(NoIdentity::MapValue),
            Shape::List => Err(NoIdentity::ListValue),
            Shape::Scalar => Ok(Element::Value(item.json().unwrap_or_default())),
        };
    };
    match item.shape() {
        Shape::Null => return Err(NoIdentity::NullItem),
        Shape::Scalar | Shape::List => return Err(NoIdentity::NoMap),
        Shape::Map => {}
    }
    let defaults = list.item().def().map(|def| def.key_defaults).unwrap_or_default();
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let value = item.child(key).and_then(N::json);
        let default = || defaults.iter().find(|(name, _)| name == key).map(|(_, json)| (*json).into());
        found.push((*key, value.or_else(default).ok_or(NoIdentity::KeyMissing(key))?));
    }
    Ok(key_of(found))
}
