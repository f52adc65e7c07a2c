//! From the fields of one message to the members of one JSON object.
//!
//! Repeated integers are read packed and not; a message that stands twice is merged, a scalar's last value holds: as in Go.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::schema::{Field, Form, Many, Message, Place, Schema, Zero};
use super::wire::{Fields, Scalar, text, varint};
use super::{DEPTH_MAX, ProtobufError};

/// Adds the message's fields to `object`.
pub(super) fn read_message(
    schema: &Schema,
    message: &Message,
    bytes: &[u8],
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Depth);
    }
    for wire in Fields::new(bytes) {
        let (tag, scalar) = wire?;
        let Some(field) = message.fields.get(&tag) else { continue };
        match &field.place {
            Place::Inlined => {
                let (Form::Message(index), Scalar::Bytes(bytes)) = (field.form, scalar) else {
                    return Err(ProtobufError::Mismatch(tag.to_string()));
                };
                let Some(inner) = schema.message(index) else { continue };
                read_message(schema, inner, bytes, depth + 1, object)?;
            }
            Place::Named(name) => Reader { schema, field, name, depth }.read(scalar, object)?,
        }
    }
    Ok(())
}

struct Reader<'a> {
    schema: &'a Schema,
    field: &'a Field,
    name: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn read(&self, scalar: Scalar<'_>, object: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        match self.field.many {
            Many::One(zero) => self.read_one(zero, scalar, object),
            Many::List => {
                let list = object.entry(self.name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(items) = list else { return Ok(()) };
                if let (Form::Integer, Scalar::Bytes(mut packed)) = (self.field.form, scalar) {
                    while !packed.is_empty() {
                        items.push(integer(varint(&mut packed)?));
                    }
                } else {
                    items.push(self.value(scalar)?);
                }
                Ok(())
            }
            Many::Map => {
                let (key, value) = self.entry(scalar)?;
                let map = object.entry(self.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(members) = map {
                    members.insert(key, value);
                }
                Ok(())
            }
        }
    }

    fn read_one(
        &self,
        zero: Zero,
        scalar: Scalar<'_>,
        object: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        if let (Form::Message(_), Scalar::Bytes(bytes), Some(Value::Object(known))) =
            (self.field.form, scalar, object.get_mut(self.name))
        {
            return self.fill(bytes, known);
        }
        let value = self.value(scalar)?;
        let unset = match &value {
            Value::Null => true,
            Value::Bool(false) => zero == Zero::Unset,
            Value::String(text) => text.is_empty() && zero == Zero::Unset,
            // An int-or-string is never behind a zero: it is a message.
            Value::Number(number) => {
                self.field.form == Form::Integer && number.as_i64() == Some(0) && zero == Zero::Unset
            }
            Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
        };
        if unset {
            object.remove(self.name);
        } else {
            object.insert(self.name.to_owned(), value);
        }
        Ok(())
    }

    /// One entry of a map: a message of a key and a value, each empty where it is left out.
    fn entry(&self, scalar: Scalar<'_>) -> Result<(String, Value), ProtobufError> {
        let Scalar::Bytes(bytes) = scalar else { return Err(self.mismatch()) };
        let (mut key, mut value) = (String::new(), None);
        for wire in Fields::new(bytes) {
            match wire? {
                (1, Scalar::Bytes(bytes)) => key = text(bytes, self.name)?.to_owned(),
                (2, scalar) => value = Some(self.value(scalar)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => match self.field.form {
                Form::Bool => Value::Bool(false),
                Form::Integer => Value::from(0),
                _ => self.value(Scalar::Bytes(&[]))?,
            },
        };
        Ok((key, value))
    }

    fn fill(&self, bytes: &[u8], object: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        let Form::Message(index) = self.field.form else { return Err(self.mismatch()) };
        match self.schema.message(index) {
            Some(message) => read_message(self.schema, message, bytes, self.depth + 1, object),
            None => Ok(()),
        }
    }

    /// Null stands for an unset time or raw value.
    fn value(&self, scalar: Scalar<'_>) -> Result<Value, ProtobufError> {
        let bytes = match (self.field.form, scalar) {
            (Form::Integer, Scalar::Varint(number)) => return Ok(integer(number)),
            (Form::Bool, Scalar::Varint(number)) => return Ok(Value::Bool(number != 0)),
            (Form::Integer | Form::Bool, _) | (_, Scalar::Varint(_) | Scalar::Fixed) => {
                return Err(self.mismatch());
            }
            (_, Scalar::Bytes(bytes)) => bytes,
        };
        Ok(match self.field.form {
            Form::Text => Value::from(text(bytes, self.name)?),
            Form::Bytes => Value::String(STANDARD.encode(bytes)),
            Form::Message(_) => {
                let mut object = Map::new();
                self.fill(bytes, &mut object)?;
                Value::Object(object)
            }
            Form::Quantity => match self.bytes_of(bytes, 1)? {
                [] => Value::from("0"),
                quantity => Value::from(text(quantity, self.name)?),
            },
            Form::IntOrString => match self.number_of(bytes, 1)? {
                0 => integer32(self.number_of(bytes, 2)?),
                _ => Value::from(text(self.bytes_of(bytes, 3)?, self.name)?),
            },
            Form::Time | Form::MicroTime => self.time(bytes)?,
            Form::Raw => match self.bytes_of(bytes, 1)? {
                [] => Value::Null,
                json => {
                    serde_json::from_slice(json).map_err(|_| ProtobufError::RawJson(self.name.to_owned()))?
                }
            },
            Form::TextList => {
                let mut items = Vec::new();
                for wire in Fields::new(bytes) {
                    if let (1, Scalar::Bytes(item)) = wire? {
                        items.push(Value::from(text(item, self.name)?));
                    }
                }
                Value::Array(items)
            }
            Form::Integer | Form::Bool => return Err(self.mismatch()),
        })
    }

    /// COMPAT(meta/v1): an empty message is the unset time, and Time's nanoseconds are not looked at.
    fn time(&self, bytes: &[u8]) -> Result<Value, ProtobufError> {
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let no_time = || ProtobufError::Time(self.name.to_owned());
        let seconds = self.number_of(bytes, 1)?;
        let nanos = i32::try_from(self.number_of(bytes, 2)?).map_err(|_| no_time())?;
        let precise = self.field.form == Form::MicroTime;
        let time = Timestamp::new(seconds, if precise { nanos } else { 0 }).map_err(|_| no_time())?;
        Ok(Value::String(if precise { format!("{time:.6}") } else { time.to_string() }))
    }

    fn number_of(&self, message: &[u8], wanted: u64) -> Result<i64, ProtobufError> {
        let mut found = 0;
        for wire in Fields::new(message) {
            match wire? {
                (tag, Scalar::Varint(number)) if tag == wanted => found = number.cast_signed(),
                (tag, _) if tag == wanted => return Err(self.mismatch()),
                _ => {}
            }
        }
        Ok(found)
    }

    fn bytes_of<'a>(&self, message: &'a [u8], wanted: u64) -> Result<&'a [u8], ProtobufError> {
        let mut found: &[u8] = &[];
        for wire in Fields::new(message) {
            match wire? {
                (tag, Scalar::Bytes(bytes)) if tag == wanted => found = bytes,
                (tag, _) if tag == wanted => return Err(self.mismatch()),
                _ => {}
            }
        }
        Ok(found)
    }

    fn mismatch(&self) -> ProtobufError {
        ProtobufError::Mismatch(self.name.to_owned())
    }
}

/// Negative numbers of every width are sign-extended to 64 bits on the wire.
fn integer(number: u64) -> Value {
    Value::from(number.cast_signed())
}

/// Go keeps the low 32 bits.
fn integer32(number: i64) -> Value {
    Value::from(number as i32)
}
