//! How a message names its schema. Its first byte says which framing it has: Confluent's (`0x00`, a
//! 32-bit big-endian schema id, the Avro datum) or AWS Glue's (`0x03`, a compression byte, the 16
//! bytes of a schema version's UUID, the datum, deflated by zlib or as it is).

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};

const CONFLUENT: u8 = 0;
const GLUE: u8 = 3;
const GLUE_PLAIN: u8 = 0;
const GLUE_ZLIB: u8 = 5;
const GLUE_HEADER: usize = 18;

/// The id by which a message names its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaId {
    /// The number of a schema in a Confluent-compatible registry, or in a folder of schemas.
    Confluent(u32),
    /// The UUID of a schema version in AWS Glue.
    Glue(u128),
}

impl SchemaId {
    /// The number of a Confluent id; `None` for a Glue UUID.
    pub fn number(self) -> Option<u32> {
        match self {
            Self::Confluent(number) => Some(number),
            Self::Glue(_) => None,
        }
    }
}

impl From<u32> for SchemaId {
    fn from(number: u32) -> Self {
        Self::Confluent(number)
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confluent(number) => number.fmt(to),
            Self::Glue(uuid) => {
                let part = |shift: u32, digits: u32| (uuid >> shift) & ((1 << (4 * digits)) - 1);
                write!(
                    to,
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    part(96, 8),
                    part(80, 4),
                    part(64, 4),
                    part(48, 4),
                    part(0, 12)
                )
            }
        }
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Too few bytes for the header.
    #[error("{0} bytes are too short for a frame: the schema id is not whole")]
    Short(usize),
    /// The first byte belongs to no known framing.
    #[error(
        "first byte 0x{0:02x} is neither the 0x00 of a Confluent frame nor the 0x03 of a Glue frame"
    )]
    Magic(u8),
    /// Glue's compression byte is unknown.
    #[error("compression byte 0x{0:02x} of a Glue frame is neither 0x00 (none) nor 0x05 (zlib)")]
    Compression(u8),
    /// Glue's compressed datum does not inflate.
    #[error("the zlib data of a Glue frame is damaged")]
    Deflated,
    /// Glue's compressed datum is longer than allowed.
    #[error("the zlib data of a Glue frame inflates to more than {0} bytes")]
    TooLong(usize),
}

/// Splits a Confluent frame, which Theatre itself writes, into schema id and datum.
///
/// # Errors
/// When the message is not framed so.
pub fn parse(message: &[u8]) -> Result<(u32, &[u8]), FramingError> {
    match message {
        [CONFLUENT, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [CONFLUENT, ..] | [] => Err(FramingError::Short(message.len())),
        [magic, ..] => Err(FramingError::Magic(*magic)),
    }
}

/// Splits a frame of either kind; a compressed datum is inflated to at most `datum_bytes_max`.
///
/// # Errors
/// When the message is not framed, or its datum is too long.
#[inline]
pub fn open(
    message: &[u8],
    datum_bytes_max: usize,
) -> Result<(SchemaId, Cow<'_, [u8]>), FramingError> {
    if message.first() == Some(&GLUE) {
        return open_glue(message, datum_bytes_max);
    }
    parse(message).map(|(id, datum)| (SchemaId::Confluent(id), Cow::Borrowed(datum)))
}

fn open_glue(
    message: &[u8],
    datum_bytes_max: usize,
) -> Result<(SchemaId, Cow<'_, [u8]>), FramingError> {
    if let Some(other) = message
        .get(1)
        .filter(|byte| ![GLUE_PLAIN, GLUE_ZLIB].contains(byte))
    {
        return Err(FramingError::Compression(*other));
    }
    let Some((header, datum)) = message.split_at_checked(GLUE_HEADER) else {
        return Err(FramingError::Short(message.len()));
    };
    let uuid = header[2..]
        .iter()
        .fold(0_u128, |uuid, byte| uuid << 8 | u128::from(*byte));
    if header[1] == GLUE_PLAIN {
        return Ok((SchemaId::Glue(uuid), Cow::Borrowed(datum)));
    }
    let inflated = decompress_to_vec_zlib_with_limit(datum, datum_bytes_max).map_err(|error| {
        match error.status {
            TINFLStatus::HasMoreOutput => FramingError::TooLong(datum_bytes_max),
            _ => FramingError::Deflated,
        }
    })?;
    Ok((SchemaId::Glue(uuid), Cow::Owned(inflated)))
}

/// Puts a datum into a Confluent frame.
pub fn frame(schema_id: u32, datum: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(datum.len() + 5);
    message.push(CONFLUENT);
    message.extend_from_slice(&schema_id.to_be_bytes());
    message.extend_from_slice(datum);
    message
}
