//! The answer to a Fetch request (version 12), read from the connection piece by piece: the records
//! of each partition go straight from the socket into a buffer of their own, which is freed when
//! that partition has consumed them. An answer decoded as a whole would be held by its slowest
//! partition.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::frame::Frame;
use super::memory::{Buffer, Memory};
use super::transport::{ConnectionFailure, Result};
use super::visit::Aborted;

/// Most partitions of one answer, and most aborted transactions of one partition: more are no
/// answer.
const ITEMS_MAX: u32 = 1 << 20;
/// Most bytes of one partition's records: more than a broker's default limit for one request.
const RECORDS_MAX: usize = 96 << 20;

/// What the answer says of the request as a whole.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Head {
    /// How long the broker wants to be left alone, milliseconds.
    pub(super) throttle: u32,
    /// Code of an error; 0 if there is none.
    pub(super) error: i16,
    /// Id of the session; 0 if there is none.
    pub(super) session: i32,
}

/// A partition of a topic, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) topic: StrBytes,
    pub(super) index: i32,
}

/// The end of a partition, as its broker said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) high_watermark: u64,
    /// Records of open transactions begin here: a reader goes no further.
    pub(super) last_stable: u64,
}

/// What the answer says of one partition.
#[derive(Debug)]
pub(super) struct PartitionAnswer {
    pub(super) partition: i32,
    pub(super) error: i16,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) aborted: Vec<Aborted>,
    pub(super) records: Option<Buffer>,
    /// The end of the last epoch that this broker shares with what was read, if they differ.
    pub(super) diverging_end: Option<i64>,
}

impl PartitionAnswer {
    /// The end that it gives, if it has no error.
    pub(super) fn end(&self) -> End {
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        End {
            high_watermark: offset(self.high_watermark),
            last_stable: offset(self.last_stable),
        }
    }
}

/// Reads an answer's body and calls `deliver` with what it says of each partition.
pub(super) fn read(
    frame: &mut Frame<'_>,
    memory: &Arc<Memory>,
    deliver: &mut dyn FnMut(Place, PartitionAnswer),
) -> Result<Head> {
    let head = Head {
        throttle: u32::try_from(frame.i32()?).unwrap_or(0),
        error: frame.i16()?,
        session: frame.i32()?,
    };
    for _ in 0..count(frame)? {
        let topic = StrBytes::from_string(frame.text()?);
        for _ in 0..count(frame)? {
            let answer = partition(frame, memory)?;
            let place = Place {
                topic: topic.clone(),
                index: answer.partition,
            };
            deliver(place, answer);
        }
        frame.skip_tags()?;
    }
    frame.skip_tags()?;
    frame.end()?;
    Ok(head)
}

/// The length of an array; none at all is an empty one.
fn count(frame: &mut Frame<'_>) -> Result<u32> {
    let count = frame.unsigned()?.saturating_sub(1);
    if count > ITEMS_MAX {
        return Err(ConnectionFailure::protocol(format!(
            "an array of {count} items"
        )));
    }
    Ok(count)
}

fn partition(frame: &mut Frame<'_>, memory: &Arc<Memory>) -> Result<PartitionAnswer> {
    let partition = frame.i32()?;
    let error = frame.i16()?;
    let high_watermark = frame.i64()?;
    let last_stable = frame.i64()?;
    let _log_start = frame.i64()?;
    let mut aborted = Vec::new();
    for _ in 0..count(frame)? {
        aborted.push(Aborted {
            producer: frame.i64()?,
            first_offset: frame.i64()?,
        });
        frame.skip_tags()?;
    }
    let _preferred_replica = frame.i32()?;
    let length = frame.unsigned()?.saturating_sub(1) as usize;
    let records = if length == 0 {
        None
    } else if length > RECORDS_MAX {
        return Err(ConnectionFailure::protocol(format!(
            "{length} bytes of records of one partition"
        )));
    } else {
        // Before room is made: the answer itself may be shorter.
        frame.expect(length)?;
        let mut buffer = memory.buffer(length);
        frame.fill(buffer.bytes_mut())?;
        Some(buffer)
    };
    let mut diverging_end = None;
    for _ in 0..frame.unsigned()? {
        let tag = frame.unsigned()?;
        let size = frame.unsigned()? as usize;
        if tag == 0 && size >= 12 {
            let _epoch = frame.i32()?;
            diverging_end = Some(frame.i64()?);
            frame.skip(size - 12)?;
        } else {
            frame.skip(size)?;
        }
    }
    Ok(PartitionAnswer {
        partition,
        error,
        high_watermark,
        last_stable,
        aborted,
        records,
        diverging_end,
    })
}
