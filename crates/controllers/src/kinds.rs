//! The kinds that the API serves, by discovery: what to watch, what to delete, where an owner is to be found.
//!
//! Knows no kind by name. One version a resource: the one that the server prefers, else another that has it. A group
//! that does not answer (an aggregated API that is down) is named, and the others are served all the same.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use kube::discovery::{self, ApiCapabilities, ApiResource, Scope, verbs};
use kube::{Client, Error};

/// Discovery documents asked for at once.
const DOCUMENTS_AT_ONCE_MAX: usize = 8;

/// What discovery found.
#[derive(Debug, Default)]
pub struct Served {
    /// Ordered by group and kind.
    pub kinds: Vec<Kind>,
    /// Groups of which a version did not answer, with the reason: what they serve is not known now.
    pub silent: BTreeMap<String, String>,
}

/// One served resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub resource: ApiResource,
    pub reach: Reach,
    pub watchable: bool,
    pub deletable: Deletable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Namespaced,
    Cluster,
}

/// How a namespace's objects of this kind are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletable {
    No,
    OneByOne,
    AsCollection,
}

/// All served kinds. Fails only if not even the groups are known.
pub async fn served(client: &Client) -> Result<Served, Error> {
    let mut versions = vec![("v1".to_owned(), String::new())];
    for group in client.list_api_groups().await?.groups {
        // COMPAT(extensions): whatever this group serves is also served, as the same objects, by another.
        if group.name == "extensions" {
            continue;
        }
        let preferred = group.preferred_version.map(|version| version.group_version);
        let others = group.versions.into_iter().map(|version| version.group_version);
        let mut ordered: Vec<String> = preferred.into_iter().chain(others).collect();
        let mut seen = Vec::new();
        ordered.retain(|version| {
            !seen.contains(version) && {
                seen.push(version.clone());
                true
            }
        });
        versions.extend(ordered.into_iter().map(|version| (version, group.name.clone())));
    }
    let documents = stream::iter(versions)
        .map(|(version, group)| async move { (group, resources_of(client, &version).await) });
    // In order, so that a group's preferred version comes first.
    let mut documents = documents.buffered(DOCUMENTS_AT_ONCE_MAX);
    let mut found = Served::default();
    let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
    while let Some((group, resources)) = documents.next().await {
        match resources {
            Ok(resources) => {
                for (resource, capabilities) in resources {
                    let key = (resource.group.clone(), resource.kind.clone());
                    kinds.entry(key).or_insert_with(|| Kind::new(resource, &capabilities));
                }
            }
            Err(error) => {
                found.silent.insert(group, error.to_string());
            }
        }
    }
    found.kinds = kinds.into_values().collect();
    Ok(found)
}

async fn resources_of(client: &Client, version: &str) -> Result<Vec<(ApiResource, ApiCapabilities)>, Error> {
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let asked = kube::core::GroupVersion::gv(group, version);
    Ok(discovery::pinned_group(client, &asked).await?.recommended_resources())
}

impl Kind {
    fn new(resource: ApiResource, capabilities: &ApiCapabilities) -> Kind {
        let can = |verb| capabilities.supports_operation(verb);
        let listed = can(verbs::LIST);
        let deletable = match (listed && can(verbs::DELETE), can(verbs::DELETE_COLLECTION)) {
            (false, _) => Deletable::No,
            (true, false) => Deletable::OneByOne,
            (true, true) => Deletable::AsCollection,
        };
        let reach = match capabilities.scope {
            Scope::Namespaced => Reach::Namespaced,
            Scope::Cluster => Reach::Cluster,
        };
        Kind { resource, reach, watchable: listed && can(verbs::WATCH), deletable }
    }

    /// Events are in nobody's way: they expire by themselves and are far too many to watch.
    pub fn is_event(&self) -> bool {
        self.resource.kind == "Event" && matches!(self.resource.group.as_str(), "" | "events.k8s.io")
    }
}
