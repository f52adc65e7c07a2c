//! Aggregated discovery: APIGroupDiscoveryList of `apidiscovery.k8s.io`, in v2 and v2beta1 (which have one shape).

use api::scheme::{Resource, Subresource};
use serde_json::{Map, Value, json};

use super::{Form, Group, Version, aliases};

pub(super) fn group_list(form: Form, groups: &[&Group]) -> Value {
    let api_version = match form {
        Form::AggregatedV2beta1 => "apidiscovery.k8s.io/v2beta1",
        Form::AggregatedV2 | Form::Plain => "apidiscovery.k8s.io/v2",
    };
    let items: Vec<Value> = groups.iter().map(|group| group_discovery(group)).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": api_version,
        "metadata": {},
        "items": items,
    })
}

fn group_discovery(group: &Group) -> Value {
    let mut metadata = Map::new();
    if !group.name.is_empty() {
        metadata.insert("name".to_owned(), group.name.into());
    }
    metadata.insert("creationTimestamp".to_owned(), Value::Null);
    let versions: Vec<Value> = group.versions.iter().map(version_discovery).collect();
    json!({"metadata": metadata, "versions": versions})
}

fn version_discovery(version: &Version) -> Value {
    let resources: Vec<Value> = version.resources.iter().map(|row| resource_discovery(row)).collect();
    json!({"version": version.name, "resources": resources, "freshness": "Current"})
}

fn resource_discovery(row: &Resource) -> Value {
    let mut resource = json!({
        "resource": row.plural,
        "responseKind": kind(row.group, row.version, row.kind),
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs,
    });
    let (short_names, categories) = aliases(row);
    if !short_names.is_empty() {
        resource["shortNames"] = short_names.into();
    }
    if !categories.is_empty() {
        resource["categories"] = categories.into();
    }
    if !row.subresources.is_empty() {
        let subresources: Vec<Value> =
            row.subresources.iter().map(|sub| subresource_discovery(row, sub)).collect();
        resource["subresources"] = subresources.into();
    }
    resource
}

fn subresource_discovery(row: &Resource, sub: &Subresource) -> Value {
    let (group, version) = sub.group_version.unwrap_or((row.group, row.version));
    let name = if sub.kind.is_empty() { row.kind } else { sub.kind };
    json!({"subresource": sub.name, "responseKind": kind(group, version, name), "verbs": sub.verbs})
}

fn kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}
