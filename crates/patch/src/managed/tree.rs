//! An object's shape as a flat tree: what is compared to find out who owns what.
//!
//! A serializer writes any object, typed or not, into two vectors in one pass, without the fields that nobody owns
//! (name, uid, resourceVersion and the like) and without the parts that the written endpoint does not change. No JSON
//! is made or parsed on the way: tracking a write costs about as much as encoding it once.

mod name;

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::ser::{self, Impossible, SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use serde_json::Value;

use super::element::quoted;
use name::Name;

/// Never owned by anybody, at the root and in its metadata (upstream `stripMetaManager`).
pub(super) const ROOT_STRIPPED: [&str; 2] = ["apiVersion", "kind"];
pub(super) const META_STRIPPED: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    /// The root or an item of a list.
    None,
    Field(&'static str),
    Text(Span),
}

#[derive(Debug, Clone, Copy)]
enum Stored {
    Null,
    Bool(bool),
    Number(Span),
    Text(Span),
    List,
    Map,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    stored: Stored,
    /// Behind the last node below this one.
    end: u32,
}

#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Entry>,
    text: String,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    Scalar,
    List,
    Map,
}

/// What an item of a list is known by can be asked of a tree and of a JSON value.
pub(super) trait Node<'t>: Copy {
    fn shape(self) -> Shape;
    fn child(self, name: &str) -> Option<Self>;
    /// A scalar as JSON.
    fn json(self) -> Option<Cow<'t, str>>;
}

impl<'t> Node<'t> for At<'t> {
    fn shape(self) -> Shape {
        At::shape(self)
    }

    fn child(self, name: &str) -> Option<At<'t>> {
        At::child(self, name)
    }

    fn json(self) -> Option<Cow<'t, str>> {
        At::json(self)
    }
}

impl<'t> Node<'t> for &'t Value {
    fn shape(self) -> Shape {
        match self {
            Value::Null => Shape::Null,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => Shape::Scalar,
            Value::Array(_) => Shape::List,
            Value::Object(_) => Shape::Map,
        }
    }

    fn child(self, name: &str) -> Option<&'t Value> {
        self.get(name)
    }

    fn json(self) -> Option<Cow<'t, str>> {
        matches!(self.shape(), Shape::Scalar).then(|| Cow::Owned(self.to_string()))
    }
}

/// One node of a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'t> {
    tree: &'t Tree,
    index: u32,
}

impl Tree {
    /// `left_out` are fields of the root that the write does not change, whatever it says.
    pub fn of<T: Serialize>(object: &T, left_out: &'static [&'static str]) -> Tree {
        Tree::built(object, left_out, true)
    }

    /// With the fields that nobody owns.
    pub(super) fn whole<T: Serialize>(object: &T) -> Tree {
        Tree::built(object, &[], false)
    }

    fn built<T: Serialize>(object: &T, left_out: &'static [&'static str], strips: bool) -> Tree {
        let mut builder = Builder {
            tree: Tree { nodes: Vec::with_capacity(128), text: String::with_capacity(1024) },
            key: Key::None,
            depth: 0,
            in_metadata: false,
            left_out,
            strips,
        };
        if object.serialize(&mut builder).is_err() {
            // Nothing in an API object fails to serialize; what cannot be read is owned by nobody.
            return Tree::default();
        }
        builder.tree
    }

    pub(super) fn root(&self) -> Option<At<'_>> {
        (!self.nodes.is_empty()).then_some(At { tree: self, index: 0 })
    }

    fn str(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }
}

impl<'t> At<'t> {
    fn node(self) -> &'t Entry {
        &self.tree.nodes[self.index as usize]
    }

    pub fn shape(self) -> Shape {
        match self.node().stored {
            Stored::Null => Shape::Null,
            Stored::Bool(_) | Stored::Number(_) | Stored::Text(_) => Shape::Scalar,
            Stored::List => Shape::List,
            Stored::Map => Shape::Map,
        }
    }

    /// Null, or a list or map without anything in it.
    pub fn is_empty(self) -> bool {
        match self.shape() {
            Shape::Null => true,
            Shape::Scalar => false,
            Shape::List | Shape::Map => self.node().end == self.index + 1,
        }
    }

    pub fn name(self) -> &'t str {
        match self.node().key {
            Key::None => "",
            Key::Field(name) => name,
            Key::Text(span) => self.tree.str(span),
        }
    }

    pub fn children(self) -> impl Iterator<Item = At<'t>> {
        let end = self.node().end;
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let child = At { tree: self.tree, index: next };
            next = child.node().end;
            Some(child)
        })
    }

    pub fn child(self, name: &str) -> Option<At<'t>> {
        self.children().find(|child| child.name() == name)
    }

    /// A scalar as JSON.
    pub fn json(self) -> Option<Cow<'t, str>> {
        Some(match self.node().stored {
            Stored::Bool(true) => Cow::Borrowed("true"),
            Stored::Bool(false) => Cow::Borrowed("false"),
            Stored::Number(span) => Cow::Borrowed(self.tree.str(span)),
            Stored::Text(span) => {
                let text = self.tree.str(span);
                let mut json = Vec::with_capacity(text.len() + 2);
                quoted("", text, &mut json);
                Cow::Owned(String::from_utf8(json).unwrap_or_default())
            }
            Stored::Null | Stored::List | Stored::Map => return None,
        })
    }

    pub fn equals(self, other: At<'_>) -> bool {
        let same_size = || self.node().end - self.index == other.node().end - other.index;
        match (self.node().stored, other.node().stored) {
            (Stored::Null, Stored::Null) => true,
            (Stored::Bool(a), Stored::Bool(b)) => a == b,
            (Stored::Number(a), Stored::Number(b)) | (Stored::Text(a), Stored::Text(b)) => {
                self.tree.str(a) == other.tree.str(b)
            }
            (Stored::List, Stored::List) => {
                same_size() && self.children().zip(other.children()).all(|(a, b)| a.equals(b))
            }
            (Stored::Map, Stored::Map) => {
                same_size()
                    && self.children().zip(other.children()).all(|(a, b)| {
                        if a.name() == b.name() {
                            return a.equals(b);
                        }
                        // The two may have been written in another order.
                        other.child(a.name()).is_some_and(|b| a.equals(b))
                    })
            }
            _ => false,
        }
    }
}

/// The serializer.
struct Builder {
    tree: Tree,
    key: Key,
    depth: u32,
    in_metadata: bool,
    strips: bool,
    left_out: &'static [&'static str],
}

#[derive(Debug)]
struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl ser::Error for Failed {
    fn custom<T: fmt::Display>(message: T) -> Failed {
        Failed(message.to_string())
    }
}

impl Builder {
    fn add(&mut self, stored: Stored) -> usize {
        let key = std::mem::replace(&mut self.key, Key::None);
        let index = self.tree.nodes.len();
        self.tree.nodes.push(Entry { key, stored, end: index as u32 + 1 });
        index
    }

    fn span(&mut self, text: &str) -> Span {
        let start = self.tree.text.len() as u32;
        self.tree.text.push_str(text);
        Span { start, end: self.tree.text.len() as u32 }
    }

    fn number(&mut self, number: impl fmt::Display) {
        use fmt::Write;
        let start = self.tree.text.len() as u32;
        // Writing into a String cannot fail.
        let _ = write!(self.tree.text, "{number}");
        let span = Span { start, end: self.tree.text.len() as u32 };
        self.add(Stored::Number(span));
    }

    fn open(&mut self, stored: Stored) -> Open<'_> {
        let index = self.add(stored);
        self.depth += 1;
        Open { builder: self, index }
    }

    fn leaves_out(&self, name: &str) -> bool {
        match self.depth {
            1 => (self.strips && ROOT_STRIPPED.contains(&name)) || self.left_out.contains(&name),
            2 => self.strips && self.in_metadata && META_STRIPPED.contains(&name),
            _ => false,
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, key: Key, value: &T) -> Result<(), Failed> {
        if self.depth == 1 {
            self.in_metadata = name == "metadata";
        }
        self.key = key;
        value.serialize(&mut *self)
    }
}

/// A list or map that is being written.
struct Open<'b> {
    builder: &'b mut Builder,
    index: usize,
}

impl Open<'_> {
    fn close(self) {
        self.builder.depth -= 1;
        let end = self.builder.tree.nodes.len() as u32;
        self.builder.tree.nodes[self.index].end = end;
    }
}

impl<'b> Serializer for &'b mut Builder {
    type Ok = ();
    type Error = Failed;
    type SerializeSeq = Open<'b>;
    type SerializeTuple = Impossible<(), Failed>;
    type SerializeTupleStruct = Impossible<(), Failed>;
    type SerializeTupleVariant = Impossible<(), Failed>;
    type SerializeMap = OpenMap<'b>;
    type SerializeStruct = Open<'b>;
    type SerializeStructVariant = Impossible<(), Failed>;

    fn serialize_bool(self, value: bool) -> Result<(), Failed> {
        self.add(Stored::Bool(value));
        Ok(())
    }
    fn serialize_i8(self, value: i8) -> Result<(), Failed> {
        self.serialize_i64(value.into())
    }
    fn serialize_i16(self, value: i16) -> Result<(), Failed> {
        self.serialize_i64(value.into())
    }
    fn serialize_i32(self, value: i32) -> Result<(), Failed> {
        self.serialize_i64(value.into())
    }
    fn serialize_i64(self, value: i64) -> Result<(), Failed> {
        self.number(value);
        Ok(())
    }
    fn serialize_u8(self, value: u8) -> Result<(), Failed> {
        self.serialize_u64(value.into())
    }
    fn serialize_u16(self, value: u16) -> Result<(), Failed> {
        self.serialize_u64(value.into())
    }
    fn serialize_u32(self, value: u32) -> Result<(), Failed> {
        self.serialize_u64(value.into())
    }
    fn serialize_u64(self, value: u64) -> Result<(), Failed> {
        self.number(value);
        Ok(())
    }
    fn serialize_f32(self, value: f32) -> Result<(), Failed> {
        self.serialize_f64(value.into())
    }
    fn serialize_f64(self, value: f64) -> Result<(), Failed> {
        self.number(value);
        Ok(())
    }
    fn serialize_char(self, value: char) -> Result<(), Failed> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, value: &str) -> Result<(), Failed> {
        let span = self.span(value);
        self.add(Stored::Text(span));
        Ok(())
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<(), Failed> {
        Err(ser::Error::custom("bytes"))
    }
    fn serialize_none(self) -> Result<(), Failed> {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failed> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), Failed> {
        self.add(Stored::Null);
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Failed> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Failed> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        value.serialize(self)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'b>, Failed> {
        Ok(self.open(Stored::List))
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Failed> {
        Err(ser::Error::custom("tuple"))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTuple, Failed> {
        Err(ser::Error::custom("tuple"))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTuple, Failed> {
        Err(ser::Error::custom("tuple"))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<OpenMap<'b>, Failed> {
        Ok(OpenMap { open: self.open(Stored::Map), name: String::new() })
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Open<'b>, Failed> {
        Ok(self.open(Stored::Map))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Failed> {
        Err(ser::Error::custom("variant"))
    }
}

impl SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = Failed;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        value.serialize(&mut *self.builder)
    }

    fn end(self) -> Result<(), Failed> {
        self.close();
        Ok(())
    }
}

impl SerializeStruct for Open<'_> {
    type Ok = ();
    type Error = Failed;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failed> {
        if self.builder.leaves_out(name) {
            return Ok(());
        }
        self.builder.field(name, Key::Field(name), value)
    }

    fn end(self) -> Result<(), Failed> {
        self.close();
        Ok(())
    }
}

/// A map with names of its own.
struct OpenMap<'b> {
    open: Open<'b>,
    name: String,
}

impl SerializeMap for OpenMap<'_> {
    type Ok = ();
    type Error = Failed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failed> {
        // Names are texts, which a serializer of its own takes: the only one it takes.
        self.name.clear();
        key.serialize(Name(&mut self.name))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        let builder = &mut *self.open.builder;
        if builder.leaves_out(&self.name) {
            return Ok(());
        }
        let span = builder.span(&self.name);
        builder.field(&self.name, Key::Text(span), value)
    }

    fn end(self) -> Result<(), Failed> {
        self.open.close();
        Ok(())
    }
}
