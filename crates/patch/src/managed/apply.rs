//! What an applied configuration makes of an object, and who owns what afterwards.
//!
//! The applier owns exactly what its configuration names. What another manager owns with another value is a conflict,
//! unless the apply is forced; what it owned before and names no more is removed if nobody else owns it.
//!
//! Upstream: `structured-merge-diff/merge/update.go` (`Apply`) and the managers of
//! `apimachinery/pkg/util/managedfields/internal`.

use serde_json::{Map, Value};

use super::compare::compare;
use super::conflict::{Conflicts, contested};
use super::element::Element;
use super::entries::{self, Entry, Operation};
use super::field_set::field_set;
use super::last_applied;
use super::merge::{merge, without_nulls};
use super::removal::{Convert, prune};
use super::set::Set;
use super::track::{Form, Forms, Writer, disown};
use super::tree::{META_STRIPPED, ROOT_STRIPPED, Tree};
use super::types::Type;

/// Media type of a PATCH that applies a configuration.
pub const CONTENT_TYPE: &str = "application/apply-patch+yaml";

/// Who owns what an object without entries has, as soon as somebody applies.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Whether an apply takes what others own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contention {
    /// It fails.
    Refuse,
    /// They lose it.
    Force,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// In the writer's version.
    pub object: Value,
    /// The JSON of managedFields.
    pub managed: Vec<u8>,
    /// The entries say what the stored ones say, but for their times.
    pub same_owners: bool,
}

/// `live` and `config` are in the writer's version, without managedFields; `config` is valid, and names nothing twice.
pub fn apply(
    writer: &Writer<'_>,
    contention: Contention,
    stored: &[u8],
    live: Option<&Value>,
    config: &Value,
    convert: Convert<'_>,
) -> Result<Applied, Conflicts> {
    let requested = writer.requested;
    let reset = writer.reset();
    let mut known = entries::decode(stored).unwrap_or_default();
    let before = live.filter(|_| known.is_empty()).map(|live| Tree::of(live, reset.root));
    if let Some(tree) = &before {
        let fields = reset.kept_of(compare(requested.definition, None, tree)).added;
        let entry = Entry { manager: BEFORE_FIRST_APPLY.into(), ..writer.entry(Operation::Update, fields) };
        known.extend((!entry.fields.is_empty()).then_some(entry));
    }

    let config_tree = Tree::whole(config);
    let named = reset.kept(&field_set(requested.definition, &config_tree));
    let mut own = writer.entry(Operation::Apply, named);
    let former = known.iter().position(|known| known.is_of(&own)).map(|at| known.remove(at));
    let nothing = Value::Object(Map::new());
    let root = Type::root(requested.definition);
    let mut object = merge(live.unwrap_or(&nothing), config, root);
    // Most applies name what they named before: nothing is to be removed.
    let dropped = former
        .as_ref()
        .filter(|former| former.api_version != own.api_version || !own.fields.covers(&former.fields));
    if let Some(former) = dropped {
        let all: Vec<&Entry<'_>> = known.iter().chain([&own]).collect();
        object = prune(object, requested, former, &all, convert);
    }
    let mut object = without_nulls(object, root);
    own.fields = own.fields.difference(&stripped());

    let forms = Forms::of(requested, &mut known, &mut |version| {
        let shown = |value: &Value| {
            if version == requested {
                return Tree::of(value, reset.root);
            }
            Tree::of(&convert(value, requested, version), reset.root)
        };
        Form { old: live.map(shown), new: shown(&object) }
    });
    let differences = forms.differences(&reset);
    if contention == Contention::Refuse {
        let contested = contested(&known, |version| {
            differences.iter().find(|(known, _)| known == version).map(|(_, difference)| difference)
        });
        if let Some(conflicts) = Conflicts::of(&last_applied::others(writer, live, contested)) {
            return Err(conflicts);
        }
    }
    disown(&mut known, &differences);
    let former_time = former.and_then(|former| former.time);
    known.extend((!own.fields.is_empty()).then_some(own));
    let same_owners = entries::same_but_for_times(&known, &entries::decode(stored).unwrap_or_default());
    if same_owners && live == Some(&object) {
        let applier =
            known.iter_mut().find(|entry| entry.is_of(&writer.entry(Operation::Apply, Set::default())));
        if let Some(applier) = applier {
            applier.time = former_time;
        }
    }
    let managed = entries::encode(known);
    last_applied::follow(writer, &mut object, config);
    Ok(Applied { object, managed, same_owners })
}

/// What nobody owns, as paths.
fn stripped() -> Set<'static> {
    let mut set = Set::default();
    for name in ROOT_STRIPPED {
        set.insert(&[Element::field(name)]);
    }
    set.insert(&[Element::field("metadata")]);
    for name in META_STRIPPED {
        set.insert(&[Element::field("metadata"), Element::field(name)]);
    }
    set
}
