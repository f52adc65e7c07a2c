//! What happens to every request: identify, authorize, dispatch, and finish the answer.
//!
//! Order as upstream's handler chain: authentication, audit id, limits, authorization, then the resource or the path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::scheme::Resource;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body as _;
use parking_lot::Mutex;

use crate::access::{Attributes, Decision, User};
use crate::body::Body;
use crate::call::Call;
use crate::error::ApiError;
use crate::limits::URL_BYTES_MAX;
use crate::request::{self, Asked, Query, Target};
use crate::server::Inner;
use crate::{answer, authenticate, compress, impersonate, paths, pretty};

/// Warning headers of one answer at most: upstream truncates as well.
const WARNINGS_MAX: usize = 64;
/// Bytes of all Warning texts of one answer, as upstream.
const WARNING_BYTES_MAX: usize = 4 * 1024;

pub async fn handle(server: Arc<Inner>, request: Request<Body>) -> Response<Body> {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let audit_id = audit_id(request.headers());
    let accepts_gzip = compress::is_accepted(request.headers());
    let for_people = pretty::is_wanted(request.uri(), request.headers());
    let mut seen = Seen::default();
    let answered = dispatch(&server, request, &warnings, &mut seen).await;
    let foreign = seen.foreign && answered.is_ok();
    let mut response = answered.unwrap_or_else(ApiError::into_response);
    if for_people && !foreign {
        response = pretty::indented(response).await;
    }
    if accepts_gzip {
        response = compress::if_large(response).await;
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&audit_id) {
        headers.insert("audit-id", value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    let mut bytes = 0;
    for text in warnings.lock().iter().take(WARNINGS_MAX) {
        bytes += text.len();
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        if bytes <= WARNING_BYTES_MAX
            && let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\""))
        {
            headers.append(header::WARNING, value);
        }
    }
    let key = (seen.verb, seen.resource, response.status().as_u16());
    *server.counted.lock().entry(key).or_default() += 1;
    response
}

/// What became known of a request on its way.
#[derive(Default)]
struct Seen {
    verb: &'static str,
    resource: String,
    /// The answer is a node's, a Pod's, or a document that is kept by its hash: it is passed on as it is.
    foreign: bool,
}

async fn dispatch(
    server: &Arc<Inner>,
    mut request: Request<Body>,
    warnings: &Arc<Mutex<Vec<String>>>,
    seen: &mut Seen,
) -> Result<Response<Body>, ApiError> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    if target.len() > URL_BYTES_MAX {
        return Err(ApiError::bad_request(format!("the URL is longer than {URL_BYTES_MAX} bytes")));
    }
    let user = authenticate::identify(server, &mut request)?;
    let user = impersonate::become_wanted(user, request.headers(), |asked| authorize(server, asked))?;
    let query = Query::parse(request.uri().query().unwrap_or(""));
    let path = request.uri().path().to_owned();
    match request::parse(request.method(), &path, &query) {
        Asked::Path { verb } => {
            let asked = Attributes { user, verb, path: path.clone(), ..Attributes::default() };
            authorize(server, &asked)?;
            seen.foreign = path.starts_with("/openapi/");
            paths::answer(server, request.method(), &path, &query, request.headers()).await
        }
        Asked::Resource(target) => {
            let asked = attributes(user.clone(), &target, &query, &path);
            authorize(server, &asked)?;
            if is_crd_list(&target) {
                return no_crds();
            }
            let resource = api::scheme::find(&target.group, &target.version, &target.resource)
                .ok_or_else(ApiError::unknown_path)?;
            (seen.verb, seen.resource) = (target.verb, resource.plural.to_owned());
            // A stream belongs to its node and is bounded there; a watch that has begun holds nothing but its cursor.
            let streams =
                matches!(target.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy");
            seen.foreign = streams;
            let _seat = match streams {
                true => None,
                false => {
                    let listed = listed_max(server, resource, &target, &query);
                    let bytes = request.body().size_hint().upper();
                    Some(server.fairness.sit(&user, &target, bytes, listed).await?)
                }
            };
            let headers = request.headers().clone();
            let call = Call {
                server: Arc::clone(server),
                resource,
                target,
                query,
                headers,
                user,
                warnings: Arc::clone(warnings),
            };
            call.answer(request).await
        }
    }
}

/// How many objects a list may have to answer with.
fn listed_max(server: &Inner, resource: &'static Resource, target: &Target, query: &Query) -> usize {
    if target.verb != "list" {
        return 0;
    }
    let stored = server.windows.window(resource.storage().plural).map_or(0, |window| window.count());
    match query.get("limit").and_then(|limit| limit.parse().ok()) {
        Some(limit @ 1..) => stored.min(limit),
        _ => stored,
    }
}

/// COMPAT(kubectl): before it says that a kind is unknown, kubectl lists the custom resource definitions; a 404 there hides
/// the message behind its own. There are none: the list is empty, and discovery does not name the resource.
fn is_crd_list(target: &Target) -> bool {
    target.verb == "list"
        && (target.group.as_str(), target.version.as_str()) == ("apiextensions.k8s.io", "v1")
        && target.resource == "customresourcedefinitions"
}

fn no_crds() -> Result<Response<Body>, ApiError> {
    let list = serde_json::json!({
        "kind": "CustomResourceDefinitionList",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"resourceVersion": "1"},
        "items": [],
    });
    answer::json_response(http::StatusCode::OK, &list)
}

fn attributes(user: User, target: &Target, query: &Query, path: &str) -> Attributes {
    let mut field_equals = Vec::new();
    let mut name = target.name.clone();
    if matches!(target.verb, "list" | "watch" | "deletecollection")
        && let Ok(selector) = api::fields::Selector::parse(query.get("fieldSelector").unwrap_or(""))
    {
        for term in selector.terms {
            if term.comparison == api::fields::Comparison::Equals {
                if term.field == "metadata.name" && name.is_empty() {
                    name.clone_from(&term.value);
                }
                field_equals.push((term.field, term.value));
            }
        }
    }
    Attributes {
        user,
        verb: target.verb.to_owned(),
        group: target.group.clone(),
        version: target.version.clone(),
        resource: target.resource.clone(),
        subresource: target.subresource.clone(),
        namespace: target.namespace.clone(),
        name,
        field_equals,
        path: path.to_owned(),
    }
}

/// Refuses what the user may not do.
pub fn authorize(server: &Inner, asked: &Attributes) -> Result<(), ApiError> {
    match server.authorizer.authorize(asked) {
        Decision::Allow => Ok(()),
        Decision::Deny { message } => {
            Err(ApiError::unauthorized_for(&asked.group, &asked.resource, &asked.name, message))
        }
    }
}

/// The client's own id, or one that no other request of this server has.
fn audit_id(headers: &HeaderMap) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static PREFIX: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    if let Some(given) = headers.get("audit-id").and_then(|value| value.to_str().ok()) {
        return given.to_owned();
    }
    let prefix = PREFIX.get_or_init(|| uuid::Uuid::new_v4().to_string()[..23].to_owned());
    format!("{prefix}-{:012x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
