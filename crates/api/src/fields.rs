//! Field selectors: `metadata.name=a,spec.nodeName!=b` of the query parameter `fieldSelector`.
//!
//! Parsing and matching only. Which fields a resource offers, and their values, is the API server's to say.
//! Upstream: `k8s.io/apimachinery/pkg/fields`.

use std::fmt;

/// Why a text is not a field selector. Display is what the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term { selector: String, term: String },
    #[error("invalid field selector: invalid escape sequence: {sequence}")]
    Escape { sequence: String },
    #[error("invalid field selector: unescaped character in value: {character}")]
    Unescaped { character: char },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equals,
    NotEquals,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub field: String,
    pub comparison: Comparison,
    pub value: String,
}

/// Which objects are meant, by the values of their fields. Empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub terms: Vec<Term>,
}

impl Selector {
    pub fn everything() -> Self {
        Self::default()
    }

    pub fn parse(text: &str) -> Result<Self, FieldSelectorError> {
        let mut terms = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let Some((field, comparison, value)) = split_term(term) else {
                return Err(FieldSelectorError::Term { selector: text.to_owned(), term: term.to_owned() });
            };
            terms.push(Term { field: field.to_owned(), comparison, value: unescape(value)? });
        }
        Ok(Selector { terms })
    }

    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// `value_of` gives the value of a field; a field that the object does not have counts as empty.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| {
            let equal = value_of(&term.field).unwrap_or("") == term.value;
            match term.comparison {
                Comparison::Equals => equal,
                Comparison::NotEquals => !equal,
            }
        })
    }

    /// The value that the selector fixes for a field: what an index can be asked for.
    pub fn exact_value(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.field == field && term.comparison == Comparison::Equals)
            .map(|term| term.value.as_str())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let sign = match term.comparison {
                Comparison::Equals => "=",
                Comparison::NotEquals => "!=",
            };
            write!(f, "{}{sign}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// A value as it must be written in a selector.
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// At commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, Comparison, &str)> {
    const SIGNS: [(&str, Comparison); 3] =
        [("!=", Comparison::NotEquals), ("==", Comparison::Equals), ("=", Comparison::Equals)];
    // The first place where an operator stands; an exclamation mark alone is none.
    term.char_indices().find_map(|(at, _)| {
        let (field, rest) = term.split_at(at);
        SIGNS.iter().find_map(|(sign, comparison)| Some((field, *comparison, rest.strip_prefix(sign)?)))
    })
}

fn unescape(value: &str) -> Result<String, FieldSelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                Some(next) => return Err(FieldSelectorError::Escape { sequence: format!("\\{next}") }),
                None => return Err(FieldSelectorError::Escape { sequence: "\\".to_owned() }),
            },
            ',' | '=' => return Err(FieldSelectorError::Unescaped { character: c }),
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_anded_and_absent_fields_are_empty() {
        let value_of = |field: &str| match field {
            "metadata.name" => Some("a"),
            "spec.nodeName" => Some(""),
            _ => None,
        };
        let table = [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==b", false),
            ("metadata.name!=b", true),
            ("metadata.name=a,spec.nodeName=", true),
            ("metadata.name=a,,", true),
            ("spec.nodeName!=", false),
            ("unknown=", true),
        ];
        for (text, expect) in table {
            assert_eq!(Selector::parse(text).unwrap().matches(value_of), expect, "{text}");
        }
        assert_eq!(Selector::parse("a=1,b!=2").unwrap().exact_value("a"), Some("1"));
        assert_eq!(Selector::parse("a=1,b!=2").unwrap().exact_value("b"), None);
    }

    #[test]
    fn values_may_be_escaped_and_bad_terms_are_named() {
        assert_eq!(Selector::parse(r"a=x\,y\=z\\").unwrap().terms[0].value, r"x,y=z\");
        assert_eq!(Selector::parse(r"a=x\,y").unwrap().to_string(), r"a=x\,y");
        assert_eq!(
            Selector::parse("a").unwrap_err().to_string(),
            "invalid selector: 'a'; can't understand 'a'"
        );
        assert!(matches!(Selector::parse(r"a=\x"), Err(FieldSelectorError::Escape { .. })));
        assert!(matches!(Selector::parse("a=b=c"), Err(FieldSelectorError::Unescaped { character: '=' })));
    }
}
