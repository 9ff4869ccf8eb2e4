//! The rules that hold, and how they came to be.

use std::time::Duration;

use theatre_actors::control::{self, RuleBase, StandingRules};
use theatre_actors::ports::{CheckpointStore, Error, EventLog, PollLimit, Result};
use theatre_pipeline::PipelineParams;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::framing;

/// Between two looks at a reader that fetches in the background.
const PAUSE: Duration = Duration::from_millis(2);
/// So many looks without a record in between are enough: the log does not answer.
const LOOKS: u32 = 5_000;

/// How much of the log is looked through at a time.
const LOOK: PollLimit = PollLimit {
    records: 1024,
    bytes: 2 << 20,
};

/// The rules of the configuration, changed as far as the first partition that remembers changes has
/// read them.
///
/// # Errors
/// When the store cannot be read, or the stored state is damaged or of an unknown version.
pub fn standing_rules(store: &dyn CheckpointStore, base: RuleBase<'_>) -> Result<StandingRules> {
    of_first_partition(store, base).map(|(_, standing)| standing)
}

/// The same, with the changes that stand in the log and that partition has not read yet, as it is
/// going to take them.
///
/// # Errors
/// As [`standing_rules`], or when the log cannot be read.
pub fn foreseen_rules(
    store: &dyn CheckpointStore,
    log: &dyn EventLog,
    params: &PipelineParams,
    base: RuleBase<'_>,
) -> Result<StandingRules> {
    let (partition, mut standing) = of_first_partition(store, base)?;
    let mut params = params.clone();
    if let Some((topics, _)) = store.layout()? {
        // Positions are stored in this order.
        params.follow(&topics);
    }
    for (topic, name) in params.topics.iter().enumerate() {
        if !params.inputs[topic].reaches_partitions() {
            continue;
        }
        let range = log.range(name, partition)?;
        let mut next = standing.read_to(topic).max(range.start);
        let mut reader = log.reader(name, partition, next)?;
        let mut looks = 0;
        while next < range.end {
            let mut unread = Vec::new();
            let polled = reader.poll(LOOK, &mut |record| {
                unread.extend(change(
                    &params,
                    record.value,
                    record.offset,
                    record.append_time.0,
                ));
            })?;
            for batch in unread {
                standing.foresee(&batch, 0);
            }
            if polled.at_end {
                break;
            }
            if polled.next_offset == next {
                looks += 1;
                if looks > LOOKS {
                    return Err(Error::Unavailable {
                        what: "event log",
                        why: format!(
                            "{name} {partition}: no record from offset {next} on for 10 s"
                        ),
                    });
                }
                std::thread::sleep(PAUSE);
            } else {
                looks = 0;
            }
            next = polled.next_offset;
        }
    }
    Ok(standing)
}

/// A record as the pipeline reads it, where it is a change of rules that is dated as it may be.
fn change(params: &PipelineParams, value: &[u8], offset: u64, appended: i64) -> Option<Batch> {
    let (id, datum) = framing::parse(value).ok()?;
    let writer = params.registry.lookup(id)?;
    let index = writer.dataset_index;
    let dataset = params.registry.datasets().get(index).clone();
    if dataset.kind != DatasetKind::RuleChanges {
        return None;
    }
    let mut builder = BatchBuilder::new(dataset, index, params.pseudonyms.clone());
    builder.push(&writer.plan, datum, offset, appended).ok()?;
    let batch = builder.finish()?;
    let latest = appended.saturating_add(params.processor.time.future_tolerance_us);
    let is_dated_well = batch
        .event_times()
        .first()
        .is_some_and(|time| *time <= latest);
    is_dated_well.then_some(batch)
}

fn of_first_partition(
    store: &dyn CheckpointStore,
    base: RuleBase<'_>,
) -> Result<(u32, StandingRules)> {
    let (_, partitions) = store.layout()?.unwrap_or_default();
    for partition in 0..partitions {
        let name = control::name(partition);
        if let Some(stored) = store.processor(partition, &name)? {
            let standing = StandingRules::read(base, Some(&stored.state));
            let standing = standing.map_err(|error| {
                Error::Refused(format!("the state of '{name}' cannot be read: {error}"))
            })?;
            return Ok((partition, standing));
        }
    }
    let standing = StandingRules::read(base, None);
    let standing = standing.map_err(|error| Error::Refused(error.to_string()))?;
    Ok((0, standing))
}
