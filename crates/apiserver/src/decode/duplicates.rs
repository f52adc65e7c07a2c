//! Fields that stand twice in one object of a JSON body, which the typed decoder does not notice.
//!
//! Runs over every body that is written, so it copies nothing as long as nothing stands twice: names are borrowed from
//! the body and paths are written only when told. Its cost is linear, whatever the body.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Fields of one object that are compared one by one; a set is cheaper for more, as in a map of labels.
const COMPARED_FIELDS_MAX: usize = 24;

/// Repeated fields told of one body: the warnings that an answer can carry, and no list as long as the body.
const TOLD_MAX: usize = 64;

/// Adds each field that stands twice in one object of the JSON.
pub fn find(json: &[u8], found: &mut Vec<String>) {
    let mut path = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let most = found.len() + TOLD_MAX;
    // The typed decoder has already refused what is malformed.
    let _ = Scan { path: &mut path, found, most }.deserialize(&mut deserializer);
}

/// One step of a path.
enum Step<'de> {
    Field(Cow<'de, str>),
    Index(usize),
}

/// `spec.containers[0].image`.
fn written(path: &[Step<'_>]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Field(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    out
}

struct Scan<'a, 'de> {
    path: &'a mut Vec<Step<'de>>,
    found: &'a mut Vec<String>,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Scan<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            self.path.push(Step::Index(index));
            let scan = Scan { path: self.path, found: self.found, most: self.most };
            let item = items.next_element_seed(scan)?;
            self.path.pop();
            if item.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Seen::default();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let repeated = !seen.insert(name.clone());
            self.path.push(Step::Field(name));
            if repeated && self.found.len() < self.most {
                self.found.push(format!("duplicate field \"{}\"", written(self.path)));
            }
            map.next_value_seed(Scan { path: self.path, found: self.found, most: self.most })?;
            self.path.pop();
        }
        Ok(())
    }
}

/// The names that one object has had so far.
#[derive(Default)]
struct Seen<'de> {
    few: Vec<Cow<'de, str>>,
    /// All of them, once there are many.
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Seen<'de> {
    /// Whether the name is new.
    fn insert(&mut self, name: Cow<'de, str>) -> bool {
        if !self.many.is_empty() {
            return self.many.insert(name);
        }
        if self.few.contains(&name) {
            return false;
        }
        self.few.push(name);
        if self.few.len() > COMPARED_FIELDS_MAX {
            self.many.extend(self.few.drain(..));
        }
        true
    }
}

/// A field's name, borrowed from the body unless it has escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<String> {
        let mut found = Vec::new();
        find(json.as_bytes(), &mut found);
        found
    }

    #[test]
    fn each_repetition_is_told_at_its_path() {
        let json = r#"{"a": 1, "b": {"c": [{"d": 1}, {"d": 1, "d": 2, "d": 3}]}, "\u0061": 2}"#;
        let told = ["b.c[1].d", "b.c[1].d", "a"].map(|path| format!("duplicate field \"{path}\""));
        assert_eq!(found(json), told);
        assert_eq!(found(r#"{"a": {"x": 1}, "b": {"x": 1}}"#), Vec::<String>::new());
    }

    #[test]
    fn an_object_of_many_fields_is_no_burden_and_its_last_repetition_is_found() {
        let many: String = (0..100_000).map(|n| format!("\"f{n}\":1,")).collect();
        assert_eq!(found(&format!("{{{many}\"f99999\":2}}")), ["duplicate field \"f99999\""]);
        let repeated = "\"f\":1,".repeat(10_000);
        assert_eq!(found(&format!("{{{repeated}\"g\":1}}")).len(), TOLD_MAX);
    }
}
