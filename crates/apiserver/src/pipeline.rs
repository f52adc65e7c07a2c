//! The steps of a write, the same for every kind: decode, name, default, prepare, admit, validate, encode.
//!
//! Pure but for what admission reads: nothing here touches the store. Upstream: `pkg/registry/rest/{create,update}.go`
//! and `pkg/api/validation/objectmeta.go`.

mod metadata;

use std::marker::PhantomData;

use api::field::FieldError;
use api::scheme::Resource;
use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::access::restriction::Restricted;
use crate::admission::Admission;
use crate::decode::{Payload, decode};
use crate::error::ApiError;
use crate::kinds::{Kind, Part, Seen};
use crate::object::{Object, encode};
use crate::options::FieldValidation;

/// What a write is about.
pub struct Write<'a> {
    /// As stored.
    pub resource: &'static Resource,
    /// As asked for.
    pub requested: &'static Resource,
    pub namespace: &'a str,
    /// From the URL; empty for a POST.
    pub name: &'a str,
    pub part: Part,
    pub validation: FieldValidation,
    pub now: Timestamp,
    pub admission: Admission<'a>,
}

impl Write<'_> {
    /// What a node's agent may not do; nobody else is restricted so.
    fn restrict(
        &self,
        name: &str,
        check: impl FnOnce(&str) -> Result<(), Restricted>,
    ) -> Result<(), ApiError> {
        match self.admission.user.node_name() {
            None => Ok(()),
            Some(node) => check(node).map_err(|why| ApiError::forbidden(self.requested, name, why)),
        }
    }

    fn refuse(&self, name: &str, errors: &[FieldError]) -> Result<(), ApiError> {
        if errors.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(self.requested.group, self.requested.kind, name, errors))
    }
}

/// A new object, ready to be stored.
#[derive(Debug)]
pub struct Draft {
    pub name: String,
    pub generated: bool,
    pub bytes: Bytes,
}

/// What an update comes to.
#[derive(Debug)]
pub enum Outcome {
    /// The object is as it was: nothing is written.
    Same,
    Put(Bytes),
    /// The last finalizer of an object that is being deleted has gone.
    Remove,
}

/// A kind without its type.
pub trait Strategy: Send + Sync {
    fn selectable(&self) -> &'static [&'static str];

    fn create(
        &self,
        write: &Write<'_>,
        body: &Payload,
        warn: &mut dyn FnMut(String),
    ) -> Result<Draft, ApiError>;

    fn update(
        &self,
        write: &Write<'_>,
        current: &Object,
        body: &Payload,
        warn: &mut dyn FnMut(String),
    ) -> Result<Outcome, ApiError>;

    /// Changes only metadata, without admission or validation: for deletion. The generation counts it.
    fn edit_metadata(&self, current: &Object, edit: &dyn Fn(&mut ObjectMeta)) -> Result<Outcome, ApiError>;

    /// The seconds that the kind grants an object to end in; nothing for kinds that end at once.
    fn grace_seconds(&self, current: &Object, asked: Option<i64>) -> Result<Option<i64>, ApiError>;
}

/// The [`Strategy`] of a [`Kind`].
pub struct Of<T>(PhantomData<fn() -> T>);

impl<T> Of<T> {
    pub const NEW: Of<T> = Of(PhantomData);
}

/// The object in its type.
pub fn typed<T: serde::de::DeserializeOwned>(object: &Object) -> Result<T, ApiError> {
    serde_json::from_slice(&object.json()).map_err(|error| {
        tracing::error!(%error, key = %object.key, "a stored object cannot be decoded");
        ApiError::internal("the stored object cannot be decoded")
    })
}

/// The bytes to store for an object.
pub fn stored<T: Kind>(object: T) -> Result<Bytes, ApiError> {
    let fields = object.selectable();
    let references = object.references();
    encode(object, fields, references).map_err(|error| {
        tracing::error!(%error, "an object cannot be encoded");
        ApiError::internal("the object cannot be encoded")
    })
}

impl<T: Kind> Strategy for Of<T> {
    fn selectable(&self) -> &'static [&'static str] {
        T::SELECTABLE
    }

    fn create(
        &self,
        write: &Write<'_>,
        body: &Payload,
        warn: &mut dyn FnMut(String),
    ) -> Result<Draft, ApiError> {
        let resource = write.resource;
        let mut object: T = decode(body, resource, write.validation, warn)?;
        let generated = metadata::begin(object.metadata_mut(), write)?;
        object.default();
        let name = object.metadata().name.clone().unwrap_or_default();
        if resource.namespaced {
            write.admission.namespace_takes(resource, &name, write.namespace)?;
        }
        object.admit_create(&write.admission)?;
        object.prepare_create()?;
        write.restrict(&name, |node| object.restrict(node, None, write.part, &write.admission))?;
        let seen = Seen { requested: write.requested, payload: body };
        write.refuse(&name, &object.validate_create(&seen))?;
        Ok(Draft { name, generated, bytes: stored(object)? })
    }

    fn update(
        &self,
        write: &Write<'_>,
        current: &Object,
        body: &Payload,
        warn: &mut dyn FnMut(String),
    ) -> Result<Outcome, ApiError> {
        let old: T = typed(current)?;
        let mut object: T = decode(body, write.resource, write.validation, warn)?;
        metadata::follow(object.metadata_mut(), old.metadata(), write)?;
        object.default();
        object.admit_part(&old, write.part, &write.admission)?;
        object.prepare_update(&old, write.part)?;
        write.restrict(write.name, |node| object.restrict(node, Some(&old), write.part, &write.admission))?;
        let seen = Seen { requested: write.requested, payload: body };
        write.refuse(write.name, &object.validate_update(&old, write.part, &seen))?;
        if metadata::is_gone(object.metadata()) && !object.is_held() {
            return Ok(Outcome::Remove);
        }
        object.metadata_mut().resource_version.clone_from(&old.metadata().resource_version);
        if object == old {
            return Ok(Outcome::Same);
        }
        Ok(Outcome::Put(stored(object)?))
    }

    fn edit_metadata(&self, current: &Object, edit: &dyn Fn(&mut ObjectMeta)) -> Result<Outcome, ApiError> {
        let old: T = typed(current)?;
        let mut object = old.clone();
        edit(object.metadata_mut());
        if metadata::is_gone(object.metadata()) && !object.is_held() {
            return Ok(Outcome::Remove);
        }
        if object == old {
            return Ok(Outcome::Same);
        }
        if let Some(generation) = object.metadata().generation {
            object.metadata_mut().generation = Some(generation + 1);
        }
        Ok(Outcome::Put(stored(object)?))
    }

    fn grace_seconds(&self, current: &Object, asked: Option<i64>) -> Result<Option<i64>, ApiError> {
        let object: T = typed(current)?;
        Ok(object.grace_seconds(asked))
    }
}

/// Marks an object's metadata as being deleted.
pub fn mark_deleted(meta: &mut ObjectMeta, at: Timestamp, grace_seconds: i64) {
    meta.deletion_timestamp = Some(Time(at));
    meta.deletion_grace_period_seconds = Some(grace_seconds);
}
