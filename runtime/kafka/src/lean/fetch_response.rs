//! The answer to a Fetch request (version 12), read from the connection piece by piece: the records of
//! each partition go straight from the socket into a buffer of their own, which is freed when that
//! partition has consumed them. An answer decoded as a whole would be held by its slowest partition.

use std::sync::Arc;

use super::frame::Frame;
use super::memory::{Buffer, Memory};
use super::transport::{ConnectionFailure, Result};
use super::visit::Aborted;

/// Most partitions of one answer, and most aborted transactions of one partition: more are no answer.
const ITEMS_MAX: u32 = 1 << 20;
/// Most bytes of one partition's records: more than a broker's default limit for one request.
const RECORDS_MAX: usize = 96 << 20;

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

/// Reads an answer's body and calls `deliver` with the topic and what it says of each partition.
/// Returns how long the broker wants to be left alone, in milliseconds.
pub(super) fn read(
    frame: &mut Frame<'_>,
    memory: &Arc<Memory>,
    deliver: &mut dyn FnMut(&str, PartitionAnswer),
) -> Result<u32> {
    let throttle = frame.i32()?;
    let error = frame.i16()?;
    let _session = frame.i32()?;
    if error != 0 {
        return Err(ConnectionFailure::protocol(format!(
            "the broker refuses a whole Fetch request: {}",
            super::errors::name(error)
        )));
    }
    for _ in 0..count(frame)? {
        let topic = frame.text()?;
        for _ in 0..count(frame)? {
            let answer = partition(frame, memory)?;
            deliver(&topic, answer);
        }
        frame.skip_tags()?;
    }
    frame.skip_tags()?;
    frame.end()?;
    Ok(u32::try_from(throttle).unwrap_or(0))
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
