//! What a deployment knows, as plain serializable values: robots, procedures, alerts, windows, lake
//! files, dead letters, partitions.
//!
//! Every function reads the ports (checkpoint store, event log) and prints nothing; the command
//! line prints the answers and an HTTP server can serialize them. The store may belong to a running
//! process: the answers are as of its last checkpoint. Times are microseconds UTC.

use std::collections::BTreeMap;

use serde::Serialize;
use theatre_actors::outputs::OutputKind;
use theatre_actors::outputs::window::WindowSubject;
use theatre_actors::ports::{
    CheckpointStore, Error, EventLog, FileStage, OutputFilter, Result, StoredDead,
};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::processor::{ProcedureView, ProcessorView};
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_pipeline::lake_gap::{self, LogGap};
use theatre_pipeline::outbox;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::records::{Alert, Priority};
use theatre_schemas::registry::Registry;

/// A robot in one line.
#[derive(Debug, Clone, Serialize)]
pub struct RobotSummary {
    /// Its id.
    pub robot_id: String,
    /// Its event time, microseconds UTC; `None` before its first dated record.
    pub clock: Option<i64>,
    /// Records applied, of all topics.
    pub applied: u64,
    /// Sequence numbers that are missing so far.
    pub missing: u64,
    /// Procedures that are remembered.
    pub procedures: usize,
    /// Rules whose conditions are open.
    pub open_conditions: Vec<String>,
}

impl From<&ProcessorView> for RobotSummary {
    fn from(view: &ProcessorView) -> Self {
        let rule = |condition: &theatre_actors::processor::ConditionView| condition.rule_id.clone();
        Self {
            robot_id: view.robot_id.clone(),
            clock: view.clock,
            applied: view.counters.iter().map(|counters| counters.applied).sum(),
            missing: view.missing,
            procedures: view.procedures.len(),
            open_conditions: view.conditions.iter().map(rule).collect(),
        }
    }
}

/// An open condition of a robot.
#[derive(Debug, Clone, Serialize)]
pub struct OpenCondition {
    /// The robot.
    pub robot_id: String,
    /// The rule that raised it.
    pub rule_id: String,
    /// Its present priority.
    pub priority: Priority,
    /// Event time at which it was raised, microseconds UTC.
    pub raised_at: i64,
}

/// Which windows to read.
#[derive(Debug, Clone, Default)]
pub struct WindowQuery {
    /// The robot.
    pub robot_id: String,
    /// Only this window, such as `10s`.
    pub window: Option<String>,
    /// Only this signal.
    pub signal: Option<String>,
}

/// One signal's aggregate in one window, late corrections merged.
#[derive(Debug, Clone, Serialize)]
pub struct WindowAggregate {
    /// The window's name, such as `10s`.
    pub window: String,
    /// Event time at which it begins, microseconds UTC.
    pub start: i64,
    /// The highest revision that was merged.
    pub revision: u32,
    /// The signal.
    pub signal: String,
    /// Values aggregated; at least one.
    pub count: u64,
    /// Their mean, in the signal's unit.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// A registered lake file.
#[derive(Debug, Clone, Serialize)]
pub struct LakeFileStatus {
    /// Path below the lake's root.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// How far it has come: `registered`, `completed`, `loaded`, `quarantined` or `lost`.
    pub stage: &'static str,
    /// Why it was set aside.
    pub note: Option<String>,
}

/// A dead letter in one line.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterSummary {
    /// Its partition.
    pub partition: Partition,
    /// Its number within the partition, from 1.
    pub number: u64,
    /// Input topic of the record; `None` for a topic that the store does not list.
    pub topic: Option<String>,
    /// Offset of the record.
    pub offset: u64,
    /// Why the record could not be applied.
    pub reason: &'static str,
    /// The robot, where known.
    pub robot_id: Option<String>,
    /// The reason in words, without personal data.
    pub detail: String,
}

/// Where a partition stands.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionState {
    /// The partition.
    pub partition: Partition,
    /// Current epoch; 0 if it was never taken.
    pub epoch: u64,
    /// By topic: no processor needs a record below this offset.
    pub saved_to: Vec<u64>,
    /// By topic: the lake has registered everything below this offset.
    pub lake_to: Vec<u64>,
    /// Number of the last committed output; 0 if there is none.
    pub outputs: u64,
    /// Outputs up to this number are published.
    pub relayed: u64,
    /// Outputs up to this number stand in registered lake files.
    pub exported: u64,
    /// Number of the last dead letter; 0 if there is none.
    pub dead: u64,
    /// Dead letters up to this number are published.
    pub dead_relayed: u64,
}

/// All robots with their procedures, in full, by id.
///
/// # Errors
/// When the store cannot be read, or a stored state is damaged or of an unknown version; names the
/// robot.
pub fn robots(store: &dyn CheckpointStore) -> Result<Vec<ProcessorView>> {
    let mut views = Vec::new();
    for partition in 0..partition_count(store)? {
        for stored in store.processors(partition)? {
            // The processor without a name holds what belongs to no robot.
            if stored.processor.is_empty() {
                continue;
            }
            let view = ProcessorView::from_state(&stored.processor, &stored.state);
            views.push(view.map_err(|error| {
                Error::Refused(format!(
                    "the state of robot '{}' cannot be read: {error}",
                    stored.processor
                ))
            })?);
        }
    }
    views.sort_by(|left, right| left.robot_id.cmp(&right.robot_id));
    Ok(views)
}

/// One robot in full; `None` if it is not known.
///
/// # Errors
/// As [`robots`].
pub fn robot(store: &dyn CheckpointStore, robot_id: &str) -> Result<Option<ProcessorView>> {
    let found = robots(store)?.into_iter();
    Ok(found.into_iter().find(|view| view.robot_id == robot_id))
}

/// All procedures that are remembered, by robot.
///
/// # Errors
/// As [`robots`].
pub fn procedures(store: &dyn CheckpointStore) -> Result<Vec<ProcedureView>> {
    let views = robots(store)?.into_iter();
    Ok(views.flat_map(|view| view.procedures).collect())
}

/// One procedure in full; `None` if it is not known.
///
/// # Errors
/// As [`robots`].
pub fn procedure(store: &dyn CheckpointStore, procedure_id: &str) -> Result<Option<ProcedureView>> {
    let mut known = procedures(store)?.into_iter();
    Ok(known.find(|procedure| procedure.procedure_id == procedure_id))
}

/// All open conditions, by robot.
///
/// # Errors
/// As [`robots`].
pub fn open_conditions(store: &dyn CheckpointStore) -> Result<Vec<OpenCondition>> {
    let mut open = Vec::new();
    for view in robots(store)? {
        open.extend(view.conditions.into_iter().map(|condition| OpenCondition {
            robot_id: view.robot_id.clone(),
            rule_id: condition.rule_id,
            priority: condition.priority,
            raised_at: condition.raised_at,
        }));
    }
    Ok(open)
}

/// Transitions of alerts, oldest first: the newest `limit` of them (0: all), of one robot or of
/// all.
///
/// # Errors
/// When the store cannot be read, or an alert in it cannot be decoded.
pub fn alert_history(
    store: &dyn CheckpointStore,
    robot_id: Option<String>,
    limit: usize,
) -> Result<Vec<Alert>> {
    let filter = OutputFilter {
        kind: Some(OutputKind::Alert),
        robot_id,
        limit,
        ..OutputFilter::default()
    };
    let decode =
        |payload: &[u8]| Alert::decode(payload).map_err(|error| Error::Refused(error.to_string()));
    let stored = store.find_outputs(&filter)?;
    stored
        .iter()
        .map(|stored| decode(&stored.output.payload))
        .collect()
}

/// Window aggregates of a robot by dataset, window and start, as far back as the store keeps them.
/// `registry` names the signals.
///
/// # Errors
/// When the store cannot be read, or a window in it cannot be decoded.
pub fn windows(
    store: &dyn CheckpointStore,
    registry: &Registry,
    query: &WindowQuery,
) -> Result<Vec<WindowAggregate>> {
    let mut aggregates = Vec::new();
    for ((dataset, _, start), revisions) in window_revisions(store, query)? {
        let Some(merged) = merge_revisions(&revisions) else {
            continue;
        };
        let known = registry.datasets().find(&dataset);
        let known = known.map(|(_, dataset)| dataset.signals.as_slice());
        for (index, aggregate) in merged.signals.iter().enumerate() {
            // A schema that only another command was given is unknown here: then the signal is
            // named by its place.
            let name = known.unwrap_or_default().get(index);
            let name = name.map_or_else(|| format!("signal {index}"), |signal| signal.name.clone());
            let wanted = query.signal.as_ref().is_none_or(|wanted| *wanted == name);
            if aggregate.count == 0 || !wanted {
                continue;
            }
            aggregates.push(WindowAggregate {
                window: merged.window.clone(),
                start,
                revision: merged.revision,
                signal: name,
                count: aggregate.count,
                mean: aggregate.mean,
                min: aggregate.min,
                max: aggregate.max,
            });
        }
    }
    Ok(aggregates)
}

/// A window's dataset and name, and the event time at which it begins.
type WindowKey = (String, String, i64);

/// All revisions of each window that is asked for.
fn window_revisions(
    store: &dyn CheckpointStore,
    query: &WindowQuery,
) -> Result<BTreeMap<WindowKey, Vec<WindowRow>>> {
    let filter = OutputFilter {
        kind: Some(OutputKind::Window),
        robot_id: Some(query.robot_id.clone()),
        ..OutputFilter::default()
    };
    let mut revisions: BTreeMap<WindowKey, Vec<WindowRow>> = BTreeMap::new();
    for stored in store.find_outputs(&filter)? {
        let row = WindowRow::decode(&stored.output.payload)
            .map_err(|error| Error::Refused(error.to_string()))?;
        if query
            .window
            .as_ref()
            .is_none_or(|wanted| *wanted == row.window)
        {
            let dataset = WindowSubject::of(&stored.output).dataset.to_owned();
            revisions
                .entry((dataset, row.window.clone(), row.start_us))
                .or_default()
                .push(row);
        }
    }
    Ok(revisions)
}

/// All registered lake files.
///
/// # Errors
/// When the store cannot be read.
pub fn lake_files(store: &dyn CheckpointStore) -> Result<Vec<LakeFileStatus>> {
    let files = store.all_files()?.into_iter();
    Ok(files
        .map(|file| LakeFileStatus {
            path: file.file.path,
            rows: file.file.rows,
            bytes: file.file.bytes,
            stage: stage_name(file.stage),
            note: file.note,
        })
        .collect())
}

fn stage_name(stage: FileStage) -> &'static str {
    match stage {
        FileStage::Registered => "registered",
        FileStage::Completed => "completed",
        FileStage::Loaded => "loaded",
        FileStage::Quarantined => "quarantined",
        FileStage::Lost => "lost",
    }
}

/// Records that are gone from the log before the lake had them, over all partitions.
///
/// # Errors
/// When log or store cannot be read.
pub fn lake_gaps(log: &dyn EventLog, store: &dyn CheckpointStore) -> Result<Vec<LogGap>> {
    let (topics, partitions) = store.layout()?.unwrap_or_default();
    let mut gaps = Vec::new();
    for partition in 0..partitions {
        let status = store.status(partition)?;
        gaps.extend(lake_gap::holes(log, &topics, partition, &status)?);
    }
    Ok(gaps)
}

/// The newest `limit` dead letters (0: all).
///
/// # Errors
/// When the store cannot be read.
pub fn dead_letters(store: &dyn CheckpointStore, limit: usize) -> Result<Vec<DeadLetterSummary>> {
    let (topics, _) = store.layout()?.unwrap_or_default();
    let summary = |stored: StoredDead| DeadLetterSummary {
        partition: stored.partition,
        number: stored.sequence,
        topic: topics.get(stored.dead.topic).cloned(),
        offset: stored.dead.offset,
        reason: stored.dead.reason.as_str(),
        robot_id: stored.dead.robot_id,
        detail: stored.dead.detail,
    };
    Ok(store.find_dead(limit)?.into_iter().map(summary).collect())
}

/// One dead letter in full, its payload as it is stored; `None` if there is none of this number.
///
/// # Errors
/// When the store cannot be read.
pub fn dead_letter(
    store: &dyn CheckpointStore,
    partition: Partition,
    number: u64,
) -> Result<Option<StoredDead>> {
    let after = store.dead_after(partition, number.saturating_sub(1), 1)?;
    let mut after = after.into_iter();
    Ok(after.find(|stored| stored.sequence == number))
}

/// The bytes of a sealed payload in hex; `None` if it was sealed with another key. They may name
/// persons.
pub fn unsealed(payload: &[u8], pseudonyms: &Pseudonyms) -> Option<String> {
    let bytes = pseudonyms.unseal(payload)?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where every partition stands.
///
/// # Errors
/// When the store cannot be read.
pub fn partitions(store: &dyn CheckpointStore) -> Result<Vec<PartitionState>> {
    let (topics, partitions) = store.layout()?.unwrap_or_default();
    let by_topic = |positions: &Positions| -> Vec<u64> {
        (0..topics.len())
            .map(|topic| positions.get(topic))
            .collect()
    };
    let state = |partition| {
        let status = store.status(partition)?;
        Ok(PartitionState {
            partition,
            epoch: status.epoch,
            saved_to: by_topic(&status.floor),
            lake_to: by_topic(&status.lake_positions),
            outputs: status.last_output,
            relayed: status.cursors.get(outbox::RELAY.name),
            exported: status.cursors.get(outbox::EXPORTER.name),
            dead: status.last_dead,
            dead_relayed: status.cursors.get(outbox::DEAD_LETTER_RELAY.name),
        })
    };
    (0..partitions).map(state).collect()
}

fn partition_count(store: &dyn CheckpointStore) -> Result<u32> {
    Ok(store.layout()?.map_or(0, |(_, partitions)| partitions))
}
