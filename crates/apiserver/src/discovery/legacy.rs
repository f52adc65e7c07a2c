//! The old discovery documents: APIVersions, APIGroupList, APIGroup, APIResourceList.

use api::scheme::Resource;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Group, Version, aliases, group_version};

/// Length of upstream's storage version hash.
const STORAGE_HASH_BYTES: usize = 8;

pub(super) fn api_versions(groups: &[Group]) -> Value {
    let core = groups.iter().filter(|group| group.name.is_empty());
    let versions: Vec<&str> = core.flat_map(|group| group.versions.iter().map(|v| v.name)).collect();
    // DIFFERS(discovery): no server address is advertised; no client since 1.2 reads it.
    json!({"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": []})
}

pub(super) fn api_group_list(groups: &[Group]) -> Value {
    let named = groups.iter().filter(|group| !group.name.is_empty());
    let groups: Vec<Value> = named.map(|group| api_group(group, false)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// One group; inside a list it has no type of its own.
pub(super) fn api_group(group: &Group, typed: bool) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|v| json!({"groupVersion": group_version(group.name, v.name), "version": v.name}))
        .collect();
    let mut value = json!({
        "name": group.name,
        "preferredVersion": versions.first(),
        "versions": versions,
    });
    if typed {
        value["kind"] = "APIGroup".into();
        value["apiVersion"] = "v1".into();
    }
    value
}

pub(super) fn api_resource_list(version: &Version) -> Value {
    let group_version = version.resources.first().map(|resource| resource.api_version());
    let resources: Vec<Value> = version.resources.iter().flat_map(|row| entries(row)).collect();
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    })
}

/// A resource, then its subresources.
fn entries(row: &'static Resource) -> Vec<Value> {
    let mut resource = json!({
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": row.verbs,
    });
    let (short_names, categories) = aliases(row);
    if !short_names.is_empty() {
        resource["shortNames"] = short_names.into();
    }
    if !categories.is_empty() {
        resource["categories"] = categories.into();
    }
    // Reviews are answered, not stored.
    if row.verbs.contains(&"get") {
        resource["storageVersionHash"] = storage_version_hash(row.storage()).into();
    }
    let subresources = row.subresources.iter().map(|sub| {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), format!("{}/{}", row.plural, sub.name).into());
        entry.insert("singularName".to_owned(), "".into());
        entry.insert("namespaced".to_owned(), row.namespaced.into());
        if let Some((group, version)) = sub.group_version {
            entry.insert("group".to_owned(), group.into());
            entry.insert("version".to_owned(), version.into());
        }
        let kind = if sub.kind.is_empty() { row.kind } else { sub.kind };
        entry.insert("kind".to_owned(), kind.into());
        entry.insert("verbs".to_owned(), sub.verbs.into());
        Value::Object(entry)
    });
    std::iter::once(resource).chain(subresources).collect()
}

/// Upstream's `discovery.StorageVersionHash`: equal hashes, equal storage.
fn storage_version_hash(row: &Resource) -> String {
    let text = format!("{}/{}/{}", row.group, row.version, row.kind);
    STANDARD.encode(&Sha256::digest(text)[..STORAGE_HASH_BYTES])
}
