//! The v2 document: one swagger of everything.

use serde_json::{Map, Value, json};

use super::operations::{self, Body, Operation, PATCH_DEFINITION, PATCH_TYPES, PRETTY, Parameter, Path};
use super::schemas;

/// The Kubernetes minor whose API the documents describe.
pub(super) const VERSION: &str = "v1.35.0";

pub(super) fn document() -> Value {
    let paths: Map<String, Value> = operations::group_versions()
        .iter()
        .flat_map(operations::GroupVersion::paths)
        .map(|path| (path.path.clone(), path_item(&path)))
        .collect();
    let definitions: Map<String, Value> = schemas::all().into_iter().collect();
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "definitions": definitions,
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

fn parameter(parameter: &Parameter, place: &str) -> Value {
    json!({
        "name": parameter.name,
        "in": place,
        "description": parameter.description,
        "type": parameter.kind,
        "uniqueItems": true,
    })
}

fn operation(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = operation.parameters.iter().map(|p| parameter(p, "query")).collect();
    let mut body = |definition: &str, required: bool| {
        parameters.insert(
            0,
            json!({"name": "body", "in": "body", "required": required, "schema": schemas::reference(definition)}),
        );
    };
    let mut consumes = vec!["*/*"];
    match &operation.body {
        Body::None => {}
        Body::Object(definition) => body(definition, true),
        Body::Optional(definition) => body(definition, false),
        Body::Patch => {
            body(PATCH_DEFINITION, true);
            consumes = PATCH_TYPES.to_vec();
        }
    }
    let mut responses = Map::new();
    for (code, text) in operation.codes {
        let schema = match &operation.response {
            Some(definition) => schemas::reference(definition),
            None => json!({"type": "string"}),
        };
        responses.insert((*code).to_owned(), json!({"description": text, "schema": schema}));
    }
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    let (group, version, kind) = operation.kind;
    let produces = match (&operation.response, operation.action) {
        (None, "get") => vec!["text/plain"],
        (None, _) => vec!["*/*"],
        (Some(_), "list") => vec!["application/json", "application/json;stream=watch"],
        (Some(_), _) => vec!["application/json", "application/yaml"],
    };
    json!({
        "description": operation.description,
        "operationId": operation.id,
        "tags": [operation.tag],
        "schemes": ["https"],
        "consumes": consumes,
        "produces": produces,
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}
