//! Avro's object container files: a header with the schema, then blocks of records, each of them
//! packed. A block is unpacked when it is its turn, and all blocks together are no longer than a body
//! may be.

use std::borrow::Cow;
use std::io::Read;

use crate::problem::{Answer, Problem};

/// How such a file begins.
const MAGIC: &[u8] = b"Obj\x01";
/// Bytes that stand behind each block.
const SYNC: usize = 16;
/// What a record takes in memory beside its bytes.
const RECORD: usize = 256;
/// A packed block that asks for a longer window than two to the power of this is refused: the window
/// is in memory.
const WINDOW_LOG: u32 = 24;
/// Records of a body take at most so many times as much memory as a body has bytes.
const TIMES: usize = 3;

/// Whether a body is such a file; no framed record begins so.
pub(super) fn is_one(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

/// Whether there is room for another record: they may be far shorter than what they take.
pub(super) fn has_room(records: usize, body_bytes: usize) -> bool {
    records.saturating_mul(RECORD) < body_bytes.saturating_mul(TIMES)
}

/// Why no more records are read.
pub(super) fn too_many() -> Problem {
    Problem::new(
        "too_large",
        "the container has more records than are taken at a time: send it in parts",
    )
}

/// How blocks are packed.
#[derive(Debug, Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Zstandard,
}

/// A file of which a block is read after another.
#[derive(Debug)]
pub(super) struct Container<'a> {
    schema: &'a str,
    codec: Codec,
    sync: &'a [u8],
    rest: &'a [u8],
    /// Bytes that the blocks may still have.
    room: usize,
}

impl<'a> Container<'a> {
    /// Reads the header; the blocks may have so many bytes, unpacked.
    pub(super) fn open(body: &'a [u8], body_bytes: usize) -> Answer<Self> {
        let mut rest = body.strip_prefix(MAGIC).ok_or_else(ended)?;
        let (mut schema, mut codec) = (None, "null");
        loop {
            let mut count = long(&mut rest)?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // The length of the entries, in bytes, comes first.
                long(&mut rest)?;
                count = count.checked_neg().ok_or_else(ended)?;
            }
            for _ in 0..count {
                let (name, value) = (bytes(&mut rest)?, bytes(&mut rest)?);
                match name {
                    b"avro.schema" => schema = Some(utf8(value)?),
                    b"avro.codec" => codec = utf8(value)?,
                    _ => {}
                }
            }
        }
        let sync = part(&mut rest, SYNC)?;
        let schema = schema.ok_or_else(|| Problem::bad("the container has no schema"))?;
        let codec = match codec {
            "null" | "" => Codec::Null,
            "deflate" => Codec::Deflate,
            "zstandard" => Codec::Zstandard,
            other => {
                let begin: String = other.chars().take(40).collect();
                return Err(Problem::bad(format!(
                    "the container's codec '{begin}': null, deflate and zstandard are known"
                )));
            }
        };
        Ok(Self {
            schema,
            codec,
            sync,
            rest,
            room: body_bytes,
        })
    }

    /// The schema of all records.
    pub(super) fn schema(&self) -> &'a str {
        self.schema
    }

    /// The next block, with how many records it says to have.
    pub(super) fn next_block(&mut self) -> Answer<Option<(u64, Cow<'a, [u8]>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let count = u64::try_from(long(&mut self.rest)?).map_err(|_| ended())?;
        let packed = bytes(&mut self.rest)?;
        if part(&mut self.rest, SYNC)? != self.sync {
            return Err(Problem::bad(
                "a block of the container is not followed by the container's mark",
            ));
        }
        let block = self.unpack(packed)?;
        self.room = self.room.checked_sub(block.len()).ok_or_else(too_long)?;
        // A record has a byte at least: it names its robot.
        if count > block.len() as u64 {
            return Err(Problem::bad(
                "a block of the container says that it has more records than bytes",
            ));
        }
        Ok(Some((count, block)))
    }

    fn unpack(&self, packed: &'a [u8]) -> Answer<Cow<'a, [u8]>> {
        let most = self.room as u64 + 1;
        let mut block = Vec::new();
        let read = match self.codec {
            Codec::Null => return Ok(Cow::Borrowed(packed)),
            Codec::Deflate => flate2::read::DeflateDecoder::new(packed)
                .take(most)
                .read_to_end(&mut block),
            Codec::Zstandard => zstd::stream::read::Decoder::new(packed)
                .and_then(|mut decoder| {
                    decoder.window_log_max(WINDOW_LOG)?;
                    Ok(decoder)
                })
                .and_then(|decoder| decoder.take(most).read_to_end(&mut block)),
        };
        read.map_err(|error| {
            Problem::bad(format!(
                "a block of the container cannot be unpacked: {error}"
            ))
        })?;
        Ok(Cow::Owned(block))
    }
}

fn ended() -> Problem {
    Problem::bad("the container ends before its time, or its lengths are wrong")
}

fn too_long() -> Problem {
    Problem::new(
        "too_large",
        "the container is longer than a body may be once it is unpacked: send it in parts",
    )
}

/// The next number.
fn long(rest: &mut &[u8]) -> Answer<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or_else(ended)?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(ended())
}

/// So many of the next bytes.
fn part<'a>(rest: &mut &'a [u8], length: usize) -> Answer<&'a [u8]> {
    let (part, behind) = rest.split_at_checked(length).ok_or_else(ended)?;
    *rest = behind;
    Ok(part)
}

/// The next bytes, which have their length before them.
fn bytes<'a>(rest: &mut &'a [u8]) -> Answer<&'a [u8]> {
    let length = usize::try_from(long(rest)?).map_err(|_| ended())?;
    part(rest, length)
}

fn utf8(bytes: &[u8]) -> Answer<&str> {
    std::str::from_utf8(bytes).map_err(|_| Problem::bad("the container's header is no text"))
}
