//! Whether everything is drained: read, saved, published, exported, loaded.

use std::time::Duration;

use theatre_actors::ports::{CheckpointStore, Error, EventLog, FileStage, PollLimit, Result};
use theatre_actors::position::Partition;

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
    for partition in 0..partitions {
        left.extend(left_in(params, log, store, partition)?);
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

/// What is left to do in a partition, in words; empty when it is drained.
///
/// # Errors
/// When log or store do not answer.
pub fn left_in(
    params: &PipelineParams,
    log: &dyn EventLog,
    store: &dyn CheckpointStore,
    partition: Partition,
) -> Result<Vec<String>> {
    let status = store.status(partition)?;
    let mut left = Vec::new();
    let mut note = |what: String| left.push(format!("partition {partition}: {what}"));
    for (topic, name) in params.topics.iter().enumerate() {
        if log.partitions(name)?.is_none() {
            continue;
        }
        if has_records(log, name, partition, status.floor.get(topic))? {
            note(format!(
                "records of {name} from offset {} are not processed",
                status.floor.get(topic)
            ));
        } else if params.lake
            && has_records(log, name, partition, status.lake_positions.get(topic))?
        {
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

/// True if there is a record at or above `from`. The end of the log does not say so: the last
/// offsets may hold marks of transactions only.
fn has_records(log: &dyn EventLog, topic: &str, partition: Partition, from: u64) -> Result<bool> {
    let range = log.range(topic, partition)?;
    if from >= range.end {
        return Ok(false);
    }
    let mut reader = log.reader(topic, partition, from.max(range.start))?;
    let mut found = false;
    loop {
        let end = reader.poll(
            PollLimit {
                records: 1,
                bytes: usize::MAX,
            },
            &mut |_| found = true,
        )?;
        if found || end.at_end {
            return Ok(found);
        }
        std::thread::sleep(FETCH_REST);
    }
}
