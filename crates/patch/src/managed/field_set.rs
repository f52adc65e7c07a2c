//! The paths that an applied configuration names: what its applier comes to own.
//!
//! Upstream: `structured-merge-diff/typed/tofieldset.go`. Unlike in a comparison, a map or list is no path beside what is
//! in it; an item of a list is.

use super::compare::identity;
use super::element::Element;
use super::set::Set;
use super::tree::{At, Shape, Tree};
use super::types::Type;

pub fn field_set<'t>(definition: &str, object: &'t Tree) -> Set<'t> {
    object.root().map(|root| fields(root, Type::root(definition))).unwrap_or_default()
}

/// Whether the value itself is a path, and what is below it.
fn value(at: At<'_>, type_: Type) -> (bool, Set<'_>) {
    match at.shape() {
        Shape::Map if !type_.is_atomic_map() => (at.is_empty(), fields(at, type_)),
        Shape::List if type_.is_list_of_owned() => (false, items(at, type_)),
        Shape::Null | Shape::Scalar | Shape::List | Shape::Map => (true, Set::default()),
    }
}

fn fields(map: At<'_>, type_: Type) -> Set<'_> {
    let mut set = Set::default();
    for field in map.children() {
        let (member, below) = value(field, type_.field(field.name()));
        // A map's own names, such as labels, are paths even where something is below them.
        set.push(Element::field(field.name()), member || type_.def.is_none(), below);
    }
    set.sorted()
}

fn items(list: At<'_>, type_: Type) -> Set<'_> {
    let mut found: Vec<(Element<'_>, At<'_>)> =
        list.children().filter_map(|item| Some((identity(item, type_).ok()?, item))).collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut set = Set::default();
    let mut rest = found.as_slice();
    while let [(element, item), others @ ..] = rest {
        let twins = others.iter().take_while(|(other, _)| other == element).count();
        // What stands there twice is one path, without what is in it.
        let below = if twins == 0 { value(*item, type_.item()).1 } else { Set::default() };
        set.push(element.clone(), true, below);
        rest = &others[twins..];
    }
    set
}
