//! The v3 documents: one of each group and version, with just the definitions that it refers to, and their index.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::operations::{
    self, Body, GroupVersion, Operation, PATCH_DEFINITION, PATCH_TYPES, PRETTY, Parameter, Path,
};
use super::schemas::{self, Schemas};
use super::v2::VERSION;

const REFERENCE: &str = "#/components/schemas/";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// Where each document is, with a hash that changes when the document does, so that clients may keep it for ever.
pub(super) fn index(hashes: &BTreeMap<String, String>) -> Value {
    let paths: Map<String, Value> = hashes
        .iter()
        .map(|(path, hash)| {
            (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
        })
        .collect();
    json!({"paths": paths})
}

pub(super) fn document(version: &GroupVersion, schemas: &Schemas) -> Value {
    let paths = version.paths();
    let mut wanted: Vec<String> = vec![schemas::WATCH_EVENT.to_owned()];
    for operation in paths.iter().flat_map(|path| &path.operations) {
        wanted.extend(operation.response.clone());
        match &operation.body {
            Body::None => {}
            Body::Object(definition) => wanted.push(definition.clone()),
            Body::Optional(definition) => wanted.push((*definition).to_owned()),
            Body::Patch => wanted.push(PATCH_DEFINITION.to_owned()),
        }
    }
    let components: Map<String, Value> = closure(wanted, schemas)
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), component(name, schemas.get(name)?))))
        .collect();
    let paths: Map<String, Value> = paths.iter().map(|path| (path.path.clone(), path_item(path))).collect();
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "components": {"schemas": components},
    })
}

/// The definitions, and all that they refer to.
fn closure(mut wanted: Vec<String>, schemas: &Schemas) -> BTreeSet<&str> {
    let mut known = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        let Some((name, schema)) = schemas.get_key_value(&name) else { continue };
        if known.insert(name.as_str()) {
            collect_references(schema, &mut wanted);
        }
    }
    known
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    if let Some(target) = schemas::referred(value) {
        found.push(target.to_owned());
    }
    match value {
        Value::Array(list) => list.iter().for_each(|item| collect_references(item, found)),
        Value::Object(map) => map.values().for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

fn component(name: &str, schema: &Value) -> Value {
    let mut component = converted(schema);
    match name {
        QUANTITY => {
            component = json!({
                "description": schema.get("description"),
                "oneOf": [{"type": "string"}, {"type": "number"}],
            });
        }
        INT_OR_STRING => {
            component = json!({
                "description": schema.get("description"),
                "format": "int-or-string",
                "oneOf": [{"type": "integer"}, {"type": "string"}],
            });
        }
        _ => {}
    }
    component
}

/// A schema of v2 in v3's words: v3 ignores what stands beside a reference, so the reference moves into `allOf`.
fn converted(schema: &Value) -> Value {
    match schema {
        Value::Array(list) => list.iter().map(converted).collect(),
        Value::Object(map) => {
            let mut converted: Map<String, Value> = map
                .iter()
                .filter(|(field, _)| *field != "$ref")
                .map(|(field, value)| (field.clone(), self::converted(value)))
                .collect();
            if let Some(target) = schemas::referred(schema) {
                let reference = json!({"$ref": format!("{REFERENCE}{target}")});
                converted.insert("allOf".to_owned(), json!([reference]));
            }
            Value::Object(converted)
        }
        scalar => scalar.clone(),
    }
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("{REFERENCE}{definition}")})
}

fn parameter(parameter: &Parameter, place: &str) -> Value {
    json!({
        "name": parameter.name,
        "in": place,
        "description": parameter.description,
        "schema": {"type": parameter.kind, "uniqueItems": true},
    })
}

fn path_item(path: &Path) -> Value {
    let mut item = Map::new();
    for operation in &path.operations {
        item.insert(operation.method.to_owned(), self::operation(operation));
    }
    let mut parameters: Vec<Value> = path
        .parameters
        .iter()
        .map(|name| {
            let mut parameter = parameter(&operations::path_parameter(name), "path");
            parameter["required"] = true.into();
            parameter
        })
        .collect();
    parameters.push(parameter(&PRETTY, "query"));
    item.insert("parameters".to_owned(), parameters.into());
    Value::Object(item)
}

fn operation(operation: &Operation) -> Value {
    let parameters: Vec<Value> = operation.parameters.iter().map(|p| parameter(p, "query")).collect();
    let mut responses = Map::new();
    for (code, text) in operation.codes {
        let content = match &operation.response {
            None => json!({"text/plain": {"schema": {"type": "string"}}}),
            Some(definition) => contents(response_types(operation.action), definition),
        };
        responses.insert((*code).to_owned(), json!({"description": text, "content": content}));
    }
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    let (group, version, kind) = operation.kind;
    let mut value = json!({
        "description": operation.description,
        "operationId": operation.id,
        "tags": [operation.tag],
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    let body = match &operation.body {
        Body::None => return value,
        Body::Object(definition) => json!({"content": contents(&["*/*"], definition), "required": true}),
        Body::Optional(definition) => json!({"content": contents(&["*/*"], definition)}),
        Body::Patch => json!({"content": contents(&PATCH_TYPES, PATCH_DEFINITION), "required": true}),
    };
    value["requestBody"] = body;
    value
}

fn response_types(action: &str) -> &'static [&'static str] {
    match action {
        "list" => &["application/json", "application/json;stream=watch", "application/yaml"],
        _ => &["application/json", "application/yaml"],
    }
}

fn contents(types: &[&str], definition: &str) -> Value {
    let contents = types.iter().map(|name| ((*name).to_owned(), json!({"schema": reference(definition)})));
    Value::Object(contents.collect())
}
