//! The table of fields, parsed once from `fields.txt`.
//!
//! Messages refer to each other by index; a line that cannot be read is a defect of the table, which the tests rule out.

use std::collections::BTreeMap;
use std::sync::LazyLock;

static FIELDS: &str = include_str!("fields.txt");

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::parse(FIELDS).unwrap_or_default());

#[derive(Debug, Default)]
pub(super) struct Schema {
    by_name: BTreeMap<String, usize>,
    messages: Vec<Message>,
}

#[derive(Debug, Default)]
pub(super) struct Message {
    /// By tag.
    pub fields: BTreeMap<u64, Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub place: Place,
    pub many: Many,
    pub form: Form,
}

/// Where a field's value goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Under its name.
    Named(String),
    /// The message's fields stand among its parent's.
    Inlined,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Many {
    /// What a zero stands for differs.
    One(Zero),
    List,
    /// From strings.
    Map,
}

/// What a zero on the wire says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    Unset,
    Meant,
}

/// How a value is written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Bool,
    Integer,
    /// base64.
    Bytes,
    Message(usize),
    /// `quantity`: a message of its text.
    Quantity,
    /// `int-or-string`: a number or a text.
    IntOrString,
    /// `time`: RFC 3339 in whole seconds.
    Time,
    /// `micro-time`: RFC 3339 in microseconds.
    MicroTime,
    /// `raw`: bytes that are JSON.
    Raw,
    /// `list`: a message around repeated texts, an array.
    TextList,
}

impl Schema {
    pub(super) fn get() -> &'static Schema {
        &SCHEMA
    }

    pub(super) fn find(&self, name: &str) -> Option<&Message> {
        self.by_name.get(name).and_then(|index| self.message(*index))
    }

    pub(super) fn message(&self, index: usize) -> Option<&Message> {
        self.messages.get(index)
    }

    /// The table, or the line that cannot be read.
    pub(super) fn parse(text: &'static str) -> Result<Schema, &'static str> {
        let names = text.lines().filter(|line| !line.contains('\t'));
        let by_name: BTreeMap<String, usize> =
            names.enumerate().map(|(index, name)| (name.to_owned(), index)).collect();
        let mut schema = Schema { by_name, messages: Vec::new() };
        for line in text.lines() {
            if !line.contains('\t') {
                schema.messages.push(Message::default());
                continue;
            }
            let (tag, field) = schema.field(line).ok_or(line)?;
            schema.messages.last_mut().ok_or(line)?.fields.insert(tag, field);
        }
        Ok(schema)
    }

    fn field(&self, line: &str) -> Option<(u64, Field)> {
        let mut columns = line.split('\t');
        let (tag, name, kind) = (columns.next()?, columns.next()?, columns.next()?);
        let (many, kind) = if let Some(kind) = kind.strip_prefix("[]") {
            (Many::List, kind)
        } else if let Some(kind) = kind.strip_prefix("{}") {
            (Many::Map, kind)
        } else if let Some(kind) = kind.strip_prefix('*') {
            (Many::One(Zero::Meant), kind)
        } else {
            (Many::One(Zero::Unset), kind)
        };
        let place = if name == "~" { Place::Inlined } else { Place::Named(name.to_owned()) };
        Some((tag.parse().ok()?, Field { place, many, form: self.form(kind)? }))
    }

    fn form(&self, kind: &str) -> Option<Form> {
        Some(match kind {
            "string" => Form::Text,
            "bool" => Form::Bool,
            "int" => Form::Integer,
            "bytes" => Form::Bytes,
            "quantity" => Form::Quantity,
            "int-or-string" => Form::IntOrString,
            "time" => Form::Time,
            "micro-time" => Form::MicroTime,
            "raw" => Form::Raw,
            "list" => Form::TextList,
            message => Form::Message(*self.by_name.get(message)?),
        })
    }
}
