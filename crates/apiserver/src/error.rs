//! The one place that builds a meta/v1 Status.
//!
//! Each constructor is one reason of upstream's `k8s.io/apimachinery/pkg/api/errors`, with its message and details.
//! Causes inside the server are logged where they happen and never copied into an answer.

use api::field::FieldError;
use api::scheme::Resource;
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};
use patch::managed::Conflicts;

use crate::body::{self, Body};

/// A refusal as the client sees it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Box<StatusDetails>>,
    /// How an expired list may go on.
    continue_token: Option<String>,
}

/// Whether an answer is one object or a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    One,
    Many,
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        ApiError { code, reason, message: message.into(), details: None, continue_token: None }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = Some(Box::new(StatusDetails {
            group: (!resource.group.is_empty()).then(|| resource.group.to_owned()),
            kind: Some(resource.plural.to_owned()),
            name: (!name.is_empty()).then(|| name.to_owned()),
            ..StatusDetails::default()
        }));
        self
    }

    fn cause(mut self, reason: &str, message: String, field: Option<String>) -> Self {
        let details = self.details.get_or_insert_default();
        details.causes.get_or_insert_default().push(StatusCause {
            field,
            message: Some(message),
            reason: Some(reason.to_owned()),
        });
        self
    }

    fn retry_after(mut self, seconds: i32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = Some(seconds);
        self
    }

    pub fn code(&self) -> StatusCode {
        self.code
    }

    pub fn reason(&self) -> &'static str {
        self.reason
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// 400: malformed body, selector or option.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: no accepted credentials.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403 for an object: `pods "x" is forbidden: {why}`.
    pub fn forbidden(resource: &Resource, name: &str, why: impl std::fmt::Display) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", resource.qualified())
        } else {
            format!("{} \"{name}\" is forbidden: {why}", resource.qualified())
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(resource, name)
    }

    /// 403 for a path, or for a resource that may not even exist: authorization comes first.
    pub fn unauthorized_for(group: &str, resource: &str, name: &str, why: impl std::fmt::Display) -> Self {
        let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let message = match (resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{qualified} is forbidden: {why}"),
            (_, name) => format!("{qualified} \"{name}\" is forbidden: {why}"),
        };
        let mut error = Self::new(StatusCode::FORBIDDEN, "Forbidden", message);
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        error.details = Some(Box::new(StatusDetails {
            group: some(group),
            kind: some(resource),
            name: some(name),
            ..StatusDetails::default()
        }));
        error
    }

    /// 403 while a namespace ends.
    pub fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        Self::forbidden(resource, name, why).cause(
            "NamespaceTerminating",
            format!("namespace {namespace} is being terminated"),
            Some("metadata.namespace".to_owned()),
        )
    }

    /// 404 for an object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    /// 404 for a path or resource that is not served.
    pub fn unknown_path() -> Self {
        let error =
            Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
        ApiError { details: Some(Box::default()), ..error }
    }

    /// 405 for a method that a resource does not have.
    pub fn method_not_allowed() -> Self {
        let error = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        ApiError { details: Some(Box::default()), ..error }
    }

    /// 405 for an action that a resource does not support.
    pub fn not_supported(resource: &Resource, action: &str) -> Self {
        let message = format!("{action} is not supported on resources of kind \"{}\"", resource.qualified());
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).about(resource, "")
    }

    /// 406: no acceptable form of the answer.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 406: metadata of one object is wanted of many, or the other way round. Upstream names Go's type.
    pub fn form_not_acceptable(resource: &Resource, found: Amount) -> Self {
        let package = match resource.group {
            "" => "core",
            group => group.split('.').next().unwrap_or_default(),
        };
        let kind = resource.kind;
        let message = match found {
            Amount::One => format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list (*{package}.{kind})"
            ),
            Amount::Many => format!(
                "you requested PartialObjectMetadata, but the requested object is a list (*{package}.{kind}List)"
            ),
        };
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    /// 409: every name tried for generateName is taken.
    pub fn generate_name_conflict(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "{} \"{name}\" already exists, the server was not able to generate a unique name for the object",
            resource.qualified()
        );
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name).retry_after(1)
    }

    /// 409 with upstream's frame around `why`.
    pub fn conflict(resource: &Resource, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    /// 409 of a subresource, which upstream names with its parent.
    pub fn conflict_of(
        resource: &Resource,
        qualified: &str,
        name: &str,
        why: impl std::fmt::Display,
    ) -> Self {
        let message = format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}");
        let mut error = Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name);
        error.details.get_or_insert_default().kind = Some(qualified.to_owned());
        error
    }

    /// 409: the object is not at the resourceVersion that the client read.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409: others own what an apply would change; a cause for each field.
    pub fn apply_conflict(conflicts: &Conflicts) -> Self {
        let mut error = Self::new(StatusCode::CONFLICT, "Conflict", conflicts.to_string());
        for conflict in &conflicts.0 {
            let message = format!("conflict with {}", conflict.manager);
            error = error.cause("FieldManagerConflict", message, Some(conflict.path.clone()));
        }
        error
    }

    /// 410: the resourceVersion or continue token is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 410 of a page whose revision is forgotten, with a token that goes on with the newest.
    pub fn expired_page(continue_token: String) -> Self {
        let mut error = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        );
        error.continue_token = Some(continue_token);
        error
    }

    /// 413.
    pub fn too_large(what: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("Request entity too large: {what}"),
        )
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 422 with one cause per field error; a message that repeats is said once.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let text = if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) };
        let mut refusal = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("{qualified} \"{name}\" is invalid: {text}"),
        );
        refusal.details = Some(Box::new(StatusDetails {
            group: (!group.is_empty()).then(|| group.to_owned()),
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
            name: (!name.is_empty()).then(|| name.to_owned()),
            ..StatusDetails::default()
        }));
        for error in errors {
            refusal = refusal.cause(error.kind.cause_reason(), error.body(), Some(error.path.clone()));
        }
        refusal
    }

    /// 422 for a patch that cannot be applied to the object.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        ApiError { details: Some(Box::default()), ..error }
    }

    /// 429: too much at once.
    pub fn too_many_requests(message: impl Into<String>, seconds: i32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry_after(seconds)
    }

    /// 429: a disruption budget holds the pod; `cause` says which and why. Nought seconds are not said.
    pub fn disruption_budget(cause: String, seconds: i32) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        let error = error.cause("DisruptionBudget", cause, None);
        if seconds > 0 { error.retry_after(seconds) } else { error }
    }

    /// 500; `message` is for the client, the cause is logged by the caller.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let text = message.to_string();
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("Internal error occurred: {text}"),
        )
        .cause("", text, None)
    }

    /// 500 without a reason: upstream's form of an error that is none of the API's own, as of a connection to a node.
    pub fn unclassified(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    /// The answer of a server behind this one that is no success and no Status, in upstream's words for its code.
    pub fn of_backend(
        code: StatusCode,
        resource: &Resource,
        subresource: &str,
        name: &str,
        text: &str,
    ) -> Self {
        let kind = format!("{}/{subresource}", resource.plural);
        let (reason, message) = match code {
            StatusCode::BAD_REQUEST => return Self::bad_request(text),
            StatusCode::INTERNAL_SERVER_ERROR => return Self::internal(text),
            StatusCode::NOT_FOUND => {
                ("NotFound", "the server could not find the requested resource".to_owned())
            }
            StatusCode::FORBIDDEN => ("Forbidden", text.to_owned()),
            StatusCode::UNAUTHORIZED => {
                ("Unauthorized", "the server has asked for the client to provide credentials".to_owned())
            }
            StatusCode::TOO_MANY_REQUESTS => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later".to_owned(),
            ),
            code if code.is_server_error() => (
                "InternalError",
                format!("an error on the server ({text:?}) has prevented the request from succeeding"),
            ),
            code => ("", {
                let code = code.as_u16();
                format!(
                    "the server responded with the status code {code} but did not return more information"
                )
            }),
        };
        // COMPAT: upstream's verb is empty here, its space is not.
        let mut error = Self::new(code, reason, format!("{message} ( {kind} {name})")).about(resource, name);
        error.details.get_or_insert_default().kind = Some(kind);
        error
    }

    /// 500: the server cannot answer in time, nothing has happened, ask again.
    pub fn server_timeout(resource: &Resource, verb: &str, seconds: i32) -> Self {
        let message = format!(
            "The {verb} operation against {} could not be completed at this time, please try again.",
            resource.qualified()
        );
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerTimeout", message)
            .about(resource, "")
            .retry_after(seconds)
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 504: what the client had to do did not happen in time.
    pub fn timeout(what: &str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", format!("Timeout: {what}"))
    }

    /// 504: it was tried for as long as a client may wait, and may go in a while.
    pub fn timeout_for(what: &str, seconds: i32) -> Self {
        Self::timeout(what).retry_after(seconds)
    }

    /// 504: the resourceVersion is from the future.
    pub fn revision_too_large(asked: u64, current: u64) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {current}"),
        )
        .retry_after(1)
        .cause("ResourceVersionTooLarge", "Too large resource version".to_owned(), None)
    }

    /// 502: the node behind a proxied request could not be reached or answered nonsense.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "InternalError", message)
    }

    pub fn status(&self) -> Status {
        Status {
            code: Some(i32::from(self.code.as_u16())),
            details: self.details.as_deref().cloned(),
            message: Some(self.message.clone()),
            metadata: ListMeta { continue_: self.continue_token.clone(), ..ListMeta::default() },
            reason: (!self.reason.is_empty()).then(|| self.reason.to_owned()),
            status: Some("Failure".to_owned()),
        }
    }

    /// The Status as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.status()).unwrap_or_default()
    }

    pub fn into_response(self) -> http::Response<Body> {
        let retry_after = self.details.as_ref().and_then(|details| details.retry_after_seconds);
        let mut response = http::Response::new(body::full(self.to_json()));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        if let Some(seconds) = retry_after {
            headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from(seconds));
        }
        response
    }
}

/// The answer to a deletion that left nothing behind.
pub fn deleted(resource: &Resource, name: &str, uid: &str) -> Status {
    Status {
        details: Some(StatusDetails {
            group: (!resource.group.is_empty()).then(|| resource.group.to_owned()),
            kind: Some(resource.plural.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            ..StatusDetails::default()
        }),
        status: Some("Success".to_owned()),
        ..Status::default()
    }
}

/// The answer to a create-only subresource such as a binding.
pub fn created() -> Status {
    Status { status: Some("Success".to_owned()), code: Some(201), ..Status::default() }
}
