//! Compressed records, inflated within a bound.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::batches::{BatchFault, Codec};

/// Snappy as Kafka's Java client writes it: this, two versions of four bytes each, then blocks with
/// their lengths before them. Others write one block and nothing else.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;
/// Room that is kept from batch to batch.
const KEPT: usize = 4 << 20;
/// Room that is made at a time.
const STEP: usize = 128 << 10;

/// Inflates batches one after the other into the same room.
pub(super) struct Inflater {
    limit: usize,
    inflated: Vec<u8>,
    zstd: Option<zstd::stream::raw::Decoder<'static>>,
    snappy: snap::raw::Decoder,
}

impl Inflater {
    /// Inflates a batch to at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            inflated: Vec::new(),
            zstd: None,
            snappy: snap::raw::Decoder::new(),
        }
    }

    /// What was inflated last.
    pub(super) fn inflated(&self) -> &[u8] {
        &self.inflated
    }

    /// Gives up what was inflated, and the room if it is large.
    pub(super) fn clear(&mut self) {
        self.inflated.clear();
        self.inflated.shrink_to(KEPT);
    }

    /// Inflates the records of one batch.
    pub(super) fn inflate(&mut self, codec: Codec, packed: &[u8]) -> Result<(), BatchFault> {
        self.clear();
        match codec {
            Codec::None => {
                self.inflated.extend_from_slice(packed);
                Ok(())
            }
            Codec::Gzip => self.read_from(MultiGzDecoder::new(packed)),
            Codec::Lz4 => self.read_from(lz4_flex::frame::FrameDecoder::new(packed)),
            Codec::Snappy => self.inflate_snappy(packed),
            Codec::Zstd => self.inflate_zstd(packed),
        }
    }

    fn read_from(&mut self, decoder: impl Read) -> Result<(), BatchFault> {
        decoder
            .take(self.limit as u64 + 1)
            .read_to_end(&mut self.inflated)
            .map_err(|error| BatchFault::Inflate(error.to_string()))?;
        self.check_limit(self.inflated.len())
    }

    fn check_limit(&self, size: usize) -> Result<(), BatchFault> {
        if size > self.limit {
            Err(BatchFault::TooLarge(self.limit))
        } else {
            Ok(())
        }
    }

    fn inflate_snappy(&mut self, packed: &[u8]) -> Result<(), BatchFault> {
        if !packed.starts_with(XERIAL) {
            return self.snappy_block(packed);
        }
        let mut rest = packed
            .get(XERIAL_HEADER..)
            .ok_or(BatchFault::Malformed("snappy's header ends early"))?;
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            let block = after
                .get(..length)
                .ok_or(BatchFault::Malformed("a block of snappy ends early"))?;
            self.snappy_block(block)?;
            rest = &after[length..];
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(BatchFault::Malformed("a block of snappy ends early"))
        }
    }

    fn snappy_block(&mut self, block: &[u8]) -> Result<(), BatchFault> {
        let failed = |error: snap::Error| BatchFault::Inflate(error.to_string());
        let length = snap::raw::decompress_len(block).map_err(failed)?;
        let start = self.inflated.len();
        self.check_limit(start.saturating_add(length))?;
        // A block cannot be inflated to more than some 22 times its size, whatever it claims.
        if length / 64 > block.len() {
            return Err(BatchFault::Malformed("a block of snappy claims too much"));
        }
        self.inflated.resize(start + length, 0);
        let written = self
            .snappy
            .decompress(block, &mut self.inflated[start..])
            .map_err(failed)?;
        self.inflated.truncate(start + written);
        Ok(())
    }

    fn inflate_zstd(&mut self, packed: &[u8]) -> Result<(), BatchFault> {
        use zstd::stream::raw::{Decoder, Operation};
        let failed = |error: std::io::Error| BatchFault::Inflate(error.to_string());
        let decoder = match &mut self.zstd {
            Some(decoder) => {
                decoder.reinit().map_err(failed)?;
                decoder
            }
            none => none.insert(Decoder::new().map_err(failed)?),
        };
        let (mut read, mut written) = (0, 0);
        loop {
            if written == self.inflated.len() {
                if written > self.limit {
                    return Err(BatchFault::TooLarge(self.limit));
                }
                let room = (written + written.max(STEP)).min(self.limit + 1);
                self.inflated.resize(room, 0);
            }
            let status = decoder
                .run_on_buffers(&packed[read..], &mut self.inflated[written..])
                .map_err(failed)?;
            read += status.bytes_read;
            written += status.bytes_written;
            let is_done = read == packed.len() && status.remaining == 0;
            if is_done {
                break;
            }
            if status.bytes_read == 0 && status.bytes_written == 0 {
                return Err(BatchFault::Inflate("zstd's data end early".to_owned()));
            }
        }
        self.check_limit(written)?;
        self.inflated.truncate(written);
        Ok(())
    }
}
