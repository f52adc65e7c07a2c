//! How deep JSON may nest, and the part of a deep one that can be looked at.
//!
//! Upstream's decoder (Go's `encoding/json`) takes 10,000 levels, of fields that the kind does not have too. Ours skips
//! such fields as deep as that, and reads 128 levels where anything may stand.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Upstream's `maxNestingDepth`.
const LEVELS_MAX: usize = 10_000;

/// Levels that the outline of a body keeps: no served kind's fields nest deeper, what lies below belongs to none.
const OUTLINE_LEVELS_MAX: usize = 64;

/// Upstream's word for a body that nests too deep.
pub const EXCEEDED: &str = "exceeded max depth";

/// Whether the JSON nests deeper than upstream reads.
pub fn exceeds(json: &[u8]) -> bool {
    if json.len() <= LEVELS_MAX {
        // Each level is a byte at least; nearly all bodies are shorter.
        return false;
    }
    let (mut levels, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                levels += 1;
                if levels > LEVELS_MAX {
                    return true;
                }
            }
            b'}' | b']' => levels = levels.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The JSON down to a depth at which no kind has fields; deeper lists and objects are shown as empty ones.
pub fn outline(json: &[u8]) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Outline(OUTLINE_LEVELS_MAX).deserialize(&mut deserializer).ok()
}

/// Reads one value with this many levels.
struct Outline(usize);

impl<'de> DeserializeSeed<'de> for Outline {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outline {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        let Some(below) = self.0.checked_sub(1) else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::from(kept));
        };
        while let Some(item) = items.next_element_seed(Outline(below))? {
            kept.push(item);
        }
        Ok(Value::from(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut kept = serde_json::Map::new();
        let Some(below) = self.0.checked_sub(1) else {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::from(kept));
        };
        while let Some(name) = fields.next_key::<String>()? {
            kept.insert(name, fields.next_value_seed(Outline(below))?);
        }
        Ok(Value::from(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn ten_thousand_levels_are_read_and_one_more_is_not() {
        assert!(!exceeds(nested(LEVELS_MAX).as_bytes()));
        assert!(exceeds(nested(LEVELS_MAX + 1).as_bytes()));
        assert!(exceeds(format!("{{\"a\":{}}}", nested(LEVELS_MAX)).as_bytes()));
        let beside = format!("[{},{}]", nested(6_000), nested(6_000));
        assert!(!exceeds(beside.as_bytes()), "levels beside each other do not add up");
        let text = format!("\"\\\"{}\"", "[".repeat(LEVELS_MAX + 1));
        assert!(!exceeds(text.as_bytes()), "a text nests nothing");
        assert!(!exceeds("]".repeat(LEVELS_MAX + 1).as_bytes()));
    }

    #[test]
    fn an_outline_ends_where_no_kind_has_fields() {
        let shallow = r#"{"a":[1,-2,1.5,"x",null,true,{"b":[]}]}"#;
        assert_eq!(outline(shallow.as_bytes()), serde_json::from_str(shallow).ok());
        let deep = outline(nested(9_000).as_bytes()).unwrap();
        assert_eq!(deep.to_string(), nested(OUTLINE_LEVELS_MAX + 1));
        assert_eq!(outline(b"[1"), None);
    }
}
