//! The kinds that the API serves, by discovery: what to watch, what to delete, where an owner is to be found.
//!
//! Knows no kind by name. One version a resource: the one that the server prefers.

use kube::discovery::{ApiCapabilities, ApiResource, Discovery, Scope, verbs};
use kube::{Client, Error};

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

/// All served kinds, ordered by group and plural.
pub async fn served(client: &Client) -> Result<Vec<Kind>, Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut kinds: Vec<Kind> = discovery
        .groups()
        // COMPAT(extensions): whatever this group serves is also served, as the same objects, by another.
        .filter(|group| group.name() != "extensions")
        .flat_map(|group| group.recommended_resources())
        .map(|(resource, capabilities)| Kind::new(resource, &capabilities))
        .collect();
    kinds.sort_by(|a, b| {
        (&a.resource.group, &a.resource.plural).cmp(&(&b.resource.group, &b.resource.plural))
    });
    Ok(kinds)
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
