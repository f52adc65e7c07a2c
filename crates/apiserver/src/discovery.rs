//! Discovery: which groups, versions and resources are served, in the old documents and in the aggregated ones.
//!
//! What it does: computes every discovery document from `api::scheme::RESOURCES`, once, and answers by path and Accept
//! header. What it does not know: HTTP, users, objects. A resource that is not in the scheme is in no document.
//!
//! Upstream: `apiserver/pkg/endpoints/discovery` and its `aggregated` package. Order of groups and versions is that of
//! the scheme: clients resolve a resource that several groups have (`daemonsets`, `events`) to the first.

mod aggregated;
mod legacy;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use api::scheme::{RESOURCES, Resource};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::accept::media_ranges;

/// One discovery document, ready to send.
#[derive(Debug, Clone)]
pub struct Document {
    pub content_type: &'static str,
    pub bytes: Bytes,
    /// Quoted; answers to `/api` and `/apis` carry it (and `Vary: Accept`), and 304 if the client has it.
    pub etag: String,
}

/// Which discovery documents a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// One document for the groups, one for each group and each version.
    Plain,
    /// `apidiscovery.k8s.io/v2`: everything at once.
    AggregatedV2,
    /// The same as clients before 1.30 ask for it.
    AggregatedV2beta1,
}

impl Form {
    pub const fn content_type(self) -> &'static str {
        match self {
            Form::Plain => "application/json",
            Form::AggregatedV2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Form::AggregatedV2beta1 => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
        }
    }

    /// The form that an Accept header asks for: the first that is known, else the plain one.
    pub fn from_accept(accept: Option<&str>) -> Form {
        let ranges = accept.into_iter().flat_map(media_ranges);
        let mut forms = ranges.filter_map(|range| {
            let aggregated = range.parameter("as") == Some("APIGroupDiscoveryList")
                && range.parameter("g") == Some("apidiscovery.k8s.io");
            match (range.parameter("as"), range.parameter("v")) {
                (None, _) => Some(Form::Plain),
                (Some(_), Some("v2")) if aggregated => Some(Form::AggregatedV2),
                (Some(_), Some("v2beta1")) if aggregated => Some(Form::AggregatedV2beta1),
                _ => None,
            }
        });
        forms.next().unwrap_or(Form::Plain)
    }
}

/// The document at a path such as `/api`, `/apis/apps` or `/apis/apps/v1`; `None` if nothing is served there.
pub fn document(path: &str, accept: Option<&str>) -> Option<&'static Document> {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let form = match path {
        "/api" | "/apis" => Form::from_accept(accept),
        _ => Form::Plain,
    };
    DOCUMENTS.get(&(path.to_owned(), form))
}

/// Every path that has a discovery document, for the index of paths at `/`.
pub fn paths() -> impl Iterator<Item = &'static str> {
    DOCUMENTS.keys().filter(|(_, form)| *form == Form::Plain).map(|(path, _)| path.as_str())
}

static DOCUMENTS: LazyLock<BTreeMap<(String, Form), Document>> = LazyLock::new(|| {
    let groups = groups();
    let mut documents = BTreeMap::new();
    let mut add = |path: String, form: Form, value: &Value| {
        documents.insert((path, form), Document::new(form, value));
    };
    add("/api".to_owned(), Form::Plain, &legacy::api_versions(&groups));
    add("/apis".to_owned(), Form::Plain, &legacy::api_group_list(&groups));
    for form in [Form::AggregatedV2, Form::AggregatedV2beta1] {
        let (core, named): (Vec<&Group>, Vec<&Group>) =
            groups.iter().partition(|group| group.name.is_empty());
        add("/api".to_owned(), form, &aggregated::group_list(form, &core));
        add("/apis".to_owned(), form, &aggregated::group_list(form, &named));
    }
    for group in &groups {
        if !group.name.is_empty() {
            add(format!("/apis/{}", group.name), Form::Plain, &legacy::api_group(group, true));
        }
        for version in &group.versions {
            add(version.path(group.name), Form::Plain, &legacy::api_resource_list(version));
        }
    }
    documents
});

impl Document {
    fn new(form: Form, value: &Value) -> Document {
        let bytes = Bytes::from(value.to_string());
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
        Document { content_type: form.content_type(), bytes, etag: format!("\"{hash}\"") }
    }
}

/// A group with its versions, the preferred one first.
struct Group {
    name: &'static str,
    versions: Vec<Version>,
}

/// A version with its resources, by name.
struct Version {
    name: &'static str,
    resources: Vec<&'static Resource>,
}

impl Version {
    fn path(&self, group: &str) -> String {
        match group {
            "" => format!("/api/{}", self.name),
            _ => format!("/apis/{group}/{}", self.name),
        }
    }
}

fn groups() -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for resource in RESOURCES {
        let at = groups.iter().position(|group| group.name == resource.group).unwrap_or_else(|| {
            groups.push(Group { name: resource.group, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        match versions.iter_mut().find(|version| version.name == resource.version) {
            Some(version) => version.resources.push(resource),
            None => versions.push(Version { name: resource.version, resources: vec![resource] }),
        }
    }
    for version in groups.iter_mut().flat_map(|group| &mut group.versions) {
        version.resources.sort_by_key(|resource| resource.plural);
    }
    groups
}

/// Short names and categories of a resource, as discovery shows them.
///
/// A version that upstream no longer serves has none: `kubectl get ds` would warn of two matches, `get all` list twice.
fn aliases(resource: &Resource) -> (&'static [&'static str], &'static [&'static str]) {
    match resource.deprecation {
        Some(_) => (&[], &[]),
        None => (resource.short_names, resource.categories),
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod tests;
