//! Create, update, patch.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use http::{Response, StatusCode};
use patch::{PatchErrorClass, PatchKind, managed};
use serde_json::Value;
use store::Expect;

use super::{Committed, Stored};
use crate::admission::service_account;
use crate::body::Body;
use crate::decode::patched::{self, Patched};
use crate::decode::{Payload, syntax};
use crate::error::ApiError;
use crate::kinds::Part;
use crate::legacy;
use crate::limits::{ACCOUNT_WAIT_MAX, CONFLICT_TRIES_MAX, GENERATE_NAME_TRIES_MAX};
use crate::object::{NEVER_STORED, Object};
use crate::options::{FieldValidation, Persistence, WriteOptions};
use crate::pipeline::Outcome;
use crate::window::Lane;

impl Stored<'_> {
    pub(super) async fn create(&self, body: Bytes) -> Result<Response<Body>, ApiError> {
        let options = WriteOptions::parse(&self.call.query, "CreateOptions")?;
        let mut payload = Payload::read(&self.call.headers, body, self.call.resource.kind)?;
        // JSON of a stored kind is read by its type at once, which refuses another kind or version by itself.
        if self.call.resource.stored_as.is_some() || matches!(payload, Payload::Value(_)) {
            payload.expect_kind(self.call.resource)?;
            payload = self.to_storage(payload)?;
        }
        let object = self.create_from(&payload, "", options).await?;
        self.object_answer(StatusCode::CREATED, &object)
    }

    async fn create_from(
        &self,
        payload: &Payload,
        name: &str,
        options: WriteOptions,
    ) -> Result<Arc<Object>, ApiError> {
        self.fresh().await?;
        let mut validation = options.field_validation;
        let mut tried = String::new();
        for _ in 0..GENERATE_NAME_TRIES_MAX {
            let write = self.write(name, Part::Main, validation);
            let mut made = self.strategy.create(&write, payload, &mut |text| self.call.warn(text));
            if made.is_err() && self.account_comes().await {
                made = self.strategy.create(&write, payload, &mut |text| self.call.warn(text));
            }
            let draft = made?;
            // What is told once is not told again with the next name.
            validation = FieldValidation::Ignore;
            let key = self.key(&draft.name);
            if options.persistence == Persistence::DryRun {
                if self.window.get(&key).is_some() {
                    return Err(ApiError::already_exists(self.call.resource, &draft.name));
                }
                return self.unshared(&key, NEVER_STORED, draft.bytes);
            }
            match self.put(&draft.name, draft.bytes, Expect::Absent).await? {
                Committed::Done(object) => return Ok(object),
                // What went to another is known now.
                Committed::Again => {}
                Committed::Lost if draft.generated => tried = draft.name,
                Committed::Lost => {
                    return Err(ApiError::already_exists(self.call.resource, &draft.name));
                }
            }
        }
        if tried.is_empty() {
            return Err(ApiError::server_timeout(self.call.resource, "create", 1));
        }
        Err(ApiError::generate_name_conflict(self.call.resource, &tried))
    }

    /// Whether a Pod was refused while its namespace had no default account yet, and it has one now. A namespace and
    /// its first Pods are often made at once, and the account is a controller's to make.
    async fn account_comes(&self) -> bool {
        if self.resource.plural != "pods" {
            return false;
        }
        let windows = &self.call.server.windows;
        let (Some(namespaces), Some(accounts)) =
            (windows.window("namespaces"), windows.window("serviceaccounts"))
        else {
            return false;
        };
        let key = format!("{}/{}", self.namespace(), service_account::DEFAULT);
        let lives = namespaces.get(self.namespace()).is_some_and(|namespace| !namespace.header.deleting);
        if !lives || accounts.get(&key).is_some() {
            return false;
        }
        let name = Lane::Name(service_account::DEFAULT.to_owned());
        let (_, mut cursor) = accounts.watch_from_now(name, "", |_| false);
        let comes = async {
            while accounts.get(&key).is_none() {
                cursor.woken().await;
                if cursor.read(usize::MAX).is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(ACCOUNT_WAIT_MAX, comes).await.unwrap_or(false)
    }

    pub(super) async fn update(&self, body: Bytes, part: Part) -> Result<Response<Body>, ApiError> {
        let options = WriteOptions::parse(&self.call.query, "UpdateOptions")?;
        let payload = self.read_body(body)?;
        let name = self.call.target.name.as_str();
        let mut validation = options.field_validation;
        for _ in 0..CONFLICT_TRIES_MAX {
            self.fresh().await?;
            let Some(current) = self.window.get(&self.key(name)) else {
                if self.resource.create_on_update && part == Part::Main {
                    let options = WriteOptions { field_validation: validation, ..options };
                    let object = self.create_from(&payload, name, options).await?;
                    return self.object_answer(StatusCode::CREATED, &object);
                }
                return Err(ApiError::not_found(self.call.resource, name));
            };
            let write = self.write(name, part, validation);
            let outcome =
                self.strategy.update(&write, &current, &payload, &mut |text| self.call.warn(text))?;
            validation = FieldValidation::Ignore;
            if let Some(object) = self.settle(name, &current, outcome, options.persistence).await? {
                return self.object_answer(StatusCode::OK, &object);
            }
        }
        Err(ApiError::modified(self.call.resource, name))
    }

    pub(super) async fn patch(&self, body: Bytes, part: Part) -> Result<Response<Body>, ApiError> {
        let content_type = self.call.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.split(';').next().unwrap_or_default().trim() == managed::CONTENT_TYPE {
            // Boxed: it is large, and every other write would carry its size.
            return self.apply(body, part).boxed().await;
        }
        let Some(kind) = PatchKind::from_content_type(content_type) else {
            let mut accepted: Vec<&str> = PatchKind::ALL.iter().map(|kind| kind.content_type()).collect();
            accepted.push(managed::CONTENT_TYPE);
            return Err(ApiError::unsupported_media_type(&accepted));
        };
        let options = WriteOptions::parse(&self.call.query, "PatchOptions")?;
        let document: Value = serde_json::from_slice(&body)
            .map_err(|error| syntax::told(&error, &body))
            .map_err(|text| ApiError::bad_request(format!("error decoding patch: {text}")))?;
        let name = self.call.target.name.as_str();
        let mut validation = options.field_validation;
        let repeated = patched::repeated(&body, validation);
        let document = Arc::new(document);
        for _ in 0..CONFLICT_TRIES_MAX {
            let current = self.current(name).await?;
            let payload = self.patched(&current, kind, &document, &repeated)?;
            let write = self.write(name, part, validation);
            let outcome =
                self.strategy.update(&write, &current, &payload, &mut |text| self.call.warn(text))?;
            validation = FieldValidation::Ignore;
            if let Some(object) = self.settle(name, &current, outcome, options.persistence).await? {
                return self.object_answer(StatusCode::OK, &object);
            }
        }
        Err(ApiError::modified(self.call.resource, name))
    }

    /// The whole object that a patch makes, as stored.
    fn patched(
        &self,
        current: &Object,
        kind: PatchKind,
        document: &Arc<Value>,
        repeated: &[String],
    ) -> Result<Payload, ApiError> {
        // Most patches do not speak of managedFields, which then need not be read.
        let json = if speaks_of_managers(kind, document) { current.json() } else { current.bare() };
        let value: Value =
            serde_json::from_slice(&json).map_err(|_| ApiError::internal("the stored object is damaged"))?;
        let value = legacy::from_storage(self.call.resource, value);
        let patched = patch::apply(kind, self.call.resource.definition, &value, document).map_err(
            |error| match error.class() {
                PatchErrorClass::BadRequest => ApiError::bad_request(error.to_string()),
                PatchErrorClass::Unprocessable => ApiError::unprocessable(error.to_string()),
                PatchErrorClass::TooLarge => ApiError::too_large(error),
            },
        )?;
        let strategic = (kind == PatchKind::Strategic).then(|| Arc::clone(document));
        let payload = Payload::Patched(Patched::new(patched, strategic, repeated.to_vec()));
        payload.expect_kind(self.call.resource)?;
        self.to_storage(payload)
    }

    /// Stores what an update came to; nothing if the object changed meanwhile.
    pub(super) async fn settle(
        &self,
        name: &str,
        current: &Arc<Object>,
        outcome: Outcome,
        persistence: Persistence,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        if persistence == Persistence::DryRun {
            let object = match outcome {
                Outcome::Same | Outcome::Remove => Arc::clone(current),
                Outcome::Put(bytes) => self.unshared(&current.key, current.revision, bytes)?,
            };
            return Ok(Some(object));
        }
        let committed = match outcome {
            Outcome::Same => return Ok(Some(Arc::clone(current))),
            Outcome::Put(bytes) => self.put(name, bytes, Expect::At(current.revision)).await?,
            Outcome::Remove => self.remove(name, current).await?,
        };
        Ok(match committed {
            Committed::Done(object) => Some(object),
            Committed::Lost | Committed::Again => None,
        })
    }

    /// The body as the stored kind.
    fn read_body(&self, body: Bytes) -> Result<Payload, ApiError> {
        let payload = Payload::read(&self.call.headers, body, self.call.resource.kind)?;
        payload.expect_kind(self.call.resource)?;
        self.to_storage(payload)
    }

    fn to_storage(&self, payload: Payload) -> Result<Payload, ApiError> {
        if self.call.resource.stored_as.is_none() {
            return Ok(payload);
        }
        payload.with(self.call.resource.kind, |value| legacy::to_storage(self.call.resource, value))
    }
}

/// Whether a patch may read or change managedFields.
fn speaks_of_managers(kind: PatchKind, document: &Value) -> bool {
    match kind {
        PatchKind::Merge | PatchKind::Strategic => {
            document.pointer("/metadata/managedFields").is_some()
                || document.pointer("/metadata/$patch").is_some()
                || document.get("$patch").is_some()
        }
        PatchKind::Json => document.as_array().into_iter().flatten().any(|operation| {
            ["path", "from"]
                .iter()
                .filter_map(|field| operation.get(field)?.as_str())
                .any(|path| matches!(path, "" | "/metadata") || path.starts_with("/metadata/managedFields"))
        }),
    }
}
