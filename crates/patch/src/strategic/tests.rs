//! Directive tests, table-driven, and properties against an independent model.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::PatchErrorClass;

const POD: &str = "io.k8s.api.core.v1.Pod";
const DAEMON_SET: &str = "io.k8s.api.apps.v1.DaemonSet";

fn check(definition: &str, cases: &[(&str, Value, Value, Value)]) {
    for (name, current, patch, want) in cases {
        match apply(definition, current, patch) {
            Ok(got) => assert_eq!(&got, want, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

fn containers(list: Value) -> Value {
    json!({"spec": {"containers": list}})
}

#[test]
fn maps_merge_and_nulls_remove() {
    check(
        POD,
        &[
            (
                "labels merge",
                json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
                json!({"metadata": {"labels": {"b": null, "c": "3"}}}),
                json!({"metadata": {"labels": {"a": "1", "c": "3"}}}),
            ),
            (
                "nulls in what is new are left out",
                json!({}),
                json!({"metadata": {"labels": {"a": "1", "b": null}}}),
                json!({"metadata": {"labels": {"a": "1"}}}),
            ),
            (
                "null removes a list",
                json!({"spec": {"tolerations": [{"key": "a"}], "nodeName": "n"}}),
                json!({"spec": {"tolerations": null}}),
                json!({"spec": {"nodeName": "n"}}),
            ),
            (
                "another type replaces",
                json!({"spec": {"x": {"a": 1}}}),
                json!({"spec": {"x": [1]}}),
                json!({"spec": {"x": [1]}}),
            ),
            (
                "replace directive in a map",
                json!({"spec": {"nodeSelector": {"a": "1", "b": "2"}}}),
                json!({"spec": {"nodeSelector": {"$patch": "replace", "c": "3"}}}),
                json!({"spec": {"nodeSelector": {"c": "3"}}}),
            ),
            (
                "delete directive in a map",
                json!({"spec": {"nodeSelector": {"a": "1"}}}),
                json!({"spec": {"nodeSelector": {"$patch": "delete"}}}),
                json!({"spec": {"nodeSelector": {}}}),
            ),
            (
                "merge directive in a map",
                json!({"spec": {"nodeSelector": {"a": "1"}}}),
                json!({"spec": {"nodeSelector": {"$patch": "merge", "b": "2"}}}),
                json!({"spec": {"nodeSelector": {"a": "1", "b": "2"}}}),
            ),
            // DIFFERS: upstream answers 500, "unable to find api field".
            (
                "a map that the schema does not know",
                json!({"spec": {"odd": {"a": "1"}}}),
                json!({"spec": {"odd": {"b": "2"}}}),
                json!({"spec": {"odd": {"a": "1", "b": "2"}}}),
            ),
            (
                "deleting a map that is not there sets nothing",
                json!({"spec": {}}),
                json!({"spec": {"affinity": {"$patch": "delete"}}}),
                json!({"spec": {}}),
            ),
        ],
    );
}

#[test]
fn lists_merge_by_their_key() {
    check(
        POD,
        &[
            (
                "containers by name",
                containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
                containers(json!([{"name": "b", "image": "2"}])),
                containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}])),
            ),
            (
                "a new item stands before the server's own",
                containers(json!([{"name": "a"}])),
                containers(json!([{"name": "b", "image": null, "env": [{"name": "x"}]}])),
                containers(json!([{"name": "b", "env": [{"name": "x"}]}, {"name": "a"}])),
            ),
            (
                "ports by containerPort, mounts by mountPath, env by name",
                containers(json!([{
                    "name": "a",
                    "ports": [{"containerPort": 80, "name": "web"}],
                    "volumeMounts": [{"mountPath": "/a", "name": "v"}],
                    "env": [{"name": "x", "value": "1"}],
                }])),
                containers(json!([{
                    "name": "a",
                    "ports": [{"containerPort": 80, "hostPort": 8080}],
                    "volumeMounts": [{"mountPath": "/a", "readOnly": true}],
                    "env": [{"name": "x", "value": "2"}],
                }])),
                containers(json!([{
                    "name": "a",
                    "ports": [{"containerPort": 80, "name": "web", "hostPort": 8080}],
                    "volumeMounts": [{"mountPath": "/a", "name": "v", "readOnly": true}],
                    "env": [{"name": "x", "value": "2"}],
                }])),
            ),
            (
                "tolerations are replaced",
                json!({"spec": {"tolerations": [{"key": "a"}]}}),
                json!({"spec": {"tolerations": [{"key": "b"}]}}),
                json!({"spec": {"tolerations": [{"key": "b"}]}}),
            ),
            (
                "finalizers are a set",
                json!({"metadata": {"finalizers": ["a/x", "b/x"]}}),
                json!({"metadata": {"finalizers": ["b/x", "c/x"]}}),
                json!({"metadata": {"finalizers": ["a/x", "b/x", "c/x"]}}),
            ),
            (
                "conditions by type",
                json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "X"}]}}),
                json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
                json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "X"}]}}),
            ),
        ],
    );
}

#[test]
fn list_directives_do_what_they_say() {
    check(
        POD,
        &[
            (
                "delete by key",
                containers(json!([{"name": "a"}, {"name": "b"}])),
                containers(json!([{"$patch": "delete", "name": "a"}])),
                containers(json!([{"name": "b"}])),
            ),
            (
                "replace the list",
                containers(json!([{"name": "a"}, {"name": "b"}])),
                containers(json!([{"$patch": "replace"}, {"name": "c", "image": "i"}])),
                containers(json!([{"name": "c", "image": "i"}])),
            ),
            (
                "merge as ever",
                containers(json!([{"name": "a", "image": "1"}])),
                containers(json!([{"$patch": "merge", "name": "a", "tty": true}])),
                containers(json!([{"name": "a", "image": "1", "tty": true}])),
            ),
            (
                "delete from a list of scalars",
                json!({"metadata": {"finalizers": ["a/x", "b/x"]}}),
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/x"], "finalizers": ["c/x"]}}),
                json!({"metadata": {"finalizers": ["c/x", "b/x"]}}),
            ),
            (
                "order the list",
                containers(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}])),
                json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}}),
                containers(json!([{"name": "b"}, {"name": "c"}, {"name": "a"}])),
            ),
            (
                "order with new and deleted items",
                containers(json!([{"name": "a"}, {"name": "b"}])),
                json!({"spec": {
                    "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}],
                    "containers": [{"name": "c"}, {"$patch": "delete", "name": "a"}],
                }}),
                containers(json!([{"name": "b"}, {"name": "c"}])),
            ),
            (
                "order of scalars",
                json!({"metadata": {"finalizers": ["a/x", "b/x"]}}),
                json!({"metadata": {"$setElementOrder/finalizers": ["b/x", "a/x"]}}),
                json!({"metadata": {"finalizers": ["b/x", "a/x"]}}),
            ),
            (
                "retain keys of a volume",
                json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
                json!({"spec": {"volumes": [
                    {"name": "v", "emptyDir": {}, "$retainKeys": ["name", "emptyDir"]}
                ]}}),
                json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            ),
        ],
    );
}

#[test]
fn the_template_of_a_daemon_set_merges_like_a_pod() {
    let template = |list: Value| json!({"spec": {"template": {"spec": {"containers": list}}}});
    for definition in [DAEMON_SET, "io.k8s.api.extensions.v1beta1.DaemonSet"] {
        check(
            definition,
            &[(
                "set image",
                template(json!([{"name": "a", "image": "1", "args": ["x"]}])),
                template(json!([{"name": "a", "image": "2"}])),
                template(json!([{"name": "a", "image": "2", "args": ["x"]}])),
            )],
        );
    }
}

#[test]
fn bad_patches_are_told_apart() {
    let current = containers(json!([{"name": "a"}]));
    let class = |patch: Value| apply(POD, &current, &patch).unwrap_err().class();
    assert_eq!(class(json!([1])), PatchErrorClass::BadRequest);
    assert_eq!(class(json!({"spec": {"$patch": "burn"}})), PatchErrorClass::BadRequest);
    assert_eq!(class(containers(json!([{"$patch": "burn", "name": "a"}]))), PatchErrorClass::BadRequest);
    assert_eq!(class(json!({"spec": {"$retainKeys": ["a"], "b": 1}})), PatchErrorClass::BadRequest);
    assert_eq!(class(json!({"spec": {"$retainKeys": "a"}})), PatchErrorClass::BadRequest);
    assert_eq!(class(json!({"spec": {"$setElementOrder/containers": 1}})), PatchErrorClass::BadRequest);
    assert_eq!(class(json!({"$deleteFromPrimitiveList/a": [{}]})), PatchErrorClass::BadRequest);
    assert_eq!(class(containers(json!([{"image": "x"}]))), PatchErrorClass::Unprocessable);
    assert_eq!(class(containers(json!([1]))), PatchErrorClass::Unprocessable);
    let order = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"name": "a"}, {"name": "b"}],
    }});
    assert_eq!(class(order), PatchErrorClass::Unprocessable);
    assert_eq!(
        apply(POD, &current, &containers(json!([{"image": "x"}]))).unwrap_err().to_string(),
        r#"map: {"image":"x"} does not contain declared merge key: name"#
    );
}

// ---- properties ----

/// Pods with unique container and variable names, some labels, finalizers and tolerations.
fn pods() -> impl Strategy<Value = Value> {
    let names = || proptest::sample::subsequence(vec!["a", "b", "c", "d"], 0..=4).prop_shuffle();
    let env = (names(), 0..3u8).prop_map(|(names, value)| {
        json!(names.iter().map(|n| json!({"name": n, "value": value.to_string()})).collect::<Vec<_>>())
    });
    let container = ("[xy]", proptest::option::of(env));
    let containers = (names(), proptest::collection::vec(container, 4)).prop_map(|(names, bodies)| {
        let list = names.iter().zip(bodies).map(|(name, (image, env))| {
            let mut container = json!({"name": name, "image": image});
            if let Some(env) = env {
                container["env"] = env;
            }
            container
        });
        Value::from(list.collect::<Vec<_>>())
    });
    let labels = proptest::collection::btree_map("[a-c]", "[xy]", 0..3);
    (labels, names(), names(), containers).prop_map(|(labels, finalizers, tolerations, containers)| {
        let tolerations: Vec<_> = tolerations.iter().map(|key| json!({"key": key})).collect();
        json!({
            "metadata": {"labels": labels, "finalizers": finalizers},
            "spec": {"containers": containers, "tolerations": tolerations},
        })
    })
}

/// The oracle's diff: what a client such as kubectl sends to turn `old` into `new`. Written for the shapes of [`pods`].
fn diff(old: &Value, new: &Value) -> Value {
    let (old, new) = (old.as_object().unwrap(), new.as_object().unwrap());
    let mut patch = Object::new();
    for field in old.keys().filter(|field| !new.contains_key(*field)) {
        patch.insert(field.clone(), Value::Null);
    }
    for (field, value) in new.iter().filter(|(field, value)| old.get(*field) != Some(value)) {
        let before = old.get(field);
        match (value, before) {
            (Value::Object(_), Some(before)) => {
                patch.insert(field.clone(), diff(before, value));
            }
            (Value::Array(list), Some(Value::Array(before))) if field == "finalizers" => {
                let gone: Vec<_> = before.iter().filter(|v| !list.contains(v)).cloned().collect();
                let added: Vec<_> = list.iter().filter(|v| !before.contains(v)).cloned().collect();
                patch.insert("$deleteFromPrimitiveList/finalizers".to_owned(), gone.into());
                patch.insert("$setElementOrder/finalizers".to_owned(), list.clone().into());
                patch.insert("finalizers".to_owned(), added.into());
            }
            (Value::Array(list), Some(Value::Array(before))) if field == "containers" || field == "env" => {
                let find = |list: &[Value], name: &Value| list.iter().find(|i| &i["name"] == name).cloned();
                let mut changes = Vec::new();
                for item in list {
                    match find(before, &item["name"]) {
                        None => changes.push(item.clone()),
                        Some(was) if &was != item => {
                            let mut change = diff(&was, item);
                            change["name"] = item["name"].clone();
                            changes.push(change);
                        }
                        Some(_) => {}
                    }
                }
                for item in before.iter().filter(|item| find(list, &item["name"]).is_none()) {
                    changes.push(json!({"$patch": "delete", "name": item["name"]}));
                }
                let order: Vec<_> = list.iter().map(|item| json!({"name": item["name"]})).collect();
                patch.insert(format!("$setElementOrder/{field}"), order.into());
                patch.insert(field.clone(), changes.into());
            }
            _ => {
                patch.insert(field.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

proptest! {
    #[test]
    fn an_empty_patch_changes_nothing(pod in pods()) {
        prop_assert_eq!(apply(POD, &pod, &json!({})).unwrap(), pod.clone());
        prop_assert_eq!(crate::merge::apply(&pod, &json!({})).unwrap(), pod);
    }

    #[test]
    fn patching_an_object_with_itself_changes_nothing(pod in pods()) {
        prop_assert_eq!(apply(POD, &pod, &pod).unwrap(), pod.clone());
        prop_assert_eq!(crate::merge::apply(&pod, &pod).unwrap(), pod);
    }

    #[test]
    fn a_computed_patch_reproduces_its_target(old in pods(), new in pods()) {
        let patch = diff(&old, &new);
        prop_assert_eq!(apply(POD, &old, &patch).unwrap(), new, "patch {}", patch);
    }

    #[test]
    fn a_patch_without_directives_is_idempotent_and_keeps_what_it_does_not_name(old in pods(), new in pods()) {
        let once = apply(POD, &old, &new).unwrap();
        prop_assert_eq!(&apply(POD, &once, &new).unwrap(), &once);
        let names = |pod: &Value| -> std::collections::BTreeSet<String> {
            let list = pod["spec"]["containers"].as_array().unwrap();
            list.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
        };
        let both: std::collections::BTreeSet<_> = names(&old).union(&names(&new)).cloned().collect();
        prop_assert_eq!(names(&once), both);
        prop_assert_eq!(&once["spec"]["tolerations"], &new["spec"]["tolerations"]);
    }

    #[test]
    fn any_json_is_answered_without_a_panic(patch in json_values(), current in json_values()) {
        for kind in crate::PatchKind::ALL {
            let _ = crate::apply(kind, POD, &current, &patch);
        }
    }
}

/// Small JSON trees with the names that matter here, and directives in odd places.
fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        prop_oneof![Just("replace"), Just("delete"), Just("a")].prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let name = prop_oneof![
            Just("spec"),
            Just("metadata"),
            Just("containers"),
            Just("finalizers"),
            Just("name"),
            Just("$patch"),
            Just("$retainKeys"),
            Just("$setElementOrder/containers"),
            Just("$deleteFromPrimitiveList/finalizers"),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.prop_map(str::to_owned), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
