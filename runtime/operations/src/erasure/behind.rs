//! Rows that are meant and not in the lake yet: records above its position, outputs that wait for
//! their export.

use std::collections::BTreeMap;

use arrow_array::Array;
use theatre_actors::outputs::OutputEvent;
use theatre_actors::ports::{PartitionStatus, Result, RowSelection};
use theatre_actors::position::{Partition, Positions};
use theatre_parquet::file_schema;
use theatre_parquet::outputs::record_batch;
use theatre_pipeline::ends::Ends;
use theatre_pipeline::intake::{Chunk, Entry};
use theatre_pipeline::outbox::{self, EXPORTER, TABLES};
use theatre_pipeline::recovery;
use theatre_pipeline::tables::is_kept;

use super::{Erasing, Target};

/// Outputs that are looked at in one piece.
const OUTPUTS_AT_ONCE: usize = 256;

/// Counts such rows, in words, by table.
pub(super) fn look(erasing: &Erasing<'_>, targets: &[Target]) -> Result<Vec<String>> {
    let (params, ports) = (erasing.params, erasing.ports);
    let mut waiting = Waiting::default();
    let ends = Ends::now(&*ports.log, &params.topics, params.partitions)?;
    for (partition, end) in ends.iter() {
        let status = ports.store.status(partition)?;
        records(erasing, targets, (partition, &status, end), &mut waiting)?;
        outputs(erasing, targets, (partition, &status), &mut waiting)?;
    }
    let said = |waiting: BTreeMap<&str, u64>, place: &str| -> Vec<String> {
        let waiting = waiting.into_iter();
        waiting
            .map(|(table, rows)| format!("{table}: {rows} rows are not in {place} yet"))
            .collect()
    };
    let mut left = said(waiting.lake, "the lake");
    left.extend(said(waiting.tables, "the store's table"));
    Ok(left)
}

/// Rows that wait, by table.
#[derive(Default)]
struct Waiting<'a> {
    lake: BTreeMap<&'a str, u64>,
    /// For their table in the store.
    tables: BTreeMap<&'a str, u64>,
}

fn records<'a>(
    erasing: &Erasing<'_>,
    targets: &'a [Target],
    (partition, status, end): (Partition, &PartitionStatus, &Positions),
    waiting: &mut Waiting<'a>,
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
                *waiting.lake.entry(&target.table.name).or_default() += 1;
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
    waiting: &mut Waiting<'a>,
) -> Result<()> {
    let (exported, mut written) = (status.cursors.get(&EXPORTER.name), u64::MAX);
    if outbox::active(erasing.params).any(|consumer| consumer == TABLES) {
        written = status.cursors.get(&TABLES.name);
    }
    let mut after = exported.min(written);
    while after < status.last_output {
        let store = &erasing.ports.store;
        let page = store.outputs_after(partition, after, OUTPUTS_AT_ONCE)?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        for target in targets {
            let behind = |position: u64| {
                let behind = page.iter().filter(move |stored| stored.sequence > position);
                rows_of(erasing, target, behind.map(|stored| &stored.output))
            };
            let name = target.table.name.as_str();
            add(&mut waiting.lake, name, behind(exported)?);
            if target
                .kind
                .is_some_and(|kind| is_kept(erasing.params, kind))
            {
                add(&mut waiting.tables, name, behind(written)?);
            }
        }
    }
    Ok(())
}

fn add<'a>(waiting: &mut BTreeMap<&'a str, u64>, table: &'a str, rows: u64) {
    if rows > 0 {
        *waiting.entry(table).or_default() += rows;
    }
}

/// Rows of these outputs that are meant.
fn rows_of<'a>(
    erasing: &Erasing<'_>,
    target: &Target,
    outputs: impl Iterator<Item = &'a OutputEvent>,
) -> Result<u64> {
    let datasets = erasing.params.registry.datasets();
    let events: Vec<_> = outputs
        .filter(|output| Some(output.kind) == target.kind)
        // What is of a dataset that has left the configuration is not exported.
        .filter(|output| {
            let of = output.dataset();
            of.is_none_or(|dataset| datasets.find(dataset).is_some())
        })
        .collect();
    let Some(kind) = target.kind.filter(|_| !events.is_empty()) else {
        return Ok(0);
    };
    let batch = record_batch(kind, &file_schema(&target.table), &events, datasets)?;
    let rows = target.rows(erasing.selection);
    let meant = meant(&batch, &rows).into_iter().filter(|is| *is);
    Ok(meant.count() as u64)
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
