//! With whom an applied configuration disagrees.
//!
//! Upstream: `apimachinery/pkg/util/managedfields/internal/conflict.go`.

use std::collections::BTreeMap;
use std::fmt;

use super::compare::Difference;
use super::entries::Entry;
use super::set::{self, Set};

/// One field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// As messages show it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// `.spec.containers[name="a"].image`.
    pub path: String,
}

/// Why an apply that is not forced fails; in order, and never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl std::error::Error for Conflicts {}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [Conflict { manager, path }] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: conflict with {manager}: {path}");
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Conflict { manager, path } in &self.0 {
            by_manager.entry(manager).or_default().push(path);
        }
        for (i, (manager, paths)) in by_manager.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}conflicts with {manager}:")?;
            for path in paths {
                write!(f, "\n- {path}")?;
            }
        }
        Ok(())
    }
}

/// What a manager owns and an apply changes.
pub(super) struct Contested<'a> {
    pub manager: String,
    pub fields: Set<'a>,
}

/// By manager, in order; `difference` gives the changes in a version.
pub(super) fn contested<'a>(
    entries: &[Entry<'a>],
    difference: impl Fn(&str) -> Option<&'a Difference<'a>>,
) -> Vec<Contested<'a>> {
    let mut found = Vec::new();
    for entry in entries {
        let Some(difference) = difference(&entry.api_version) else { continue };
        let fields = entry.fields.intersection(&difference.added.union(&difference.modified));
        if !fields.is_empty() {
            found.push(Contested { manager: entry.shown(), fields });
        }
    }
    found.sort_by(|a, b| a.manager.cmp(&b.manager));
    found
}

impl Conflicts {
    /// Nothing where nothing is contested.
    pub(super) fn of(contested: &[Contested<'_>]) -> Option<Conflicts> {
        let each = contested.iter().flat_map(|Contested { manager, fields }| {
            let paths = fields.paths().into_iter();
            paths.map(|path| Conflict { manager: manager.clone(), path: set::shown(&path) })
        });
        let all: Vec<Conflict> = each.collect();
        (!all.is_empty()).then_some(Conflicts(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict(manager: &str, path: &str) -> Conflict {
        Conflict { manager: manager.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn one_conflict_is_one_line_and_several_are_told_by_manager() {
        let one = Conflicts(vec![conflict("\"a\" using v1", ".data.k")]);
        assert_eq!(one.to_string(), "Apply failed with 1 conflict: conflict with \"a\" using v1: .data.k");
        let more = Conflicts(vec![
            conflict("\"b\"", ".data.k"),
            conflict("\"a\" using v1", ".data.k"),
            conflict("\"a\" using v1", ".data.l"),
        ]);
        assert_eq!(
            more.to_string(),
            "Apply failed with 3 conflicts: conflicts with \"a\" using v1:\n- .data.k\n- .data.l\nconflicts with \"b\":\n- .data.k"
        );
    }
}
