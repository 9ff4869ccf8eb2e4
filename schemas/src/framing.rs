//! How a message names its schema: Confluent's framing, `0x00`, a 32-bit big-endian schema id, the Avro datum.

/// Why a frame is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Fewer than five bytes.
    #[error("{0} bytes are too short for a frame: a zero byte and four bytes of schema id are expected")]
    Short(usize),
    /// The first byte is not zero.
    #[error("first byte 0x{0:02x} is not the 0x00 of a Confluent frame")]
    Magic(u8),
}

/// Splits a message into schema id and datum.
///
/// # Errors
/// When the message is not framed.
pub fn parse(message: &[u8]) -> Result<(u32, &[u8]), FramingError> {
    match message {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [0, ..] | [] => Err(FramingError::Short(message.len())),
        [magic, ..] => Err(FramingError::Magic(*magic)),
    }
}

/// Frames a datum.
pub fn frame(schema_id: u32, datum: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(datum.len() + 5);
    message.push(0);
    message.extend_from_slice(&schema_id.to_be_bytes());
    message.extend_from_slice(datum);
    message
}
