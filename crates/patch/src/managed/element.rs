//! One step of a field's path: a field's name, a list item's keys, a set's value, an index.
//!
//! Written in `fieldsV1` as `f:name`, `k:{"name":"a"}`, `v:"a"`, `i:0`; in messages as `.name`, `[name="a"]`, `[="a"]`, `[0]`.
//! Upstream: `structured-merge-diff/fieldpath/{element,serialize-pe}.go`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Ordered as upstream orders them: fields, keys, values, indices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element<'a> {
    Field(Cow<'a, str>),
    /// The keys of a list item as canonical JSON, sorted by name.
    Key(Cow<'a, str>),
    /// A scalar of a set as JSON.
    Value(Cow<'a, str>),
    Index(i64),
}

/// What stands in `fieldsV1` and is no path element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Of a kind that this version does not know: left out, as upstream does.
    Unknown,
    /// Of a known kind and malformed: the whole entry is.
    Malformed,
}

impl<'a> Element<'a> {
    /// From its form in `fieldsV1`.
    pub fn read(text: Cow<'a, str>) -> Result<Element<'a>, Unread> {
        let Some((kind, _)) = text.split_at_checked(2) else { return Err(Unread::Unknown) };
        match kind {
            "f:" => Ok(Element::Field(behind(text))),
            "k:" => keys(&text[2..]).map(|keys| Element::Key(Cow::Owned(keys))).ok_or(Unread::Malformed),
            "v:" => {
                let value: Value = serde_json::from_str(&text[2..]).map_err(|_| Unread::Malformed)?;
                Ok(Element::Value(Cow::Owned(value.to_string())))
            }
            "i:" => text[2..].parse().map(Element::Index).map_err(|_| Unread::Malformed),
            _ => Err(Unread::Unknown),
        }
    }

    /// Appends its form in `fieldsV1`, as a JSON string.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Element::Field(name) => quoted("f:", name, out),
            Element::Key(keys) => quoted("k:", keys, out),
            Element::Value(value) => quoted("v:", value, out),
            Element::Index(index) => quoted("i:", &index.to_string(), out),
        }
    }

    pub fn field(name: &'a str) -> Element<'a> {
        Element::Field(Cow::Borrowed(name))
    }

    pub fn into_owned(self) -> Element<'static> {
        match self {
            Element::Field(text) => Element::Field(Cow::Owned(text.into_owned())),
            Element::Key(text) => Element::Key(Cow::Owned(text.into_owned())),
            Element::Value(text) => Element::Value(Cow::Owned(text.into_owned())),
            Element::Index(index) => Element::Index(index),
        }
    }
}

fn behind(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[2..]),
        Cow::Owned(mut text) => {
            text.drain(..2);
            Cow::Owned(text)
        }
    }
}

/// `{"name":"a"}` in canonical form: sorted by name, without space.
fn keys(text: &str) -> Option<String> {
    let keys: BTreeMap<String, Value> = serde_json::from_str(text).ok()?;
    serde_json::to_string(&keys).ok()
}

/// Keys that are JSON already, in canonical form.
pub(super) fn key_of<'k>(mut keys: Vec<(&'k str, Cow<'k, str>)>) -> Element<'static> {
    keys.sort_unstable();
    let mut text = Vec::with_capacity(32);
    for (i, (name, value)) in keys.iter().enumerate() {
        text.push(if i == 0 { b'{' } else { b',' });
        quoted("", name, &mut text);
        text.push(b':');
        text.extend_from_slice(value.as_bytes());
    }
    text.push(b'}');
    Element::Key(Cow::Owned(String::from_utf8(text).unwrap_or_default()))
}

/// Appends `"{prefix}{text}"` as JSON.
pub(super) fn quoted(prefix: &str, text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(prefix.as_bytes());
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let at = out.len();
    // Writing into memory cannot fail; what it writes begins with a quotation mark that is there already.
    let _ = serde_json::to_writer(&mut *out, text);
    out.remove(at);
}

impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(keys) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                f.write_str("[")?;
                for (i, (name, value)) in keys.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{name}={value}")?;
                }
                f.write_str("]")
            }
            Element::Value(value) => write!(f, "[={value}]"),
            Element::Index(index) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> String {
        let element = Element::read(Cow::Borrowed(text)).unwrap();
        let mut out = Vec::new();
        element.write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn elements_are_written_as_they_were_read() {
        for text in ["f:spec", "f:a\"b\\c\n", "k:{\"name\":\"a\\\"b\"}", "v:\"x\"", "v:1", "i:3", "f:"] {
            assert_eq!(again(text), text);
        }
        assert_eq!(
            again("k:{ \"protocol\": \"TCP\", \"containerPort\": 80 }"),
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}"
        );
    }

    #[test]
    fn messages_show_them_as_upstream_does() {
        let shown = |text: &'static str| Element::read(Cow::Borrowed(text)).unwrap().to_string();
        assert_eq!(shown("f:spec"), ".spec");
        assert_eq!(
            shown("k:{\"containerPort\":80,\"protocol\":\"TCP\"}"),
            "[containerPort=80,protocol=\"TCP\"]"
        );
        assert_eq!(shown("v:\"a\""), "[=\"a\"]");
        assert_eq!(shown("i:2"), "[2]");
    }

    #[test]
    fn what_is_no_element_is_unknown_or_malformed() {
        assert_eq!(Element::read(Cow::Borrowed("x:1")), Err(Unread::Unknown));
        assert_eq!(Element::read(Cow::Borrowed("ü")), Err(Unread::Unknown));
        for text in ["k:1", "k:{", "v:", "i:x"] {
            assert_eq!(Element::read(Cow::Borrowed(text)), Err(Unread::Malformed), "{text}");
        }
    }
}
