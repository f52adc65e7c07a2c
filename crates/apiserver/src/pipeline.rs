//! The steps of a write, the same for every kind: decode, name, default, prepare, admit, validate, encode.
//!
//! Pure but for what admission reads: nothing here touches the store. Upstream: `pkg/registry/rest/{create,update}.go`
//! and `pkg/api/validation/objectmeta.go`.

mod metadata;

use std::marker::PhantomData;

use api::scheme::Resource;
use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::admission::Admission;
use crate::decode::{Payload, decode};
use crate::error::ApiError;
use crate::kinds::{Kind, Part};
use crate::object::{Object, encode};
use crate::options::FieldValidation;

/// What a write is about.
pub struct Write<'a> {
    /// As stored.
    pub resource: &'static Resource,
    pub namespace: &'a str,
    /// From the URL; empty for a POST.
    pub name: &'a str,
    pub part: Part,
    pub validation: FieldValidation,
    pub now: Timestamp,
    pub admission: Admission<'a>,
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
        object.prepare_create(write.now)?;
        if object.generation_changed(&object).is_some() {
            object.metadata_mut().generation = Some(1);
        }
        let name = object.metadata().name.clone().unwrap_or_default();
        if resource.namespaced {
            write.admission.namespace_takes(resource, &name, write.namespace)?;
        }
        object.admit_create(&write.admission)?;
        let mut errors = metadata::errors(object.metadata(), resource, T::NAMES);
        errors.extend(object.validate_create());
        if !errors.is_empty() {
            return Err(ApiError::invalid(resource.group, resource.kind, &name, &errors));
        }
        Ok(Draft { name, generated, bytes: stored(object)? })
    }

    fn update(
        &self,
        write: &Write<'_>,
        current: &Object,
        body: &Payload,
        warn: &mut dyn FnMut(String),
    ) -> Result<Outcome, ApiError> {
        let resource = write.resource;
        let old: T = typed(current)?;
        let mut object: T = decode(body, resource, write.validation, warn)?;
        metadata::follow(object.metadata_mut(), old.metadata(), write)?;
        object.default();
        match write.part {
            Part::Main => object.prepare_update(&old),
            Part::Status => object.prepare_status(&old),
            Part::Finalize => {}
        }
        if write.part == Part::Main {
            object.admit_update(&old, &write.admission)?;
        }
        object.metadata_mut().generation = old.metadata().generation;
        if object.generation_changed(&old) == Some(true) {
            object.metadata_mut().generation = Some(old.metadata().generation.unwrap_or(0) + 1);
        }
        let mut errors = metadata::errors(object.metadata(), resource, T::NAMES);
        errors.extend(metadata::update_errors(object.metadata(), old.metadata()));
        errors.extend(object.validate_update(&old, write.part));
        if !errors.is_empty() {
            let name = old.metadata().name.as_deref().unwrap_or_default();
            return Err(ApiError::invalid(resource.group, resource.kind, name, &errors));
        }
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
