//! Lists in a strategic merge: which items stay, and in which order.
//!
//! Order, as upstream's: items that the patch names stand in the patch's order (or in that of `$setElementOrder`), items
//! that only the server has keep theirs, and the two are interleaved by the positions that both had before. A new
//! item that the patch adds stands before the server's own.
//!
//! Upstream: `mergeSlice`, `mergeSliceWithSpecialElements`, `normalizeElementOrder` in `strategicpatch/patch.go`.

use serde_json::Value;

use super::{DIRECTIVE, Directive, merge_map, without_directives};
use crate::{PatchError, keys, keys::FieldRule, type_name};

type MergeKey = Option<&'static str>;

/// Merges or replaces the list in `field`, as its rule says.
pub(super) fn merge_field(
    old: Vec<Value>,
    change: Vec<Value>,
    definition: Option<&str>,
    field: &str,
) -> Result<Vec<Value>, PatchError> {
    let rule = definition.and_then(|definition| keys::rule(definition, field));
    if !rule.is_some_and(FieldRule::merges) {
        return Ok(change);
    }
    let merge_key = rule.and_then(|rule| rule.merge_key);
    let nested = definition.and_then(|definition| keys::nested(definition, field));
    merge(old, change, nested, merge_key, field)
}

/// As [`merge_field`], then in the order that `$setElementOrder` asks for. `None`: there is no such list.
pub(super) fn merge_in_order(
    old: Option<Vec<Value>>,
    change: Option<Vec<Value>>,
    order: Vec<Value>,
    definition: Option<&str>,
    field: &str,
) -> Result<Option<Vec<Value>>, PatchError> {
    let merge_key =
        definition.and_then(|definition| keys::rule(definition, field)).and_then(|rule| rule.merge_key);
    let server_order = old.clone().unwrap_or_default();
    if let Some(change) = &change {
        check_order(change, &order, merge_key, field)?;
    }
    let merged = match (old, change) {
        (None, None) => return Ok(None),
        (Some(old), None) => old,
        (None, Some(change)) => change.into_iter().filter_map(super::item_without_directives).collect(),
        (Some(old), Some(change)) => merge_field(old, change, definition, field)?,
    };
    in_order(merged, &order, &server_order, merge_key).map(Some)
}

fn merge(
    mut old: Vec<Value>,
    change: Vec<Value>,
    nested: Option<&str>,
    merge_key: MergeKey,
    field: &str,
) -> Result<Vec<Value>, PatchError> {
    if !holds_objects(&old, &change, field)? {
        let server_order = old.clone();
        for value in &change {
            old.push(value.clone());
        }
        return in_order(without_duplicates(old), &change, &server_order, None);
    }
    let Some(key) = merge_key else { return Err(PatchError::NoMergeKey { field: field.to_owned() }) };

    let Some(change) = take_special_items(&mut old, change.clone(), key)? else {
        // `$patch: replace` in one of the items: the others are the list.
        let replacement = change.into_iter().filter(|item| item.get(DIRECTIVE).is_none());
        return Ok(replacement.filter_map(without_directives).collect());
    };
    let server_order = old.clone();
    let mut named = Vec::with_capacity(change.len());
    for item in change {
        let value = merge_key_of(&item, key)?.clone();
        named.push(item.clone());
        match (old.iter_mut().find(|known| known.get(key) == Some(&value)), item) {
            (Some(known), Value::Object(item)) => {
                let Value::Object(known_object) = known.take() else { continue };
                *known = Value::Object(merge_map(known_object, item, nested)?);
            }
            (_, item) => old.extend(without_directives(item)),
        }
    }
    in_order(old, &named, &server_order, merge_key)
}

/// Carries out items that are directives, and gives back the others; `None` if the list is to be replaced.
fn take_special_items(
    old: &mut Vec<Value>,
    change: Vec<Value>,
    key: &'static str,
) -> Result<Option<Vec<Value>>, PatchError> {
    let mut plain = Vec::with_capacity(change.len());
    let mut replaces = false;
    for mut item in change {
        match item.get(DIRECTIVE).map(Directive::parse).transpose()? {
            None => plain.push(item),
            Some(Directive::Delete) => {
                let doomed = merge_key_of(&item, key)?;
                old.retain(|known| known.get(key) != Some(doomed));
            }
            Some(Directive::Replace) => replaces = true,
            // DIFFERS(patch): upstream documents `$patch: merge` in list items, and refuses it as not implemented.
            Some(Directive::Merge) => {
                if let Some(object) = item.as_object_mut() {
                    object.remove(DIRECTIVE);
                }
                plain.push(item);
            }
        }
    }
    Ok((!replaces).then_some(plain))
}

fn merge_key_of<'a>(item: &'a Value, key: &'static str) -> Result<&'a Value, PatchError> {
    item.get(key).ok_or_else(|| PatchError::MissingMergeKey { item: item.to_string(), key })
}

/// Whether the items are objects; all of both lists have to be of one type.
fn holds_objects(old: &[Value], change: &[Value], field: &str) -> Result<bool, PatchError> {
    let mut items = old.iter().chain(change);
    let Some(first) = items.next().map(type_name) else { return Ok(false) };
    if first == "array" {
        return Err(PatchError::ListOfLists { field: field.to_owned() });
    }
    match items.map(type_name).find(|other| *other != first) {
        Some(second) => Err(PatchError::MixedList { field: field.to_owned(), first, second }),
        None => Ok(first == "object"),
    }
}

fn without_duplicates(values: Vec<Value>) -> Vec<Value> {
    let mut unique: Vec<Value> = Vec::with_capacity(values.len());
    for value in values {
        if !unique.contains(&value) {
            unique.push(value);
        }
    }
    unique
}

/// Whether two items are the same one: by merge key for objects, by value for scalars.
fn is_same(left: &Value, right: &Value, merge_key: MergeKey) -> bool {
    match merge_key {
        None => left == right,
        Some(key) => left.get(key).is_some() && left.get(key) == right.get(key),
    }
}

fn position(order: &[Value], item: &Value, merge_key: MergeKey) -> Option<usize> {
    order.iter().position(|other| is_same(other, item, merge_key))
}

/// The items that `order` names in that order, interleaved with the others by where both stood on the server.
fn in_order(
    merged: Vec<Value>,
    order: &[Value],
    server_order: &[Value],
    merge_key: MergeKey,
) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = merge_key {
        for item in order {
            merge_key_of(item, key)?;
        }
    }
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| position(order, item, merge_key).is_some());
    named.sort_by_key(|item| position(order, item, merge_key));
    others.sort_by_key(|item| position(server_order, item, merge_key));

    let mut sorted = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    while let (Some(name), Some(other)) = (named.peek(), others.peek()) {
        let before = match (position(server_order, other, merge_key), position(server_order, name, merge_key))
        {
            (Some(other), Some(name)) => other < name,
            _ => false,
        };
        sorted.extend(if before { others.next() } else { named.next() });
    }
    sorted.extend(named);
    sorted.extend(others);
    Ok(sorted)
}

/// The patch's own list has to follow the order that it asks for.
fn check_order(
    change: &[Value],
    order: &[Value],
    merge_key: MergeKey,
    field: &str,
) -> Result<(), PatchError> {
    let mut rest = order.iter();
    let kept = change.iter().filter(|item| item.get(DIRECTIVE).is_none());
    for item in kept {
        if !rest.any(|wanted| is_same(wanted, item, merge_key)) {
            return Err(PatchError::OrderMismatch {
                field: field.to_owned(),
                list: Value::from(change.to_vec()).to_string(),
                order: Value::from(order.to_vec()).to_string(),
            });
        }
    }
    Ok(())
}
