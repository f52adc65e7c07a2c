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
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, Time};
use patch::managed::{self, Form, Tracked, Tree};

use crate::access::restriction::Restricted;
use crate::admission::Admission;
use crate::decode::{Payload, decode};
use crate::error::ApiError;
use crate::kinds::{AgesFrom, Kind, Part, Seen};
use crate::legacy;
use crate::object::{Beside, Object, encode};
use crate::options::FieldValidation;

pub use metadata::generate_name;

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
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub validation: FieldValidation,
    pub now: Timestamp,
    pub owners: Owners<'a>,
    pub admission: Admission<'a>,
}

/// Whose the written fields are.
#[derive(Debug, Clone, Copy)]
pub enum Owners<'a> {
    /// What changes is this manager's.
    Writer { manager: &'a str },
    /// An apply has found out: the JSON of managedFields, and whether it says what was stored, but for times.
    Applied { managed: &'a [u8], same_owners: bool },
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

    /// The managedFields after this write, nothing if they stay as they are; before admission adds what nobody asked for.
    fn owners<T: Kind>(
        &self,
        old: Option<(&T, &Object)>,
        new: &T,
        sent: Option<&[ManagedFieldsEntry]>,
    ) -> Option<Tracked> {
        let manager = match self.owners {
            Owners::Applied { managed, same_owners } => {
                return Some(Tracked { json: managed.to_vec(), same_owners });
            }
            Owners::Writer { manager } => manager,
        };
        let now = self.time_text();
        let writer =
            managed::Writer { manager, subresource: self.subresource, requested: self.requested, now: &now };
        let reset = writer.reset();
        let mut json = Vec::new();
        let sent = managed::given(sent.filter(|_| self.part == Part::Main), &mut json);
        let stored = old.map(|(_, object)| object.managed()).unwrap_or_default();
        managed::track(&writer, stored, sent, old.is_none(), &mut |resource| Form {
            old: old.map(|(old, _)| tree(resource, old, reset.root)),
            new: tree(resource, new, reset.root),
        })
    }

    /// The time of the write as entries of managers have it.
    pub fn time_text(&self) -> String {
        metadata::whole_seconds(self.now).to_string()
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
    fn edit_metadata(
        &self,
        current: &Object,
        now: Timestamp,
        edit: &dyn Fn(&mut ObjectMeta),
    ) -> Result<Outcome, ApiError>;

    /// The seconds that the kind grants an object to end in; nothing for kinds that end at once.
    fn grace_seconds(&self, current: &Object, asked: Option<i64>) -> Result<Option<i64>, ApiError>;
}

/// The [`Strategy`] of a [`Kind`].
pub struct Of<T>(PhantomData<fn() -> T>);

impl<T> Of<T> {
    pub const NEW: Of<T> = Of(PhantomData);
}

/// An object's shape in a version, without what the write does not change.
fn tree<T: Kind>(resource: &'static Resource, object: &T, left_out: &'static [&'static str]) -> Tree {
    if resource.stored_as.is_none() {
        return Tree::of(object, left_out);
    }
    let value = serde_json::to_value(object).unwrap_or_default();
    Tree::of(&legacy::from_storage(resource, value), left_out)
}

/// The object in its type, without managedFields.
pub fn typed<T: serde::de::DeserializeOwned>(object: &Object) -> Result<T, ApiError> {
    serde_json::from_slice(&object.bare()).map_err(|error| {
        tracing::error!(%error, key = %object.key, "a stored object cannot be decoded");
        ApiError::internal("the stored object cannot be decoded")
    })
}

/// The bytes to store for an object that is written now, with the JSON of its managedFields.
pub fn stored<T: Kind>(object: T, managed: &[u8], now: Timestamp) -> Result<Bytes, ApiError> {
    let (fields, references) = (object.selectable(), object.references());
    let since = (T::AGES_FROM == AgesFrom::LastWrite).then_some(now);
    let beside = Beside { fields: &fields, references: &references, managed, since };
    encode(object, beside).map_err(|error| {
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
        let sent = object.metadata_mut().managed_fields.take();
        metadata::each_owner_once(object.metadata_mut(), warn);
        let generated = metadata::begin(object.metadata_mut(), write)?;
        object.default();
        let managed = write.owners(None, &object, sent.as_deref());
        let managed = managed.map(|managed| managed.json).unwrap_or_default();
        let name = object.metadata().name.clone().unwrap_or_default();
        if resource.namespaced {
            write.admission.namespace_takes(resource, &name, write.namespace)?;
        }
        object.admit_create(&write.admission)?;
        object.prepare_create()?;
        write.restrict(&name, |node| object.restrict(node, None, write.part, &write.admission))?;
        let seen = Seen { requested: write.requested, payload: body };
        write.refuse(&name, &object.validate_create(&seen))?;
        object.warnings(None).into_iter().for_each(&mut *warn);
        Ok(Draft { name, generated, bytes: stored(object, &managed, write.now)? })
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
        let sent = object.metadata_mut().managed_fields.take();
        metadata::each_owner_once(object.metadata_mut(), warn);
        metadata::follow(object.metadata_mut(), old.metadata(), write)?;
        object.default();
        let managed = write.owners(Some((&old, current)), &object, sent.as_deref());
        object.admit_part(&old, write.part, &write.admission)?;
        object.prepare_update(&old, write.part)?;
        write.restrict(write.name, |node| object.restrict(node, Some(&old), write.part, &write.admission))?;
        let seen = Seen { requested: write.requested, payload: body };
        write.refuse(write.name, &object.validate_update(&old, write.part, &seen))?;
        if write.part == Part::Main {
            object.warnings(Some(&old)).into_iter().for_each(&mut *warn);
        }
        if metadata::is_gone(object.metadata()) && !object.is_held() {
            return Ok(Outcome::Remove);
        }
        object.metadata_mut().resource_version.clone_from(&old.metadata().resource_version);
        if object == old && managed.as_ref().is_none_or(|managed| managed.same_owners) {
            return Ok(Outcome::Same);
        }
        let managed = managed.as_ref().map_or(current.managed(), |managed| &managed.json);
        Ok(Outcome::Put(stored(object, managed, write.now)?))
    }

    fn edit_metadata(
        &self,
        current: &Object,
        now: Timestamp,
        edit: &dyn Fn(&mut ObjectMeta),
    ) -> Result<Outcome, ApiError> {
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
        Ok(Outcome::Put(stored(object, current.managed(), now)?))
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
