//! Everything that is no resource: health, version, metrics, discovery, OpenAPI.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use crate::accept::is_not_modified;
use crate::answer;
use crate::body::{self, Body};
use crate::compress;
use crate::discovery::{self, Document};
use crate::error::ApiError;
use crate::openapi;
use crate::pretty;
use crate::request::Query;
use crate::server::Inner;

/// The Kubernetes minor whose behaviour is served.
pub const MINOR: &str = "35";
pub const GIT_VERSION: &str = "v1.35.0+everynode";

/// What `/readyz?verbose` lists.
const CHECKS: [&str; 4] = ["ping", "log", "store", "windows"];

pub async fn answer(
    server: &Inner,
    method: &Method,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if !reads && takes_reads_only(path) {
        return Err(ApiError::method_not_allowed());
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if let Some(document) = discovery::document(path, accept) {
        return Ok(documented(document, headers));
    }
    match path {
        "/" => {
            let fixed = [
                "/.well-known/openid-configuration",
                "/healthz",
                "/livez",
                "/metrics",
                "/openapi/v2",
                "/openapi/v3",
                "/openid/v1/jwks",
                "/readyz",
                "/version",
            ];
            let mut paths: Vec<&str> = discovery::paths().chain(fixed).collect();
            paths.sort_unstable();
            answer::json_response(StatusCode::OK, &json!({ "paths": paths }))
        }
        // Upstream indents it for everybody.
        "/version" | "/version/" => {
            Ok(pretty::indented(answer::json_response(StatusCode::OK, &version())?).await)
        }
        "/.well-known/openid-configuration" => {
            answer::json_response(StatusCode::OK, &server.issuer.discovery())
        }
        "/openid/v1/jwks" => {
            let keys = server.issuer.key.published().to_string();
            Ok(answer::bytes(StatusCode::OK, "application/jwk-set+json", keys))
        }
        "/metrics" => Ok(answer::bytes(StatusCode::OK, "text/plain; version=0.0.4", metrics(server))),
        _ => {
            let mut parts = path.trim_start_matches('/').splitn(2, '/');
            let endpoint = parts.next().unwrap_or_default();
            if matches!(endpoint, "healthz" | "livez" | "readyz") {
                return health(server, endpoint, parts.next(), query).await;
            }
            openapi(server, path, query, headers)
        }
    }
}

/// Upstream has routes with a method for some paths; the handlers of all others never ask what the method is, and what is
/// at no path is not found by any.
fn takes_reads_only(path: &str) -> bool {
    match path.trim_end_matches('/') {
        "/version" | "/.well-known/openid-configuration" | "/openid/v1/jwks" | "/api" => true,
        path => {
            let of_a_version = path.starts_with("/api/") || path.matches('/').count() == 3;
            of_a_version && discovery::document(path, None).is_some()
        }
    }
}

fn openapi(
    server: &Inner,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let document = match openapi::document(path, accept) {
        openapi::Answer::Found(document) => document,
        openapi::Answer::NotAcceptable => return Err(ApiError::not_acceptable(&["application/json"])),
        openapi::Answer::Unknown => return Err(ApiError::unknown_path()),
    };
    // As upstream: who names the version that it wants may keep it for good, and is sent on to the one that there is.
    let hash = document.etag.trim_matches('"');
    let asked = query.get("hash").filter(|_| path.starts_with("/openapi/v3/"));
    if asked.is_some_and(|asked| asked != hash) {
        return Ok(moved(&format!("{path}?hash={hash}")));
    }
    let mut response = if is_known(headers, &document.etag) {
        not_modified()
    } else if compress::is_accepted(headers) {
        let mut response = answer::bytes(StatusCode::OK, document.content_type, document.gzip.clone());
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        answer::bytes(StatusCode::OK, document.content_type, document.plain())
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if asked.is_some() {
        keep_for_good(response.headers_mut(), server.config.clock.now());
    }
    Ok(response)
}

fn moved(to: &str) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A year is the longest that a cache may be told.
fn keep_for_good(headers: &mut HeaderMap, now: jiff::Timestamp) {
    const YEAR: jiff::SignedDuration = jiff::SignedDuration::from_hours(365 * 24);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    let expires = now.checked_add(YEAR).unwrap_or(now).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(expires) = HeaderValue::from_str(&expires) {
        headers.insert(header::EXPIRES, expires);
    }
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    is_not_modified(headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()), etag)
}

fn not_modified() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn documented(document: &Document, headers: &HeaderMap) -> Response<Body> {
    let mut response = if is_known(headers, &document.etag) {
        not_modified()
    } else {
        answer::bytes(StatusCode::OK, document.content_type, document.bytes.clone())
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": MINOR,
        "emulationMajor": "1",
        "emulationMinor": MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "34",
        "gitVersion": GIT_VERSION,
        "gitCommit": option_env!("EVERYNODE_COMMIT").unwrap_or("unknown"),
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_architecture()),
    })
}

/// The machine's architecture as Go, and so every Kubernetes client, names it.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn health(
    server: &Inner,
    endpoint: &str,
    single: Option<&str>,
    query: &Query,
) -> Result<Response<Body>, ApiError> {
    let excluded: Vec<&str> = query.all("exclude").collect();
    let text = "text/plain; charset=utf-8";
    let mut lines = String::new();
    let mut failed = false;
    let known = |check: &&str| single.is_none_or(|single| single == *check);
    let checks: Vec<&str> = CHECKS.into_iter().filter(known).collect();
    if checks.is_empty() {
        return Err(ApiError::unknown_path());
    }
    for check in checks {
        if excluded.contains(&check) {
            lines.push_str(&format!("[+]{check} excluded: ok\n"));
            continue;
        }
        let healthy = match check {
            "store" => server.store.revision().await.is_ok(),
            // The windows may be behind for a moment; liveness is not their matter.
            "windows" if endpoint == "readyz" => {
                server.windows.fresh().await.is_ok() && !server.ending.is_cancelled()
            }
            _ => true,
        };
        failed |= !healthy;
        let line = if healthy {
            format!("[+]{check} ok\n")
        } else {
            format!("[-]{check} failed: reason withheld\n")
        };
        lines.push_str(&line);
    }
    if failed {
        let body = format!("{lines}{endpoint} check failed\n");
        return Ok(answer::bytes(StatusCode::INTERNAL_SERVER_ERROR, text, body));
    }
    if query.get("verbose").is_some() {
        return Ok(answer::bytes(StatusCode::OK, text, format!("{lines}{endpoint} check passed\n")));
    }
    Ok(answer::bytes(StatusCode::OK, text, "ok"))
}

fn metrics(server: &Inner) -> String {
    use std::fmt::Write;
    let mut out = server.config.metrics.as_ref().map(process::Metrics::encode).unwrap_or_default();
    let end = out.rfind("# EOF").unwrap_or(out.len());
    out.truncate(end);
    let _ = writeln!(out, "# TYPE apiserver_registered_watchers gauge");
    let _ = writeln!(out, "apiserver_registered_watchers {}", server.watches.count());
    let _ = writeln!(out, "# TYPE apiserver_flowcontrol_current_executing_seats gauge");
    for (level, taken, _) in server.fairness.load() {
        let _ = writeln!(
            out,
            "apiserver_flowcontrol_current_executing_seats{{priority_level=\"{level}\"}} {taken}"
        );
    }
    let _ = writeln!(out, "# TYPE apiserver_flowcontrol_current_inqueue_requests gauge");
    for (level, _, waiting) in server.fairness.load() {
        let _ = writeln!(
            out,
            "apiserver_flowcontrol_current_inqueue_requests{{priority_level=\"{level}\"}} {waiting}"
        );
    }
    let _ = writeln!(out, "# TYPE apiserver_storage_objects gauge");
    for window in server.windows.all() {
        let _ =
            writeln!(out, "apiserver_storage_objects{{resource=\"{}\"}} {}", window.plural, window.count());
    }
    let _ = writeln!(out, "# TYPE apiserver_watch_wakes_total counter");
    for window in server.windows.all() {
        let _ =
            writeln!(out, "apiserver_watch_wakes_total{{resource=\"{}\"}} {}", window.plural, window.wakes());
    }
    let _ = writeln!(out, "# TYPE apiserver_request_total counter");
    for ((verb, resource, code), count) in server.counted.lock().iter() {
        let _ = writeln!(
            out,
            "apiserver_request_total{{verb=\"{verb}\",resource=\"{resource}\",code=\"{code}\"}} {count}"
        );
    }
    out.push_str("# EOF\n");
    out
}
