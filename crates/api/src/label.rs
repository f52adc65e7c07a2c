//! Label selectors: from a query string, from a `LabelSelector` object, from a plain set; and matching.
//!
//! A `Selector` that exists is legal. It does not know where labels come from. Matching follows upstream: `!=` and
//! `notin` match objects that lack the key; no selector matches nothing, an empty one everything.

pub mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub use parse::SelectorError;

pub type Labels = BTreeMap<String, String>;

/// What one requirement asks of the value under its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requires {
    Exists,
    DoesNotExist,
    /// `=`, `==`: exactly this value.
    Equals(String),
    /// `!=`: another value, or none.
    NotEquals(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    /// Integers only; a missing or unparsable value does not match.
    GreaterThan(i64),
    LessThan(i64),
}

/// One term of a selector; all terms must hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    pub key: String,
    pub requires: Requires,
}

/// Which objects are meant, by their labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// No object at all: what an absent `LabelSelector` means.
    Nothing,
    /// Objects for which every requirement holds; with no requirements, all.
    All(Vec<Requirement>),
}

impl Selector {
    pub fn everything() -> Self {
        Selector::All(Vec::new())
    }

    /// The selector of a `labelSelector` query parameter.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::parse(text).map(Selector::All)
    }

    /// Exactly these labels, as in `nodeSelector`.
    pub fn from_set(labels: &Labels) -> Self {
        let equals = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            requires: Requires::Equals(value.clone()),
        };
        Selector::All(labels.iter().map(equals).collect())
    }

    /// The matcher of a `LabelSelector`. An operator or a set of values that the API would refuse is an error.
    pub fn from_label_selector(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let Selector::All(mut terms) = Selector::from_set(selector.match_labels.as_ref().unwrap_or(&EMPTY))
        else {
            return Ok(Selector::Nothing);
        };
        for expression in selector.match_expressions.iter().flatten() {
            let values: BTreeSet<String> = expression.values.iter().flatten().cloned().collect();
            let requires = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Requires::In(values),
                ("NotIn", false) => Requires::NotIn(values),
                ("In" | "NotIn", true) => {
                    return Err(SelectorError::NoValues { key: expression.key.clone() });
                }
                ("Exists", true) => Requires::Exists,
                ("DoesNotExist", true) => Requires::DoesNotExist,
                ("Exists" | "DoesNotExist", false) => {
                    return Err(SelectorError::UnwantedValues { key: expression.key.clone() });
                }
                (operator, _) => {
                    return Err(SelectorError::UnknownOperator { operator: operator.to_owned() });
                }
            };
            terms.push(Requirement { key: expression.key.clone(), requires });
        }
        terms.sort();
        Ok(Selector::All(terms))
    }

    /// Absent means nothing, as everywhere in upstream's controllers.
    pub fn from_optional(selector: Option<&LabelSelector>) -> Result<Self, SelectorError> {
        selector.map_or(Ok(Selector::Nothing), Self::from_label_selector)
    }

    /// True if the selector selects every object: it has no terms.
    pub fn is_everything(&self) -> bool {
        matches!(self, Selector::All(terms) if terms.is_empty())
    }

    pub fn requirements(&self) -> &[Requirement] {
        match self {
            Selector::Nothing => &[],
            Selector::All(terms) => terms,
        }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// As [`matches`](Self::matches), for labels that are found by their key some other way.
    pub fn matches_by<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Selector::Nothing => false,
            Selector::All(terms) => terms.iter().all(|term| term.requires.accepts(value_of(&term.key))),
        }
    }

    /// The value that the selector fixes for a key, if it does: `app=a` fixes `app`.
    pub fn exact_value(&self, key: &str) -> Option<&str> {
        self.requirements().iter().find(|term| term.key == key).and_then(|term| match &term.requires {
            Requires::Equals(value) => Some(value.as_str()),
            Requires::In(values) if values.len() == 1 => values.first().map(String::as_str),
            _ => None,
        })
    }
}

impl Requirement {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requires.accepts(labels.get(&self.key).map(String::as_str))
    }
}

impl Requires {
    /// Does the value under the key (or its absence) satisfy this?
    pub fn accepts(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Requires::Exists => value.is_some(),
            Requires::DoesNotExist => value.is_none(),
            Requires::Equals(wanted) => value == Some(wanted.as_str()),
            Requires::NotEquals(unwanted) => value != Some(unwanted.as_str()),
            Requires::In(values) => value.is_some_and(|v| values.contains(v)),
            Requires::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Requires::GreaterThan(bound) => number().is_some_and(|n| n > *bound),
            Requires::LessThan(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.requirements().iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let joined =
            |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match &self.requires {
            Requires::Exists => write!(f, "{key}"),
            Requires::DoesNotExist => write!(f, "!{key}"),
            Requires::Equals(value) => write!(f, "{key}={value}"),
            Requires::NotEquals(value) => write!(f, "{key}!={value}"),
            Requires::In(values) => write!(f, "{key} in ({})", joined(values)),
            Requires::NotIn(values) => write!(f, "{key} notin ({})", joined(values)),
            Requires::GreaterThan(bound) => write!(f, "{key}>{bound}"),
            Requires::LessThan(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

static EMPTY: Labels = Labels::new();

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    fn labels(text: &str) -> Labels {
        text.split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn selectors_match_as_upstream_does() {
        let table = [
            ("", "a=1", true),
            ("a", "a=1", true),
            ("a", "b=1", false),
            ("!a", "b=1", true),
            ("!a", "a=", false),
            ("a=1", "a=1", true),
            ("a==1", "a=2", false),
            ("a!=1", "b=1", true),
            ("a!=1", "a=1", false),
            ("a in (1,2)", "a=2", true),
            ("a in (1,2)", "b=2", false),
            ("a notin (1,2)", "b=2", true),
            ("a notin (1,2)", "a=1", false),
            ("a=", "a=", true),
            ("a=", "b=", false),
            ("a in (,x)", "a=", true),
            ("a>5", "a=6", true),
            ("a>5", "a=x", false),
            ("a<5", "b=1", false),
            ("a=1,b=2", "a=1,b=2,c=3", true),
            ("a=1,b=2", "a=1", false),
        ];
        for (selector, set, expect) in table {
            let parsed = Selector::parse(selector).unwrap();
            assert_eq!(parsed.matches(&labels(set)), expect, "{selector} on {set}");
        }
    }

    #[test]
    fn no_selector_matches_nothing_and_an_empty_one_everything() {
        assert!(!Selector::from_optional(None).unwrap().matches(&labels("a=1")));
        assert!(Selector::from_optional(Some(&LabelSelector::default())).unwrap().matches(&Labels::new()));
    }

    #[test]
    fn expressions_of_a_label_selector_are_anded_with_its_labels() {
        let term = |key: &str, operator: &str, values: &[&str]| LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
        };
        let object =
            |terms| LabelSelector { match_labels: Some(labels("a=1")), match_expressions: Some(terms) };
        let selector = Selector::from_label_selector(&object(vec![
            term("b", "In", &["x", "y"]),
            term("c", "DoesNotExist", &[]),
        ]))
        .unwrap();
        assert!(selector.matches(&labels("a=1,b=x")));
        assert!(!selector.matches(&labels("a=1,b=z")));
        assert!(!selector.matches(&labels("a=1,b=x,c=1")));
        assert_eq!(selector.to_string(), "a=1,b in (x,y),!c");
        for bad in [term("b", "In", &[]), term("b", "Exists", &["x"]), term("b", "Gt", &["1"])] {
            assert!(Selector::from_label_selector(&object(vec![bad])).is_err());
        }
    }
}
