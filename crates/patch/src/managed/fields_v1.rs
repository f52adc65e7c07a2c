//! Sets as `fieldsV1`: nested JSON objects whose keys are path elements, with `.` for "this path too".
//!
//! Upstream: `structured-merge-diff/fieldpath/serialize.go`. Elements of kinds that are not known are left out.
//! How deep it may nest is bounded by the JSON parser.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::element::{Element, Unread};
use super::set::Set;

/// The set that a `fieldsV1` document holds.
pub fn decode(json: &[u8]) -> Result<Set<'_>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let (_, set) = Level.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(set)
}

/// Appends the set as a `fieldsV1` document.
pub fn encode(set: &Set<'_>, out: &mut Vec<u8>) {
    level(set, false, out);
}

fn level(set: &Set<'_>, itself: bool, out: &mut Vec<u8>) {
    out.push(b'{');
    if itself && !set.is_empty() {
        out.extend_from_slice(b"\".\":{}");
    }
    for (i, node) in set.nodes().iter().enumerate() {
        if i > 0 || itself {
            out.push(b',');
        }
        node.element.write(out);
        out.push(b':');
        level(&node.children, node.member, out);
    }
    out.push(b'}');
}

/// One object: whether it has a `.`, and what else it has.
struct Level;

impl<'de> DeserializeSeed<'de> for Level {
    type Value = (bool, Set<'de>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = (bool, Set<'de>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of field paths")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut itself = false;
        let mut set = Set::default();
        while let Some(Text(text)) = map.next_key::<Text<'de>>()? {
            if text == "." {
                itself = true;
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match Element::read(text) {
                Ok(element) => {
                    let (member, children) = map.next_value_seed(Level)?;
                    // An object without anything in it is a path, too.
                    set.push(element, member || children.is_empty(), children);
                }
                Err(Unread::Unknown) => {
                    map.next_value::<IgnoredAny>()?;
                }
                Err(Unread::Malformed) => return Err(de::Error::custom("malformed path element")),
            }
        }
        Ok((itself, set.sorted()))
    }
}

/// A key that is borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(json: &str) -> String {
        let mut out = Vec::new();
        encode(&decode(json.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn documents_come_back_as_they_were() {
        for json in [
            "{}",
            r#"{"f:a":{}}"#,
            r#"{"f:metadata":{"f:labels":{".":{},"f:x":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}}}}"#,
            r#"{"f:finalizers":{".":{},"v:\"x\"":{}}}"#,
        ] {
            assert_eq!(again(json), json);
        }
    }

    #[test]
    fn order_and_foreign_elements_do_not_matter() {
        assert_eq!(again(r#"{"f:b":{}, "f:a":{"f:c":{},".":{}}}"#), r#"{"f:a":{".":{},"f:c":{}},"f:b":{}}"#);
        assert_eq!(again(r#"{"x:b":{"y":1},"f:a":{}}"#), r#"{"f:a":{}}"#);
    }

    #[test]
    fn malformed_documents_are_errors() {
        for json in ["", "1", "[]", r#"{"f:a":1}"#, r#"{"k:x":{}}"#, r#"{"f:a":{}} x"#] {
            assert!(decode(json.as_bytes()).is_err(), "{json}");
        }
    }
}
