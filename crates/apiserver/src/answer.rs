//! From objects to response bodies: the bytes as they are, or the form that the client asked for.
//!
//! The plain JSON form of a stored version is never decoded. Tables, metadata-only forms, legacy versions and YAML are
//! computed from the JSON.

use api::scheme::Resource;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::accept::{self, Encoding, Form, MetaVersion};
use crate::body::{self, Body};
use crate::error::{Amount, ApiError};
use crate::legacy;
use crate::object::Object;
use crate::request::Query;
use crate::table::{Headers, IncludeObject, Rendering, partial_list, partial_object};

/// How the answers to one request are written.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub resource: &'static Resource,
    pub form: Form,
    pub encoding: Encoding,
    include: IncludeObject,
    now: Timestamp,
}

/// An object of which nothing but its metadata is read.
#[derive(serde::Deserialize)]
struct MetadataOnly {
    metadata: Value,
}

/// The metadata of a list.
#[derive(Debug, Default)]
pub struct ListMeta {
    pub revision: u64,
    pub continue_token: Option<String>,
    pub remaining: Option<usize>,
}

impl Shape {
    pub fn new(
        resource: &'static Resource,
        headers: &HeaderMap,
        query: &Query,
        now: Timestamp,
    ) -> Result<Shape, ApiError> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let (form, encoding) = accept::object_form(accept)
            .map_err(|_| ApiError::not_acceptable(&["application/json", "application/yaml"]))?;
        let include = match form {
            Form::Table(_) => IncludeObject::parse(query.get("includeObject"))
                .map_err(|error| ApiError::bad_request(error.to_string()))?,
            Form::Object | Form::PartialMetadata(_) | Form::PartialMetadataList(_) => IncludeObject::None,
        };
        Ok(Shape { resource, form, encoding, include, now })
    }

    /// The stored bytes are the answer.
    pub fn is_plain(&self) -> bool {
        self.form == Form::Object && self.encoding == Encoding::Json && self.resource.stored_as.is_none()
    }

    fn rendering(&self, version: MetaVersion) -> Rendering {
        Rendering { version, include: self.include, now: self.now }
    }

    /// As much of the object as the form shows.
    fn value(&self, object: &Object) -> Result<Value, ApiError> {
        let damaged = |_| ApiError::internal("the stored object is damaged");
        let json = object.json();
        if matches!(self.form, Form::PartialMetadata(_) | Form::PartialMetadataList(_))
            && self.resource.stored_as.is_none()
        {
            // The garbage collector follows every object so: what is not shown is passed over.
            let shown: MetadataOnly = serde_json::from_slice(&json).map_err(damaged)?;
            return Ok(json!({"metadata": shown.metadata}));
        }
        let value = serde_json::from_slice(&json).map_err(damaged)?;
        Ok(legacy::from_storage(self.resource, value))
    }

    /// Whether answers can be parts of a stream: YAML has no end of one.
    pub fn streams(&self) -> bool {
        self.encoding == Encoding::Json
    }

    /// An object of nothing but this metadata.
    pub fn typed(&self, metadata: Value) -> Value {
        json!({
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": metadata,
        })
    }

    /// One object inside a watch event or as an answer.
    pub fn render(&self, object: &Object, headers: Headers) -> Result<Value, ApiError> {
        Ok(self.shown(self.value(object)?, headers))
    }

    /// An object in the form that was asked for.
    pub fn shown(&self, value: Value, headers: Headers) -> Value {
        match self.form {
            Form::Object => value,
            Form::Table(version) => self.rendering(version).event(self.resource, &value, headers),
            Form::PartialMetadata(version) | Form::PartialMetadataList(version) => {
                partial_object(&value, version)
            }
        }
    }

    pub fn object(&self, status: StatusCode, object: &Object) -> Result<Response<Body>, ApiError> {
        if self.is_plain() {
            return Ok(bytes(status, Encoding::Json.content_type(), object.json()));
        }
        if let Form::PartialMetadataList(_) = self.form {
            return Err(ApiError::form_not_acceptable(self.resource, Amount::One));
        }
        self.computed(status, &self.render(object, Headers::Shown)?)
    }

    pub fn list<'a>(
        &self,
        objects: impl Iterator<Item = &'a Object> + Clone,
        meta: &ListMeta,
    ) -> Result<Response<Body>, ApiError> {
        if self.is_plain() {
            return Ok(bytes(StatusCode::OK, "application/json", spliced(self.resource, objects, meta)));
        }
        if let Form::PartialMetadata(_) = self.form {
            return Err(ApiError::form_not_acceptable(self.resource, Amount::Many));
        }
        let mut items = Vec::new();
        for object in objects {
            items.push(self.value(object)?);
        }
        let mut metadata = json!({"resourceVersion": meta.revision.to_string()});
        if let Some(token) = &meta.continue_token {
            metadata["continue"] = token.clone().into();
        }
        if let Some(remaining) = meta.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        let list = json!({
            "kind": format!("{}List", self.resource.kind),
            "apiVersion": self.resource.api_version(),
            "metadata": metadata,
            "items": items,
        });
        let value = match self.form {
            Form::Object => list,
            Form::Table(version) => self.rendering(version).list(self.resource, &list),
            Form::PartialMetadata(version) | Form::PartialMetadataList(version) => {
                partial_list(&list, version)
            }
        };
        self.computed(StatusCode::OK, &value)
    }

    fn computed(&self, status: StatusCode, value: &Value) -> Result<Response<Body>, ApiError> {
        match self.encoding {
            Encoding::Json => json_response(status, value),
            Encoding::Yaml => {
                let text = serde_saphyr::to_string(value)
                    .map_err(|_| ApiError::internal("the answer cannot be written as YAML"))?;
                Ok(bytes(status, Encoding::Yaml.content_type(), Bytes::from(text)))
            }
        }
    }
}

/// A list's JSON: the items are the stored bytes without their type, as upstream's items.
fn spliced<'a>(
    resource: &Resource,
    objects: impl Iterator<Item = &'a Object> + Clone,
    meta: &ListMeta,
) -> Bytes {
    let typed = format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", resource.api_version(), resource.kind);
    let size: usize = objects.clone().map(|object| object.json_bytes_max() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{}\"",
        resource.kind,
        resource.api_version(),
        meta.revision
    );
    out.extend_from_slice(head.as_bytes());
    if let Some(token) = &meta.continue_token {
        out.extend_from_slice(format!(",\"continue\":\"{token}\"").as_bytes());
    }
    if let Some(remaining) = meta.remaining {
        out.extend_from_slice(format!(",\"remainingItemCount\":{remaining}").as_bytes());
    }
    out.extend_from_slice(b"},\"items\":[");
    for (i, object) in objects.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        object.write_json_with(typed.as_bytes(), b"{", &mut out);
    }
    out.extend_from_slice(b"]}");
    Bytes::from(out)
}

pub fn bytes(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub fn json_response<T: serde::Serialize>(status: StatusCode, value: &T) -> Result<Response<Body>, ApiError> {
    let json = serde_json::to_vec(value).map_err(|_| ApiError::internal("the answer cannot be encoded"))?;
    Ok(bytes(status, "application/json", json))
}
