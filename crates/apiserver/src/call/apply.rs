//! Server-side apply: a PATCH with a configuration, which makes the object where there is none.
//!
//! Upstream: `apiserver/pkg/endpoints/handlers/patch.go` (`applyPatcher`).

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use patch::managed::{self, Applied};
use serde_json::Value;
use store::{Expect, Revision};

use super::{Committed, Stored};
use crate::access::Attributes;
use crate::body::Body;
use crate::decode::{Payload, configuration};
use crate::error::ApiError;
use crate::kinds::Part;
use crate::legacy;
use crate::limits::CONFLICT_TRIES_MAX;
use crate::object::Object;
use crate::options::{ApplyOptions, FieldValidation, Persistence};
use crate::pipeline::{Owners, Write};
use crate::route;

/// What an apply comes to, if nobody else has written meanwhile.
type Done = Option<(StatusCode, Arc<Object>)>;

impl Stored<'_> {
    pub(super) async fn apply(&self, body: Bytes, part: Part) -> Result<Response<Body>, ApiError> {
        let mut options = ApplyOptions::parse(&self.call.query)?;
        let mut warn = |text: String| self.call.warn(text);
        let config =
            configuration::read(&body, self.call.resource, options.write.field_validation, &mut warn)?;
        // What is told of the configuration once is not told again of the object.
        options.write.field_validation = FieldValidation::Ignore;
        for _ in 0..CONFLICT_TRIES_MAX {
            self.fresh().await?;
            let done = match self.window.get(&self.key(&self.call.target.name)) {
                Some(current) => self.apply_over(&current, &config, part, &options).await?,
                None if part == Part::Main => self.apply_new(&config, &options).await?,
                None => return Err(ApiError::not_found(self.call.resource, &self.call.target.name)),
            };
            if let Some((code, object)) = done {
                return self.object_answer(code, &object);
            }
        }
        Err(ApiError::modified(self.call.resource, &self.call.target.name))
    }

    async fn apply_over(
        &self,
        current: &Arc<Object>,
        config: &Value,
        part: Part,
        options: &ApplyOptions<'_>,
    ) -> Result<Done, ApiError> {
        let live: Value = serde_json::from_slice(&current.bare())
            .map_err(|_| ApiError::internal("the stored object is damaged"))?;
        let live = legacy::from_storage(self.call.resource, live);
        let name = self.call.target.name.as_str();
        let write = self.write(name, part, options.write.field_validation);
        let Applied { object, managed, same_owners } =
            self.applied(&write, options, current.managed(), Some(&live), config)?;
        let write = Write { owners: Owners::Applied { managed: &managed, same_owners }, ..write };
        let payload = Payload::Value(legacy::to_storage(self.call.resource, object));
        let mut warn = |text: String| self.call.warn(text);
        let outcome = self.strategy.update(&write, current, &payload, &mut warn)?;
        let settled = self.settle(name, current, outcome, options.write.persistence).await?;
        Ok(settled.map(|object| (StatusCode::OK, object)))
    }

    async fn apply_new(&self, config: &Value, options: &ApplyOptions<'_>) -> Result<Done, ApiError> {
        self.may_create()?;
        let name = self.call.target.name.as_str();
        let metadata = |field: &str| config["metadata"][field].as_str().filter(|text| !text.is_empty());
        if let Some(uid) = metadata("uid") {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(ApiError::conflict(self.call.resource, name, why));
        }
        if metadata("name").is_none() {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        let write = self.write(name, Part::Main, options.write.field_validation);
        let Applied { object, managed, same_owners } = self.applied(&write, options, b"", None, config)?;
        let write = Write { owners: Owners::Applied { managed: &managed, same_owners }, ..write };
        let payload = Payload::Value(legacy::to_storage(self.call.resource, object));
        let draft = self.strategy.create(&write, &payload, &mut |text| self.call.warn(text))?;
        let object = if options.write.persistence == Persistence::DryRun {
            self.unshared(&self.key(name), Revision(0), draft.bytes)?
        } else {
            match self.put(name, draft.bytes, Expect::Absent).await? {
                Committed::Done(object) => object,
                Committed::Lost | Committed::Again => return Ok(None),
            }
        };
        Ok(Some((StatusCode::CREATED, object)))
    }

    fn applied(
        &self,
        write: &Write<'_>,
        options: &ApplyOptions<'_>,
        stored: &[u8],
        live: Option<&Value>,
        config: &Value,
    ) -> Result<Applied, ApiError> {
        let now = write.time_text();
        let writer = managed::Writer {
            manager: options.manager,
            subresource: write.subresource,
            requested: self.call.resource,
            now: &now,
        };
        let convert = |value: &Value, from: &'static _, to: &'static _| {
            legacy::from_storage(to, legacy::to_storage(from, value.clone()))
        };
        managed::apply(&writer, options.contention, stored, live, config, &convert)
            .map_err(|conflicts| ApiError::apply_conflict(&conflicts))
    }

    /// Whoever applies what is not there needs to be allowed to create it.
    fn may_create(&self) -> Result<(), ApiError> {
        let target = &self.call.target;
        let asked = Attributes {
            user: self.call.user.clone(),
            verb: "create".to_owned(),
            group: target.group.clone(),
            version: target.version.clone(),
            resource: target.resource.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            ..Attributes::default()
        };
        route::authorize(&self.call.server, &asked)
    }
}
