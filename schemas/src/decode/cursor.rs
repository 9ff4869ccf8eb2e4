//! Reads Avro's primitives from a slice: never beyond its end, and without allocating by lengths
//! that the bytes claim.

use super::DecodeError;

/// A slice and the offset of the next byte to read.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated {
            at: self.bytes.len(),
        }
    }

    pub(super) fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Malformed { at: self.at, what }
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len())
            .ok_or_else(|| self.truncated())?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.first_chunk::<N>().ok_or_else(|| self.truncated())?;
        self.at += N;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.malformed("a boolean is neither 0 nor 1")),
        }
    }

    /// A zigzag varint of at most 64 bits.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, DecodeError> {
        let Some(&first) = self.bytes.get(self.at) else {
            return Err(self.truncated());
        };
        if first < 0x80 {
            self.at += 1;
            return Ok(zigzag(u64::from(first)));
        }
        // Times and offsets have up to 8 bytes: they are read at once where so many bytes are left.
        if let Some(bytes) = self.bytes[self.at..].first_chunk::<8>() {
            let word = u64::from_le_bytes(*bytes);
            // The last byte of a number is the first without the bit that says that more follow.
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                self.at += bits as usize / 8;
                return Ok(zigzag(without_flags(word & (u64::MAX >> (64 - bits)))));
            }
        }
        self.long_slow()
    }

    fn long_slow(&mut self) -> Result<i64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(zigzag(value));
            }
        }
        Err(self.malformed("a variable-length number is longer than 64 bits"))
    }

    pub(super) fn int(&mut self) -> Result<i32, DecodeError> {
        let value = self.long()?;
        i32::try_from(value).map_err(|_| self.malformed("an int is beyond 32 bits"))
    }

    #[inline]
    pub(super) fn length_prefixed(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| self.malformed("a length is negative"))?;
        self.take(length)
    }

    /// The bytes of a string, which are valid UTF-8.
    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a [u8], DecodeError> {
        let bytes = self.length_prefixed()?;
        // Nearly every string is an id: eight bytes at once say that it is ASCII.
        if !bytes.is_ascii() && std::str::from_utf8(bytes).is_err() {
            return Err(self.malformed("a string is not valid UTF-8"));
        }
        Ok(bytes)
    }

    /// The number of items in the next block of an array or map, 0 at its end.
    pub(super) fn block(&mut self) -> Result<u64, DecodeError> {
        let count = self.long()?;
        // A negative count is followed by the block's size in bytes, which is not needed here.
        if count < 0 {
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }
}

/// The number whose groups of seven bits stand in the bytes of a word, the lowest first: neighbours
/// are joined to 14, 28 and 56 bits.
fn without_flags(word: u64) -> u64 {
    let word = word & 0x7f7f_7f7f_7f7f_7f7f;
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    (word & 0x0000_0000_0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4)
}

fn zigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Numbers of every length, at every distance from the end.
        #[test]
        fn numbers_read_at_once_are_those_read_byte_by_byte(
            number in any::<u64>(), shift in 0..64_u32, behind in prop::collection::vec(any::<u8>(), 0..10)
        ) {
            let zigzagged = number >> shift;
            let mut bytes = Vec::new();
            let mut left = zigzagged;
            while left >= 0x80 {
                bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
            let length = bytes.len();
            bytes.extend(behind);
            let (mut at_once, mut slow) = (Cursor::new(&bytes), Cursor::new(&bytes));
            prop_assert_eq!(at_once.long(), Ok(zigzag(zigzagged)));
            prop_assert_eq!(slow.long_slow(), Ok(zigzag(zigzagged)));
            prop_assert_eq!((at_once.at, slow.at), (length, length));
        }
    }
}
