//! (old object, patch, schema) → new object: JSON patch, merge patch, strategic merge patch.
//!
//! What it does: computes the object that a PATCH request asks for, on `serde_json::Value`, with no knowledge of
//! HTTP, storage, defaulting or validation. The API server reads the current object, calls [`apply`], then
//! decodes, defaults, admits and validates the answer like any other update.
//!
//! What it does not know: who sent the patch, and which fields the sender owns. Server-side apply and the tracking of
//! owners are [`managed`]'s, which uses the same [`keys`] to identify list items.
//!
//! Invariants: pure and deterministic; `current` is never changed; bad input is an error, never a panic.
//!
//! Upstream: `apiserver/pkg/endpoints/handlers/patch.go`, `apimachinery/pkg/util/strategicpatch`, RFC 6902, RFC 7386.

mod json;
pub mod keys;
pub mod managed;
mod merge;
mod strategic;

use std::fmt;

use serde_json::Value;

/// JSON patch operations in one request (upstream `maxJSONPatchOperations`): bounds the work of one write.
pub const JSON_PATCH_OPERATIONS_MAX: usize = 10_000;

/// How a patch document is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchKind {
    /// RFC 6902: a list of operations.
    Json,
    /// RFC 7386: a partial object; null removes, lists are replaced.
    Merge,
    /// A partial object with directives; lists merge by the keys of the schema.
    Strategic,
}

impl PatchKind {
    /// Every kind, in the order in which a 415 answer lists their media types; after them it lists an apply's.
    pub const ALL: [PatchKind; 3] = [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic];

    /// The kind that a `Content-Type` names; parameters such as `charset` are ignored.
    pub fn from_content_type(content_type: &str) -> Option<PatchKind> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        PatchKind::ALL.into_iter().find(|kind| kind.content_type().eq_ignore_ascii_case(media_type))
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            PatchKind::Json => "application/json-patch+json",
            PatchKind::Merge => "application/merge-patch+json",
            PatchKind::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

impl fmt::Display for PatchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.content_type())
    }
}

/// Which answer an error becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchErrorClass {
    /// The patch document itself cannot be read: 400 BadRequest.
    BadRequest,
    /// The document is readable, and does not fit the object: 422 Invalid.
    Unprocessable,
    /// Too many operations: 413 RequestEntityTooLarge.
    TooLarge,
}

/// Why a patch could not be applied. The texts are upstream's where clients show them.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error("error decoding patch: the patch is not a list of JSON patch operations")]
    DecodeOperations(#[source] serde_json::Error),
    #[error("error decoding patch: the patch is a JSON {found}, not an object")]
    NotAnObject { found: &'static str },
    #[error(
        "The allowed maximum operations in a JSON patch is {JSON_PATCH_OPERATIONS_MAX}, got {operations}"
    )]
    TooManyOperations { operations: usize },
    #[error("testing value {path} failed")]
    TestFailed { path: String },
    #[error(
        "the server rejected our request due to an error in our request: JSON patch operation {operation} at {path:?}"
    )]
    ApplyOperation {
        operation: usize,
        path: String,
        #[source]
        source: json_patch::PatchError,
    },
    #[error("map: {item} does not contain declared merge key: {key}")]
    MissingMergeKey { item: String, key: &'static str },
    #[error("cannot merge lists without merge key for {field}")]
    NoMergeKey { field: String },
    #[error("lists of lists are not supported: {field}")]
    ListOfLists { field: String },
    #[error("{field} mixes a JSON {first} and a JSON {second} in one list")]
    MixedList { field: String, first: &'static str, second: &'static str },
    #[error("unknown patch type found: {directive}")]
    UnknownDirective { directive: String },
    #[error("invalid patch format of retainKeys")]
    BadRetainKeys,
    #[error("invalid patch format of primitive list: {field}")]
    BadPrimitiveList { field: String },
    #[error("invalid patch format of setElementOrder list: {field}")]
    BadElementOrder { field: String },
    #[error("The order in patch list:\n{list}\n doesn't match $setElementOrder list:\n{order}\n at {field}")]
    OrderMismatch { field: String, list: String, order: String },
}

impl PatchError {
    /// Which answer this becomes; only the API server turns it into a Status.
    pub fn class(&self) -> PatchErrorClass {
        match self {
            PatchError::TooManyOperations { .. } => PatchErrorClass::TooLarge,
            // DIFFERS(patch): upstream answers 500 for a list item without its merge key, for a list of several
            // types and for a mismatched order, although the request is at fault.
            PatchError::TestFailed { .. }
            | PatchError::ApplyOperation { .. }
            | PatchError::MissingMergeKey { .. }
            | PatchError::NoMergeKey { .. }
            | PatchError::ListOfLists { .. }
            | PatchError::MixedList { .. }
            | PatchError::OrderMismatch { .. } => PatchErrorClass::Unprocessable,
            PatchError::DecodeOperations(_)
            | PatchError::NotAnObject { .. }
            | PatchError::UnknownDirective { .. }
            | PatchError::BadRetainKeys
            | PatchError::BadPrimitiveList { .. }
            | PatchError::BadElementOrder { .. } => PatchErrorClass::BadRequest,
        }
    }
}

/// The object that `patch` makes of `current`.
///
/// `root_definition` is the OpenAPI definition of the object, e.g. `io.k8s.api.core.v1.Pod`
/// (`api::scheme::Resource::definition`); only a strategic merge looks at it.
pub fn apply(
    kind: PatchKind,
    root_definition: &str,
    current: &Value,
    patch: &Value,
) -> Result<Value, PatchError> {
    match kind {
        PatchKind::Json => json::apply(current, patch),
        PatchKind::Merge => merge::apply(current, patch),
        PatchKind::Strategic => strategic::apply(root_definition, current, patch),
    }
}

/// What a JSON value is, for messages.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
