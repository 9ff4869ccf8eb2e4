//! Rows that are meant and not in the lake yet: records above its position, outputs that wait for
//! their export.

use std::collections::BTreeMap;

use arrow_array::Array;
use theatre_actors::ports::{PartitionStatus, Result, RowSelection};
use theatre_actors::position::{Partition, Positions};
use theatre_parquet::file_schema;
use theatre_parquet::outputs::record_batch;
use theatre_pipeline::ends::Ends;
use theatre_pipeline::intake::{Chunk, Entry};
use theatre_pipeline::outbox::EXPORTER;
use theatre_pipeline::recovery;

use super::{Erasing, Target};

/// Outputs that are looked at in one piece.
const OUTPUTS_AT_ONCE: usize = 256;

/// Counts such rows, in words, by table.
pub(super) fn look(erasing: &Erasing<'_>, targets: &[Target]) -> Result<Vec<String>> {
    let (params, ports) = (erasing.params, erasing.ports);
    let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
    let ends = Ends::now(&*ports.log, &params.topics, params.partitions)?;
    for (partition, end) in ends.iter() {
        let status = ports.store.status(partition)?;
        records(erasing, targets, (partition, &status, end), &mut waiting)?;
        outputs(erasing, targets, (partition, &status), &mut waiting)?;
    }
    let waiting = waiting.into_iter();
    Ok(waiting
        .map(|(table, rows)| format!("{table}: {rows} rows are not in the lake yet"))
        .collect())
}

fn records<'a>(
    erasing: &Erasing<'_>,
    targets: &'a [Target],
    (partition, status, end): (Partition, &PartitionStatus, &Positions),
    waiting: &mut BTreeMap<&'a str, u64>,
) -> Result<()> {
    let (params, log) = (erasing.params, &*erasing.ports.log);
    let mut from = status.lake_positions.clone();
    for (topic, name) in params.topics.iter().enumerate() {
        if end.get(topic) > 0 {
            from.advance(topic, log.range(name, partition)?.start);
        }
    }
    if from.covers(end) {
        return Ok(());
    }
    let of = |dataset: &str| {
        let mut of_records = targets.iter().filter(|target| target.kind.is_none());
        of_records.find(|target| target.table.name == dataset)
    };
    let mut count = |chunk: &Chunk| {
        for entry in &chunk.entries {
            let Entry::Row { batch, row } = *entry else {
                continue;
            };
            let Some((_, batch)) = chunk.batches.get(batch as usize) else {
                continue;
            };
            let row = row as usize;
            let Some(target) = of(&batch.dataset.name) else {
                continue;
            };
            let rows = target.rows(erasing.selection);
            let robot = rows.robot_column.is_some().then(|| batch.entity_id(row));
            let time = rows.time_column.is_some().then(|| batch.event_times()[row]);
            if rows.reason(robot, time).is_some() {
                *waiting.entry(&target.table.name).or_default() += 1;
            }
        }
        Ok(())
    };
    recovery::read(log, (partition, params.intake()), &from, end, &mut count)
}

fn outputs<'a>(
    erasing: &Erasing<'_>,
    targets: &'a [Target],
    (partition, status): (Partition, &PartitionStatus),
    waiting: &mut BTreeMap<&'a str, u64>,
) -> Result<()> {
    let datasets = erasing.params.registry.datasets();
    let mut after = status.cursors.get(&EXPORTER.name);
    while after < status.last_output {
        let store = &erasing.ports.store;
        let page = store.outputs_after(partition, after, OUTPUTS_AT_ONCE)?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        for target in targets {
            let events = page.iter().map(|stored| &stored.output);
            let events: Vec<_> = events
                .filter(|output| Some(output.kind) == target.kind)
                // What is of a dataset that has left the configuration is not exported.
                .filter(|output| {
                    let of = output.dataset();
                    of.is_none_or(|dataset| datasets.find(dataset).is_some())
                })
                .collect();
            let Some(kind) = target.kind.filter(|_| !events.is_empty()) else {
                continue;
            };
            let batch = record_batch(kind, &file_schema(&target.table), &events, datasets)?;
            let rows = target.rows(erasing.selection);
            let meant = meant(&batch, &rows).into_iter().filter(|is| *is).count();
            if meant > 0 {
                *waiting.entry(&target.table.name).or_default() += meant as u64;
            }
        }
    }
    Ok(())
}

/// For each row of a batch whether it is meant.
pub(crate) fn meant(batch: &arrow_array::RecordBatch, rows: &RowSelection) -> Vec<bool> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::TimestampMicrosecondType;
    let column = |name: &Option<String>| batch.column_by_name(name.as_ref()?);
    let robots = column(&rows.robot_column).and_then(|it| it.as_string_opt::<i32>());
    let times =
        column(&rows.time_column).and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
    let is_meant = |row: usize| {
        let robot = robots.filter(|of| of.is_valid(row)).map(|of| of.value(row));
        let time = times.filter(|of| of.is_valid(row)).map(|of| of.value(row));
        rows.reason(robot, time).is_some()
    };
    (0..batch.num_rows()).map(is_meant).collect()
}
