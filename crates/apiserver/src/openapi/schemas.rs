//! The definitions: the compiled types' own schemas, in upstream's shape.
//!
//! References are written as in v2 (`#/definitions/NAME`) with the description beside them; [`super::v3`] rewrites both.

use std::collections::BTreeMap;

use api::scheme::{RESOURCES, Resource};
use k8s_openapi::api::{apps::v1 as apps, authentication::v1 as authentication};
use k8s_openapi::api::{authorization::v1 as authorization, coordination::v1 as coordination};
use k8s_openapi::api::{certificates::v1 as certificates, discovery::v1 as discovery, node::v1 as node};
use k8s_openapi::api::{core::v1 as core, events::v1 as events, policy::v1 as policy};
use k8s_openapi::api::{rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::schemars::{SchemaGenerator, generate::SchemaSettings};
use patch::keys::{self, Structure};
use serde_json::{Map, Value, json};

pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
pub(super) const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const GVK: &str = "x-kubernetes-group-version-kind";

/// Where the compiled types' own references point.
const COMPILED_REFERENCE: &str = "#/$defs/";
const REFERENCE: &str = "#/definitions/";

/// Definitions by name.
pub(super) type Schemas = BTreeMap<String, Value>;

/// Every definition that any document needs.
pub(super) fn all() -> Schemas {
    let mut schemas: Schemas =
        compiled().into_iter().map(|(name, schema)| (name.clone(), shaped(&name, schema))).collect();
    for (version, prefix) in
        [("v1beta2", "io.k8s.api.apps.v1beta2."), ("v1beta1", "io.k8s.api.extensions.v1beta1.")]
    {
        legacy_daemon_set(&mut schemas, prefix, version);
    }
    for resource in RESOURCES {
        if resource.verbs.contains(&"list") {
            let list = list_of(resource, &schemas);
            schemas.insert(list_definition(resource), list);
        }
        mark(&mut schemas, resource.definition, &[(resource.group, resource.version, resource.kind)]);
    }
    schemas.insert(
        PATCH.to_owned(),
        json!({
            "description": "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.",
            "type": "object",
        }),
    );
    mark(&mut schemas, STATUS, &[("", "v1", "Status")]);
    let tokens = ("authentication.k8s.io", "v1", "TokenRequest");
    mark(&mut schemas, "io.k8s.api.authentication.v1.TokenRequest", &[tokens]);
    mark(&mut schemas, "io.k8s.api.policy.v1.Eviction", &[("policy", "v1", "Eviction")]);
    for (definition, kind) in [(DELETE_OPTIONS, "DeleteOptions"), (WATCH_EVENT, "WatchEvent")] {
        let mut everywhere: Vec<_> = RESOURCES.iter().map(|r| (r.group, r.version, kind)).collect();
        everywhere.sort_unstable();
        everywhere.dedup();
        mark(&mut schemas, definition, &everywhere);
    }
    schemas
}

/// `io.k8s.api.core.v1.PodList`.
pub(super) fn list_definition(resource: &Resource) -> String {
    format!("{}List", resource.definition)
}

pub(super) fn reference(definition: &str) -> Value {
    json!({"$ref": format!("{REFERENCE}{definition}")})
}

/// The definition that a schema refers to.
pub fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(REFERENCE)
}

/// What the types themselves say.
fn compiled() -> Map<String, Value> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.transforms.clear();
    let mut generator: SchemaGenerator = settings.into_generator();
    macro_rules! roots {
        ($($root:ty),* $(,)?) => {
            $( generator.subschema_for::<$root>(); )*
        };
    }
    roots!(
        core::ConfigMap,
        core::Event,
        core::Namespace,
        core::Node,
        core::Pod,
        core::Secret,
        core::ServiceAccount,
        core::Endpoints,
        core::PodTemplate,
        core::Service,
        core::Binding,
        apps::ControllerRevision,
        apps::DaemonSet,
        coordination::Lease,
        events::Event,
        rbac::ClusterRoleBinding,
        rbac::ClusterRole,
        rbac::RoleBinding,
        rbac::Role,
        scheduling::PriorityClass,
        authorization::LocalSubjectAccessReview,
        authorization::SelfSubjectAccessReview,
        authorization::SelfSubjectRulesReview,
        authorization::SubjectAccessReview,
        authentication::SelfSubjectReview,
        authentication::TokenRequest,
        authentication::TokenReview,
        policy::Eviction,
        policy::PodDisruptionBudget,
        certificates::CertificateSigningRequest,
        discovery::EndpointSlice,
        node::RuntimeClass,
        storage::CSIDriver,
        storage::CSINode,
        storage::StorageClass,
        meta::Status,
        meta::ListMeta,
        meta::DeleteOptions,
        meta::WatchEvent<core::Pod>,
    );
    generator.take_definitions(true)
}

/// One definition in upstream's shape, with the extensions that `patch::keys` knows.
fn shaped(name: &str, mut schema: Value) -> Value {
    let description = schema.get("description").cloned().unwrap_or_default();
    match name {
        QUANTITY => return json!({"description": description, "type": "string"}),
        INT_OR_STRING => {
            return json!({"description": description, "type": "string", "format": "int-or-string"});
        }
        _ => {}
    }
    rewrite_references(&mut schema, &|target| format!("{REFERENCE}{target}"));
    let Some(fields) = schema.as_object_mut() else { return schema };
    if keys::is_atomic(name) {
        fields.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    // The compiled types cannot do without metadata; the API can.
    if let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field != "metadata");
        if required.is_empty() {
            fields.remove("required");
        }
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        for (field, property) in properties {
            extend(name, field, property);
        }
    }
    schema
}

/// Merge strategy, list type and the default that identifies a port, on one property.
fn extend(definition: &str, field: &str, property: &mut Value) {
    let Some(property) = property.as_object_mut() else { return };
    if (definition, field) == ("io.k8s.api.core.v1.ContainerPort", "protocol") {
        property.insert("default".to_owned(), "TCP".into());
    }
    let Some(rule) = keys::rule(definition, field) else { return };
    let mut extension = |name: &str, value: Value| property.insert(format!("x-kubernetes-{name}"), value);
    match rule.structure {
        Structure::AtomicList => extension("list-type", "atomic".into()),
        Structure::SetList => extension("list-type", "set".into()),
        Structure::MapList(map_keys) => {
            extension("list-map-keys", map_keys.into());
            extension("list-type", "map".into())
        }
        Structure::AtomicMap => extension("map-type", "atomic".into()),
    };
    if let Some(key) = rule.merge_key {
        extension("patch-merge-key", key.into());
    }
    if let Some(strategy) = rule.strategy_text() {
        extension("patch-strategy", strategy.into());
    }
}

/// Changes the target of every reference below a value; `rename` gets and gives it without the leading part.
fn rewrite_references(value: &mut Value, rename: &impl Fn(&str) -> String) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|item| rewrite_references(item, rename)),
        Value::Object(map) => {
            for (field, value) in map {
                match value {
                    Value::String(text) if field == "$ref" => {
                        let target = text.strip_prefix(COMPILED_REFERENCE).or(text.strip_prefix(REFERENCE));
                        *text = target.map(rename).unwrap_or_default();
                    }
                    other => rewrite_references(other, rename),
                }
            }
        }
        _ => {}
    }
}

/// The DaemonSet of an older version: the definitions of apps/v1 under other names, with what differed.
fn legacy_daemon_set(schemas: &mut Schemas, prefix: &str, version: &str) {
    const OWN: [&str; 6] = [
        "DaemonSet",
        "DaemonSetCondition",
        "DaemonSetSpec",
        "DaemonSetStatus",
        "DaemonSetUpdateStrategy",
        "RollingUpdateDaemonSet",
    ];
    const CURRENT: &str = "io.k8s.api.apps.v1.";
    for name in OWN {
        let Some(mut schema) = schemas.get(&format!("{CURRENT}{name}")).cloned() else { continue };
        rewrite_references(&mut schema, &|target| match target.strip_prefix(CURRENT) {
            Some(own) if OWN.contains(&own) => format!("{REFERENCE}{prefix}{own}"),
            _ => format!("{REFERENCE}{target}"),
        });
        if name == "DaemonSetSpec" && version == "v1beta1" {
            if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
                required.retain(|field| field != "selector");
            }
            schema["properties"]["templateGeneration"] = json!({
                "description": "DEPRECATED. A sequence number representing a specific generation of the template. Populated by the system. It can be set only during the creation.",
                "type": "integer",
                "format": "int64",
            });
        }
        schemas.insert(format!("{prefix}{name}"), schema);
    }
}

fn list_of(resource: &Resource, schemas: &Schemas) -> Value {
    let inherited = |field: &str| {
        let property = schemas.get(resource.definition).and_then(|s| s.get("properties")?.get(field));
        property.cloned().unwrap_or_else(|| json!({"type": "string"}))
    };
    let mut metadata = reference(LIST_META);
    metadata["description"] = "Standard list metadata.".into();
    json!({
        "description": format!("{0}List is a list of {0} objects.", resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": inherited("apiVersion"),
            "kind": inherited("kind"),
            "metadata": metadata,
            "items": {
                "description": format!("The {} of the list.", resource.plural),
                "type": "array",
                "items": reference(resource.definition),
            },
        },
        GVK: [{
            "group": resource.group,
            "version": resource.version,
            "kind": format!("{}List", resource.kind),
        }],
    })
}

/// Says which kinds a definition is the schema of.
fn mark(schemas: &mut Schemas, definition: &str, kinds: &[(&str, &str, &str)]) {
    if let Some(schema) = schemas.get_mut(definition) {
        let kinds: Vec<Value> = kinds
            .iter()
            .map(|(group, version, kind)| json!({"group": group, "version": version, "kind": kind}))
            .collect();
        schema[GVK] = kinds.into();
    }
}
