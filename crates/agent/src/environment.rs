//! A container's environment, and `$(NAME)` in its command and arguments.
//!
//! Order and precedence as upstream (kubelet's makeEnvironmentVariables): envFrom first, then env; a later value
//! replaces an earlier one. Names are set in the order in which they were first met.
//! DIFFERS(service-env): variables of Services are not made; there are no Services here yet.

use indexmap::IndexMap;
use k8s_openapi::api::core::v1::{Container, EnvVarSource};

use crate::downward::{self, Facts};
use crate::objects::Referenced;

/// Why a container's configuration cannot be made: CreateContainerConfigError with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    #[error("{kind} {name:?} not found")]
    NotFound { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { kind: &'static str, namespace: String, name: String, key: String },
    #[error("{kind} {namespace}/{name} key {key}: not UTF-8 text")]
    NotText { kind: &'static str, namespace: String, name: String, key: String },
    #[error(transparent)]
    Downward(#[from] downward::DownwardError),
}

/// The variables, and the names that were left out because no process can take them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    pub variables: IndexMap<String, String>,
    pub skipped: Vec<String>,
}

/// Makes the environment of `container`.
pub fn environment(
    container: &Container,
    facts: &Facts<'_>,
    referenced: &Referenced,
) -> Result<Environment, EnvironmentError> {
    let mut made = Environment::default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &from.config_map_ref {
            let found = referenced.config_maps.get(&source.name).and_then(Option::as_ref);
            let data = match found {
                Some(map) => map.data.iter().flatten(),
                None if source.optional == Some(true) => continue,
                None => {
                    return Err(EnvironmentError::NotFound { kind: "configmap", name: source.name.clone() });
                }
            };
            for (key, value) in data {
                made.take(format!("{prefix}{key}"), value.clone());
            }
        }
        if let Some(source) = &from.secret_ref {
            let found = referenced.secrets.get(&source.name).and_then(Option::as_ref);
            let data = match found {
                Some(secret) => secret.data.iter().flatten(),
                None if source.optional == Some(true) => continue,
                None => return Err(EnvironmentError::NotFound { kind: "secret", name: source.name.clone() }),
            };
            for (key, value) in data {
                made.take(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => expand(value, &made.variables),
            (_, Some(from)) => match value_from(from, container, facts, referenced)? {
                Some(value) => value,
                None => continue,
            },
            _ => String::new(),
        };
        made.variables.insert(variable.name.clone(), value);
    }
    Ok(made)
}

impl Environment {
    fn take(&mut self, name: String, value: String) {
        // COMPAT(1.32): any printable ASCII but '=' is a name.
        if name.is_empty() || !name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=') {
            self.skipped.push(name);
        } else {
            self.variables.insert(name, value);
        }
    }
}

/// `None`: an optional source that is not there.
fn value_from(
    from: &EnvVarSource,
    container: &Container,
    facts: &Facts<'_>,
    referenced: &Referenced,
) -> Result<Option<String>, EnvironmentError> {
    if let Some(field) = &from.field_ref {
        return Ok(Some(downward::field(&field.field_path, facts)?));
    }
    if let Some(resource) = &from.resource_field_ref {
        return Ok(Some(downward::resource(resource, Some(container), facts)?));
    }
    let namespace = || facts.pod.metadata.namespace.clone().unwrap_or_default();
    if let Some(source) = &from.config_map_key_ref {
        let optional = source.optional == Some(true);
        let Some(map) = referenced.config_maps.get(&source.name).and_then(Option::as_ref) else {
            if optional {
                return Ok(None);
            }
            return Err(EnvironmentError::NotFound { kind: "configmap", name: source.name.clone() });
        };
        return match map.data.iter().flatten().find(|(key, _)| **key == source.key) {
            Some((_, value)) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(EnvironmentError::NoKey {
                kind: "ConfigMap",
                namespace: namespace(),
                name: source.name.clone(),
                key: source.key.clone(),
            }),
        };
    }
    if let Some(source) = &from.secret_key_ref {
        let optional = source.optional == Some(true);
        let Some(secret) = referenced.secrets.get(&source.name).and_then(Option::as_ref) else {
            if optional {
                return Ok(None);
            }
            return Err(EnvironmentError::NotFound { kind: "secret", name: source.name.clone() });
        };
        return match secret.data.iter().flatten().find(|(key, _)| **key == source.key) {
            Some((_, value)) => {
                String::from_utf8(value.0.clone()).map(Some).map_err(|_| EnvironmentError::NotText {
                    kind: "Secret",
                    namespace: namespace(),
                    name: source.name.clone(),
                    key: source.key.clone(),
                })
            }
            None if optional => Ok(None),
            None => Err(EnvironmentError::NoKey {
                kind: "Secret",
                namespace: namespace(),
                name: source.name.clone(),
                key: source.key.clone(),
            }),
        };
    }
    Ok(Some(String::new()))
}

/// Replaces `$(NAME)`; `$$` is one `$`; what is unknown or unfinished stays as it is written.
pub fn expand(text: &str, variables: &IndexMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(literal) = after.strip_prefix('$') {
            expanded.push('$');
            rest = literal;
        } else if let Some((name, behind)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&rest[at..at + name.len() + 3]),
            }
            rest = behind;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use proptest::prelude::*;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn container(json: serde_json::Value) -> Container {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn references_are_replaced_and_unknown_ones_stay() {
        let known = variables(&[("A", "1"), ("B", "$(A)")]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(B)z", "x1y$(A)z"),
            ("$(NO)", "$(NO)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $( $(A", "$A $( $(A"),
            ("cost $", "cost $"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &known), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_is_left_alone(text in "[^$]*") {
            prop_assert_eq!(expand(&text, &variables(&[("A", "1")])), text);
        }

        #[test]
        fn nothing_panics(text in "[$()Aé]{0,20}") {
            expand(&text, &variables(&[("A", "1")]));
        }
    }

    #[test]
    fn env_wins_over_env_from_and_sees_only_what_is_before_it() {
        let pod = Pod::default();
        let facts = Facts::new(&pod);
        let map = ConfigMap {
            data: Some(BTreeMap::from([
                ("A".to_owned(), "map".to_owned()),
                ("bad=key".to_owned(), "x".to_owned()),
                ("C".to_owned(), "c".to_owned()),
            ])),
            ..Default::default()
        };
        let referenced =
            Referenced { config_maps: BTreeMap::from([("m".to_owned(), Some(map))]), ..Default::default() };
        let container = container(serde_json::json!({
            "name": "c",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}, {"configMapRef": {"name": "m"}}],
            "env": [
                {"name": "A", "value": "own"},
                {"name": "B", "value": "$(A) $(LATER)"},
                {"name": "LATER", "value": "x"},
                {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k", "optional": true}}},
            ],
        }));
        let made = environment(&container, &facts, &referenced).unwrap();
        assert_eq!(made.variables["A"], "own");
        assert_eq!(made.variables["P_A"], "map");
        assert_eq!(made.variables["B"], "own $(LATER)");
        assert!(!made.variables.contains_key("GONE"));
        assert_eq!(made.skipped, ["P_bad=key", "bad=key"]);
    }

    #[test]
    fn missing_source_is_a_fault_with_its_name() {
        let pod = Pod::default();
        let container = container(serde_json::json!({
            "name": "c",
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        }));
        let error = environment(&container, &Facts::new(&pod), &Referenced::default()).unwrap_err();
        assert_eq!(error.to_string(), "secret \"s\" not found");
    }
}
