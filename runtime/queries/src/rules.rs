//! The rules that hold, and how they came to be.

use std::ops::Range;
use std::time::Duration;

use theatre_actors::control::{self, RuleBase, StandingRules};
use theatre_actors::ports::{CheckpointStore, Error, EventLog, PollLimit, Result};
use theatre_actors::position::Partition;
use theatre_actors::rules::KnownNames;
use theatre_pipeline::PipelineParams;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{DatasetKind, EntityKind};
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
        // A topic is made when something is first written to it.
        if !params.inputs[topic].reaches_partitions() || log.partitions(name)?.is_none() {
            continue;
        }
        let range = log.range(name, partition)?;
        let from = standing.read_to(topic).max(range.start);
        let place = (name.as_str(), partition);
        each_change(log, &params, place, from..range.end, &mut |batch| {
            standing.foresee(&batch, 0);
        })?;
    }
    Ok(standing)
}

/// The same as [`standing_rules`], with all changes that were ever read: also those that the partition
/// has forgotten, as far as the log has them.
///
/// # Errors
/// As [`foreseen_rules`].
pub fn rules_with_history(
    store: &dyn CheckpointStore,
    log: &dyn EventLog,
    params: &PipelineParams,
    base: RuleBase<'_>,
) -> Result<StandingRules> {
    let (partition, mut standing) = of_first_partition(store, base)?;
    let mut params = params.clone();
    if let Some((topics, _)) = store.layout()? {
        params.follow(&topics);
    }
    let mut recorded = Vec::new();
    for (topic, name) in params.topics.iter().enumerate() {
        if !params.inputs[topic].changes_rules() || log.partitions(name)?.is_none() {
            continue;
        }
        let range = log.range(name, partition)?;
        let until = standing.read_to(topic).min(range.end);
        let place = (name.as_str(), partition);
        each_change(log, &params, place, range.start..until, &mut |batch| {
            recorded.push(batch);
        })?;
    }
    standing.recall(&recorded);
    Ok(standing)
}

/// Hands on the changes of rules between two offsets of a topic's partition.
fn each_change(
    log: &dyn EventLog,
    params: &PipelineParams,
    (name, partition): (&str, Partition),
    offsets: Range<u64>,
    take: &mut dyn FnMut(Batch),
) -> Result<()> {
    let mut next = offsets.start;
    if next >= offsets.end {
        return Ok(());
    }
    let mut reader = log.reader(name, partition, next)?;
    let mut looks = 0;
    while next < offsets.end {
        let mut read = Vec::new();
        let polled = reader.poll(LOOK, &mut |record| {
            if record.offset < offsets.end {
                let appended = record.append_time.0;
                read.extend(change(params, record.value, record.offset, appended));
            }
        })?;
        read.into_iter().for_each(&mut *take);
        if polled.at_end {
            break;
        }
        if polled.next_offset == next {
            looks += 1;
            if looks > LOOKS {
                return Err(Error::Unavailable {
                    what: "event log",
                    why: format!("{name} {partition}: no record from offset {next} on for 10 s"),
                });
            }
            std::thread::sleep(PAUSE);
        } else {
            looks = 0;
        }
        next = polled.next_offset;
    }
    Ok(())
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

/// The names that robots, cases and registries have: what rules may be limited to.
///
/// # Errors
/// As [`crate::robots`].
pub fn known_names(store: &dyn CheckpointStore) -> Result<KnownNames> {
    let mut known = KnownNames::default();
    for view in crate::robots(store)? {
        known.models.extend(view.record.robot_model);
        known.facilities.extend(view.record.facility_id);
        let outcomes = view.procedures.into_iter().filter_map(|case| case.outcome);
        let phases = outcomes.flat_map(|outcome| outcome.phases);
        known.phases.extend(phases.map(|phase| phase.name));
    }
    let (_, partitions) = store.layout()?.unwrap_or_default();
    for partition in 0..partitions {
        for (name, _) in store.save_numbers(partition)? {
            match EntityKind::of_key(&name) {
                Some((EntityKind::Model, id)) => drop(known.models.insert(id.to_owned())),
                Some((EntityKind::Facility, id)) => drop(known.facilities.insert(id.to_owned())),
                _ => {}
            }
        }
    }
    Ok(known)
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
