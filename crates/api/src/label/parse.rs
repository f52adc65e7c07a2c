//! The grammar of the `labelSelector` query parameter, with upstream's error texts.
//!
//! `key`, `!key`, `key=v`, `key==v`, `key!=v`, `key in (a,b)`, `key notin (a,b)`, `key>1`, `key<1`, joined by commas.
//! Words are whatever stands between blanks and the characters `=!(),<>`; their syntax as label keys and values is
//! checked afterwards. Upstream: `k8s.io/apimachinery/pkg/labels`.

use std::collections::BTreeSet;

use super::{Requirement, Requires};
use crate::field::{FieldError, Path};
use crate::names;

/// Why a text or a `LabelSelector` is not a selector. Display is what the client is told.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SelectorError {
    #[error("unable to parse requirement: {0}")]
    Requirement(String),
    #[error("{0}")]
    Syntax(String),
    #[error("{operator:?} is not a valid label selector operator")]
    UnknownOperator { operator: String },
    #[error("key {key:?}: for 'in', 'notin' operators, values set can't be empty")]
    NoValues { key: String },
    #[error("key {key:?}: values set must be empty for exists and does not exist")]
    UnwantedValues { key: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Comma,
    Open,
    Close,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    In,
    NotIn,
    Error,
    End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: Kind,
    text: String,
}

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { tokens: tokens(text), next: 0 };
    let mut terms = Vec::new();
    loop {
        let token = parser.peek_word();
        match token.kind {
            Kind::Word | Kind::Not => {
                terms.push(parser.requirement().map_err(SelectorError::Requirement)?);
                let after = parser.take_word();
                match after.kind {
                    Kind::End => break,
                    Kind::Comma => {
                        let following = parser.peek_word();
                        if !matches!(following.kind, Kind::Word | Kind::Not) {
                            return Err(found(&following, "identifier after ','"));
                        }
                    }
                    _ => return Err(found(&after, "',' or 'end of string'")),
                }
            }
            Kind::End => break,
            _ => return Err(found(&token, "!, identifier, or 'end of string'")),
        }
    }
    terms.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(terms)
}

fn found(token: &Token, expected: &str) -> SelectorError {
    SelectorError::Syntax(format!("found '{}', expected: {expected}", token.text))
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> Token {
        self.tokens.get(self.next).cloned().unwrap_or(Token { kind: Kind::End, text: String::new() })
    }

    /// Where a value or key may stand, `in` and `notin` are words like any other.
    fn peek_word(&self) -> Token {
        let mut token = self.peek();
        if matches!(token.kind, Kind::In | Kind::NotIn) {
            token.kind = Kind::Word;
        }
        token
    }

    fn take(&mut self) -> Token {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn take_word(&mut self) -> Token {
        let token = self.peek_word();
        self.next += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.take_word();
        let negated = token.kind == Kind::Not;
        if negated {
            token = self.take_word();
        }
        if token.kind != Kind::Word {
            return Err(format!("found '{}', expected: identifier", token.text));
        }
        let key = token.text;
        complain(&Path::root(), &key, names::qualified_name(&key))?;
        if negated {
            return Ok(Requirement { key, requires: Requires::DoesNotExist });
        }
        if matches!(self.peek_word().kind, Kind::End | Kind::Comma) {
            return Ok(Requirement { key, requires: Requires::Exists });
        }
        let operator = self.take();
        let requires = match operator.kind {
            Kind::In => Requires::In(self.values(&key)?),
            Kind::NotIn => Requires::NotIn(self.values(&key)?),
            Kind::Equals => Requires::Equals(self.exact(&key)?),
            Kind::NotEquals => Requires::NotEquals(self.exact(&key)?),
            Kind::Greater => Requires::GreaterThan(self.integer(&key)?),
            Kind::Less => Requires::LessThan(self.integer(&key)?),
            _ => return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", operator.text)),
        };
        Ok(Requirement { key, requires })
    }

    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        let open = self.take_word();
        if open.kind != Kind::Open {
            return Err(format!("found '{}' expected: '('", open.text));
        }
        let mut values = BTreeSet::new();
        let first = self.peek_word();
        match first.kind {
            Kind::Word | Kind::Comma => self.list(&mut values)?,
            Kind::Close => {
                let error = FieldError::invalid(
                    &Path::new("values"),
                    serde_json::Value::Array(Vec::new()),
                    "for 'in', 'notin' operators, values set can't be empty",
                );
                return Err(error.to_string());
            }
            _ => return Err(format!("found '{}', expected: ',', ')' or identifier", first.text)),
        }
        let close = self.take_word();
        if close.kind != Kind::Close {
            return Err(format!("found '{}', expected: ')'", close.text));
        }
        for (i, value) in values.iter().enumerate() {
            check_value(key, i, value)?;
        }
        Ok(values)
    }

    fn list(&mut self, values: &mut BTreeSet<String>) -> Result<(), String> {
        loop {
            let token = self.take_word();
            match token.kind {
                Kind::Word => {
                    values.insert(token.text);
                    let after = self.peek_word();
                    match after.kind {
                        Kind::Comma => {}
                        Kind::Close => return Ok(()),
                        _ => return Err(format!("found '{}', expected: ',' or ')'", after.text)),
                    }
                }
                Kind::Comma => {
                    // An empty place in the list is the empty value.
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek_word().kind {
                        Kind::Close => {
                            values.insert(String::new());
                            return Ok(());
                        }
                        Kind::Comma => {
                            self.next += 1;
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return Err(format!("found '{}', expected: ',', or identifier", token.text)),
            }
        }
    }

    fn exact(&mut self, key: &str) -> Result<String, String> {
        if matches!(self.peek_word().kind, Kind::End | Kind::Comma) {
            return Ok(String::new());
        }
        let token = self.take_word();
        if token.kind != Kind::Word {
            return Err(format!("found '{}', expected: identifier", token.text));
        }
        check_value(key, 0, &token.text)?;
        Ok(token.text)
    }

    fn integer(&mut self, key: &str) -> Result<i64, String> {
        let value = self.exact(key)?;
        value.parse().map_err(|_| {
            let path = Path::new("values").index(0);
            FieldError::invalid(
                &path,
                value.as_str(),
                "for 'Gt', 'Lt' operators, the value must be an integer",
            )
            .to_string()
        })
    }
}

fn check_value(key: &str, index: usize, value: &str) -> Result<(), String> {
    complain(&Path::new("values").index(index).key(key), value, names::label_value(value))
}

fn complain(path: &Path, value: &str, complaints: Vec<String>) -> Result<(), String> {
    if complaints.is_empty() {
        return Ok(());
    }
    Err(FieldError::invalid(path, value, complaints.join("; ")).to_string())
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while let Some(first) = rest.chars().next() {
        let (kind, length) = if is_special(first) {
            special(rest)
        } else {
            let end = rest.find(|c| is_special(c) || is_blank(c)).unwrap_or(rest.len());
            let kind = match &rest[..end] {
                "in" => Kind::In,
                "notin" => Kind::NotIn,
                _ => Kind::Word,
            };
            (kind, end)
        };
        let (token, after) = rest.split_at(length);
        let text = match kind {
            Kind::Error => format!("error expected: keyword found '{token}'"),
            _ => token.to_owned(),
        };
        out.push(Token { kind, text });
        rest = after.trim_start_matches(is_blank);
    }
    out
}

/// The longest token at the start of a run of special characters. `rest` begins with one of them.
fn special(rest: &str) -> (Kind, usize) {
    let two = rest.get(..2);
    match (two, rest.as_bytes().first()) {
        (Some("=="), _) => (Kind::Equals, 2),
        (Some("!="), _) => (Kind::NotEquals, 2),
        (_, Some(b'=')) => (Kind::Equals, 1),
        (_, Some(b'!')) => (Kind::Not, 1),
        (_, Some(b'(')) => (Kind::Open, 1),
        (_, Some(b')')) => (Kind::Close, 1),
        (_, Some(b',')) => (Kind::Comma, 1),
        (_, Some(b'>')) => (Kind::Greater, 1),
        (_, Some(b'<')) => (Kind::Less, 1),
        _ => (Kind::Error, 1),
    }
}

#[cfg(test)]
mod tests {
    use crate::label::Selector;

    #[test]
    fn well_formed_selectors_print_canonically() {
        let table = [
            ("", ""),
            (" x = a , y != b ", "x=a,y!=b"),
            ("x==a", "x=a"),
            ("z,!a", "!a,z"),
            ("x in (b,a)", "x in (a,b)"),
            ("in in (in,notin)", "in in (in,notin)"),
            ("x notin ()y", ""),
            ("x=", "x="),
            ("x in (,)", "x in ()"),
            ("example.com/a=b", "example.com/a=b"),
            ("a>1,b<2", "a>1,b<2"),
        ];
        for (text, expect) in table {
            if text.contains("()y") {
                assert!(Selector::parse(text).is_err());
                continue;
            }
            assert_eq!(Selector::parse(text).unwrap().to_string(), expect, "{text}");
        }
    }

    #[test]
    fn errors_say_what_was_found_and_expected() {
        let table = [
            ("x=a,", "found '', expected: identifier after ','"),
            ("x a", "unable to parse requirement: found 'a', expected: in, notin, =, ==, !=, gt, lt"),
            ("x=a b", "found 'b', expected: ',' or 'end of string'"),
            (",x", "found ',', expected: !, identifier, or 'end of string'"),
            ("x in a", "unable to parse requirement: found 'a' expected: '('"),
            ("x in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("x=(", "unable to parse requirement: found '(', expected: identifier"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
        ];
        for (text, expect) in table {
            assert_eq!(Selector::parse(text).unwrap_err().to_string(), expect, "{text}");
        }
        let error = Selector::parse("a@b=c").unwrap_err().to_string();
        assert!(
            error.starts_with("unable to parse requirement: <nil>: Invalid value: \"a@b\": name part"),
            "{error}"
        );
        let error = Selector::parse("a=b@c").unwrap_err().to_string();
        assert!(
            error.starts_with(
                "unable to parse requirement: values[0][a]: Invalid value: \"b@c\": a valid label"
            ),
            "{error}"
        );
        assert!(Selector::parse("a in ()").is_err());
        assert!(Selector::parse("a>x").is_err());
    }
}
