//! The live object with an applied configuration laid over it.
//!
//! What the configuration names has its value; everything else stays. Items of lists meet by what identifies them, in the
//! configuration's order where it names them. Upstream: `structured-merge-diff/typed/merge.go`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::compare::identity;
use super::element::Element;
use super::types::Type;

/// Both are valid objects of the type; the configuration has no item twice.
pub(super) fn merge(live: &Value, config: &Value, type_: Type) -> Value {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) if !type_.is_atomic_map() => fields(live, config, type_),
        (Value::Array(live), Value::Array(config)) if type_.is_list_of_owned() => {
            items(live, config, type_).unwrap_or_else(|| Value::Array(config.clone()))
        }
        // A null says nothing of what is below it.
        (Value::Object(map), Value::Null) if !type_.is_atomic_map() && !map.is_empty() => live.clone(),
        (Value::Array(list), Value::Null) if type_.is_list_of_owned() && !list.is_empty() => live.clone(),
        _ => config.clone(),
    }
}

fn fields(live: &Map<String, Value>, config: &Map<String, Value>, type_: Type) -> Value {
    let mut merged = live.clone();
    for (name, value) in config {
        let value = match live.get(name) {
            Some(live) => merge(live, value, type_.field(name)),
            None => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    Value::Object(merged)
}

/// Items by what identifies them; those that stand there several times cannot be told apart.
struct Known<'v> {
    order: Vec<(Element<'v>, &'v Value)>,
    one: BTreeMap<Element<'v>, Option<&'v Value>>,
}

impl<'v> Known<'v> {
    fn of(list: &'v [Value], type_: Type) -> Option<Known<'v>> {
        let mut order = Vec::with_capacity(list.len());
        let mut one = BTreeMap::new();
        for item in list {
            let element = identity(item, type_).ok()?;
            one.entry(element.clone()).and_modify(|one| *one = None).or_insert(Some(item));
            order.push((element, item));
        }
        Some(Known { order, one })
    }

    fn has(&self, element: &Element<'v>) -> bool {
        self.one.contains_key(element)
    }
}

/// Nothing if an item has no identity.
fn items(live: &[Value], config: &[Value], type_: Type) -> Option<Value> {
    let (live, config) = (Known::of(live, type_)?, Known::of(config, type_)?);
    let mut merged = Vec::with_capacity(live.order.len() + config.order.len());
    let mut done: BTreeSet<&Element<'_>> = BTreeSet::new();
    // Where the live object has what the configuration has, the configuration's order counts.
    let mut shared = config.order.iter().map(|(element, _)| element).filter(|e| live.has(e)).peekable();
    let (mut left, mut right) = (live.order.iter().peekable(), config.order.iter().peekable());
    let with_live = |element: &Element<'_>, value: &Value| match live.one.get(element) {
        Some(Some(live)) => merge(live, value, type_.item()),
        _ => value.clone(),
    };
    loop {
        let (next_live, next_config) = (left.peek().copied(), right.peek().copied());
        if let (Some((own, _)), Some((theirs, value))) = (next_live, next_config) {
            if own == theirs {
                merged.push(with_live(theirs, value));
                done.insert(theirs);
                shared.next();
                left.next();
                right.next();
                continue;
            }
            if config.has(own) && shared.peek().is_some_and(|shared| *shared != own) {
                // It comes later, where the configuration has it.
                left.next();
                continue;
            }
        }
        if let Some((own, value)) = next_live {
            if !config.has(own) {
                merged.push((*value).clone());
                left.next();
                continue;
            }
            if done.contains(own) {
                left.next();
                continue;
            }
        }
        let Some((theirs, value)) = next_config else {
            match left.next() {
                // What is left of the live list the configuration has had already.
                Some(_) => continue,
                None => return Some(Value::Array(merged)),
            }
        };
        merged.push(with_live(theirs, value));
        done.insert(theirs);
        right.next();
        shared.next_if(|shared| *shared == theirs);
    }
}

/// Without the nulls among fields that have owners of their own: they say that a field is not there.
pub(super) fn without_nulls(value: Value, type_: Type) -> Value {
    match value {
        Value::Object(map) if !type_.is_atomic_map() => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| {
                    let type_ = type_.field(&name);
                    (name, without_nulls(value, type_))
                })
                .collect(),
        ),
        Value::Array(list) if type_.is_list_of_owned() => {
            Value::Array(list.into_iter().map(|item| without_nulls(item, type_.item())).collect())
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod_spec(live: Value, config: Value) -> Value {
        merge(&live, &config, Type::root("io.k8s.api.core.v1.PodSpec"))
    }

    fn names(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn maps_merge_and_atomic_values_are_replaced() {
        let merged = pod_spec(
            json!({"nodeSelector": {"a": "1"}, "securityContext": {"runAsUser": 1}, "hostNetwork": true}),
            json!({"nodeSelector": {"b": "2"}, "securityContext": {"runAsGroup": 2}}),
        );
        assert_eq!(
            merged,
            json!({"nodeSelector": {"b": "2"}, "securityContext": {"runAsUser": 1, "runAsGroup": 2}, "hostNetwork": true})
        );
    }

    #[test]
    fn ports_meet_by_number_and_protocol_which_is_tcp_where_nothing_is_said() {
        let container = |ports: Value| json!({"containers": [{"name": "c", "ports": ports}]});
        let merged = pod_spec(
            container(
                json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]),
            ),
            container(json!([{"containerPort": 53, "name": "dns"}])),
        );
        assert_eq!(
            merged["containers"][0]["ports"],
            json!([
                {"containerPort": 53, "protocol": "UDP"},
                {"containerPort": 53, "protocol": "TCP", "name": "dns"},
            ])
        );
    }

    #[test]
    fn items_of_both_come_in_the_configurations_order_and_others_keep_their_place() {
        let list = |names: &[&str]| {
            let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"containers": items})
        };
        for (live, config, expected) in [
            (&["a", "b"][..], &["b", "a"][..], &["b", "a"][..]),
            (&["a", "x", "b"], &["b", "a"], &["x", "b", "a"]),
            (&["a"], &["b"], &["a", "b"]),
            (&["a", "b", "c"], &["c", "d"], &["a", "b", "c", "d"]),
            (&["x", "a"], &["new", "a"], &["x", "new", "a"]),
            (&[], &["a"], &["a"]),
            (&["a"], &[], &["a"]),
        ] {
            let merged = pod_spec(list(live), list(config));
            assert_eq!(names(&merged["containers"]), expected, "{live:?} {config:?}");
        }
    }

    #[test]
    fn item_that_stands_in_the_live_list_twice_is_replaced_by_the_configurations() {
        let env = |items: Value| json!({"containers": [{"name": "c", "env": items}]});
        let merged = pod_spec(
            env(json!([{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}])),
            env(json!([{"name": "A", "value": "3"}])),
        );
        assert_eq!(merged["containers"][0]["env"], json!([{"name": "A", "value": "3"}, {"name": "B"}]));
    }

    #[test]
    fn null_takes_away_a_scalar_and_no_map() {
        let root = Type::root("io.k8s.api.core.v1.PodSpec");
        let merged = pod_spec(
            json!({"hostNetwork": true, "securityContext": {"runAsUser": 1}}),
            json!({"hostNetwork": null, "securityContext": null}),
        );
        assert_eq!(without_nulls(merged, root), json!({"securityContext": {"runAsUser": 1}}));
    }
}
