//! Whether everything is drained: read, saved, published, exported, loaded.

use std::ops::Range;
use std::time::Duration;

use theatre_actors::ports::{CheckpointStore, Error, EventLog, FileStage, PollLimit, Result};
use theatre_actors::position::{Partition, Positions};

use theatre_pipeline::ends::Ends;
use theatre_pipeline::{PipelineParams, outbox};

/// Most of what is not drained that a refusal names.
const NAMED: usize = 5;
/// Pause before a log is polled again that brought nothing and is not at its end.
const FETCH_REST: Duration = Duration::from_millis(5);

/// Refuses partitions in which anything is left to do, and says what and where.
///
/// # Errors
/// Names what is left, or the port that does not answer.
pub fn check(
    params: &PipelineParams,
    log: &dyn EventLog,
    store: &dyn CheckpointStore,
    partitions: u32,
) -> Result<()> {
    let mut left = Vec::new();
    for (partition, end) in Ends::now(log, &params.topics, partitions)?.iter() {
        left.extend(left_to(params, log, store, partition, end)?);
    }
    if left.is_empty() {
        return Ok(());
    }
    let more = left.len().saturating_sub(NAMED);
    left.truncate(NAMED);
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    Err(Error::Refused(format!(
        "not everything is drained: {}{more}. Stop the producers, let `theatre run --until-drained` end, and repeat",
        left.join("; ")
    )))
}

/// What is left to do in a partition of what lies below `end`, in words; empty when it is drained to
/// there.
///
/// # Errors
/// When log or store do not answer.
pub fn left_to(
    params: &PipelineParams,
    log: &dyn EventLog,
    store: &dyn CheckpointStore,
    partition: Partition,
    end: &Positions,
) -> Result<Vec<String>> {
    let status = store.status(partition)?;
    let mut left = Vec::new();
    let mut note = |what: String| left.push(format!("partition {partition}: {what}"));
    for (topic, name) in params.topics.iter().enumerate() {
        let has_records = |from| has_records(log, name, partition, from..end.get(topic));
        if has_records(status.floor.get(topic))? {
            note(format!(
                "records of {name} from offset {} are not processed",
                status.floor.get(topic)
            ));
        } else if params.lake && has_records(status.lake_positions.get(topic))? {
            note(format!(
                "records of {name} from offset {} are not in the lake",
                status.lake_positions.get(topic)
            ));
        }
    }
    for (consumer, behind) in outbox::backlogs(params, &status) {
        note(format!("{behind} {}", consumer.backlog));
    }
    let stages = [
        (FileStage::Registered, "is not completed", params.lake),
        (
            FileStage::Completed,
            "is not in the warehouse",
            params.warehouse,
        ),
    ];
    for (stage, what, awaited) in stages {
        if awaited && let Some(file) = store.files(partition, stage, 1)?.first() {
            note(format!("lake file {} {what}", file.file.path));
        }
    }
    Ok(left)
}

/// True if there is a record at these offsets. The end of the log does not say so: the last offsets
/// may hold marks of transactions only.
fn has_records(
    log: &dyn EventLog,
    topic: &str,
    partition: Partition,
    offsets: Range<u64>,
) -> Result<bool> {
    if offsets.is_empty() {
        return Ok(false);
    }
    let start = log.range(topic, partition)?.start;
    let mut reader = log.reader(topic, partition, offsets.start.max(start))?;
    let limit = PollLimit {
        records: 1,
        bytes: usize::MAX,
    };
    loop {
        let mut found = None;
        let end = reader.poll(limit, &mut |record| found = Some(record.offset))?;
        if let Some(offset) = found {
            return Ok(offset < offsets.end);
        }
        if end.next_offset >= offsets.end || end.at_end {
            return Ok(false);
        }
        std::thread::sleep(FETCH_REST);
    }
}
