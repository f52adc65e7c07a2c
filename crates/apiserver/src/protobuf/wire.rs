//! Protobuf's wire format: tagged fields of a message, without knowledge of what they mean.
//!
//! Matches the checks of Go's generated decoders: tag 0, groups and overlong integers are refused.

use super::ProtobufError;

/// One field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// No served message has fixed-size numbers, so these only are skipped.
    Fixed,
}

/// The fields of a message in their order; ends after the first error.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], ProtobufError> {
        let count = usize::try_from(count).map_err(|_| ProtobufError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ProtobufError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Scalar<'a>), ProtobufError> {
        let key = varint(&mut self.rest)?;
        let tag = key >> 3;
        if tag == 0 || tag > u64::from(u32::MAX >> 3) {
            return Err(ProtobufError::Tag(tag));
        }
        let scalar = match (key & 7) as u8 {
            0 => Scalar::Varint(varint(&mut self.rest)?),
            1 => self.take(8).map(|_| Scalar::Fixed)?,
            2 => {
                let length = varint(&mut self.rest)?;
                Scalar::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Scalar::Fixed)?,
            other => return Err(ProtobufError::WireType(other)),
        };
        Ok((tag, scalar))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Scalar<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A base-128 integer from the front of `rest`.
pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, tail) = rest.split_first().ok_or(ProtobufError::Truncated)?;
        *rest = tail;
        // The tenth byte carries one bit only; Go lets the others fall off.
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Overflow)
}

pub(super) fn text<'a>(bytes: &'a [u8], field: &str) -> Result<&'a str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::Utf8(field.to_owned()))
}
