//! Strategic merge patch: a partial object with directives, merged by the keys of the schema.
//!
//! What it decides: the value of each field of a map. A null removes; maps merge; lists merge or are replaced as
//! [`crate::keys`] says; what has another type than before is replaced. Directives:
//!
//! | directive | where | meaning |
//! |---|---|---|
//! | `$patch: replace` | map | the rest of the patch replaces the map |
//! | `$patch: delete` | map | the map becomes empty |
//! | `$patch: merge` | map, list item | what happens anyway |
//! | `$patch: replace` | list item | the other items replace the list |
//! | `$patch: delete` | list item | the item with that merge key goes |
//! | `$retainKeys` | map | fields that are not listed go |
//! | `$deleteFromPrimitiveList/F` | map | these scalars leave the list F |
//! | `$setElementOrder/F` | map | the order of the list F after merging |
//!
//! Recursion is bounded by the depth that the JSON parser allows.
//!
//! Upstream: `mergeMap` in `apimachinery/pkg/util/strategicpatch/patch.go`, with the server's options
//! (parallel lists merged, unmatched nulls ignored).

mod lists;

use serde_json::{Map, Value};

use crate::{PatchError, keys, type_name};

pub(crate) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// What a `$patch` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Replace,
    Delete,
    Merge,
}

impl Directive {
    fn parse(value: &Value) -> Result<Directive, PatchError> {
        match value.as_str() {
            Some("replace") => Ok(Directive::Replace),
            Some("delete") => Ok(Directive::Delete),
            Some("merge") => Ok(Directive::Merge),
            _ => Err(PatchError::UnknownDirective { directive: value.to_string() }),
        }
    }
}

pub(crate) fn apply(definition: &str, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::NotAnObject { found: type_name(patch) });
    };
    let current = current.as_object().cloned().unwrap_or_default();
    merge_map(current, patch.clone(), Some(definition)).map(Value::Object)
}

fn merge_map(mut current: Object, mut patch: Object, definition: Option<&str>) -> Result<Object, PatchError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        match Directive::parse(&directive)? {
            Directive::Replace => return Ok(object_without_directives(patch)),
            Directive::Delete => return Ok(Object::new()),
            Directive::Merge => {}
        }
    }
    retain_keys(&mut current, &mut patch)?;
    delete_from_primitive_lists(&mut current, &mut patch)?;
    merge_ordered_lists(&mut current, &mut patch, definition)?;
    for (field, value) in patch {
        merge_field(&mut current, field, value, definition)?;
    }
    Ok(current)
}

fn merge_field(
    current: &mut Object,
    field: String,
    value: Value,
    definition: Option<&str>,
) -> Result<(), PatchError> {
    if value.is_null() {
        current.remove(&field);
        return Ok(());
    }
    let merged = match (current.remove(&field), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            let nested = definition.and_then(|definition| keys::nested(definition, &field));
            Some(Value::Object(merge_map(old, new, nested)?))
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            Some(Value::Array(lists::merge_field(old, new, definition, &field)?))
        }
        (_, new) => without_directives(new),
    };
    if let Some(merged) = merged {
        current.insert(field, merged);
    }
    Ok(())
}

/// Clears what `$retainKeys` does not name. A patch that sets what it does not retain contradicts itself.
fn retain_keys(current: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(retained) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let retained: Vec<&str> = retained
        .as_array()
        .and_then(|names| names.iter().map(Value::as_str).collect())
        .ok_or(PatchError::BadRetainKeys)?;
    let contradicts = patch.iter().any(|(field, value)| {
        !value.is_null() && !is_list_directive(field) && !retained.contains(&field.as_str())
    });
    if contradicts {
        return Err(PatchError::BadRetainKeys);
    }
    current.retain(|field, _| retained.contains(&field.as_str()));
    Ok(())
}

fn is_list_directive(field: &str) -> bool {
    field.starts_with(DELETE_FROM_PRIMITIVE_LIST) || field.starts_with(SET_ELEMENT_ORDER)
}

/// Takes the entries whose names begin with `prefix` out of the patch, as (field, list).
fn take_directives(
    patch: &mut Object,
    prefix: &str,
    bad: impl Fn(String) -> PatchError,
) -> Result<Vec<(String, Vec<Value>)>, PatchError> {
    let names: Vec<String> = patch.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
    names
        .into_iter()
        .map(|name| {
            let field = name[prefix.len()..].to_owned();
            match patch.remove(&name) {
                Some(Value::Array(list)) if !field.is_empty() => Ok((field, list)),
                _ => Err(bad(field)),
            }
        })
        .collect()
}

fn delete_from_primitive_lists(current: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let bad = |field| PatchError::BadPrimitiveList { field };
    for (field, doomed) in take_directives(patch, DELETE_FROM_PRIMITIVE_LIST, bad)? {
        if doomed.iter().any(|value| value.is_object() || value.is_array()) {
            return Err(PatchError::BadPrimitiveList { field });
        }
        if let Some(Value::Array(list)) = current.get_mut(&field) {
            list.retain(|value| !doomed.contains(value));
        }
    }
    Ok(())
}

/// Merges each list that has a `$setElementOrder`, together with its part of the patch, and puts it in that order.
fn merge_ordered_lists(
    current: &mut Object,
    patch: &mut Object,
    definition: Option<&str>,
) -> Result<(), PatchError> {
    let bad = |field| PatchError::BadElementOrder { field };
    for (field, order) in take_directives(patch, SET_ELEMENT_ORDER, bad)? {
        let list_of = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(PatchError::BadElementOrder { field: field.clone() }),
        };
        // A null in the patch removes the list, whatever its order.
        if patch.get(&field).is_some_and(Value::is_null) {
            continue;
        }
        let change = list_of(patch.remove(&field))?;
        let old = list_of(current.remove(&field))?;
        if let Some(list) = lists::merge_in_order(old, change, order, definition, &field)? {
            current.insert(field, Value::Array(list));
        }
    }
    Ok(())
}

/// A value that is new to the object: no directives, no nulls. `None` for a map that asks for its own deletion.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(object) => {
            let deletes = object.get(DIRECTIVE).and_then(Value::as_str) == Some("delete");
            (!deletes).then(|| Value::Object(object_without_directives(object)))
        }
        Value::Array(list) => {
            Some(Value::Array(list.into_iter().filter_map(item_without_directives).collect()))
        }
        scalar => Some(scalar),
    }
}

/// As [`without_directives`]; a list item whose directive is its whole purpose goes as well.
fn item_without_directives(item: Value) -> Option<Value> {
    let replaces = item.get(DIRECTIVE).and_then(Value::as_str) == Some("replace");
    if replaces { None } else { without_directives(item) }
}

fn object_without_directives(object: Object) -> Object {
    object
        .into_iter()
        .filter(|(field, _)| field != DIRECTIVE && field != RETAIN_KEYS && !is_list_directive(field))
        .filter_map(|(field, value)| Some((field, without_directives(value)?)))
        .collect()
}

#[cfg(test)]
mod tests;
