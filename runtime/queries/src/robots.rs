//! Robots, procedures, conditions and alerts.

use serde::Serialize;
use theatre_actors::control::is_robot;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Error, OutputFilter, Result};
use theatre_actors::processor::{ProcedureView, ProcessorView};
use theatre_schemas::records::{Alert, Priority};

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

/// All robots with their procedures, in full, by id.
///
/// # Errors
/// When the store cannot be read, or a stored state is damaged or of an unknown version; names the
/// robot.
pub fn robots(store: &dyn CheckpointStore) -> Result<Vec<ProcessorView>> {
    let mut views = Vec::new();
    for partition in 0..partition_count(store)? {
        for stored in store.processors(partition)? {
            // The processor without a name holds what belongs to no robot; others are of
            // facilities, surgeons, models and partitions.
            if stored.processor.is_empty() || !is_robot(&stored.processor) {
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

fn partition_count(store: &dyn CheckpointStore) -> Result<u32> {
    Ok(store.layout()?.map_or(0, |(_, partitions)| partitions))
}
