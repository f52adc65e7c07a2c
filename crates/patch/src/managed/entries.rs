//! `metadata.managedFields`: one entry for each manager, operation, version and endpoint.
//!
//! Upstream: `apimachinery/pkg/util/managedfields/internal/{managedfields,capmanagers,buildmanagerinfo}.go`.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::element::quoted;
use super::fields_v1;
use super::set::Set;

/// Entries of updates that an object keeps apart (upstream `DefaultMaxUpdateManagers`); older ones become one, so that
/// many clients with names of their own do not fill the object.
pub const UPDATE_MANAGERS_MAX: usize = 10;
/// Who holds what older entries held.
const ANCIENT: &str = "ancient-changes";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    pub manager: Cow<'a, str>,
    pub operation: Operation,
    pub api_version: Cow<'a, str>,
    pub subresource: Cow<'a, str>,
    /// RFC 3339 in UTC, to the second: texts sort as times do.
    pub time: Option<Cow<'a, str>>,
    pub fields: Set<'a>,
}

impl Entry<'_> {
    /// Whether two entries are one manager's. An applier is the same one in whatever version it applies.
    pub fn is_of(&self, other: &Entry<'_>) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// As messages name the manager.
    pub fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }

    fn sort_key(&self) -> (Operation, &str, &str, &str, &str) {
        let time = self.time.as_deref().unwrap_or_default();
        (self.operation, time, &self.manager, &self.api_version, &self.subresource)
    }
}

/// Why entries cannot be used; such a list never fails a write, it counts as none.
#[derive(Debug, thiserror::Error)]
pub enum EntriesError {
    #[error("managedFields are no list of entries")]
    Json(#[from] serde_json::Error),
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("fieldsType must be `FieldsV1`")]
    FieldsType,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    fields_type: Cow<'a, str>,
    #[serde(borrow, default, rename = "fieldsV1")]
    fields: Option<&'a RawValue>,
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Option<Cow<'a, str>>,
}

/// Entries from the JSON of `managedFields`; nothing is an empty list.
pub fn decode(json: &[u8]) -> Result<Vec<Entry<'_>>, EntriesError> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let wires: Vec<Wire<'_>> = serde_json::from_slice(json)?;
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(wires.len());
    for wire in wires {
        let operation = match &*wire.operation {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(EntriesError::Operation),
        };
        if wire.api_version.is_empty() {
            return Err(EntriesError::ApiVersion);
        }
        if wire.fields_type != "FieldsV1" {
            return Err(EntriesError::FieldsType);
        }
        let fields = match wire.fields {
            Some(fields) => fields_v1::decode(fields.get().as_bytes())?,
            None => Set::default(),
        };
        let entry = Entry {
            manager: wire.manager,
            operation,
            api_version: wire.api_version,
            subresource: wire.subresource,
            time: wire.time,
            fields,
        };
        // As in a map by manager: the last one counts.
        entries.retain(|known| !known.is_of(&entry));
        entries.push(entry);
    }
    Ok(entries)
}

/// What a client sent, as JSON in the form that [`decode`] reads.
pub fn json_of(entries: &[ManagedFieldsEntry]) -> Vec<u8> {
    // Texts and JSON values always serialize.
    serde_json::to_vec(entries).unwrap_or_default()
}

/// The JSON of `managedFields`, in upstream's order; without entries it is empty.
pub fn encode(mut entries: Vec<Entry<'_>>) -> Vec<u8> {
    if entries.is_empty() {
        return Vec::new();
    }
    entries.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    let mut out = Vec::with_capacity(1024);
    for (i, entry) in entries.iter().enumerate() {
        out.push(if i == 0 { b'[' } else { b',' });
        out.extend_from_slice(b"{\"apiVersion\":");
        quoted("", &entry.api_version, &mut out);
        out.extend_from_slice(b",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
        fields_v1::encode(&entry.fields, &mut out);
        out.extend_from_slice(b",\"manager\":");
        quoted("", &entry.manager, &mut out);
        out.extend_from_slice(b",\"operation\":");
        quoted("", entry.operation.as_str(), &mut out);
        if !entry.subresource.is_empty() {
            out.extend_from_slice(b",\"subresource\":");
            quoted("", &entry.subresource, &mut out);
        }
        if let Some(time) = &entry.time {
            out.extend_from_slice(b",\"time\":");
            quoted("", time, &mut out);
        }
        out.push(b'}');
    }
    out.push(b']');
    out
}

/// Whether two lists say the same, whenever it was said.
pub fn same_but_for_times(a: &[Entry<'_>], b: &[Entry<'_>]) -> bool {
    a.len() == b.len()
        && a.iter()
            .all(|a| b.iter().any(|b| a.is_of(b) && a.fields == b.fields && a.api_version == b.api_version))
}

/// Merges the oldest entries of updates, by version, until there are no more than the maximum.
pub fn cap(entries: &mut Vec<Entry<'_>>) {
    let mut updates: Vec<Entry<'_>> = entries.extract_if(.., |e| e.operation == Operation::Update).collect();
    updates.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    let mut count = updates.len();
    let mut kept: Vec<Entry<'_>> = Vec::new();
    // By version: where the first old entry of it stands in `kept`; the bucket once a second one has come.
    let mut first: Vec<usize> = Vec::new();
    for update in updates {
        let known = first.iter().copied().find(|at| kept[*at].api_version == update.api_version);
        match known {
            Some(at) if count > UPDATE_MANAGERS_MAX => {
                let bucket = &mut kept[at];
                bucket.manager = Cow::Borrowed(ANCIENT);
                bucket.subresource = Cow::Borrowed("");
                bucket.fields = bucket.fields.union(&update.fields);
                bucket.time = update.time;
                count -= 1;
            }
            Some(_) => kept.push(update),
            None => {
                first.push(kept.len());
                kept.push(update);
            }
        }
    }
    entries.extend(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(manager: usize, version: &'static str) -> Entry<'static> {
        let fields = fields_v1::decode(b"{\"f:a\":{}}").unwrap();
        Entry {
            manager: format!("m{manager}").into(),
            operation: Operation::Update,
            api_version: version.into(),
            subresource: "".into(),
            time: Some(format!("2026-01-01T00:00:{manager:02}Z").into()),
            fields,
        }
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let json = r#"[{"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:a":{}}},"manager":"k \"q\"","operation":"Apply","time":"2026-01-01T00:00:00Z"},{"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:status":{".":{},"f:b":{}}},"manager":"k","operation":"Update","subresource":"status"}]"#;
        assert_eq!(String::from_utf8(encode(decode(json.as_bytes()).unwrap())).unwrap(), json);
        assert!(decode(b"").unwrap().is_empty() && encode(Vec::new()).is_empty());
    }

    #[test]
    fn malformed_lists_are_errors() {
        for json in [
            "{}",
            r#"[{"apiVersion":"v1","fieldsType":"FieldsV1","operation":"Delete"}]"#,
            r#"[{"fieldsType":"FieldsV1","operation":"Apply"}]"#,
            r#"[{"apiVersion":"v1","operation":"Apply"}]"#,
            r#"[{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":1,"operation":"Apply"}]"#,
        ] {
            assert!(decode(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn managers_are_named_as_upstream_names_them() {
        let mut entry = update(1, "apps/v1");
        assert_eq!(entry.shown(), "\"m1\" using apps/v1");
        entry.subresource = "status".into();
        assert_eq!(entry.shown(), "\"m1\" with subresource \"status\" using apps/v1");
        entry.operation = Operation::Apply;
        assert_eq!(entry.shown(), "\"m1\" with subresource \"status\"");
    }

    #[test]
    fn the_oldest_updates_of_a_version_become_one() {
        let mut entries: Vec<Entry<'_>> = (0..14).map(|i| update(i, "v1")).collect();
        entries[3].api_version = "v2".into();
        cap(&mut entries);
        let managers: Vec<&str> = entries.iter().map(|entry| &*entry.manager).collect();
        let expected = ["ancient-changes", "m3", "m6", "m7", "m8", "m9", "m10", "m11", "m12", "m13"];
        assert_eq!(managers, expected);
        assert_eq!(entries[0].time.as_deref(), Some("2026-01-01T00:00:05Z"));
    }

    #[test]
    fn ten_updaters_and_any_number_of_appliers_stay_apart() {
        let mut entries: Vec<Entry<'_>> = (0..20).map(|i| update(i, "v1")).collect();
        entries[10..].iter_mut().for_each(|entry| entry.operation = Operation::Apply);
        cap(&mut entries);
        assert_eq!(entries.len(), 20);
    }
}
