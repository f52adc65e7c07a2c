//! The downward API: what a Pod may learn about itself, for variables and for files.

use std::collections::BTreeMap;

use api::pod as pod_questions;
use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

/// What is known about a Pod on this node when its containers start.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub pod: &'a Pod,
    pub pod_ips: &'a [String],
    pub host_ips: &'a [String],
    /// What the node has for Pods: stands in for a limit that is not set.
    pub allocatable: BTreeMap<String, Quantity>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownwardError {
    #[error("unsupported fieldPath: {path}")]
    Field { path: String },
    #[error("unsupported container resource: {resource}")]
    Resource { resource: String },
    #[error("container {name} not found")]
    NoContainer { name: String },
    #[error("divisor {text:?} of {resource} is not a positive quantity")]
    Divisor { resource: String, text: String },
}

#[cfg(test)]
impl<'a> Facts<'a> {
    /// A Pod of which nothing else is known.
    pub fn new(pod: &'a Pod) -> Facts<'a> {
        Facts { pod, pod_ips: &[], host_ips: &[], allocatable: BTreeMap::new() }
    }
}

/// A `fieldRef`.
pub fn field(path: &str, facts: &Facts<'_>) -> Result<String, DownwardError> {
    let meta = &facts.pod.metadata;
    let spec = facts.pod.spec.as_ref();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.annotations" => &meta.annotations,
            "metadata.labels" => &meta.labels,
            _ => return Err(DownwardError::Field { path: path.to_owned() }),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => text(&meta.name),
        "metadata.namespace" => text(&meta.namespace),
        "metadata.uid" => text(&meta.uid),
        "metadata.labels" => quoted_lines(meta.labels.as_ref()),
        "metadata.annotations" => quoted_lines(meta.annotations.as_ref()),
        "spec.nodeName" => spec.map(|spec| text(&spec.node_name)).unwrap_or_default(),
        "spec.serviceAccountName" => spec.map(|spec| text(&spec.service_account_name)).unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => pod_ips(facts).first().cloned().unwrap_or_default(),
        "status.podIPs" => pod_ips(facts).join(","),
        _ => return Err(DownwardError::Field { path: path.to_owned() }),
    })
}

fn pod_ips<'a>(facts: &'a Facts<'_>) -> &'a [String] {
    // On the node's network the Pod's addresses are the node's.
    if facts.pod_ips.is_empty() && pod_questions::is_host_network(facts.pod) {
        facts.host_ips
    } else {
        facts.pod_ips
    }
}

/// `metadata.labels['key']` → (`metadata.labels`, `key`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']").and_then(|path| path.split_once("['"))
}

/// One `key="value"` a line, sorted by key, the value quoted as Go does it.
fn quoted_lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_control() && (char as u32) < 0x80 => {
                quoted.push_str(&format!("\\x{:02x}", char as u32))
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// A `resourceFieldRef`: the number of divisors, rounded up.
pub fn resource(
    selector: &ResourceFieldSelector,
    own: Option<&Container>,
    facts: &Facts<'_>,
) -> Result<String, DownwardError> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        Some(name) => facts
            .pod
            .spec
            .iter()
            .flat_map(pod_questions::all_containers)
            .find(|container| container.name == name)
            .ok_or_else(|| DownwardError::NoContainer { name: name.to_owned() })?,
        None => own.ok_or_else(|| DownwardError::NoContainer { name: String::new() })?,
    };
    let unsupported = || DownwardError::Resource { resource: selector.resource.clone() };
    let (group, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let resources = container.resources.as_ref();
    let list = match group {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(unsupported()),
    };
    if !known {
        return Err(unsupported());
    }
    let set = list
        .and_then(|list| list.get(name))
        .and_then(|quantity| Quantity::parse(&quantity.0).ok())
        .filter(|quantity| !quantity.is_zero());
    let value = match set {
        Some(value) => value,
        None if group == "limits" => facts.allocatable.get(name).copied().unwrap_or(Quantity::ZERO),
        None => Quantity::ZERO,
    };
    let divisor_text = selector.divisor.as_ref().map_or("1", |divisor| divisor.0.as_str());
    let divisor = match Quantity::parse(divisor_text) {
        Ok(divisor) if divisor.is_zero() => Quantity::from_units(1),
        Ok(divisor) if !divisor.is_negative() => divisor,
        _ => {
            let (resource, text) = (selector.resource.clone(), divisor_text.to_owned());
            return Err(DownwardError::Divisor { resource, text });
        }
    };
    let (value, divisor) = (value.nanos(), divisor.nanos());
    Ok(((value + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "say \"x\"", "a": "1"}},
            "spec": {"nodeName": "node", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}}},
                {"name": "free"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn fields_are_read_from_the_pod_and_unknown_ones_refused() {
        let pod = pod();
        let ips = ["10.0.0.1".to_owned(), "fd00::1".to_owned()];
        let facts = Facts { pod_ips: &ips, ..Facts::new(&pod) };
        assert_eq!(field("metadata.labels['a']", &facts).unwrap(), "1");
        assert_eq!(field("metadata.labels", &facts).unwrap(), "a=\"1\"\nb=\"say \\\"x\\\"\"");
        assert_eq!(field("spec.nodeName", &facts).unwrap(), "node");
        assert_eq!(field("status.podIPs", &facts).unwrap(), "10.0.0.1,fd00::1");
        assert!(field("spec.hostNetwork", &facts).is_err());
    }

    #[test]
    fn resources_are_divided_and_rounded_up_and_fall_back_to_the_node() {
        let pod = pod();
        let allocatable = BTreeMap::from([("cpu".to_owned(), Quantity::from_units(2))]);
        let facts = Facts { allocatable, ..Facts::new(&pod) };
        let ask = |container: &str, resource: &str, divisor: &str| {
            let selector = ResourceFieldSelector {
                container_name: Some(container.to_owned()),
                resource: resource.to_owned(),
                divisor: Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity(divisor.to_owned())),
            };
            super::resource(&selector, None, &facts)
        };
        assert_eq!(ask("c", "limits.cpu", "1").unwrap(), "1");
        assert_eq!(ask("c", "limits.cpu", "1m").unwrap(), "250");
        assert_eq!(ask("c", "limits.memory", "1Mi").unwrap(), "64");
        assert_eq!(ask("free", "limits.cpu", "1").unwrap(), "2");
        assert_eq!(ask("free", "requests.cpu", "1").unwrap(), "0");
        assert!(ask("none", "limits.cpu", "1").is_err());
        assert!(ask("c", "limits.gpu", "1").is_err());
    }
}
