//! Rows of the log that no file of the lake has yet, or none that can be read.

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::ports::{LogRange, PollLimit, RecordView};
use theatre_actors::time::LogTime;
use theatre_schemas::batch::Batch;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::framing;
use theatre_schemas::pseudonym::Pseudonyms;

use super::Question;
use super::found::Found;
use crate::Parts;
use crate::problem::Answer;

/// Bytes of values that are looked at for an answer, of all robots of the partition.
const BYTES_MAX: usize = 64 << 20;
/// How long an answer reads the log, microseconds.
const TIME_MAX_US: i64 = 3_000_000;
/// How far a robot's clock may be ahead: what was appended earlier than that before the range is of
/// before the range. Microseconds.
const AHEAD_US: i64 = 600_000_000;
/// How much is read at a time.
const LOOK: PollLimit = PollLimit {
    records: 4096,
    bytes: 2 << 20,
};
/// How long to wait for records that are being fetched.
const PAUSE: Duration = Duration::from_millis(2);

/// How far the log was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// What was appended from this moment on was not read, or not all of it; `None`: all was.
    pub(super) read_until: Option<i64>,
    /// Records that may be of the robot, of a schema that this process does not know.
    pub(super) unknown: u64,
    /// The log has lost records that may be of the range.
    pub(super) begins_late: bool,
}

/// Reads the rows of the range that lie in the log at an offset or above; `None`: as far back as they
/// may lie.
pub(super) fn read(
    parts: &Parts,
    question: &Question,
    topic: &str,
    from: Option<u64>,
    found: &mut Found,
) -> Answer<Tail> {
    let LogRange { start, end } = parts.log.range(topic, question.home)?;
    let begin = LogTime(question.from.saturating_sub(AHEAD_US));
    let first = match from {
        Some(from) if from >= end => return Ok(Tail::default()),
        _ => parts.log.offset_at(topic, question.home, begin)?,
    };
    let mut next = first.max(from.unwrap_or(0)).max(start);
    let mut rows = Rows::new(parts, question);
    let (mut tail, mut last, mut bytes) = (Tail::default(), None, 0);
    tail.begins_late = start > from.unwrap_or(0) && first <= start;
    let begun = parts.clock.now().0;
    let mut reader = parts.log.reader(topic, question.home, next)?;
    while next < end {
        let taken = parts.clock.now().0.saturating_sub(begun);
        if bytes >= BYTES_MAX || !(0..TIME_MAX_US).contains(&taken) {
            // What was appended with the last one may have others beside it.
            tail.read_until = Some(last.unwrap_or(question.from));
            break;
        }
        let polled = reader.poll(LOOK, &mut |record| {
            bytes += record.value.len();
            last = Some(record.append_time.0);
            rows.take(&record);
        })?;
        if let Some(batch) = rows.finish() {
            for row in 0..batch.offsets.len() {
                found.take_new(&batch, row, (topic, question.home), question);
            }
        }
        if polled.at_end {
            break;
        }
        if polled.next_offset == next {
            std::thread::sleep(PAUSE);
        }
        next = polled.next_offset;
    }
    tail.unknown = rows.unknown;
    Ok(tail)
}

/// Records of one robot as rows.
struct Rows<'a> {
    parts: &'a Parts,
    question: &'a Question,
    builder: BatchBuilder,
    unknown: u64,
}

impl<'a> Rows<'a> {
    fn new(parts: &'a Parts, question: &'a Question) -> Self {
        // Without the key of the pseudonyms what they stand for is left out of the answer.
        let no_key = || Arc::new(Pseudonyms::new([0; 32]));
        let pseudonyms = parts.pseudonyms.clone().unwrap_or_else(no_key);
        let dataset = question.dataset.clone();
        Self {
            parts,
            question,
            builder: BatchBuilder::new(dataset, question.index, pseudonyms),
            unknown: 0,
        }
    }

    /// Takes a record, unless its key says that it is of another robot. What is no record of the
    /// dataset is a dead letter, and no row.
    fn take(&mut self, record: &RecordView<'_>) {
        if !may_be_of(record.key, self.question.robot.as_bytes()) {
            return;
        }
        let Ok((id, datum)) = framing::open(record.value, self.parts.record_bytes) else {
            return;
        };
        let Some(writer) = self.parts.registry.lookup(id) else {
            self.unknown += 1;
            return;
        };
        if writer.dataset_index == self.question.index {
            let (offset, appended) = (record.offset, record.append_time.0);
            drop(self.builder.push(&writer.plan, &datum, offset, appended));
        }
    }

    fn finish(&mut self) -> Option<Batch> {
        match self.builder.is_empty() {
            true => None,
            false => self.builder.finish(),
        }
    }
}

/// Whether a key may be that of a robot. Some producers frame keys, or write them as JSON; a record
/// without one may be of any robot.
fn may_be_of(key: &[u8], robot: &[u8]) -> bool {
    key.is_empty() || key == robot || key.windows(robot.len().max(1)).any(|part| part == robot)
}
