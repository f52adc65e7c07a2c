//! pods/log: its options checked, the container's log from the pod's node.
//!
//! Upstream: pkg/registry/core/pod/rest/log.go, ValidatePodLogOptions, LocationStreamer. `stream` is taken as with the
//! feature gate PodLogsQuerySplitStreams.

use api::field::{FieldError, FieldErrorKind, Path};
use http::{Request, Response, StatusCode, header};
use serde_json::Value;

use super::Call;
use crate::body::{self, Body};
use crate::error::ApiError;
use crate::node_proxy::{Backend, FailureClass, NodeCall, Transport};
use crate::request::Query;

/// Of an agent's refusal, which is an error in words: upstream's limit.
const REFUSAL_BYTES_MAX: usize = 50_000;

impl Call {
    pub(super) async fn log(&self, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let name = self.target.name.as_str();
        let errors = check(&self.query)?;
        if !errors.is_empty() {
            return Err(ApiError::invalid("", "PodLogOptions", name, &errors));
        }
        let pod = self.pod(name).await?;
        let container = self.container(&pod)?;
        let Some(node) = api::pod::node_name(&pod) else {
            // There is no log yet, and no mistake either.
            let mut nothing = Response::new(body::empty());
            *nothing.status_mut() = StatusCode::NO_CONTENT;
            return Ok(nothing);
        };
        let unchecked = self.query.flag("insecureSkipTLSVerifyBackend");
        let transport = if unchecked { Transport::AgentUnchecked } else { Transport::Agent };
        let backend = Backend { address: self.node_address(node)?, transport };
        let namespace = self.target.namespace.clone();
        let call = NodeCall::Logs { namespace, pod: name.to_owned(), container };
        let answer = self.node_proxy()?.forward(&backend, &call, request).await.map_err(|error| {
            self.log_failure(&error, node);
            match error.class() {
                FailureClass::Node => {
                    let target = call.path_and_query("");
                    let address = &backend.address;
                    ApiError::unclassified(format!("Get \"https://{address}{target}\": {}", error.cause()))
                }
                FailureClass::Request => ApiError::bad_request(error.told()),
                FailureClass::Busy => ApiError::too_many_requests(error.told(), 1),
            }
        })?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            let mut answer = answer;
            if status.is_success() {
                let text = header::HeaderValue::from_static("text/plain");
                answer.headers_mut().insert(header::CONTENT_TYPE, text);
            }
            return Ok(answer);
        }
        let text = body::beginning(answer.into_body(), REFUSAL_BYTES_MAX).await;
        let text = String::from_utf8_lossy(&text);
        Err(ApiError::of_backend(status, self.resource, "log", name, text.trim_end()))
    }
}

/// What is wrong with the options; a number or time that is none is refused before any rule is looked at.
fn check(query: &Query) -> Result<Vec<FieldError>, ApiError> {
    let mut errors = Vec::new();
    let stream = query.get("stream").filter(|stream| !stream.is_empty());
    let (tail, limit) = (query.number("tailLines")?, query.number("limitBytes")?);
    let since = query.number("sinceSeconds")?;
    let since_time = query.get("sinceTime").filter(|time| !time.is_empty());
    if let Some(time) = since_time
        && time.parse::<jiff::Timestamp>().is_err()
    {
        let format = "2006-01-02T15:04:05Z07:00";
        return Err(ApiError::bad_request(format!(
            "parsing time {time:?} as {format:?}: cannot parse {time:?} as \"2006\""
        )));
    }
    let negative = "must be greater than or equal to 0";
    let not_positive = "must be greater than 0";
    if let Some(lines) = tail.filter(|lines| *lines < 0) {
        errors.push(FieldError::invalid(&Path::new("tailLines"), lines, negative));
    }
    if let Some(bytes) = limit.filter(|bytes| *bytes < 1) {
        errors.push(FieldError::invalid(&Path::new("limitBytes"), bytes, not_positive));
    }
    match (since, since_time) {
        (Some(_), Some(_)) => {
            errors.push(of_all("at most one of `sinceTime` or `sinceSeconds` may be specified"));
        }
        (Some(seconds), None) if seconds < 1 => {
            errors.push(FieldError::invalid(&Path::new("sinceSeconds"), seconds, not_positive));
        }
        _ => {}
    }
    match stream {
        None | Some("All") => {}
        Some("Stdout" | "Stderr") => {
            if tail.is_some() {
                errors.push(of_all("`tailLines` and specific `stream` are mutually exclusive for now"));
            }
        }
        Some(other) => {
            let known = ["All", "Stderr", "Stdout"];
            errors.push(FieldError::not_supported(&Path::new("stream"), other, &known));
            if tail.is_some() {
                errors.push(of_all("`tailLines` and specific `stream` are mutually exclusive for now"));
            }
        }
    }
    Ok(errors)
}

/// Of the options as a whole. COMPAT(v1): upstream's path is empty here, not `<nil>`.
fn of_all(detail: &str) -> FieldError {
    FieldError {
        path: String::new(),
        kind: FieldErrorKind::Forbidden,
        value: Value::String(String::new()),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_refused_in_upstreams_words() {
        for (query, said) in [
            ("tailLines=5&sinceSeconds=1&limitBytes=1&follow=true&stream=All", ""),
            ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
            (
                "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
                ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
            (
                "stream=stdout",
                "stream: Unsupported value: \"stdout\": supported values: \"All\", \"Stderr\", \"Stdout\"",
            ),
            (
                "stream=Stdout&tailLines=1",
                ": Forbidden: `tailLines` and specific `stream` are mutually exclusive for now",
            ),
        ] {
            let errors = check(&Query::parse(query)).unwrap();
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("; "), said, "{query}");
        }
        let refused = check(&Query::parse("tailLines=x")).unwrap_err();
        assert_eq!(refused.message(), "strconv.ParseInt: parsing \"x\": invalid syntax");
        let refused = check(&Query::parse("sinceTime=yesterday")).unwrap_err();
        assert!(refused.message().starts_with("parsing time \"yesterday\" as"), "{}", refused.message());
    }
}
