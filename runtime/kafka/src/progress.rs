//! What both fetchers' readers have in common: a reader that gets on no more fails, and so does one
//! whose offset is not in the log.

use std::time::{Duration, Instant};

use theatre_actors::ports::{Error, Result};
use theatre_actors::position::Partition;
use theatre_telemetry::names;

use super::client::WHAT;

/// A reader without a record for this long, although the partition has more, fails; the pipeline
/// then opens it anew.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// When a record came last, or the reader stood at the end of the log.
#[derive(Debug)]
pub(super) struct Progress {
    last: Instant,
}

impl Progress {
    /// Of a reader that was just opened.
    pub(super) fn begin() -> Self {
        Self {
            last: Instant::now(),
        }
    }

    /// Notes that the reader gets on.
    pub(super) fn note(&mut self) {
        self.last = Instant::now();
    }

    /// Fails if the reader has not got on for too long.
    pub(super) fn check(&mut self, topic: &str, partition: Partition) -> Result<()> {
        if self.last.elapsed() <= STALLED_AFTER {
            return Ok(());
        }
        self.note();
        names::consumer_stalled(topic);
        let why = format!(
            "topic '{topic}' partition {partition}: nothing came for {} s though there are records",
            STALLED_AFTER.as_secs()
        );
        Err(Error::Unavailable { what: WHAT, why })
    }
}

/// The error of a reader whose offset `next` is not in a log that begins at `start`: it was
/// deleted, or lies beyond the end.
pub(super) fn out_of_range(topic: &str, partition: Partition, next: u64, start: u64) -> Error {
    if start > next {
        return Error::Trimmed {
            topic: topic.to_owned(),
            partition,
            wanted: next,
            start,
        };
    }
    Error::Refused(format!(
        "reading topic '{topic}' partition {partition}: offset {next} lies beyond the end of the log: was the topic made anew?"
    ))
}
