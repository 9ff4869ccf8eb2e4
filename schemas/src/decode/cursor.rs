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

    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.length_prefixed()?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a string is not valid UTF-8"))
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

fn zigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}
