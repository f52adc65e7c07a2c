//! What a URL and a method ask for, before anyone looks at the body.
//!
//! Follows upstream's `RequestInfoFactory`: `/api/v1/…` and `/apis/{group}/{version}/…` are resource requests, every
//! other path is only a path. It does not know which resources are served.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// The parts of a request for a resource; empty where the URL does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    pub verb: &'static str,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// What follows a subresource, as after `proxy`.
    pub rest: String,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Resource(Target),
    /// The method in lower case.
    Path {
        verb: String,
    },
}

/// A URL's query, decoded; the first value of a name counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: &str) -> Query {
        Query(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Upstream's reading of a boolean parameter: present and neither `false` nor `0` is true.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
            }),
        }
    }
}

/// Reads the path; `query` tells lists from watches.
pub fn parse(method: &Method, path: &str, query: &Query) -> Asked {
    let parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let as_path = || Asked::Path { verb: method.as_str().to_ascii_lowercase() };
    let (group, version, mut parts) = match parts.as_slice() {
        [api, version, rest @ ..] if api == "api" && !rest.is_empty() => {
            (String::new(), version.clone(), rest)
        }
        [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
            (group.clone(), version.clone(), rest)
        }
        _ => return as_path(),
    };
    // COMPAT(api): the watch prefix has been deprecated since 1.11 and still works.
    let mut watching = false;
    if parts.first().is_some_and(|part| part == "watch") && parts.len() > 1 {
        watching = true;
        parts = &parts[1..];
    }
    let mut target = Target { group, version, ..Target::default() };
    if let [namespaces, namespace, rest @ ..] = parts
        && namespaces == "namespaces"
    {
        target.namespace = namespace.clone();
        let own = rest.first().is_none_or(|sub| sub == "status" || sub == "finalize");
        if !own {
            parts = rest;
        }
    }
    if let Some(resource) = parts.first() {
        target.resource = resource.clone();
    }
    if let Some(name) = parts.get(1) {
        target.name = name.clone();
    }
    if let Some(subresource) = parts.get(2) {
        target.subresource = subresource.clone();
    }
    if parts.len() > 3 {
        target.rest = parts[3..].join("/");
    }
    target.verb = match *method {
        _ if watching => "watch",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if target.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ if target.name.is_empty() && query.flag("watch") => "watch",
        _ if target.name.is_empty() => "list",
        _ => "get",
    };
    Asked::Resource(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: Method, url: &str) -> String {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        match parse(&method, path, &Query::parse(query)) {
            Asked::Resource(t) => {
                format!(
                    "{} {}/{} {}/{}/{} {}",
                    t.verb, t.group, t.version, t.resource, t.name, t.subresource, t.namespace
                )
            }
            Asked::Path { verb } => format!("{verb} path"),
        }
    }

    #[test]
    fn urls_are_read_as_upstream_reads_them() {
        for (method, url, expect) in [
            (Method::GET, "/api/v1/pods", "list /v1 pods// "),
            (Method::GET, "/api/v1/pods?watch=1", "watch /v1 pods// "),
            (Method::GET, "/api/v1/namespaces/a/pods/b/log", "get /v1 pods/b/log a"),
            (Method::GET, "/api/v1/namespaces/a", "get /v1 namespaces/a/ a"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 namespaces/a/finalize a"),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/daemonsets",
                "deletecollection apps/v1 daemonsets// a",
            ),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/a/daemonsets/d/status",
                "patch apps/v1 daemonsets/d/status a",
            ),
            (Method::GET, "/apis/apps/v1", "get path"),
            (Method::GET, "/api/v1", "get path"),
            (Method::POST, "/healthz", "post path"),
            (Method::GET, "/api/v1/watch/namespaces/a/pods", "watch /v1 pods// a"),
            (Method::POST, "/api/v1/watch/namespaces/a/pods", "watch /v1 pods// a"),
            (Method::GET, "/api/v1/watch/namespaces/a/pods/b", "watch /v1 pods/b/ a"),
        ] {
            assert_eq!(target(method, url), expect, "{url}");
        }
    }
}
