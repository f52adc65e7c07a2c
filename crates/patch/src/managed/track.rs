//! Who owns what after a write that is no apply.
//!
//! What the write adds or changes belongs to the writer from now on and to nobody else; what it removes belongs to nobody.
//! Objects without entries stay without them until somebody applies; new objects get their first one.
//!
//! Upstream: `structured-merge-diff/merge/update.go` and the managers of `apimachinery/pkg/util/managedfields/internal`.

use std::borrow::Cow;

use api::scheme::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use super::compare::{Difference, compare};
use super::entries::{self, Entry, Operation};
use super::reset::Reset;
use super::set::Set;
use super::tree::Tree;

/// Who writes, through which endpoint, when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    pub manager: &'a str,
    /// Empty for the main endpoint.
    pub subresource: &'a str,
    /// The version of the request.
    pub requested: &'static Resource,
    /// RFC 3339 in UTC, to the second.
    pub now: &'a str,
}

impl<'a> Writer<'a> {
    pub fn reset(&self) -> Reset {
        Reset::of(self.requested.kind, self.subresource)
    }

    /// An entry of this writer.
    pub(super) fn entry(&self, operation: Operation, fields: Set<'a>) -> Entry<'a> {
        Entry {
            manager: if self.manager.is_empty() { Cow::Borrowed("unknown") } else { self.manager.into() },
            operation,
            api_version: self.requested.api_version().into(),
            subresource: self.subresource.into(),
            time: Some(self.now.into()),
            fields,
        }
    }
}

/// The two objects of a write in one version.
pub struct Form {
    pub old: Option<Tree>,
    pub new: Tree,
}

/// What the body of a write says of the entries.
#[derive(Debug, Clone, Copy, Default)]
pub enum Given<'a> {
    /// Nothing that counts: the stored ones stay.
    #[default]
    Nothing,
    /// `[]` or `[{}]`: from now on nobody owns anything.
    Cleared,
    /// These take the place of the stored ones, if they can be read.
    Entries(&'a [u8]),
}

/// Reads `metadata.managedFields` of a body; `json` keeps what [`Given`] points to.
pub fn given<'a>(sent: Option<&[ManagedFieldsEntry]>, json: &'a mut Vec<u8>) -> Given<'a> {
    match sent {
        None => Given::Nothing,
        Some([]) => Given::Cleared,
        Some([only]) if *only == ManagedFieldsEntry::default() => Given::Cleared,
        Some(entries) => {
            *json = entries::json_of(entries);
            Given::Entries(json)
        }
    }
}

/// The entries after a write that touches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The JSON of managedFields; empty where there are none.
    pub json: Vec<u8>,
    /// They say what the stored ones say, but for their times.
    pub same_owners: bool,
}

/// The entries after a write: nothing if they are as they were, in which case `stored` stays.
///
/// `form` gives the objects in a version of the resource, in the writer's first.
pub fn track(
    writer: &Writer<'_>,
    stored: &[u8],
    given: Given<'_>,
    is_new: bool,
    form: &mut dyn FnMut(&'static Resource) -> Form,
) -> Option<Tracked> {
    let sent = match given {
        Given::Nothing => None,
        Given::Cleared => Some(Vec::new()),
        Given::Entries(json) => entries::decode(json).ok().filter(|sent| !sent.is_empty()),
    };
    let replaces = sent.is_some();
    let mut known = sent.unwrap_or_else(|| entries::decode(stored).unwrap_or_default());
    if known.is_empty() && !is_new {
        // Cleared, or never tracked: nothing is tracked until the first apply.
        return (!stored.is_empty()).then(|| Tracked { json: Vec::new(), same_owners: false });
    }
    let forms = Forms::of(writer.requested, &mut known, form);
    let differences = forms.differences(&writer.reset());
    let own = &differences[0].1;
    let mut entry = writer.entry(Operation::Update, own.added.union(&own.modified));
    let former = known.iter().position(|known| known.is_of(&entry)).map(|at| known.remove(at));
    let mut same_owners = !disown(&mut known, &differences);
    let writes = !entry.fields.is_empty();
    match former {
        Some(former) => {
            let fields = former.fields.difference(&own.removed).union(&entry.fields);
            same_owners &= fields == former.fields;
            entry.fields = fields;
            if !writes {
                entry.time = former.time;
            }
        }
        None => same_owners &= !writes,
    }
    known.extend((!entry.fields.is_empty()).then_some(entry));
    if replaces {
        same_owners = entries::same_but_for_times(&known, &entries::decode(stored).unwrap_or_default());
    }
    if same_owners && !writes {
        return None;
    }
    entries::cap(&mut known);
    Some(Tracked { json: entries::encode(known), same_owners })
}

/// What differs between two objects, in one version.
pub(super) type InVersion<'f> = (String, Difference<'f>);

/// The objects in every version that a writer or an entry speaks of.
pub(super) struct Forms(Vec<(&'static Resource, Form)>);

impl Forms {
    /// Entries of versions that are not served are dropped.
    pub fn of(
        requested: &'static Resource,
        known: &mut Vec<Entry<'_>>,
        form: &mut dyn FnMut(&'static Resource) -> Form,
    ) -> Forms {
        let mut forms = vec![(requested, form(requested))];
        let own = requested.api_version();
        known.retain(|entry| {
            if entry.api_version == own || forms.iter().any(|(r, _)| r.api_version() == entry.api_version) {
                return true;
            }
            let found = api::scheme::find_kind(&entry.api_version, requested.kind);
            let Some(found) = found.filter(|found| found.storage() == requested.storage()) else {
                return false;
            };
            forms.push((found, form(found)));
            true
        });
        Forms(forms)
    }

    /// In every version, the writer's first.
    pub fn differences(&self, reset: &Reset) -> Vec<InVersion<'_>> {
        let all = self.0.iter().map(|(resource, form)| {
            let difference = compare(resource.definition, form.old.as_ref(), &form.new);
            (resource.api_version(), reset.kept_of(difference))
        });
        all.collect()
    }
}

/// Takes from every entry what the objects differ in; says whether that was anything.
pub(super) fn disown<'f>(known: &mut Vec<Entry<'f>>, differences: &[InVersion<'f>]) -> bool {
    let mut changed = false;
    for entry in known.iter_mut() {
        let found = differences.iter().find(|(version, _)| *version == entry.api_version);
        let Some((_, difference)) = found else { continue };
        for set in [&difference.added, &difference.modified, &difference.removed] {
            if entry.fields.overlaps(set) {
                entry.fields = entry.fields.difference(set);
                changed = true;
            }
        }
    }
    known.retain(|entry| !entry.fields.is_empty());
    changed
}
