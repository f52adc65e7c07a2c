//! The objects that every cluster has: namespaces, priority classes, roles and bindings.
//!
//! Missing ones are created when the server starts. Roles and bindings that are there are put right
//! ([`reconcile`](crate::access::bootstrap::reconcile)), everything else is left as people made it.

use std::future::Future;
use std::sync::Arc;

use api::scheme::Resource;
use api::well_known::{namespace, priority};
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, Method, StatusCode};
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::bootstrap::reconcile::{self, Repair};
use crate::access::{User, bootstrap};
use crate::call::Call;
use crate::pipeline::typed;
use crate::request::{Query, Target};
use crate::server::{Inner, StartError};
use crate::{body, own_service};

const NAMESPACES: [&str; 4] =
    [namespace::DEFAULT, namespace::KUBE_SYSTEM, namespace::KUBE_PUBLIC, namespace::KUBE_NODE_LEASE];

const RBAC: &str = "rbac.authorization.k8s.io";
/// Writes at once: enough for one commit of the store to take many.
const AT_ONCE_MAX: usize = 32;

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
    if let Some(pem) = &server.config.client_ca_pem {
        trust(server, pem).await?;
    }
    let policy = bootstrap::objects();
    // Roles before the bindings that name them.
    each(&policy.cluster_roles, |role| put_right(server, "clusterroles", role, reconcile::cluster_role))
        .await?;
    each(&policy.roles, |role| put_right(server, "roles", role, reconcile::role)).await?;
    each(&policy.cluster_role_bindings, |binding| {
        put_right(server, "clusterrolebindings", binding, reconcile::cluster_role_binding)
    })
    .await?;
    each(&policy.role_bindings, |binding| put_right(server, "rolebindings", binding, reconcile::role_binding))
        .await
}

/// Where upstream's scheduler, controllers and metrics servers read whose certificates name their callers. Other keys of it
/// are other people's. Upstream: clusterauthenticationtrust.
async fn trust(server: &Arc<Inner>, pem: &str) -> Result<(), StartError> {
    const NAME: &str = "extension-apiserver-authentication";
    const KEY: &str = "client-ca-file";
    let Some(resource) = api::scheme::find("", "v1", "configmaps") else { return Ok(()) };
    let key = format!("{}/{NAME}", namespace::KUBE_SYSTEM);
    let found = server.windows.window(resource.plural).and_then(|window| window.get(&key));
    let mut map = match &found {
        None => ConfigMap { metadata: named(NAME), ..ConfigMap::default() },
        Some(found) => typed(found)
            .map_err(|source| StartError::Bootstrap { what: format!("configmaps {NAME}"), source })?,
    };
    let known = map.data.get_or_insert_default().insert(KEY.to_owned(), pem.to_owned());
    if known.as_deref() == Some(pem) {
        return Ok(());
    }
    let verb = if found.is_some() { "update" } else { "create" };
    write(server, resource, verb, (namespace::KUBE_SYSTEM, NAME), &map).await
}

/// Several at once: their writes share the store's commits.
async fn each<'a, T, F>(objects: &'a [T], write: impl Fn(&'a T) -> F) -> Result<(), StartError>
where
    F: Future<Output = Result<(), StartError>>,
{
    futures::stream::iter(objects.iter().map(write)).buffer_unordered(AT_ONCE_MAX).try_collect().await
}

/// Creates a role or binding, or gives it what it lacks.
async fn put_right<T: Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned>(
    server: &Arc<Inner>,
    plural: &'static str,
    wanted: &T,
    repair: impl Fn(&T, &T) -> Repair<T>,
) -> Result<(), StartError> {
    let Some(resource) = api::scheme::find(RBAC, "v1", plural) else { return Ok(()) };
    let meta = wanted.metadata();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let key = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    let Some(found) = server.windows.window(plural).and_then(|window| window.get(&key)) else {
        return write(server, resource, "create", (namespace, name), wanted).await;
    };
    let found: T = typed(&found).map_err(|source| StartError::Bootstrap {
        what: format!("{} {name}", resource.qualified()),
        source,
    })?;
    match repair(&found, wanted) {
        Repair::Leave => Ok(()),
        Repair::Update(mended) => {
            tracing::info!(resource = plural, name, "put right");
            write(server, resource, "update", (namespace, name), &mended).await
        }
        Repair::Replace(made) => {
            tracing::info!(resource = plural, name, "made again, because it was bound to another role");
            write(server, resource, "delete", (namespace, name), &serde_json::json!({})).await?;
            write(server, resource, "create", (namespace, name), &made).await
        }
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

async fn ensure<T: Serialize>(
    server: &Arc<Inner>,
    (group, version, plural): (&str, &str, &str),
    namespace: &str,
    name: &str,
    object: &T,
) -> Result<(), StartError> {
    let key = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    let known = server.windows.window(plural).and_then(|window| window.get(&key)).is_some();
    let Some(resource) = api::scheme::find(group, version, plural).filter(|_| !known) else { return Ok(()) };
    write(server, resource, "create", (namespace, name), object).await
}

/// Writes an object the way a client would.
async fn write<T: Serialize>(
    server: &Arc<Inner>,
    resource: &'static Resource,
    verb: &'static str,
    (namespace, name): (&str, &str),
    object: &T,
) -> Result<(), StartError> {
    let what = format!("{} {name}", resource.qualified());
    let failed = |source| StartError::Bootstrap { what: what.clone(), source };
    let json = serde_json::to_vec(object)
        .map_err(|_| failed(crate::ApiError::internal("a built-in object cannot be encoded")))?;
    let method = match verb {
        "update" => Method::PUT,
        "delete" => Method::DELETE,
        _ => Method::POST,
    };
    let call = Call {
        server: Arc::clone(server),
        resource,
        target: Target {
            verb,
            group: resource.group.to_owned(),
            version: resource.version.to_owned(),
            namespace: namespace.to_owned(),
            resource: resource.plural.to_owned(),
            name: if verb == "create" { String::new() } else { name.to_owned() },
            ..Target::default()
        },
        query: Query::default(),
        headers: HeaderMap::new(),
        user: User::apiserver(),
        warnings: Arc::default(),
    };
    let mut request = http::Request::new(if verb == "delete" { body::empty() } else { body::full(json) });
    *request.method_mut() = method;
    match call.answer(request).await {
        Ok(_) => Ok(()),
        // Another server of the same store was faster.
        Err(error) if error.code() == StatusCode::CONFLICT => Ok(()),
        Err(error) if verb == "delete" && error.code() == StatusCode::NOT_FOUND => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
