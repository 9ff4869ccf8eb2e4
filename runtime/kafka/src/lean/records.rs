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
        let mut value = 0_u64;
        let mut shift = 0;
        loop {
            let byte = *self
                .bytes
                .get(self.at)
                .ok_or(BatchFault::Malformed("a record ends early"))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
            shift += 7;
            if shift > 63 {
                return Err(BatchFault::Malformed("an integer is too long"));
            }
        }
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
