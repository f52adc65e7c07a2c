//! One request for a served resource: what it is about, and the parts of the server that it uses.

mod apply;
mod claims;
mod delete;
mod eviction;
mod logs;
mod proxy;
mod read;
mod review;
mod streams;
mod subresource;
mod token;
mod watch;
mod write;

use std::sync::Arc;

use api::scheme::{Resource, Subresource};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Method, Request, Response};
use jiff::Timestamp;
use parking_lot::Mutex;
use store::{BackendError, Change, Expect, Revision, WriteError};

pub use watch::OpenWatches;

use crate::access::User;
use crate::admission::Admission;
use crate::answer::Shape;
use crate::body::{self, Body};
use crate::error::ApiError;
use crate::kinds::{self, Part};
use crate::object::Object;
use crate::options::{self, FieldValidation, ListOptions};
use crate::pipeline::{Owners, Strategy, Write};
use crate::request::{Query, Target};
use crate::server::Inner;
use crate::websocket;
use crate::window::{FreshError, PREFIX, Window};

/// The subresource that is passed on with all that follows it.
const PROXY: &str = "proxy";

/// A request after authorization.
pub struct Call {
    pub server: Arc<Inner>,
    /// As asked for, which may be a legacy version.
    pub resource: &'static Resource,
    pub target: Target,
    pub query: Query,
    pub headers: HeaderMap,
    pub user: User,
    /// Texts for Warning headers.
    pub warnings: Arc<Mutex<Vec<String>>>,
}

/// What became of a write with a precondition.
enum Committed {
    Done(Arc<Object>),
    /// The object is not what the write was computed from.
    Lost,
    /// A number that was chosen for the object went to another meanwhile: the choice is to be made again.
    Again,
}

/// A call for a resource that is stored.
struct Stored<'a> {
    call: &'a Call,
    /// As stored.
    resource: &'static Resource,
    strategy: &'static dyn Strategy,
    window: &'a Arc<Window>,
    shape: Shape,
}

impl Call {
    pub async fn answer(&self, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let target = &self.target;
        let subresource = match target.subresource.as_str() {
            "" => None,
            name => Some(self.resource.subresource(name).ok_or_else(ApiError::unknown_path)?),
        };
        self.check_route(subresource, request.method())?;
        if let Some(text) = self.resource.deprecation {
            self.warnings.lock().push(text.to_owned());
        }
        // Boxed: they are large, and every other request would carry their size.
        match target.subresource.as_str() {
            "log" => return self.log(request).boxed().await,
            "exec" | "attach" | "portforward" => return self.stream(request).boxed().await,
            PROXY => return self.proxy(request).boxed().await,
            _ => {}
        }
        let body = std::mem::replace(request.body_mut(), body::empty());
        if self.resource.kind == "Binding" {
            return self.pods()?.bind(body::collect(body).await?).await;
        }
        let storage = self.resource.storage();
        let Some(window) = self.server.windows.window(storage.plural) else {
            return self.review(body::collect(body).await?);
        };
        let strategy = kinds::strategy(storage).ok_or_else(ApiError::unknown_path)?;
        let shape = Shape::new(self.resource, &self.headers, &self.query, self.now())?;
        let stored = Stored { call: self, resource: storage, strategy, window, shape };
        if matches!(target.verb, "list" | "watch" | "get") && subresource.is_none_or(|s| part_of(s).is_some())
        {
            return match target.verb {
                "list" => stored.list().await,
                "watch" if websocket::is_asked_for(&self.headers) => {
                    watch::socket::over(&mut request, stored.watch().await?)
                }
                "watch" => stored.watch().await,
                _ => stored.get().await,
            };
        }
        let body = body::collect(body).await?;
        let part = subresource.map_or(Some(Part::Main), part_of);
        match (target.verb, subresource.map(|subresource| subresource.name)) {
            ("create", None) => stored.create(body).await,
            ("create", Some("binding")) => stored.bind(body).await,
            ("create", Some("eviction")) => stored.evict(body).await,
            ("create", Some("token")) => stored.token(body).await,
            ("delete", None) => stored.delete(body).await,
            ("deletecollection", None) => stored.delete_collection(body).await,
            (verb, _) => match (verb, part) {
                ("update", Some(part)) => stored.update(body, part).await,
                ("patch", Some(part)) => stored.patch(body, part).await,
                _ => Err(ApiError::method_not_allowed()),
            },
        }
    }

    /// The Pods of the namespace, for what is asked of them under another name.
    fn pods(&self) -> Result<Stored<'_>, ApiError> {
        let pods = api::scheme::find("", "v1", "pods").ok_or_else(ApiError::unknown_path)?;
        let window = self.server.windows.window(pods.plural).ok_or_else(ApiError::unknown_path)?;
        let strategy = kinds::strategy(pods).ok_or_else(ApiError::unknown_path)?;
        let shape = Shape::new(self.resource, &self.headers, &self.query, self.now())?;
        Ok(Stored { call: self, resource: pods, strategy, window, shape })
    }

    /// 404 and 405, as upstream's routes would answer: a path that no method of the resource has is none.
    fn check_route(&self, subresource: Option<&Subresource>, method: &Method) -> Result<(), ApiError> {
        let target = &self.target;
        let verbs = subresource.map_or(self.resource.verbs, |subresource| subresource.verbs);
        let named = !target.name.is_empty();
        let everywhere = self.resource.namespaced && target.namespace.is_empty();
        let is_proxy = target.subresource == PROXY;
        if (!target.rest.is_empty() && !is_proxy) || (!self.resource.namespaced && self.misplaced()) {
            return Err(ApiError::unknown_path());
        }
        let at_path: &[&str] = match (named, everywhere) {
            (true, true) => &[],
            (true, false) if subresource.is_some() => verbs,
            (true, false) => &["delete", "get", "patch", "update", "watch"],
            (false, true) => &["list", "watch"],
            (false, false) => &["create", "deletecollection", "list", "watch"],
        };
        if !verbs.iter().any(|verb| at_path.contains(verb)) {
            return Err(ApiError::unknown_path());
        }
        let reads = matches!(target.verb, "get" | "list" | "watch");
        let taken = match *method {
            Method::GET | Method::HEAD => reads,
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE => !reads,
            Method::OPTIONS => is_proxy,
            _ => false,
        };
        if !taken || !verbs.contains(&target.verb) || !at_path.contains(&target.verb) {
            return Err(ApiError::method_not_allowed());
        }
        Ok(())
    }

    /// A cluster-scoped resource under a namespace.
    fn misplaced(&self) -> bool {
        !self.target.namespace.is_empty() && self.resource.kind != "Namespace"
    }

    pub fn now(&self) -> Timestamp {
        self.server.config.clock.now()
    }

    /// Who the fields that this request writes belong to.
    fn manager(&self) -> &str {
        let user_agent = self.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        self.query
            .get("fieldManager")
            .filter(|manager| !manager.is_empty())
            .or_else(|| user_agent.map(options::manager_of).filter(|manager| !manager.is_empty()))
            // DIFFERS(SSA-1): components that send no User-Agent are known by their user instead of as "unknown".
            .or_else(|| self.user.component())
            .unwrap_or_default()
    }

    /// Each text is told once, however often a write is tried.
    pub fn warn(&self, text: String) {
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }
}

/// What a client is told of a write that the store did not take.
fn write_failed(error: &WriteError) -> ApiError {
    let source = std::error::Error::source(error);
    match error {
        WriteError::Unknown { .. } => {
            tracing::error!(%error, ?source, "a write may have happened");
            ApiError::internal("the outcome of the write is unknown")
        }
        // The store says once why it is in trouble; that a client met it is no news.
        WriteError::Refused { source: cause, .. } => {
            tracing::debug!(%error, ?source, "a write was refused");
            refused(cause)
        }
        WriteError::Mismatch { .. } => {
            tracing::error!(%error, "a precondition was not expected to fail");
            ApiError::internal("the object was changed by another")
        }
    }
}

/// Nothing has happened; what the client can do depends on why.
fn refused(cause: &BackendError) -> ApiError {
    match cause {
        BackendError::TooLarge => ApiError::too_large("the store takes no object of this size"),
        BackendError::DiskFull(_) => ApiError::unavailable(
            "the store is full: nothing was written; reads go on, and writes as soon as there is space",
        ),
        BackendError::Io(_) | BackendError::Halted => ApiError::unavailable(
            "the store's disk fails: nothing was written; reads go on, and writes as soon as the disk works",
        ),
        BackendError::Damaged(_) | BackendError::Closed | BackendError::Library { .. } => {
            ApiError::unavailable("the store does not take writes now: nothing was written")
        }
    }
}

/// Which part of the object a subresource reads and writes; none where it is an action.
fn part_of(subresource: &Subresource) -> Option<Part> {
    match subresource.name {
        "status" => Some(Part::Status),
        "approval" | "ephemeralcontainers" | "finalize" => Some(Part::Own),
        _ => None,
    }
}

impl<'a> Stored<'a> {
    /// `namespace/name`, or the name alone.
    fn key(&self, name: &str) -> String {
        if self.resource.namespaced {
            format!("{}/{name}", self.call.target.namespace)
        } else {
            name.to_owned()
        }
    }

    fn namespace(&self) -> &'a str {
        if self.resource.namespaced { &self.call.target.namespace } else { "" }
    }

    fn list_options(&self, watch: bool) -> Result<ListOptions, ApiError> {
        let (query, requested) = (&self.call.query, self.call.resource);
        ListOptions::parse(query, self.namespace(), requested, self.strategy.selectable(), watch)
    }

    fn write(&self, name: &'a str, part: Part, validation: FieldValidation) -> Write<'a> {
        Write {
            resource: self.resource,
            requested: self.call.resource,
            namespace: self.namespace(),
            name,
            part,
            subresource: if part == Part::Main { "" } else { &self.call.target.subresource },
            validation,
            now: self.call.now(),
            owners: Owners::Writer { manager: self.call.manager() },
            admission: Admission {
                windows: &self.call.server.windows,
                authorizer: &self.call.server.authorizer,
                user: &self.call.user,
                now: self.call.now(),
                allotment: &self.call.server.allotment,
            },
        }
    }

    /// Waits for all that is acknowledged, so that what is read is the latest.
    async fn fresh(&self) -> Result<(), ApiError> {
        self.call.server.windows.fresh().await.map_err(|error| self.late(&error))
    }

    fn late(&self, error: &FreshError) -> ApiError {
        tracing::warn!(%error, resource = self.resource.plural, "windows are behind");
        ApiError::server_timeout(self.resource, self.call.target.verb, 1)
    }

    /// The object of this name now, or 404.
    async fn current(&self, name: &str) -> Result<Arc<Object>, ApiError> {
        self.fresh().await?;
        self.window.get(&self.key(name)).ok_or_else(|| ApiError::not_found(self.call.resource, name))
    }

    /// Stores `bytes` as the object `name`.
    async fn put(&self, name: &str, bytes: Bytes, expect: Expect) -> Result<Committed, ApiError> {
        if self.has_numbers() {
            return self.put_service(name, bytes, expect).await;
        }
        self.put_plain(name, bytes, expect).await
    }

    async fn put_plain(&self, name: &str, bytes: Bytes, expect: Expect) -> Result<Committed, ApiError> {
        let Some(revision) = self.commit(name, expect, Change::Put(bytes.clone())).await? else {
            return Ok(Committed::Lost);
        };
        let key = self.key(name);
        let shared = self.window.get(&key).filter(|object| object.revision == revision);
        let object = match shared {
            Some(object) => object,
            None => self.unshared(&key, revision, bytes)?,
        };
        Ok(Committed::Done(object))
    }

    /// Removes the object; answers its last state at the revision of the removal.
    async fn remove(&self, name: &str, current: &Object) -> Result<Committed, ApiError> {
        let Some(revision) = self.commit(name, Expect::At(current.revision), Change::Delete).await? else {
            return Ok(Committed::Lost);
        };
        if self.has_numbers() {
            self.give_back(current).await;
        }
        Ok(Committed::Done(Arc::new(current.tombstone(revision))))
    }

    async fn commit(&self, name: &str, expect: Expect, change: Change) -> Result<Option<Revision>, ApiError> {
        let server = &self.call.server;
        let key = format!("{PREFIX}{}/{}", self.resource.plural, self.key(name));
        let revision = match server.store.write(store::Write { key, expect, change }).await {
            Ok(revision) => revision,
            Err(WriteError::Mismatch { .. }) => return Ok(None),
            Err(error) => return Err(write_failed(&error)),
        };
        server.windows.reach(revision).await.map_err(|error| self.late(&error))?;
        if self.resource.group == "rbac.authorization.k8s.io" {
            server.refresh_policy();
        }
        Ok(Some(revision))
    }

    /// An object that the window does not have: of a dry run, or already overtaken.
    fn unshared(&self, key: &str, revision: Revision, bytes: Bytes) -> Result<Arc<Object>, ApiError> {
        Object::from_stored(Arc::from(key), revision, bytes)
            .map(Arc::new)
            .map_err(|_| ApiError::internal("the object cannot be encoded"))
    }
}
