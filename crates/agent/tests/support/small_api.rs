//! A Kubernetes API in memory, as small as an agent needs: objects by path, one log of changes, watches on it.
//!
//! No validation, no defaults, no selectors but `spec.nodeName`: what the agent sends is what the tests are about.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The API; clones share it.
#[derive(Clone)]
pub struct SmallApi(Arc<Shared>);

struct Shared {
    world: parking_lot::Mutex<World>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct World {
    version: u64,
    /// Path (`/api/v1/namespaces/default/pods/a`) → object.
    objects: BTreeMap<String, Value>,
    /// (version, type, path, object)
    log: Vec<(u64, &'static str, String, Value)>,
}

impl SmallApi {
    pub fn new() -> SmallApi {
        SmallApi(Arc::new(Shared { world: Default::default(), version: watch::Sender::new(0) }))
    }

    pub fn client(&self) -> kube::Client {
        let router = Router::new().fallback(answer).with_state(self.clone());
        kube::Client::new(router, "default")
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.world.lock().objects.get(path).cloned()
    }

    pub fn names(&self, collection: &str) -> Vec<String> {
        let world = self.0.world.lock();
        let paths = world.objects.keys().filter_map(|path| path.strip_prefix(collection)?.strip_prefix('/'));
        paths.map(str::to_owned).collect()
    }

    /// Writes an object, new or changed.
    pub fn put(&self, path: &str, mut object: Value) -> Value {
        let mut world = self.0.world.lock();
        world.version += 1;
        let version = world.version;
        let before = world.objects.get(path);
        let type_ = if before.is_some() { "MODIFIED" } else { "ADDED" };
        let uid = before
            .map_or_else(|| json!(format!("uid-{version}")), |before| before["metadata"]["uid"].clone());
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        world.objects.insert(path.to_owned(), object.clone());
        world.log.push((version, type_, path.to_owned(), object.clone()));
        drop(world);
        self.0.version.send_replace(version);
        object
    }

    pub fn delete(&self, path: &str) -> Option<Value> {
        let mut world = self.0.world.lock();
        let mut object = world.objects.remove(path)?;
        world.version += 1;
        let version = world.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        world.log.push((version, "DELETED", path.to_owned(), object.clone()));
        drop(world);
        self.0.version.send_replace(version);
        Some(object)
    }
}

async fn answer(State(api): State<SmallApi>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let method = request.method().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let object_path = path.trim_end_matches("/status").to_owned();
    let known = api.get(&object_path);
    match method {
        Method::GET if query.contains("watch=true") => stream(&api, &path, &query),
        Method::GET if known.is_some() => axum::Json(known).into_response(),
        Method::GET if is_collection(&path) => list(&api, &path),
        Method::POST => {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            let at = format!("{path}/{name}");
            if api.get(&at).is_some() {
                return failure(StatusCode::CONFLICT, "AlreadyExists");
            }
            (StatusCode::CREATED, axum::Json(api.put(&at, body))).into_response()
        }
        Method::PUT => axum::Json(api.put(&object_path, body)).into_response(),
        Method::PATCH => match known {
            Some(object)
                if body["metadata"]["uid"].as_str().is_none_or(|uid| object["metadata"]["uid"] == uid) =>
            {
                axum::Json(api.put(&object_path, merged(object, body))).into_response()
            }
            Some(_) => failure(StatusCode::CONFLICT, "Conflict"),
            None => failure(StatusCode::NOT_FOUND, "NotFound"),
        },
        Method::DELETE => match api.delete(&object_path) {
            Some(object) => axum::Json(object).into_response(),
            None => failure(StatusCode::NOT_FOUND, "NotFound"),
        },
        _ => failure(StatusCode::NOT_FOUND, "NotFound"),
    }
}

fn is_collection(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    matches!(last, "pods" | "nodes" | "leases" | "events")
}

fn failure(code: StatusCode, reason: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16()});
    (code, axum::Json(status)).into_response()
}

/// Collections of all namespaces hold those of each.
fn belongs(path: &str, collection: &str) -> bool {
    let plural = collection.rsplit('/').next().unwrap_or_default();
    path.rsplit('/').nth(1) == Some(plural)
        && (collection.matches('/').count() == 3 || path.starts_with(collection))
}

fn list(api: &SmallApi, collection: &str) -> Response {
    let world = api.0.world.lock();
    let items: Vec<&Value> = world
        .objects
        .iter()
        .filter(|(path, _)| belongs(path, collection))
        .map(|(_, object)| object)
        .collect();
    let metadata = json!({"resourceVersion": world.version.to_string()});
    axum::Json(json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
        .into_response()
}

fn stream(api: &SmallApi, collection: &str, query: &str) -> Response {
    let from =
        query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse().ok()).unwrap_or(0);
    let state = (api.clone(), collection.to_owned(), from, api.0.version.subscribe());
    let chunks = futures::stream::unfold(state, |(api, collection, seen, mut version)| async move {
        loop {
            let mut text = String::new();
            let mut last = seen;
            for (at, type_, path, object) in &api.0.world.lock().log {
                if *at > seen && belongs(path, &collection) {
                    text.push_str(&format!("{}\n", json!({"type": type_, "object": object})));
                    last = *at;
                }
            }
            if !text.is_empty() {
                return Some((Ok::<_, Infallible>(Bytes::from(text)), (api, collection, last, version)));
            }
            version.changed().await.ok()?;
        }
    });
    Body::from_stream(chunks).into_response()
}

/// A merge patch, with lists as they come.
fn merged(mut object: Value, patch: Value) -> Value {
    let (Value::Object(fields), Value::Object(changes)) = (&mut object, &patch) else { return patch };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else if let Some(list) = change.as_array() {
            // Directives of a strategic merge patch are not data.
            let items: Vec<&Value> = list.iter().filter(|item| item.get("$patch").is_none()).collect();
            fields.insert(name.clone(), json!(items));
        } else {
            let before = fields.remove(name).unwrap_or_default();
            fields.insert(name.clone(), merged(before, change.clone()));
        }
    }
    object
}
