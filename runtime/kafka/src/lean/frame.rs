//! One message of a broker while it is being received. No read goes beyond its end, and none takes
//! longer than its deadline.

use std::time::Instant;

use super::transport::{ConnectionFailure, Result, Transport};

/// Bytes that are read ahead, so that small fields cost no call of the system each.
const AHEAD: usize = 4 << 10;
/// A text longer than this is none of a Fetch answer.
const TEXT_MAX: usize = 1 << 15;

/// Bytes of a connection that were read ahead.
#[derive(Debug)]
pub(super) struct ReadAhead {
    bytes: Box<[u8; AHEAD]>,
    from: usize,
    to: usize,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self {
            bytes: Box::new([0; AHEAD]),
            from: 0,
            to: 0,
        }
    }
}

/// A message that is being received.
pub(super) struct Frame<'a> {
    transport: &'a mut Transport,
    ahead: &'a mut ReadAhead,
    deadline: Instant,
    /// Bytes of the message that were not taken yet.
    left: usize,
}

impl<'a> Frame<'a> {
    /// Waits for the next message, of at most `size_max` bytes.
    pub(super) fn receive(
        transport: &'a mut Transport,
        ahead: &'a mut ReadAhead,
        deadline: Instant,
        size_max: usize,
    ) -> Result<Self> {
        let mut frame = Self {
            transport,
            ahead,
            deadline,
            left: 4,
        };
        let size = frame.i32()?;
        frame.left = usize::try_from(size)
            .ok()
            .filter(|size| *size <= size_max)
            .ok_or_else(|| {
                ConnectionFailure::protocol(format!("a message of {size} bytes: is this a broker?"))
            })?;
        Ok(frame)
    }

    /// Fails if the message has fewer bytes left.
    pub(super) fn expect(&self, length: usize) -> Result<()> {
        if length > self.left {
            return Err(ConnectionFailure::protocol(
                "a message ends within a field".to_owned(),
            ));
        }
        Ok(())
    }

    /// Fills `target` with the next bytes.
    pub(super) fn fill(&mut self, target: &mut [u8]) -> Result<()> {
        self.expect(target.len())?;
        self.left -= target.len();
        let there = (self.ahead.to - self.ahead.from).min(target.len());
        target[..there]
            .copy_from_slice(&self.ahead.bytes[self.ahead.from..self.ahead.from + there]);
        self.ahead.from += there;
        let mut filled = there;
        while filled < target.len() {
            let missing = target.len() - filled;
            if missing >= AHEAD {
                filled += self.transport.read(&mut target[filled..], self.deadline)?;
            } else {
                // Not beyond this message: what follows it may be of another kind.
                let wanted = (missing + self.left).min(AHEAD);
                let read = self
                    .transport
                    .read(&mut self.ahead.bytes[..wanted], self.deadline)?;
                let taken = read.min(missing);
                target[filled..filled + taken].copy_from_slice(&self.ahead.bytes[..taken]);
                (self.ahead.from, self.ahead.to) = (taken, read);
                filled += taken;
            }
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    pub(super) fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// An unsigned integer of 1 to 5 bytes.
    pub(super) fn unsigned(&mut self) -> Result<u32> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ConnectionFailure::protocol(
            "an integer is too long".to_owned(),
        ))
    }

    /// A text with its length and one before it.
    pub(super) fn text(&mut self) -> Result<String> {
        let length = self.unsigned()?.saturating_sub(1) as usize;
        if length > TEXT_MAX {
            return Err(ConnectionFailure::protocol(format!(
                "a text of {length} bytes"
            )));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|_| ConnectionFailure::protocol("a text is not UTF-8".to_owned()))
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, mut length: usize) -> Result<()> {
        self.expect(length)?;
        let mut scrap = [0; 512];
        while length > 0 {
            let part = length.min(scrap.len());
            self.fill(&mut scrap[..part])?;
            length -= part;
        }
        Ok(())
    }

    /// Passes over fields that this version does not know.
    pub(super) fn skip_tags(&mut self) -> Result<()> {
        for _ in 0..self.unsigned()? {
            let _tag = self.unsigned()?;
            let size = self.unsigned()? as usize;
            self.skip(size)?;
        }
        Ok(())
    }

    /// The rest of the message.
    pub(super) fn rest(mut self) -> Result<Vec<u8>> {
        // Room is made as bytes come: the length is only a claim.
        let mut rest = Vec::new();
        while self.left > 0 {
            let start = rest.len();
            rest.resize(start + self.left.min(1 << 20), 0);
            self.fill(&mut rest[start..])?;
        }
        Ok(rest)
    }

    /// Fails if the message is longer than what was read of it.
    pub(super) fn end(&self) -> Result<()> {
        if self.left > 0 {
            return Err(ConnectionFailure::protocol(format!(
                "{} bytes after the end of an answer",
                self.left
            )));
        }
        Ok(())
    }
}
