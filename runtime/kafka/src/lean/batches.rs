//! Record batches as a broker sends them (format 2, since Kafka 0.11): their headers, and what of
//! an answer is complete. Nothing here trusts a length.

use std::fmt;

/// Bytes of a batch before its first record.
pub(super) const HEADER: usize = 61;
/// Bytes before those that the length of a batch counts.
const BEFORE_LENGTH: usize = 12;
/// What the checksum covers begins here.
const CHECKED_FROM: usize = 21;
const MAGIC_AT: usize = 16;
const MAGIC: i8 = 2;
/// Bits of the attributes.
const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// Why bytes are no records that this client can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchFault {
    /// The bytes do not match their checksum.
    Checksum,
    /// The bytes contradict themselves.
    Malformed(&'static str),
    /// A batch of the message format that Kafka wrote before 0.11.
    OldFormat(i8),
    /// A codec that this client does not know.
    Codec(i16),
    /// The records do not inflate.
    Inflate(String),
    /// The records inflate to more than this many bytes.
    TooLarge(usize),
}

impl BatchFault {
    /// Whether the same batch may be sound when it is fetched once more: what was damaged on its
    /// way.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Checksum | Self::Malformed(_))
    }
}

impl fmt::Display for BatchFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum => formatter.write_str("it does not match its checksum"),
            Self::Malformed(what) => write!(formatter, "it is malformed: {what}"),
            Self::OldFormat(magic) => write!(
                formatter,
                "it has message format {magic}, of before Kafka 0.11; log.fetcher = \"librdkafka\" reads it"
            ),
            Self::Codec(codec) => write!(
                formatter,
                "it is compressed by codec {codec}, which is not known; log.fetcher = \"librdkafka\" may know it"
            ),
            Self::Inflate(why) => write!(formatter, "it does not inflate: {why}"),
            Self::TooLarge(limit) => write!(
                formatter,
                "it inflates to more than {limit} bytes; log.fetcher = \"librdkafka\" reads it"
            ),
        }
    }
}

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// What stands before the records of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchHeader {
    pub(super) base_offset: i64,
    /// Bytes of the whole batch.
    pub(super) size: usize,
    pub(super) leader_epoch: i32,
    checksum: u32,
    attributes: i16,
    last_offset_delta: i32,
    base_time: i64,
    max_time: i64,
    pub(super) producer: i64,
    /// Number of records; compaction may leave none.
    pub(super) records: i32,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

impl BatchHeader {
    /// Reads the header of the batch at the start of `bytes`; `None` if the batch is cut off.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, BatchFault> {
        if bytes.len() <= MAGIC_AT {
            return Ok(None);
        }
        match bytes[MAGIC_AT] as i8 {
            MAGIC => {}
            old @ (0 | 1) => return Err(BatchFault::OldFormat(old)),
            _ => return Err(BatchFault::Malformed("an unknown message format")),
        }
        let length = i32::from_be_bytes(array(bytes, 8));
        let size = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(BEFORE_LENGTH))
            .filter(|size| *size >= HEADER)
            .ok_or(BatchFault::Malformed("its length"))?;
        if bytes.len() < size {
            return Ok(None);
        }
        let header = Self {
            base_offset: i64::from_be_bytes(array(bytes, 0)),
            size,
            leader_epoch: i32::from_be_bytes(array(bytes, 12)),
            checksum: u32::from_be_bytes(array(bytes, 17)),
            attributes: i16::from_be_bytes(array(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_time: i64::from_be_bytes(array(bytes, 27)),
            max_time: i64::from_be_bytes(array(bytes, 35)),
            producer: i64::from_be_bytes(array(bytes, 43)),
            records: i32::from_be_bytes(array(bytes, 57)),
        };
        let plausible = header.base_offset >= 0
            && header.last_offset_delta >= 0
            && header.records >= 0
            && header
                .base_offset
                .checked_add(i64::from(header.last_offset_delta) + 1)
                .is_some();
        if plausible {
            Ok(Some(header))
        } else {
            Err(BatchFault::Malformed("its offsets"))
        }
    }

    /// Checks the batch, whose bytes these are, against its checksum.
    pub(super) fn check(&self, batch: &[u8]) -> Result<(), BatchFault> {
        if crc32c::crc32c(&batch[CHECKED_FROM..]) == self.checksum {
            Ok(())
        } else {
            Err(BatchFault::Checksum)
        }
    }

    pub(super) fn codec(&self) -> Result<Codec, BatchFault> {
        match self.attributes & CODEC_MASK {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            other => Err(BatchFault::Codec(other)),
        }
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether its record is a marker that ends a transaction, and none of an application.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// The offset after its last record. Compaction removes records and keeps this.
    pub(super) fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// The time of a record, in milliseconds.
    pub(super) fn time(&self, delta: i64) -> i64 {
        if self.attributes & LOG_APPEND_TIME != 0 {
            self.max_time
        } else {
            self.base_time.saturating_add(delta)
        }
    }
}

/// What an answer's records are, by the headers of their batches.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Bytes of complete, plausible batches, from the start.
    pub(super) complete: usize,
    /// Offset after the last of them; `None` if there is none.
    pub(super) next_offset: Option<i64>,
    /// Leader epoch of the last of them.
    pub(super) leader_epoch: i32,
    /// Bytes of the largest of them.
    pub(super) largest: usize,
    /// Whether a batch after them is cut off.
    pub(super) is_cut: bool,
    /// Why the batch after them cannot be read.
    pub(super) fault: Option<BatchFault>,
}

impl Survey {
    /// Looks at the headers only. Every batch has to bring the offset forward, from `from` on.
    pub(super) fn of(bytes: &[u8], from: i64) -> Self {
        let mut survey = Self::default();
        let mut next = from;
        while survey.complete < bytes.len() {
            match BatchHeader::read(&bytes[survey.complete..]) {
                Ok(Some(header)) if header.next_offset() <= next => {
                    survey.fault = Some(BatchFault::Malformed("its offset was read before"));
                    break;
                }
                Ok(Some(header)) => {
                    next = header.next_offset();
                    survey.complete += header.size;
                    survey.next_offset = Some(next);
                    survey.leader_epoch = header.leader_epoch;
                    survey.largest = survey.largest.max(header.size);
                }
                Ok(None) => {
                    survey.is_cut = true;
                    break;
                }
                Err(fault) => {
                    survey.fault = Some(fault);
                    break;
                }
            }
        }
        survey
    }
}
