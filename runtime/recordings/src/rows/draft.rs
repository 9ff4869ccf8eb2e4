//! A record as Avro, but for its number.

/// A record of the log without its sequence number, which is known only when all rows before it
/// are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The framed bytes without the number.
    pub bytes: Vec<u8>,
    /// Where the number belongs; none: the schema has no sequence.
    pub number_at: Option<usize>,
}

impl Draft {
    /// The framed bytes of the record under a number.
    pub fn encode(&self, sequence: i64) -> Vec<u8> {
        let Some(at) = self.number_at else {
            return self.bytes.clone();
        };
        let at = at.min(self.bytes.len());
        let mut bytes = Vec::with_capacity(self.bytes.len() + 10);
        bytes.extend_from_slice(&self.bytes[..at]);
        long(&mut bytes, sequence);
        bytes.extend_from_slice(&self.bytes[at..]);
        bytes
    }
}

/// A whole number as Avro writes it: zigzag, seven bits a byte.
pub(super) fn long(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// A text as Avro writes it: its length, then its bytes.
pub(super) fn text(bytes: &mut Vec<u8>, text: &str) {
    long(bytes, text.len() as i64);
    bytes.extend_from_slice(text.as_bytes());
}
