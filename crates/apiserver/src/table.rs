//! Tables: what `kubectl get` prints, computed from JSON objects, and the metadata-only forms of objects and lists.
//!
//! What it does: one row of cells for an object, columns for a kind, both as upstream's printers have them. What it
//! does not know: storage, watches, negotiation (see [`crate::accept`]). Objects are read as JSON, and never decoded:
//! a missing or odd field is an empty cell, not an error. `now` is an argument, ages are relative to it.
//!
//! Upstream: `pkg/printers/internalversion/printers.go`, `apiserver/pkg/registry/rest/table.go`.

mod age;
mod cells;
mod columns;
mod network;
mod pod;
mod storage;

use api::scheme::Resource;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::accept::MetaVersion;

/// How much of its object a row carries (`?includeObject=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// A value of `includeObject` that means nothing: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Unable to convert to Table as requested: includeObject: Invalid value: {0:?}: must be 'Metadata', 'Object', 'None', or empty"
)]
pub struct UnknownIncludeObject(String);

impl IncludeObject {
    /// The value of the query parameter; absent or empty means metadata.
    pub fn parse(text: Option<&str>) -> Result<IncludeObject, UnknownIncludeObject> {
        match text {
            None | Some("" | "Metadata") => Ok(IncludeObject::Metadata),
            Some("None") => Ok(IncludeObject::None),
            Some("Object") => Ok(IncludeObject::Object),
            Some(other) => Err(UnknownIncludeObject(other.to_owned())),
        }
    }
}

/// Whether a table describes its columns: only the first event of a watch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Headers {
    Shown,
    Omitted,
}

/// How tables of one request are rendered.
#[derive(Debug, Clone, Copy)]
pub struct Rendering {
    pub version: MetaVersion,
    pub include: IncludeObject,
    pub now: Timestamp,
}

impl Rendering {
    /// The table of a list: one row an item, the list's own metadata.
    pub fn list(&self, resource: &Resource, list: &Value) -> Value {
        let items = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rows = items.iter().map(|item| self.row(resource, item)).collect();
        self.table(resource, Headers::Shown, list_metadata(list), rows)
    }

    /// The table of one object: one row.
    pub fn object(&self, resource: &Resource, object: &Value) -> Value {
        self.event(resource, object, Headers::Shown)
    }

    /// The table inside one watch event.
    pub fn event(&self, resource: &Resource, object: &Value, headers: Headers) -> Value {
        let mut metadata = Map::new();
        if let Some(revision) = object.pointer("/metadata/resourceVersion") {
            metadata.insert("resourceVersion".to_owned(), revision.clone());
        }
        self.table(resource, headers, metadata, vec![self.row(resource, object)])
    }

    /// One row. Its text does not depend on the request but for `now`, the version and `include`.
    pub fn row(&self, resource: &Resource, object: &Value) -> Value {
        let mut row = Map::new();
        row.insert("cells".to_owned(), cells::of(resource, object, self.now).into());
        if resource.group.is_empty()
            && resource.kind == "Pod"
            && let Some(condition) = pod::completed(object)
        {
            row.insert("conditions".to_owned(), json!([condition]));
        }
        // Upstream's null: a row whose object was not asked for.
        let shown = match self.include {
            IncludeObject::None => Value::Null,
            IncludeObject::Metadata => partial_object(object, self.version),
            IncludeObject::Object => typed(resource, object),
        };
        row.insert("object".to_owned(), shown);
        Value::Object(row)
    }

    /// A table of rows that were rendered before (by [`Rendering::row`]).
    pub fn table(
        &self,
        resource: &Resource,
        headers: Headers,
        metadata: Map<String, Value>,
        rows: Vec<Value>,
    ) -> Value {
        let definitions = match headers {
            Headers::Shown => columns::definitions(resource),
            Headers::Omitted => Value::Null,
        };
        json!({
            "kind": "Table",
            "apiVersion": self.version.api_version(),
            "metadata": metadata,
            "columnDefinitions": definitions,
            "rows": rows,
        })
    }
}

/// The PartialObjectMetadata of an object.
pub fn partial_object(object: &Value, version: MetaVersion) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": version.api_version(),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// The PartialObjectMetadataList of a list.
pub fn partial_list(list: &Value, version: MetaVersion) -> Value {
    let items = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let items: Vec<Value> = items.iter().map(|item| partial_object(item, version)).collect();
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": version.api_version(),
        "metadata": list_metadata(list),
        "items": items,
    })
}

fn list_metadata(list: &Value) -> Map<String, Value> {
    let metadata = list.get("metadata").and_then(Value::as_object);
    ["resourceVersion", "continue", "remainingItemCount"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), metadata?.get(name)?.clone())))
        .collect()
}

/// The object with its type, which items of lists may lack.
fn typed(resource: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| resource.api_version().into());
        fields.entry("kind").or_insert_with(|| resource.kind.into());
    }
    object
}

#[cfg(test)]
mod tests;
