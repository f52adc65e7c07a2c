//! The v2 document as protobuf: the `openapi.v2.Document` message that clients before 1.27 ask for.
//!
//! Only the fields that our document has are declared; numbers are those of gnostic's published `OpenAPIv2.proto`.
//! Vendor extensions travel as YAML text, which JSON is.

use prost::Message;
use serde_json::{Map, Value};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Document {
    #[prost(string, tag = "1")]
    pub swagger: String,
    #[prost(message, optional, tag = "2")]
    pub info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    pub paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    pub definitions: Option<Schemas>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Info {
    #[prost(string, tag = "1")]
    pub title: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Paths {
    #[prost(message, repeated, tag = "2")]
    pub path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedPathItem {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PathItem {
    #[prost(message, optional, tag = "2")]
    pub get: Option<Operation>,
    #[prost(message, optional, tag = "3")]
    pub put: Option<Operation>,
    #[prost(message, optional, tag = "4")]
    pub post: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    pub delete: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    pub patch: Option<Operation>,
    #[prost(message, repeated, tag = "9")]
    pub parameters: Vec<ParametersItem>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Operation {
    #[prost(string, repeated, tag = "1")]
    pub tags: Vec<String>,
    #[prost(string, tag = "3")]
    pub description: String,
    #[prost(string, tag = "5")]
    pub operation_id: String,
    #[prost(string, repeated, tag = "6")]
    pub produces: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    pub consumes: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    pub parameters: Vec<ParametersItem>,
    #[prost(message, optional, tag = "9")]
    pub responses: Option<Responses>,
    #[prost(string, repeated, tag = "10")]
    pub schemes: Vec<String>,
    #[prost(message, repeated, tag = "13")]
    pub vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    pub parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Parameter {
    #[prost(oneof = "ParameterKind", tags = "1, 2")]
    pub kind: Option<ParameterKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum ParameterKind {
    #[prost(message, tag = "1")]
    Body(Box<BodyParameter>),
    #[prost(message, tag = "2")]
    NonBody(NonBodyParameter),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BodyParameter {
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub place: String,
    #[prost(bool, tag = "4")]
    pub required: bool,
    #[prost(message, optional, tag = "5")]
    pub schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NonBodyParameter {
    #[prost(oneof = "NonBodyKind", tags = "3, 4")]
    pub kind: Option<NonBodyKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum NonBodyKind {
    #[prost(message, tag = "3")]
    Query(QueryParameter),
    #[prost(message, tag = "4")]
    Path(PathParameter),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryParameter {
    #[prost(string, tag = "2")]
    pub place: String,
    #[prost(string, tag = "3")]
    pub description: String,
    #[prost(string, tag = "4")]
    pub name: String,
    #[prost(string, tag = "6")]
    pub kind: String,
    #[prost(bool, tag = "20")]
    pub unique_items: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PathParameter {
    #[prost(bool, tag = "1")]
    pub required: bool,
    #[prost(string, tag = "2")]
    pub place: String,
    #[prost(string, tag = "3")]
    pub description: String,
    #[prost(string, tag = "4")]
    pub name: String,
    #[prost(string, tag = "5")]
    pub kind: String,
    #[prost(bool, tag = "19")]
    pub unique_items: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Responses {
    #[prost(message, repeated, tag = "1")]
    pub response_code: Vec<NamedResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedResponseValue {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<ResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResponseValue {
    #[prost(message, optional, tag = "1")]
    pub response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(string, tag = "1")]
    pub description: String,
    #[prost(message, optional, tag = "2")]
    pub schema: Option<SchemaItem>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SchemaItem {
    #[prost(message, optional, tag = "1")]
    pub schema: Option<Schema>,
}

/// Definitions, or the properties of one: both are named schemas.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Schemas {
    #[prost(message, repeated, tag = "1")]
    pub additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedSchema {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Schema {
    #[prost(string, tag = "1")]
    pub reference: String,
    #[prost(string, tag = "2")]
    pub format: String,
    #[prost(string, tag = "4")]
    pub description: String,
    #[prost(message, optional, tag = "5")]
    pub default: Option<Any>,
    #[prost(string, repeated, tag = "19")]
    pub required: Vec<String>,
    #[prost(message, optional, boxed, tag = "21")]
    pub additional_properties: Option<Box<AdditionalProperties>>,
    #[prost(message, optional, tag = "22")]
    pub kind: Option<TypeItem>,
    #[prost(message, optional, tag = "23")]
    pub items: Option<ItemsItem>,
    #[prost(message, optional, tag = "25")]
    pub properties: Option<Schemas>,
    #[prost(message, repeated, tag = "31")]
    pub vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AdditionalProperties {
    #[prost(message, optional, tag = "1")]
    pub schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TypeItem {
    #[prost(string, repeated, tag = "1")]
    pub value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ItemsItem {
    #[prost(message, repeated, tag = "1")]
    pub schema: Vec<Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedAny {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "2")]
    pub yaml: String,
}

/// The wire form of the document that [`super::v2::document`] builds.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let path = entries(document.get("paths"))
        .map(|(name, item)| NamedPathItem { name: name.clone(), value: Some(path_item(item)) });
    let info = document.get("info");
    let message = Document {
        swagger: text(Some(document), "swagger"),
        info: Some(Info { title: text(info, "title"), version: text(info, "version") }),
        paths: Some(Paths { path: path.collect() }),
        definitions: Some(schemas(document.get("definitions"))),
    };
    message.encode_to_vec()
}

fn entries(map: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.and_then(Value::as_object).into_iter().flatten()
}

fn text(map: Option<&Value>, field: &str) -> String {
    map.and_then(|map| map.get(field)?.as_str()).unwrap_or_default().to_owned()
}

fn texts(map: &Value, field: &str) -> Vec<String> {
    let list = map.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn is_true(map: &Value, field: &str) -> bool {
    map.get(field) == Some(&Value::Bool(true))
}

fn extensions(map: &Map<String, Value>) -> Vec<NamedAny> {
    map.iter()
        .filter(|(name, _)| name.starts_with("x-"))
        .map(|(name, value)| NamedAny { name: name.clone(), value: Some(any(value)) })
        .collect()
}

fn any(value: &Value) -> Any {
    Any { yaml: format!("{value}\n") }
}

fn path_item(item: &Value) -> PathItem {
    let method = |name: &str| item.get(name).map(operation);
    PathItem {
        get: method("get"),
        put: method("put"),
        post: method("post"),
        delete: method("delete"),
        patch: method("patch"),
        parameters: parameters(item),
    }
}

fn operation(operation: &Value) -> Operation {
    let response_code = entries(operation.get("responses")).map(|(code, response)| {
        let schema = response.get("schema").map(|s| SchemaItem { schema: Some(schema(s)) });
        let response = Response { description: text(Some(response), "description"), schema };
        NamedResponseValue { name: code.clone(), value: Some(ResponseValue { response: Some(response) }) }
    });
    Operation {
        tags: texts(operation, "tags"),
        description: text(Some(operation), "description"),
        operation_id: text(Some(operation), "operationId"),
        produces: texts(operation, "produces"),
        consumes: texts(operation, "consumes"),
        parameters: parameters(operation),
        responses: Some(Responses { response_code: response_code.collect() }),
        schemes: texts(operation, "schemes"),
        vendor_extension: operation.as_object().map(extensions).unwrap_or_default(),
    }
}

fn parameters(holder: &Value) -> Vec<ParametersItem> {
    let list = holder.get("parameters").and_then(Value::as_array).into_iter().flatten();
    list.map(|item| ParametersItem { parameter: Some(Parameter { kind: Some(parameter(item)) }) }).collect()
}

fn parameter(item: &Value) -> ParameterKind {
    let field = |name: &str| text(Some(item), name);
    let unique_items = is_true(item, "uniqueItems");
    match field("in").as_str() {
        "body" => ParameterKind::Body(Box::new(BodyParameter {
            name: field("name"),
            place: field("in"),
            required: is_true(item, "required"),
            schema: item.get("schema").map(schema),
        })),
        "path" => ParameterKind::NonBody(NonBodyParameter {
            kind: Some(NonBodyKind::Path(PathParameter {
                required: true,
                place: field("in"),
                description: field("description"),
                name: field("name"),
                kind: field("type"),
                unique_items,
            })),
        }),
        _ => ParameterKind::NonBody(NonBodyParameter {
            kind: Some(NonBodyKind::Query(QueryParameter {
                place: field("in"),
                description: field("description"),
                name: field("name"),
                kind: field("type"),
                unique_items,
            })),
        }),
    }
}

fn schemas(map: Option<&Value>) -> Schemas {
    let named =
        entries(map).map(|(name, value)| NamedSchema { name: name.clone(), value: Some(schema(value)) });
    Schemas { additional_properties: named.collect() }
}

fn schema(value: &Value) -> Schema {
    let field = |name: &str| text(Some(value), name);
    Schema {
        reference: field("$ref"),
        format: field("format"),
        description: field("description"),
        default: value.get("default").map(any),
        required: texts(value, "required"),
        additional_properties: value
            .get("additionalProperties")
            .filter(|inner| inner.is_object())
            .map(|inner| Box::new(AdditionalProperties { schema: Some(schema(inner)) })),
        kind: value
            .get("type")
            .map(|kind| TypeItem { value: kind.as_str().into_iter().map(str::to_owned).collect() }),
        items: value.get("items").map(|items| ItemsItem { schema: vec![schema(items)] }),
        properties: value.get("properties").map(|properties| schemas(Some(properties))),
        vendor_extension: value.as_object().map(extensions).unwrap_or_default(),
    }
}
