//! Request bodies in Kubernetes' protobuf, as the JSON that says the same.
//!
//! `kubectl create secret`, `auth whoami`, a drain's evictions and every typed Go client send
//! `application/vnd.kubernetes.protobuf` and do not fall back on a 415. Answers stay JSON, which these clients accept.
//! A body is an envelope (four magic bytes and runtime.Unknown) around one message. The message is read along a table of
//! fields into a JSON value, so that defaulting, validation and storage see one form only; fields that the table does not
//! have are skipped, as Go does. Patches are never protobuf.
//!
//! The table, `protobuf/fields.txt`: one unindented line a message, below it `tag, JSON name, type` a field. Made by script
//! from facts of public crates: tags and types from the prost attributes of k8s-pb 0.9.0, JSON names from k8s-openapi
//! 0.29.0 (v1_35); the messages that the bodies of served kinds reach. A message field whose name JSON does not have is
//! inlined (`~`). Types: `string`, `bool`, `int`, `bytes`, a message, or one of the special forms in [`schema::Form`];
//! `[]` repeated, `{}` a map from strings. `*` marks the scalars that are pointers in Go.
//!
//! Invariant: Go writes every scalar that is no pointer, zero or not. A zero there is dropped as its JSON omits it; behind
//! a pointer (`runAsUser: 0`) it was meant and is kept. No input panics; nesting is bounded.

mod message;
mod schema;
mod wire;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use self::message::read_message;
use self::schema::Schema;
use self::wire::{Fields, Scalar};

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Upstream's prefix of an envelope.
const MAGIC: &[u8] = b"k8s\0";

/// Deepest nesting of messages: a served kind's deepest, a Pod's, is under twenty, and no message reaches itself.
const DEPTH_MAX: usize = 64;

/// Why a body is no object.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("Object 'Kind' is missing in the envelope")]
    NoKind,
    #[error("no kind \"{kind}\" is registered for version \"{version}\"")]
    UnknownKind { version: String, kind: String },
    #[error("proto: unexpected end of the message")]
    Truncated,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: wrong wireType for field {0}")]
    Mismatch(String),
    #[error("proto: field {0} is not valid UTF-8")]
    Utf8(String),
    #[error("proto: field {0} holds no JSON")]
    RawJson(String),
    #[error("proto: field {0} is no time")]
    Time(String),
    #[error("proto: messages are nested too deeply")]
    Depth,
}

/// The object of an envelope, with its `apiVersion` and `kind`.
pub fn decode_object(body: &[u8]) -> Result<Value, ProtobufError> {
    let unknown = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let mut type_meta: &[u8] = &[];
    let mut raw: &[u8] = &[];
    for field in Fields::new(unknown) {
        match field? {
            (1, Scalar::Bytes(bytes)) => type_meta = bytes,
            (2, Scalar::Bytes(bytes)) => raw = bytes,
            // Encoding and content type of the raw bytes: upstream does not look at them either.
            _ => {}
        }
    }
    let (mut version, mut kind) = (String::new(), String::new());
    for field in Fields::new(type_meta) {
        match field? {
            (1, Scalar::Bytes(bytes)) => version = wire::text(bytes, "apiVersion")?.to_owned(),
            (2, Scalar::Bytes(bytes)) => kind = wire::text(bytes, "kind")?.to_owned(),
            _ => {}
        }
    }
    if kind.is_empty() {
        return Err(ProtobufError::NoKind);
    }
    let schema = Schema::get();
    let Some(message) = schema.find(&message_name(&version, &kind)) else {
        return Err(ProtobufError::UnknownKind { version, kind });
    };
    let mut object = Map::new();
    read_message(schema, message, raw, 0, &mut object)?;
    object.insert("apiVersion".to_owned(), Value::String(version));
    object.insert("kind".to_owned(), Value::String(kind));
    Ok(Value::Object(object))
}

/// `rbac.v1.Role` for `rbac.authorization.k8s.io/v1` and `Role`.
fn message_name(version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        // Clients send it in the version of what they delete; there is only one shape.
        return "meta.v1.DeleteOptions".to_owned();
    }
    let (group, version) = match (version.split_once('/'), kind) {
        // COMPAT(policy/v1beta1): the drain of before 1.22, in the one shape that there is.
        (Some(("policy", "v1beta1")), "Eviction") => ("policy", "v1"),
        (Some(named), _) => named,
        (None, _) => ("core", version),
    };
    let package = group.split('.').next().unwrap_or(group);
    format!("{package}.{version}.{kind}")
}
