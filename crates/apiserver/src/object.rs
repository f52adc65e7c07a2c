//! An object as it is stored and served: bytes with a small [`Header`].
//!
//! A write encodes the object once, with an empty resourceVersion whose place is remembered. From then on the store and
//! the windows share that one buffer; an answer is its bytes with the committed revision spliced in. Reads never
//! decode; what they select by is in the header. managedFields stand in the JSON as text, which the types never see:
//! whoever decodes an object in order to change it takes [`Object::bare`] and [`Object::managed`].

mod header;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use store::Revision;

pub use header::Header;
use header::Parts;

/// The beginning of the revision's field in the JSON.
const REVISION_FIELD: &str = "\"resourceVersion\":\"";
/// The beginning of the managers' field, which ends in a comma.
const MANAGED_FIELD: &str = "\"managedFields\":";

/// The revision of an object that a dry run made, which has none to show.
pub const NEVER_STORED: Revision = Revision(0);

/// Stored bytes that are none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored object {key} is damaged")]
pub struct Damaged {
    pub key: String,
}

/// What happened to an object, as watchers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    Added,
    Modified,
    Deleted,
}

impl Happened {
    /// The beginning of the event's line, up to the object.
    pub fn opening(self) -> &'static str {
        match self {
            Happened::Added => "{\"type\":\"ADDED\",\"object\":",
            Happened::Modified => "{\"type\":\"MODIFIED\",\"object\":",
            Happened::Deleted => "{\"type\":\"DELETED\",\"object\":",
        }
    }
}

/// Enough for most heads.
const HEAD_BYTES_USUAL: usize = 512;

/// Digits of the largest revision.
const REVISION_DIGITS_MAX: usize = 20;

/// The end of an event's line.
pub const CLOSING: &str = "}\n";

/// One object at one revision; never changes.
#[derive(Debug)]
pub struct Object {
    /// `namespace/name`, or `name` for cluster-scoped objects.
    pub key: Arc<str>,
    pub revision: Revision,
    pub header: Header,
    /// The head and the JSON: the very buffer that the store has.
    stored: Bytes,
    /// Where the JSON begins.
    json_at: usize,
    /// Where the revision goes.
    revision_at: usize,
    /// Length of `"managedFields":[…],`, which stands right before the revision's field.
    managed_bytes: usize,
}

impl Object {
    /// From what the store holds.
    pub fn from_stored(key: Arc<str>, revision: Revision, stored: Bytes) -> Result<Object, Damaged> {
        let Some((header, places)) = Header::read(&stored) else {
            return Err(Damaged { key: key.to_string() });
        };
        let damaged = || Damaged { key: key.to_string() };
        let revision_at = places.json_at.checked_add(places.revision_at).ok_or_else(damaged)?;
        // What stands before the revision: its own field, and the managers' if there is one.
        let before = match places.managed_bytes {
            0 => 0,
            length if length <= MANAGED_FIELD.len() => return Err(damaged()),
            length => length.saturating_add(REVISION_FIELD.len()),
        };
        if revision_at > stored.len() || before > places.revision_at {
            return Err(damaged());
        }
        let (json_at, managed_bytes) = (places.json_at, places.managed_bytes);
        Ok(Object { key, revision, header, stored, json_at, revision_at, managed_bytes })
    }

    /// The object as it was, at the revision of its deletion.
    pub fn tombstone(&self, revision: Revision) -> Object {
        Object {
            key: Arc::clone(&self.key),
            revision,
            header: self.header.clone(),
            stored: self.stored.clone(),
            ..*self
        }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.stored.len()
    }

    /// The JSON before and after its revision.
    fn halves(&self) -> (&[u8], &[u8]) {
        (&self.stored[self.json_at..self.revision_at], &self.stored[self.revision_at..])
    }

    /// Enough for the JSON.
    pub fn json_bytes_max(&self) -> usize {
        self.stored.len() - self.json_at + REVISION_DIGITS_MAX
    }

    /// Appends the JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        self.write_json_with(b"", b"", out);
    }

    /// Appends the JSON, with `instead` in the place of `opening` if it begins so.
    pub fn write_json_with(&self, opening: &[u8], instead: &[u8], out: &mut Vec<u8>) {
        let (before, after) = self.halves();
        let (before, after) = match self.revision {
            NEVER_STORED => without_revision(before, after),
            _ => (before, after),
        };
        match before.strip_prefix(opening) {
            Some(rest) => {
                out.extend_from_slice(instead);
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(before),
        }
        if self.revision != NEVER_STORED {
            // Vec's Write does not fail.
            let _ = write!(out, "{}", self.revision.0);
        }
        out.extend_from_slice(after);
    }

    /// The object's JSON.
    pub fn json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.json_bytes_max());
        self.write_json(&mut out);
        Bytes::from(out)
    }

    /// The line of a watch that tells what happened.
    pub fn frame(&self, happened: Happened) -> Bytes {
        let opening = happened.opening();
        let mut out = Vec::with_capacity(opening.len() + self.json_bytes_max() + CLOSING.len());
        out.extend_from_slice(opening.as_bytes());
        self.write_json(&mut out);
        out.extend_from_slice(CLOSING.as_bytes());
        Bytes::from(out)
    }

    /// The JSON of managedFields; empty where nobody's fields are tracked.
    pub fn managed(&self) -> &[u8] {
        match self.managed_range() {
            None => &[],
            Some((start, end)) => self.stored.get(start + MANAGED_FIELD.len()..end - 1).unwrap_or_default(),
        }
    }

    /// The object's JSON without managedFields.
    pub fn bare(&self) -> Bytes {
        let mut bare = Vec::with_capacity(self.json_bytes_max() - self.managed_bytes);
        match self.managed_range() {
            None => self.write_json(&mut bare),
            Some((start, end)) => {
                bare.extend_from_slice(&self.stored[self.json_at..start]);
                bare.extend_from_slice(&self.stored[end..self.revision_at]);
                // Vec's Write does not fail.
                let _ = write!(bare, "{}", self.revision.0);
                bare.extend_from_slice(&self.stored[self.revision_at..]);
            }
        }
        Bytes::from(bare)
    }

    /// Where `"managedFields":[…],` stands in the buffer.
    fn managed_range(&self) -> Option<(usize, usize)> {
        let length = self.managed_bytes;
        let end = self.revision_at.checked_sub(REVISION_FIELD.len())?;
        (length > 0).then(|| (end - length, end))
    }

    pub fn revision_text(&self) -> String {
        self.revision.0.to_string()
    }
}

/// The JSON before and after the field of the revision; a comma goes with the field.
fn without_revision<'a>(before: &'a [u8], after: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let before = before.strip_suffix(REVISION_FIELD.as_bytes()).unwrap_or(before);
    let after = after.strip_prefix(b"\"").unwrap_or(after);
    match after.strip_prefix(b",") {
        Some(after) => (before, after),
        None => (before.strip_suffix(b",").unwrap_or(before), after),
    }
}

/// A mark for the place of the revision that no client can guess.
fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| uuid::Uuid::new_v4().simple().to_string())
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("object could not be encoded")]
    Json(#[source] serde_json::Error),
    #[error("object is too large to be encoded")]
    TooLarge,
}

/// What is stored of an object beside itself.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    pub fields: &'a BTreeMap<String, String>,
    pub references: &'a [String],
    /// The JSON of managedFields, or empty.
    pub managed: &'a [u8],
    /// From when on it is kept; its creation, if nothing.
    pub since: Option<Timestamp>,
}

/// The bytes to store for an object.
pub fn encode<T>(mut object: T, beside: Beside<'_>) -> Result<Bytes, EncodeError>
where
    T: Serialize + Metadata<Ty = ObjectMeta>,
{
    let Beside { fields, references, managed, since } = beside;
    object.metadata_mut().resource_version = Some(mark().to_owned());
    object.metadata_mut().managed_fields = None;
    let json = serde_json::to_vec(&object).map_err(EncodeError::Json)?;
    let meta = object.metadata();
    let since = since.or(meta.creation_timestamp.as_ref().map(|time| time.0));
    let at = memchr::memmem::find(&json, mark().as_bytes()).unwrap_or(json.len());
    let before_field = at.saturating_sub(REVISION_FIELD.len());
    let managed_bytes = if managed.is_empty() { 0 } else { MANAGED_FIELD.len() + managed.len() + 1 };
    let parts = Parts {
        name: meta.name.as_deref().unwrap_or_default(),
        namespace: meta.namespace.as_deref().unwrap_or_default(),
        uid: meta.uid.as_deref().unwrap_or_default(),
        labels: meta.labels.as_ref(),
        fields,
        references,
        since_seconds: since.map_or(0, Timestamp::as_second),
        deleting: meta.deletion_timestamp.is_some(),
        revision_at: at + managed_bytes,
        managed_bytes,
    };
    let mut stored = Vec::with_capacity(json.len() + managed_bytes + HEAD_BYTES_USUAL);
    header::write(&parts, &mut stored).ok_or(EncodeError::TooLarge)?;
    stored.extend_from_slice(&json[..before_field]);
    if managed_bytes > 0 {
        stored.extend_from_slice(MANAGED_FIELD.as_bytes());
        stored.extend_from_slice(managed);
        stored.push(b',');
    }
    stored.extend_from_slice(&json[before_field..at]);
    stored.extend_from_slice(&json[at + mark().len()..]);
    // It is kept for as long as the object is: what was reserved too much is given back.
    stored.shrink_to_fit();
    Ok(Bytes::from(stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn beside<'a>(fields: &'a BTreeMap<String, String>, managed: &'a [u8]) -> Beside<'a> {
        Beside { fields, references: &[], managed, since: None }
    }

    #[test]
    fn what_a_dry_run_made_has_no_revision_whatever_stands_around_it() {
        let mut object = ConfigMap::default();
        let shown = |object: &ConfigMap, managed: &[u8]| {
            let stored = encode(object.clone(), beside(&BTreeMap::new(), managed)).unwrap();
            let read = Object::from_stored("ns/a".into(), NEVER_STORED, stored).unwrap();
            String::from_utf8(read.json().to_vec()).unwrap()
        };
        let head = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":"#;
        assert_eq!(shown(&object, b""), format!("{head}{{}}}}"));
        object.metadata.uid = Some("u".to_owned());
        assert_eq!(shown(&object, b""), format!(r#"{head}{{"uid":"u"}}}}"#));
        assert_eq!(shown(&object, b"[]"), format!(r#"{head}{{"managedFields":[],"uid":"u"}}}}"#));
        object.metadata = ObjectMeta { name: Some("a".to_owned()), ..ObjectMeta::default() };
        assert_eq!(shown(&object, b""), format!(r#"{head}{{"name":"a"}}}}"#));
    }

    #[test]
    fn revision_is_spliced_at_its_place_whatever_the_annotations_say() {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("a".to_owned());
        object.metadata.annotations =
            Some([("resourceVersion".to_owned(), "\"resourceVersion\":\"\"".to_owned())].into());
        let stored = encode(object, beside(&BTreeMap::new(), b"")).unwrap();
        let read = Object::from_stored("ns/a".into(), Revision(42), stored).unwrap();
        let value: ConfigMap = serde_json::from_slice(&read.json()).unwrap();
        assert_eq!(value.metadata.resource_version.as_deref(), Some("42"));
        assert_eq!(value.metadata.name.as_deref(), Some("a"));
        let gone = read.tombstone(Revision(43)).frame(Happened::Deleted);
        let line: serde_json::Value = serde_json::from_slice(&gone).unwrap();
        assert_eq!(line["type"], "DELETED");
        assert_eq!(line["object"]["metadata"]["resourceVersion"], "43");
        assert!(gone.ends_with(b"}\n"));
    }

    #[test]
    fn managed_fields_are_in_the_json_and_not_in_the_bare_one() {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("a".to_owned());
        let managed = br#"[{"manager":"m","operation":"Update"}]"#;
        let stored = encode(object.clone(), beside(&BTreeMap::new(), managed)).unwrap();
        let read = Object::from_stored("ns/a".into(), Revision(42), stored).unwrap();
        assert_eq!(read.managed(), managed);
        let whole: ConfigMap = serde_json::from_slice(&read.json()).unwrap();
        assert_eq!(whole.metadata.managed_fields.unwrap()[0].manager.as_deref(), Some("m"));
        let bare: ConfigMap = serde_json::from_slice(&read.bare()).unwrap();
        assert_eq!(bare.metadata.managed_fields, None);
        assert_eq!(bare.metadata.resource_version.as_deref(), Some("42"));
        let stored = encode(object, beside(&BTreeMap::new(), b"")).unwrap();
        let read = Object::from_stored("ns/a".into(), Revision(42), stored).unwrap();
        assert!(read.managed().is_empty());
        assert_eq!(read.bare(), read.json());
    }

    #[test]
    fn foreign_bytes_are_damaged_and_no_panic() {
        for bytes in ["", "x", "{}\n", "{\"n\":\"a\",\"u\":\"b\",\"r\":99}\n{}"] {
            let read = Object::from_stored("a".into(), Revision(1), Bytes::from(bytes));
            assert!(read.is_err(), "{bytes}");
        }
        let fields = BTreeMap::new();
        for (revision_at, managed_bytes) in [(99, 0), (1, 99), (2, 1)] {
            let parts = Parts {
                name: "a",
                namespace: "",
                uid: "b",
                labels: None,
                fields: &fields,
                references: &[],
                since_seconds: 0,
                deleting: false,
                revision_at,
                managed_bytes,
            };
            let mut stored = Vec::new();
            header::write(&parts, &mut stored).unwrap();
            stored.extend_from_slice(b"{}");
            let read = Object::from_stored("a".into(), Revision(1), Bytes::from(stored));
            assert!(read.is_err(), "{revision_at} {managed_bytes}");
        }
    }
}
