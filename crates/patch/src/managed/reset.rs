//! Which fields a write through one endpoint does not change, whatever it says: nobody comes to own them by it.
//!
//! Upstream: `GetResetFields` and `GetResetFieldsFilter` of `pkg/registry/*/strategy.go`.

use super::compare::Difference;
use super::element::Element;
use super::set::Set;

/// What the endpoint leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Fields of the root.
    pub root: &'static [&'static str],
    /// Paths further down.
    paths: &'static [&'static [&'static str]],
    /// If set, everything that is not below this path.
    all_but: Option<&'static [&'static str]>,
}

const NOTHING: Reset = Reset { root: &[], paths: &[], all_but: None };
const STATUS: Reset = Reset { root: &["status"], ..NOTHING };
const SPEC: Reset = Reset { root: &["spec"], ..NOTHING };

impl Reset {
    /// Of a kind's endpoint; the main one has no subresource. Kinds without status have nothing to reset.
    pub fn of(kind: &str, subresource: &str) -> Reset {
        match (kind, subresource) {
            ("Pod", "status") => Reset {
                paths: &[&["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]],
                ..SPEC
            },
            ("Pod", "ephemeralcontainers") => {
                Reset { all_but: Some(&["spec", "ephemeralContainers"]), ..NOTHING }
            }
            ("CertificateSigningRequest", "status") => Reset { paths: &[&["status", "conditions"]], ..SPEC },
            ("CertificateSigningRequest", "approval") => {
                Reset { paths: &[&["status", "certificate"]], ..SPEC }
            }
            (_, "status") => SPEC,
            (_, _) => STATUS,
        }
    }

    /// What is left of a set.
    pub fn kept<'a>(&self, set: &Set<'a>) -> Set<'a> {
        let mut reset = Set::default();
        for field in self.root {
            reset.insert(&[Element::field(field)]);
        }
        for path in self.paths {
            let path: Vec<_> = path.iter().map(|name| Element::field(name)).collect();
            reset.insert(&path);
        }
        let kept = set.recursive_difference(&reset);
        match self.all_but {
            None => kept,
            Some(path) => kept.below(path),
        }
    }

    /// What is left of a comparison of trees that were made without the root's fields.
    pub fn kept_of<'a>(&self, difference: Difference<'a>) -> Difference<'a> {
        if self.paths.is_empty() && self.all_but.is_none() {
            return difference;
        }
        difference.map(|set| self.kept(set))
    }
}
