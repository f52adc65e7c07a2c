//! The objects that every cluster has: namespaces, priority classes, roles and bindings.
//!
//! Missing ones are created when the server starts; those that are there are left as people made them.

use std::sync::Arc;

use api::scheme::Resource;
use api::well_known::{namespace, priority};
use http::{HeaderMap, StatusCode};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::access::{User, bootstrap};
use crate::call::Call;
use crate::request::{Query, Target};
use crate::server::{Inner, StartError};
use crate::{body, own_service};

const NAMESPACES: [&str; 4] =
    [namespace::DEFAULT, namespace::KUBE_SYSTEM, namespace::KUBE_PUBLIC, namespace::KUBE_NODE_LEASE];

/// Creates what is missing.
pub async fn run(server: &Arc<Inner>) -> Result<(), StartError> {
    for name in NAMESPACES {
        let object = Namespace { metadata: named(name), ..Namespace::default() };
        ensure(server, ("", "v1", "namespaces"), "", name, &object).await?;
    }
    for name in NAMESPACES {
        let object = ServiceAccount { metadata: named("default"), ..ServiceAccount::default() };
        ensure(server, ("", "v1", "serviceaccounts"), name, "default", &object).await?;
    }
    for (name, value, description) in [
        (
            priority::SYSTEM_CLUSTER_CRITICAL,
            priority::SYSTEM_CLUSTER_CRITICAL_VALUE,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            priority::SYSTEM_NODE_CRITICAL,
            priority::SYSTEM_NODE_CRITICAL_VALUE,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        let object = PriorityClass {
            metadata: named(name),
            value,
            description: Some(description.to_owned()),
            ..PriorityClass::default()
        };
        ensure(server, ("scheduling.k8s.io", "v1", "priorityclasses"), "", name, &object).await?;
    }
    let service = own_service::service(server);
    ensure(server, ("", "v1", "services"), namespace::DEFAULT, own_service::NAME, &service).await?;
    let policy = bootstrap::objects();
    let group = "rbac.authorization.k8s.io";
    for object in &policy.cluster_roles {
        policy_object(server, (group, "v1", "clusterroles"), &object.metadata, object).await?;
    }
    for object in &policy.cluster_role_bindings {
        policy_object(server, (group, "v1", "clusterrolebindings"), &object.metadata, object).await?;
    }
    for object in &policy.roles {
        policy_object(server, (group, "v1", "roles"), &object.metadata, object).await?;
    }
    for object in &policy.role_bindings {
        policy_object(server, (group, "v1", "rolebindings"), &object.metadata, object).await?;
    }
    Ok(())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

async fn policy_object<T: serde::Serialize>(
    server: &Arc<Inner>,
    resource: (&str, &str, &str),
    meta: &ObjectMeta,
    object: &T,
) -> Result<(), StartError> {
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    ensure(server, resource, namespace, meta.name.as_deref().unwrap_or_default(), object).await
}

async fn ensure<T: serde::Serialize>(
    server: &Arc<Inner>,
    (group, version, plural): (&str, &str, &str),
    namespace: &str,
    name: &str,
    object: &T,
) -> Result<(), StartError> {
    let key = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    let known = server.windows.window(plural).and_then(|window| window.get(&key)).is_some();
    let Some(resource) = api::scheme::find(group, version, plural).filter(|_| !known) else { return Ok(()) };
    create(server, resource, namespace, name, object).await
}

/// Creates an object the way a client would.
async fn create<T: serde::Serialize>(
    server: &Arc<Inner>,
    resource: &'static Resource,
    namespace: &str,
    name: &str,
    object: &T,
) -> Result<(), StartError> {
    let what = format!("{} {name}", resource.qualified());
    let failed = |source| StartError::Bootstrap { what: what.clone(), source };
    let json = serde_json::to_value(object)
        .map_err(|_| failed(crate::ApiError::internal("a built-in object cannot be encoded")))?;
    let call = Call {
        server: Arc::clone(server),
        resource,
        target: Target {
            verb: "create",
            group: resource.group.to_owned(),
            version: resource.version.to_owned(),
            namespace: namespace.to_owned(),
            resource: resource.plural.to_owned(),
            ..Target::default()
        },
        query: Query::default(),
        headers: HeaderMap::new(),
        user: User::apiserver(),
        warnings: Arc::default(),
    };
    let mut request = http::Request::new(body::full(Value::to_string(&json)));
    *request.method_mut() = http::Method::POST;
    match call.answer(request).await {
        Ok(_) => Ok(()),
        // Another server of the same store was faster.
        Err(error) if error.code() == StatusCode::CONFLICT => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
