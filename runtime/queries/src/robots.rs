//! Robots, procedures, conditions and alerts.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use theatre_actors::control::is_robot;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    CheckpointStore, Error, OutputFilter, Result, StoredOutput, StoredProcessor,
};
use theatre_actors::position::Partition;
use theatre_actors::processor::{ConditionView, ProcedureView, ProcessorView};
use theatre_actors::time::LogTime;
use theatre_schemas::records::Alert;

/// Where more than one in so many has changed, a partition is read as a whole.
const ONE_BY_ONE: usize = 2;
/// Robots that are asked for by their names at a time.
const NAMED: usize = 500;

/// A robot in one line.
#[derive(Debug, Clone, Serialize)]
pub struct RobotSummary {
    /// Its id.
    pub robot_id: String,
    /// Its event time, microseconds UTC; `None` before its first dated record.
    pub clock: Option<i64>,
    /// When its last record was appended of which the store knows, microseconds UTC: what is said
    /// of it is as of then.
    pub heard_at: Option<i64>,
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
        let rule = |condition: &ConditionView| condition.rule_id.clone();
        Self {
            robot_id: view.robot_id.clone(),
            clock: view.clock,
            heard_at: view.heard_at,
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
    /// When the robot's last record was appended of which the store knows, microseconds UTC.
    pub heard_at: Option<i64>,
    /// How it stands.
    #[serde(flatten)]
    pub condition: ConditionView,
}

/// All robots with their procedures, in full, by id.
///
/// # Errors
/// When the store cannot be read, or a stored state is damaged or of an unknown version; names the
/// robot.
pub fn robots(store: &dyn CheckpointStore) -> Result<Vec<ProcessorView>> {
    let saved = saved_robots(store)?.into_iter();
    Ok(saved.map(|robot| robot.view).collect())
}

/// A robot as the store has it.
#[derive(Debug, Clone)]
pub struct SavedRobot {
    /// The robot.
    pub view: ProcessorView,
    /// Where it is at home.
    pub partition: Partition,
    /// When it was saved; 0 where an earlier build has saved it.
    pub saved_at: LogTime,
}

/// The robots as saved, each with where and when it was saved.
///
/// # Errors
/// As [`robots`].
pub fn saved_robots(store: &dyn CheckpointStore) -> Result<Vec<SavedRobot>> {
    let mut views = Vec::new();
    for partition in 0..partition_count(store)? {
        for stored in store.processors(partition)? {
            // The processor without a name holds what belongs to no robot; others are of
            // facilities, surgeons, models and partitions.
            if stored.processor.is_empty() || !is_robot(&stored.processor) {
                continue;
            }
            views.push(SavedRobot {
                view: view(&stored)?,
                partition,
                saved_at: stored.saved_at,
            });
        }
    }
    views.sort_by(|left, right| left.view.robot_id.cmp(&right.view.robot_id));
    Ok(views)
}

/// Where each robot is stored, the number of its last save and when that was, as it was read last.
#[derive(Debug, Default)]
pub struct RobotSaves(HashMap<String, (Partition, u64, LogTime)>);

/// The same as [`saved_robots`], where they were read before: of those that were not saved since
/// nothing is read but that. `before` is in order of ids, and what `saves` was filled with.
///
/// # Errors
/// As [`robots`]; `saves` stays as it was.
pub fn robots_again(
    store: &dyn CheckpointStore,
    before: &[ProcessorView],
    saves: &mut RobotSaves,
) -> Result<Vec<SavedRobot>> {
    let mut now = RobotSaves::default();
    let mut views = Vec::with_capacity(before.len());
    for partition in 0..partition_count(store)? {
        let mut changed = HashSet::new();
        let mut count = 0;
        for (name, number) in store.save_numbers(partition)? {
            if name.is_empty() || !is_robot(&name) {
                continue;
            }
            count += 1;
            let known = before.binary_search_by(|view| view.robot_id.as_str().cmp(&name));
            let save = saves.0.get(&name).copied();
            match (known, save) {
                (Ok(at), Some((home, last, saved_at))) if (home, last) == (partition, number) => {
                    views.push(SavedRobot {
                        view: before[at].clone(),
                        partition,
                        saved_at,
                    });
                    now.0.insert(name, (partition, number, saved_at));
                }
                _ => drop(changed.insert(name)),
            }
        }
        let mut take = |stored: StoredProcessor| -> Result<()> {
            if changed.contains(&stored.processor) {
                let saved_at = stored.saved_at;
                views.push(SavedRobot {
                    view: view(&stored)?,
                    partition,
                    saved_at,
                });
                let save = (partition, stored.save_number, saved_at);
                now.0.insert(stored.processor, save);
            }
            Ok(())
        };
        if changed.len() * ONE_BY_ONE > count {
            store
                .processors(partition)?
                .into_iter()
                .try_for_each(take)?;
            continue;
        }
        let names: Vec<&str> = changed.iter().map(String::as_str).collect();
        for part in names.chunks(NAMED) {
            let named = store.processors_named(partition, part)?;
            named.into_iter().try_for_each(&mut take)?;
        }
    }
    views.sort_by(|left, right| left.view.robot_id.cmp(&right.view.robot_id));
    *saves = now;
    Ok(views)
}

fn view(stored: &StoredProcessor) -> Result<ProcessorView> {
    let view = ProcessorView::from_state(&stored.processor, &stored.state);
    view.map_err(|error| {
        Error::Refused(format!(
            "the state of robot '{}' cannot be read: {error}",
            stored.processor
        ))
    })
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
            heard_at: view.heard_at,
            condition,
        }));
    }
    Ok(open)
}

/// All transitions of one condition, in their order; of a store that has none of it, nothing.
///
/// # Errors
/// As [`alert_history`].
pub fn condition_history(store: &dyn CheckpointStore, condition_id: &str) -> Result<Vec<Alert>> {
    let filter = OutputFilter {
        kind: Some(OutputKind::Alert),
        id: Some(condition_id.to_owned()),
        ..OutputFilter::default()
    };
    let mut history = alerts(store, &filter)?;
    // What people do has their clock's time, what rules say has the robot's.
    history.sort_by_key(|alert| alert.revision);
    Ok(history)
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
    let mut found = store.find_outputs(&filter)?;
    // What was concluded at one moment comes in the order in which it was: a combination behind what
    // it follows, whatever their revisions.
    found.sort_by_key(|stored| (stored.output.event_time, stored.partition, stored.sequence));
    found.iter().map(alert).collect()
}

/// Transitions of a rule's conditions, oldest first, each with when it was committed: alerts, or
/// what a rule in the shadow would have raised.
///
/// # Errors
/// As [`alert_history`].
pub fn alerts_of(
    store: &dyn CheckpointStore,
    kind: OutputKind,
    rule_id: &str,
) -> Result<Vec<(LogTime, Alert)>> {
    let filter = OutputFilter {
        kind: Some(kind),
        subject: Some(rule_id.to_owned()),
        ..OutputFilter::default()
    };
    let stored = store.find_outputs(&filter)?;
    let with_time = |stored: &StoredOutput| Ok((stored.committed_at, alert(stored)?));
    stored.iter().map(with_time).collect()
}

fn alerts(store: &dyn CheckpointStore, filter: &OutputFilter) -> Result<Vec<Alert>> {
    store.find_outputs(filter)?.iter().map(alert).collect()
}

fn alert(stored: &StoredOutput) -> Result<Alert> {
    let alert = Alert::decode(&stored.output.payload);
    alert.map_err(|error| Error::Refused(error.to_string()))
}

fn partition_count(store: &dyn CheckpointStore) -> Result<u32> {
    Ok(store.layout()?.map_or(0, |(_, partitions)| partitions))
}
