//! The OpenAPI documents are whole, agree with the scheme, and survive their protobuf form.

use std::collections::BTreeSet;

use prost::Message;
use serde_json::Value;

use super::*;

fn found(path: &str, accept: Option<&str>) -> &'static Document {
    match document(path, accept) {
        Answer::Found(document) => document,
        other => panic!("{path}: {other:?}"),
    }
}

fn read(path: &str) -> Value {
    serde_json::from_slice(&found(path, None).plain()).unwrap()
}

/// Every reference below a value.
fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| references(item, into)),
        Value::Object(map) => {
            for (field, value) in map {
                match value {
                    Value::String(target) if field == "$ref" => {
                        into.insert(target.clone());
                    }
                    other => references(other, into),
                }
            }
        }
        _ => {}
    }
}

fn has_query_parameter(operation: &Value, name: &str) -> bool {
    let parameters = operation["parameters"].as_array().unwrap();
    parameters.iter().any(|parameter| parameter["name"] == name && parameter["in"] == "query")
}

#[test]
fn every_reference_leads_to_a_definition() {
    let v2 = read("/openapi/v2");
    let mut targets = BTreeSet::new();
    references(&v2, &mut targets);
    assert!(targets.len() > 150, "{}", targets.len());
    for target in &targets {
        let name = target.strip_prefix("#/definitions/").unwrap_or_else(|| panic!("{target}"));
        assert!(v2["definitions"].get(name).is_some(), "{name}");
    }
    let index = read("/openapi/v3");
    for (path, entry) in index["paths"].as_object().unwrap() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")), "{url}");
        let document = read(&format!("/openapi/v3/{path}"));
        let mut targets = BTreeSet::new();
        references(&document, &mut targets);
        for target in &targets {
            let name = target.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{target}"));
            assert!(document["components"]["schemas"].get(name).is_some(), "{path}: {name}");
        }
    }
}

#[test]
fn every_resource_of_the_scheme_has_its_definition_and_paths() {
    let v2 = read("/openapi/v2");
    for resource in api::scheme::RESOURCES {
        let (prefix, group_version) = match resource.group {
            "" => (format!("/api/{}", resource.version), format!("api/{}", resource.version)),
            group => {
                (format!("/apis/{group}/{}", resource.version), format!("apis/{group}/{}", resource.version))
            }
        };
        let v3 = read(&format!("/openapi/v3/{group_version}"));
        let schema = &v3["components"]["schemas"][resource.definition];
        let kind = &schema["x-kubernetes-group-version-kind"][0];
        assert_eq!(kind["kind"], resource.kind);
        assert_eq!(kind["group"], resource.group);
        assert_eq!(kind["version"], resource.version);
        assert_eq!(v2["definitions"][resource.definition]["x-kubernetes-group-version-kind"][0], *kind);

        let collection = match resource.namespaced {
            true => format!("{prefix}/namespaces/{{namespace}}/{}", resource.plural),
            false => format!("{prefix}/{}", resource.plural),
        };
        assert_eq!(v3["paths"][&collection]["post"]["x-kubernetes-action"], "post");
        if resource.verbs.contains(&"patch") {
            for document in [&v2, &v3] {
                let patch = &document["paths"][format!("{collection}/{{name}}")]["patch"];
                assert_eq!(patch["x-kubernetes-group-version-kind"], *kind);
                assert!(has_query_parameter(patch, "fieldValidation"));
                assert!(has_query_parameter(patch, "dryRun"));
            }
        }
    }
}

#[test]
fn operation_ids_are_unique_and_upstreams() {
    let v2 = read("/openapi/v2");
    let mut ids = BTreeSet::new();
    for item in v2["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values().filter(|value| value.is_object()) {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} twice");
        }
    }
    for id in [
        "listCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "readCoreV1NamespacedPodLog",
        "connectCoreV1GetNamespacedPodExec",
        "createCoreV1NamespacedPodEviction",
        "deleteCoreV1CollectionNamespacedPod",
        "replaceAppsV1NamespacedDaemonSetStatus",
        "patchCoreV1Node",
        "createRbacAuthorizationV1ClusterRole",
        "replaceCoreV1NamespaceFinalize",
    ] {
        assert!(ids.contains(id), "{id}");
    }
}

#[test]
fn merge_keys_and_special_types_have_upstreams_shape() {
    let v2 = read("/openapi/v2");
    let spec = &v2["definitions"]["io.k8s.api.core.v1.PodSpec"];
    let containers = &spec["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(containers["items"]["$ref"], "#/definitions/io.k8s.api.core.v1.Container");
    assert_eq!(spec["required"], serde_json::json!(["containers"]));
    assert_eq!(spec["properties"]["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(v2["definitions"]["io.k8s.api.core.v1.Pod"].get("required"), None);
    let quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
    let int_or_string = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
    assert_eq!(v2["definitions"][quantity]["type"], "string");
    assert_eq!(v2["definitions"][int_or_string]["format"], "int-or-string");
    assert_eq!(v2["definitions"]["io.k8s.apimachinery.pkg.apis.meta.v1.Time"]["format"], "date-time");

    let v3 = read("/openapi/v3/apis/apps/v1");
    let schemas = &v3["components"]["schemas"];
    assert_eq!(schemas[quantity]["oneOf"][1]["type"], "number");
    assert_eq!(schemas[int_or_string]["format"], "int-or-string");
    let pod_spec = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(
        pod_spec["containers"]["items"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.api.core.v1.Container"
    );
    assert_eq!(pod_spec["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(schemas.get("io.k8s.api.core.v1.Node"), None, "only what the group refers to");
}

#[test]
fn legacy_daemon_sets_have_definitions_of_their_own() {
    let v2 = read("/openapi/v2");
    let old = &v2["definitions"]["io.k8s.api.extensions.v1beta1.DaemonSetSpec"];
    assert_eq!(old["properties"]["templateGeneration"]["format"], "int64");
    assert_eq!(old["required"], serde_json::json!(["template"]));
    assert_eq!(
        old["properties"]["updateStrategy"]["$ref"],
        "#/definitions/io.k8s.api.extensions.v1beta1.DaemonSetUpdateStrategy"
    );
    let newer = &v2["definitions"]["io.k8s.api.apps.v1beta2.DaemonSetSpec"];
    assert_eq!(newer["properties"].get("templateGeneration"), None);
    assert_eq!(newer["required"], serde_json::json!(["selector", "template"]));
}

#[test]
fn the_protobuf_document_decodes_to_the_same_definitions() {
    let asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let document = found("/openapi/v2", Some(asked));
    let answered = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!(document.content_type, answered);
    let decoded = protobuf::Document::decode(document.plain()).unwrap();
    let v2 = read("/openapi/v2");
    assert_eq!(decoded.swagger, "2.0");

    let definitions = decoded.definitions.unwrap().additional_properties;
    let names: BTreeSet<&str> = definitions.iter().map(|named| named.name.as_str()).collect();
    let want: BTreeSet<&str> = v2["definitions"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, want);
    let spec = definitions.iter().find(|named| named.name == "io.k8s.api.core.v1.PodSpec").unwrap();
    let properties = spec.value.as_ref().unwrap().properties.as_ref().unwrap();
    let containers = properties.additional_properties.iter().find(|p| p.name == "containers").unwrap();
    let containers = containers.value.as_ref().unwrap();
    assert_eq!(containers.kind.as_ref().unwrap().value, ["array"]);
    assert_eq!(
        containers.items.as_ref().unwrap().schema[0].reference,
        "#/definitions/io.k8s.api.core.v1.Container"
    );
    let key = containers.vendor_extension.iter().find(|x| x.name == "x-kubernetes-patch-merge-key").unwrap();
    assert_eq!(key.value.as_ref().unwrap().yaml, "\"name\"\n");

    let paths = decoded.paths.unwrap().path;
    assert_eq!(paths.len(), v2["paths"].as_object().unwrap().len());
    let pod = paths.iter().find(|p| p.name == "/api/v1/namespaces/{namespace}/pods/{name}").unwrap();
    let patch = pod.value.as_ref().unwrap().patch.as_ref().unwrap();
    let queries: Vec<&str> = patch
        .parameters
        .iter()
        .filter_map(|item| match item.parameter.as_ref()?.kind.as_ref()? {
            protobuf::ParameterKind::NonBody(other) => match other.kind.as_ref()? {
                protobuf::NonBodyKind::Query(query) => Some(query.name.as_str()),
                protobuf::NonBodyKind::Path(_) => None,
            },
            protobuf::ParameterKind::Body(_) => None,
        })
        .collect();
    assert!(queries.contains(&"fieldValidation") && queries.contains(&"dryRun"), "{queries:?}");
}

#[test]
fn documents_are_found_by_path_and_accept_header() {
    assert!(matches!(document("/openapi/v3/apis/batch/v1", None), Answer::Unknown));
    assert!(matches!(document("/openapi/v4", None), Answer::Unknown));
    assert!(matches!(document("/openapi/v2", Some("text/html")), Answer::NotAcceptable));
    let protobuf_only = Some("application/com.github.proto-openapi.spec.v3@v1.0+protobuf");
    assert!(matches!(document("/openapi/v3/api/v1", protobuf_only), Answer::NotAcceptable));
    let both = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf,application/json";
    assert_eq!(found("/openapi/v3/api/v1", Some(both)).content_type, "application/json");
    let etag = &found("/openapi/v3/", Some("*/*")).etag;
    assert!(etag.starts_with('"') && etag.len() == 66);
}

#[test]
fn what_is_kept_in_memory_is_small() {
    let index = read("/openapi/v3");
    let paths = index["paths"].as_object().unwrap().keys();
    let kept: usize = paths.map(|path| found(&format!("/openapi/v3/{path}"), None).gzip.len()).sum();
    let v2 = found("/openapi/v2", None).gzip.len();
    assert!(kept + v2 < 1_000_000, "{kept} + {v2} bytes");
}
