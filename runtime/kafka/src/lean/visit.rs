//! Walks through the batches of an answer and visits their records in place: checksums, codecs,
//! aborted transactions, markers, gaps that compaction left.

use theatre_actors::ports::{PollLimit, RecordView};
use theatre_actors::time::LogTime;
use theatre_schemas::decode::TIMESTAMP_RANGE;

use super::batches::{BatchFault, BatchHeader, Codec, HEADER};
use super::codecs::Inflater;
use super::records;

/// The type of a marker that aborts its transaction.
const ABORT: i16 = 0;

/// A transaction that was aborted: its producer and the offset of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Id of the producer.
    pub producer: i64,
    /// Offset of the transaction's first record.
    pub first_offset: i64,
}

/// What a poll has taken so far, of what it may take.
#[derive(Debug)]
pub(super) struct Taken {
    limit: PollLimit,
    pub(super) records: usize,
    bytes: usize,
}

impl Taken {
    /// Nothing so far.
    pub(super) fn new(limit: PollLimit) -> Self {
        Self {
            limit,
            records: 0,
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.records >= self.limit.records.max(1)
            || self.records > 0 && self.bytes >= self.limit.bytes
    }
}

/// Where a walk through the batches of one answer stands.
#[derive(Debug)]
pub(super) struct Walk {
    /// Place of the next batch.
    at: usize,
    open: Option<OpenBatch>,
    /// By offset; those of `current` have begun.
    aborted: Vec<Aborted>,
    begun: usize,
    current: Vec<i64>,
}

/// A batch whose records are being visited.
#[derive(Debug)]
struct OpenBatch {
    header: BatchHeader,
    /// Place of the next record: in the answer, or in what was inflated.
    at: usize,
    /// Its end in the answer.
    end: usize,
    is_inflated: bool,
    left: i32,
}

/// How a walk ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The poll's limit is reached and there are more records.
    Full,
    /// All was visited.
    Finished,
}

impl Walk {
    /// From the first batch of an answer that names these aborted transactions.
    pub(super) fn new(mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_unstable_by_key(|aborted| aborted.first_offset);
        Self {
            at: 0,
            open: None,
            aborted,
            begun: 0,
            current: Vec::new(),
        }
    }

    /// Visits records from offset `next` on, which it advances. After a fault it stands before the
    /// batch that is at fault.
    pub(super) fn run(
        &mut self,
        bytes: &[u8],
        inflater: &mut Inflater,
        check_crcs: bool,
        next: &mut u64,
        taken: &mut Taken,
        visit: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<Pause, BatchFault> {
        loop {
            if let Some(open) = &mut self.open {
                let source = if open.is_inflated {
                    inflater.inflated()
                } else {
                    &bytes[..open.end]
                };
                if open.visit(source, next, taken, visit)? == Pause::Full {
                    return Ok(Pause::Full);
                }
                *next = (*next).max(open.header.next_offset() as u64);
                inflater.clear();
                self.open = None;
            }
            match BatchHeader::read(&bytes[self.at..])? {
                Some(header) => self.enter(header, bytes, inflater, check_crcs, next)?,
                None => return Ok(Pause::Finished),
            }
        }
    }

    /// Opens the batch at the present place, or passes over it.
    fn enter(
        &mut self,
        header: BatchHeader,
        bytes: &[u8],
        inflater: &mut Inflater,
        check_crcs: bool,
        next: &mut u64,
    ) -> Result<(), BatchFault> {
        let end = self.at + header.size;
        let batch = &bytes[self.at..end];
        if header.next_offset() as u64 > *next && check_crcs {
            header.check(batch)?;
        }
        let is_passed_over = header.next_offset() as u64 <= *next && !header.is_control();
        if is_passed_over || self.is_left_out(&header, batch)? {
            *next = (*next).max(header.next_offset() as u64);
            self.at = end;
            return Ok(());
        }
        let codec = header.codec()?;
        let is_inflated = codec != Codec::None;
        if is_inflated {
            inflater.inflate(codec, &batch[HEADER..])?;
        }
        self.open = Some(OpenBatch {
            header,
            at: if is_inflated { 0 } else { self.at + HEADER },
            end,
            is_inflated,
            left: header.records,
        });
        self.at = end;
        Ok(())
    }

    /// Whether the records of a batch are none of an application's, or of an aborted transaction.
    fn is_left_out(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<bool, BatchFault> {
        while let Some(aborted) = self.aborted.get(self.begun)
            && aborted.first_offset < header.next_offset()
        {
            self.current.push(aborted.producer);
            self.begun += 1;
        }
        if header.is_control() {
            // A marker that compaction has emptied ends nothing: the records are gone, too.
            if header.records > 0 && is_abort(batch)? {
                self.current.retain(|producer| *producer != header.producer);
            }
            return Ok(true);
        }
        Ok(header.is_transactional() && self.current.contains(&header.producer))
    }
}

/// Whether a marker aborts its transaction: its key is a version and a type, of two bytes each.
fn is_abort(batch: &[u8]) -> Result<bool, BatchFault> {
    let (marker, _) = records::read(batch, HEADER)?;
    match marker.key {
        [_, _, high, low, ..] => Ok(i16::from_be_bytes([*high, *low]) == ABORT),
        _ => Err(BatchFault::Malformed("a marker without a type")),
    }
}

impl OpenBatch {
    fn visit(
        &mut self,
        source: &[u8],
        next: &mut u64,
        taken: &mut Taken,
        visit: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<Pause, BatchFault> {
        while self.left > 0 {
            let (record, after) = records::read(source, self.at)?;
            let offset = self.header.base_offset.saturating_add(record.offset_delta);
            if offset >= self.header.next_offset() || record.offset_delta < 0 {
                return Err(BatchFault::Malformed("a record outside of its batch"));
            }
            let offset = offset as u64;
            // The first batch of an answer may begin before the offset that was asked for.
            if offset >= *next {
                if taken.is_full() {
                    return Ok(Pause::Full);
                }
                // On a topic with the producers' times (CreateTime) this may be any number.
                let time = self.header.time(record.time_delta);
                visit(RecordView {
                    offset,
                    append_time: LogTime(
                        time.saturating_mul(1000).clamp(0, *TIMESTAMP_RANGE.end()),
                    ),
                    key: record.key,
                    value: record.value,
                });
                taken.records += 1;
                taken.bytes += record.value.len();
                *next = offset + 1;
            }
            self.at = after;
            self.left -= 1;
        }
        Ok(Pause::Finished)
    }
}

/// Reads the records of an answer from offset `from` on, as a reader does: its complete batches,
/// inflated to at most `inflate_limit` bytes each. Returns the offset after the last batch.
///
/// # Errors
/// Says why a batch cannot be read; the records before it were visited.
pub fn visit_batches(
    bytes: &[u8],
    aborted: &[Aborted],
    from: u64,
    inflate_limit: usize,
    visit: &mut dyn FnMut(RecordView<'_>),
) -> Result<u64, BatchFault> {
    let mut next = from;
    let mut taken = Taken::new(PollLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    });
    Walk::new(aborted.to_vec()).run(
        bytes,
        &mut Inflater::new(inflate_limit),
        true,
        &mut next,
        &mut taken,
        visit,
    )?;
    Ok(next)
}
