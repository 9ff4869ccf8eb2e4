//! The records of one batch, read in place.

use super::batches::BatchFault;

/// A record, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) time_delta: i64,
    pub(super) offset_delta: i64,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Reads the record at `at` and returns it with the place of the next one. Headers are passed over.
pub(super) fn read(bytes: &[u8], at: usize) -> Result<(Record<'_>, usize), BatchFault> {
    let mut outer = Cursor { bytes, at };
    let length = outer.integer()?;
    let record = outer.take(length)?;
    let next = outer.at;
    let mut inner = Cursor {
        bytes: record,
        at: 1,
    };
    let time_delta = inner.integer()?;
    let offset_delta = inner.integer()?;
    let key = inner.field()?;
    let value = inner.field()?;
    Ok((
        Record {
            time_delta,
            offset_delta,
            key,
            value,
        },
        next,
    ))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A zigzag integer of 1 to 10 bytes.
    #[inline]
    fn integer(&mut self) -> Result<i64, BatchFault> {
        if let Some(&first) = self.bytes.get(self.at)
            && first < 0x80
        {
            self.at += 1;
            return Ok(zigzag(u64::from(first)));
        }
        // Lengths and deltas of time have two to four bytes: they are read at once where eight are
        // left.
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if let Some(bytes) = rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*bytes);
            // The last byte of a number is the first without the bit that says that more follow.
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                self.at += bits as usize / 8;
                return Ok(zigzag(joined(word & (u64::MAX >> (64 - bits)))));
            }
        }
        self.integer_by_bytes()
    }

    #[cold]
    fn integer_by_bytes(&mut self) -> Result<i64, BatchFault> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self
                .bytes
                .get(self.at)
                .ok_or(BatchFault::Malformed("a record ends early"))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(zigzag(value));
            }
        }
        Err(BatchFault::Malformed("an integer is too long"))
    }

    /// A key or a value, with its length before it. None at all is an empty one.
    #[inline]
    fn field(&mut self) -> Result<&'a [u8], BatchFault> {
        match self.integer()? {
            -1 => Ok(&[]),
            length => self.take(length),
        }
    }

    #[inline]
    fn take(&mut self, length: i64) -> Result<&'a [u8], BatchFault> {
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length))
            .ok_or(BatchFault::Malformed("a negative length"))?;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or(BatchFault::Malformed("a record ends early"))?;
        self.at = end;
        Ok(taken)
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The number that the lower seven bits of each byte make, the lowest byte first: pairs of
/// neighbours are put together, then pairs of these, and once more.
fn joined(word: u64) -> u64 {
    let sevens = word & 0x7f7f_7f7f_7f7f_7f7f;
    let pairs = (sevens & 0x007f_007f_007f_007f) | ((sevens & 0x7f00_7f00_7f00_7f00) >> 1);
    let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
    (fours & 0x0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_bytes(bytes: &[u8]) -> (Result<i64, BatchFault>, usize) {
        let mut cursor = Cursor { bytes, at: 0 };
        (cursor.integer_by_bytes(), cursor.at)
    }

    fn at_once(bytes: &[u8]) -> (Result<i64, BatchFault>, usize) {
        let mut cursor = Cursor { bytes, at: 0 };
        (cursor.integer(), cursor.at)
    }

    proptest! {
        /// Numbers of every length, at every distance from the end.
        #[test]
        fn integers_read_at_once_are_those_read_byte_by_byte(
            number in any::<u64>(), shift in 0..64_u32, behind in prop::collection::vec(any::<u8>(), 0..10)
        ) {
            let mut bytes = Vec::new();
            let mut left = number >> shift;
            while left >= 0x80 {
                bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
            let length = bytes.len();
            bytes.extend(behind);
            let (value, at) = at_once(&bytes);
            prop_assert_eq!((value.ok(), at), (Some(zigzag(number >> shift)), length));
            prop_assert_eq!(by_bytes(&bytes).0.ok(), Some(zigzag(number >> shift)));
        }

        /// Of any bytes, also those that are no number.
        #[test]
        fn any_bytes_are_read_at_once_as_byte_by_byte(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80..=0xff_u8], 0..14)
        ) {
            let (slow, fast) = (by_bytes(&bytes), at_once(&bytes));
            prop_assert_eq!(format!("{fast:?}"), format!("{slow:?}"));
        }
    }
}
