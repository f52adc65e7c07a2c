//! From a request's body to a typed object, once.
//!
//! JSON, YAML or Kubernetes' protobuf; fields that the kind does not have and fields that stand twice are found on the
//! way and refused, told as warnings or ignored, as the client asked (`fieldValidation`). Texts follow upstream's decoder.
//! How deep JSON may nest says [`depth`]; of YAML, serde-saphyr's default budget.

pub mod configuration;
pub mod depth;
mod duplicates;
mod mismatch;
pub mod patched;
pub mod syntax;

use api::scheme::Resource;
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::ApiError;
use crate::options::FieldValidation;
use crate::protobuf;
use patched::Patched;

/// What bodies of objects may be.
pub const BODY_TYPES: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// A body that is known to be well formed, or a value computed from one.
#[derive(Debug, Clone)]
pub enum Payload {
    Json(Bytes),
    Value(Value),
    Patched(Patched),
}

/// What kind a body says that it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeMeta {
    pub api_version: Option<String>,
    pub kind: Option<String>,
}

impl Payload {
    /// Reads a body by its content type; without one it is JSON.
    pub fn read(headers: &HeaderMap, body: Bytes, kind: &str) -> Result<Payload, ApiError> {
        let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.unwrap_or("application/json").split(';').next().unwrap_or("").trim();
        match media_type {
            "application/json" | "" | "*/*" if depth::exceeds(&body) => {
                Err(unrecognized(kind, &format!("json parse error: {}", depth::EXCEEDED), &body))
            }
            "application/json" | "" | "*/*" => Ok(Payload::Json(body)),
            "application/yaml" => {
                let value = serde_saphyr::from_slice::<Value>(&body)
                    .map_err(|error| unrecognized(kind, &yaml_error(&error.to_string()), &body))?;
                Ok(Payload::Value(value))
            }
            protobuf::MEDIA_TYPE => protobuf::decode_object(&body)
                .map(Payload::Value)
                .map_err(|error| unrecognized(kind, &error.to_string(), &body)),
            _ => Err(ApiError::unsupported_media_type(BODY_TYPES)),
        }
    }

    pub fn type_meta(&self, kind: &str) -> Result<TypeMeta, ApiError> {
        match self {
            Payload::Json(bytes) => serde_json::from_slice(bytes)
                .map_err(|error| unrecognized(kind, &no_type_meta(&error, bytes), bytes)),
            Payload::Value(value) | Payload::Patched(Patched { value, .. }) => TypeMeta::deserialize(value)
                .map_err(|error| unrecognized(kind, &format!("json parse error: {error}"), b"")),
        }
    }

    pub fn into_value(self, kind: &str) -> Result<Value, ApiError> {
        match self {
            Payload::Json(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                unrecognized(kind, &format!("json parse error: {}", syntax::told(&error, &bytes)), &bytes)
            }),
            Payload::Value(value) | Payload::Patched(Patched { value, .. }) => Ok(value),
        }
    }

    /// The same with another value, as of another version; nothing that was read from JSON.
    pub fn with(self, kind: &str, change: impl FnOnce(Value) -> Value) -> Result<Payload, ApiError> {
        Ok(match self {
            Payload::Patched(patched) => Payload::Patched(patched.with(change)),
            other => Payload::Value(change(other.into_value(kind)?)),
        })
    }

    /// Refuses what cannot be read as an object of the kind: a body as such, a patch for what it came to.
    fn refused(&self, resource: &Resource, why: &str) -> ApiError {
        match self {
            Payload::Json(_) | Payload::Value(_) => not_handled(resource.kind, resource, why),
            Payload::Patched(patched) => patched.refused(why),
        }
    }

    /// Refuses a body of another kind or version than the URL's.
    pub fn expect_kind(&self, resource: &Resource) -> Result<(), ApiError> {
        let found = self.type_meta(resource.kind)?;
        let expected = resource.api_version();
        if let Some(version) = found.api_version.filter(|version| !version.is_empty() && *version != expected)
        {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version ({expected})"
            )));
        }
        if let Some(kind) = found.kind.filter(|kind| !kind.is_empty() && kind != resource.kind) {
            let text = format!(
                "converting ({expected}.{kind}) to ({expected}.{}): unknown conversion",
                resource.kind
            );
            return Err(not_handled(&kind, resource, &text));
        }
        Ok(())
    }
}

/// The body is no object at all.
fn unrecognized(kind: &str, why: &str, body: &[u8]) -> ApiError {
    const SHOWN_BYTES_MAX: usize = 64;
    let shown: String = body.iter().take(SHOWN_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {why} ({shown})"
    ))
}

/// Why a body does not say what it is, as upstream's decoder of nothing but kind and version.
fn no_type_meta(error: &serde_json::Error, body: &[u8]) -> String {
    const GO: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let told = match depth::outline(body) {
        Some(Value::Object(fields)) => {
            let wrong = ["apiVersion", "kind"].into_iter().find_map(|field| {
                let word = fields.get(field).filter(|value| !value.is_string() && !value.is_null());
                word.map(|value| (field, mismatch::word(value)))
            });
            wrong.map(|(field, word)| {
                format!("json: cannot unmarshal {word} into Go struct field .{field} of type string")
            })
        }
        Some(other) => {
            Some(format!("json: cannot unmarshal {} into Go value of type {GO}", mismatch::word(&other)))
        }
        None => None,
    };
    format!("json parse error: {}", told.unwrap_or_else(|| syntax::told(error, body)))
}

/// The parser's first line: what follows shows the place in the text.
fn yaml_error(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.ends_with("recursion limit exceeded") {
        return format!("yaml: {}", depth::EXCEEDED);
    }
    format!("yaml: {}", line.strip_prefix("error: ").unwrap_or(line))
}

fn not_handled(kind: &str, resource: &Resource, why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{kind} in version \"{}\" cannot be handled as a {}: {why}",
        resource.version, resource.kind
    ))
}

/// A typed object from a payload, of this kind and version or of none that it names; `warn` is told what is to be said in
/// Warning headers.
pub fn decode<T: serde::de::DeserializeOwned>(
    payload: &Payload,
    resource: &Resource,
    validation: FieldValidation,
    warn: &mut dyn FnMut(String),
) -> Result<T, ApiError> {
    let mut found = Vec::new();
    let decoded: Result<T, serde_json::Error> = match payload {
        Payload::Json(bytes) => {
            let mut deserializer = serde_json::Deserializer::from_slice(bytes);
            let decoded = ignored(&mut deserializer, &mut found);
            decoded.and_then(|object| deserializer.end().map(|()| object))
        }
        Payload::Value(value) => ignored(value, &mut found),
        Payload::Patched(patched) => {
            found.clone_from(&patched.repeated);
            ignored(&patched.value, &mut found)
        }
    };
    let object = match decoded {
        Ok(object) => object,
        Err(error) => {
            // A body of another kind has other fields, too: what kind it is says more.
            payload.expect_kind(resource)?;
            return Err(payload.refused(resource, &mistyped(payload, resource, &error)));
        }
    };
    if validation == FieldValidation::Ignore {
        return Ok(object);
    }
    if let Payload::Json(bytes) = payload {
        duplicates::find(bytes, &mut found);
    }
    if found.is_empty() {
        return Ok(object);
    }
    if validation == FieldValidation::Strict {
        let text = format!("strict decoding error: {}", found.join(", "));
        return Err(payload.refused(resource, &text));
    }
    found.into_iter().for_each(warn);
    Ok(object)
}

/// Why typed decoding failed, in upstream's words where the schema knows them.
fn mistyped(payload: &Payload, resource: &Resource, error: &serde_json::Error) -> String {
    let parsed;
    let body = match payload {
        Payload::Value(value) | Payload::Patched(Patched { value, .. }) => Some(value),
        Payload::Json(bytes) => {
            parsed = depth::outline(bytes);
            parsed.as_ref()
        }
    };
    let told = body.and_then(|body| mismatch::told(resource.definition, body));
    told.unwrap_or_else(|| match payload {
        Payload::Json(bytes) => syntax::told(error, bytes),
        Payload::Value(_) | Payload::Patched(_) => format!("json: {error}"),
    })
}

fn ignored<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    found: &mut Vec<String>,
) -> Result<T, D::Error> {
    serde_ignored::deserialize(deserializer, |path| {
        let mut text = String::new();
        write_path(&path, &mut text);
        found.push(format!("unknown field \"{text}\""));
    })
}

/// A path in upstream's notation: `spec.containers[0].imagee`.
fn write_path(path: &serde_ignored::Path<'_>, out: &mut String) {
    use serde_ignored::Path;
    match path {
        Path::Root => {}
        Path::Seq { parent, index } => {
            write_path(parent, out);
            out.push_str(&format!("[{index}]"));
        }
        Path::Map { parent, key } => {
            write_path(parent, out);
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(key);
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            write_path(parent, out);
        }
    }
}
