//! A family: a robot and the procedures on it, one mailbox, one state, one position.
//!
//! The robot actor and the procedure actors are plain state machines in here; what one tells the other is handed over in row order
//! before the next row. Applying rows is a function of the rows alone: how they are cut into messages and when the state is saved cannot
//! be seen in the result. A row below the family's own position was applied before and is skipped.

mod intake;
mod stretch;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{DatasetIndex, DatasetKind, Datasets};
use theatre_schemas::records::{Alert, Outcome, Priority};

use crate::effect::{Counters, DeadReason, DeadRow, Effects, Fact, FactKind};
use crate::position::{Positions, TopicIndex};
use crate::procedure::{IndicatorSpec, ProcedureActor, Sources};
use crate::robot::{Judgement, RobotActor, begins};
use crate::rules::RuleSet;
use crate::state::{self, StateError};
use crate::time::{LogTime, TimePolicy};
use crate::window::{WindowPlan, WindowRow};

pub use intake::IntakeFamily;
pub use view::{ConditionView, FamilyView, ProcedureView};

/// Panics on a row, for tests of what happens then. Never set in production.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanicHook {
    /// On this robot,
    pub robot_id: String,
    /// when this signal
    pub signal: String,
    /// is above this.
    pub above: f64,
}

/// What all families of a deployment do.
#[derive(Debug, Clone)]
pub struct FamilyConfig {
    /// Time.
    pub time: TimePolicy,
    /// Windows.
    pub windows: WindowPlan,
    /// Rules.
    pub rules: RuleSet,
    /// Where indicators come from, by dataset.
    pub indicators: BTreeMap<DatasetIndex, Sources>,
    /// Finished procedures a robot remembers for corrections; the oldest go first.
    pub procedures_max: usize,
    /// For tests of panics.
    pub panic_on: Option<PanicHook>,
}

impl FamilyConfig {
    /// Defaults but for windows, rules and indicators.
    ///
    /// # Errors
    /// Names an indicator's column that does not exist.
    pub fn new(time: TimePolicy, windows: WindowPlan, rules: RuleSet, indicators: &[IndicatorSpec], datasets: &Datasets) -> Result<Self, String> {
        let mut sources = BTreeMap::new();
        for spec in indicators {
            let (index, dataset) = datasets.find(&spec.dataset).ok_or_else(|| format!("indicators: there is no dataset '{}'", spec.dataset))?;
            sources.insert(index, Sources::resolve(spec, dataset)?);
        }
        Ok(Self { time, windows, rules, indicators: sources, procedures_max: 64, panic_on: None })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct FamilyState {
    positions: Positions,
    counters: Vec<Counters>,
    robot: RobotActor,
    procedures: BTreeMap<String, ProcedureActor>,
}

/// A robot and its procedures.
#[derive(Debug, Clone)]
pub struct Family {
    robot_id: String,
    config: Arc<FamilyConfig>,
    state: FamilyState,
    /// The earliest moment of the robot's clock at which a procedure has something to tell. Derived.
    next_due: i64,
}

impl Family {
    /// A family nothing is known of yet.
    pub fn new(robot_id: &str, config: Arc<FamilyConfig>) -> Self {
        Self { robot_id: robot_id.to_owned(), config, state: FamilyState::default(), next_due: i64::MAX }
    }

    /// A family as it was saved.
    ///
    /// # Errors
    /// When the state is of an unknown version or damaged.
    pub fn restore(robot_id: &str, bytes: &[u8], config: Arc<FamilyConfig>) -> Result<Self, StateError> {
        let mut family = Self::new(robot_id, config);
        family.state = state::decode(bytes)?;
        family.next_due = family.earliest_due();
        Ok(family)
    }

    /// Its state, encoded and versioned.
    pub fn snapshot(&self) -> Vec<u8> {
        state::encode(&self.state)
    }

    /// The next offset it needs, by topic.
    pub fn positions(&self) -> &Positions {
        &self.state.positions
    }

    /// What became of its records, by topic.
    pub fn counters(&self) -> &[Counters] {
        &self.state.counters
    }

    /// Applies rows of one topic, in order.
    pub fn apply(&mut self, topic: TopicIndex, batch: &Batch, rows: &[u32], effects: &mut Effects) {
        let from = self.state.positions.get(topic);
        let skip = rows.partition_point(|row| batch.offsets[*row as usize] < from);
        let rows = &rows[skip..];
        let Some(last) = rows.last() else { return };
        if self.state.counters.len() <= topic {
            self.state.counters.resize_with(topic + 1, Counters::default);
        }
        match batch.dataset.kind {
            DatasetKind::Telemetry => self.apply_telemetry(topic, batch, rows, effects),
            _ => rows.iter().for_each(|row| self.apply_event(topic, batch, *row as usize, effects)),
        }
        self.state.positions.advance(topic, batch.offsets[*last as usize] + 1);
    }

    /// The wall clock says `now`, on a partition that has seen its log's end.
    pub fn tick(&mut self, now: LogTime, effects: &mut Effects) {
        let config = self.config.clone();
        if let Some(alert) = self.state.robot.tick(&self.robot_id, &config.rules, &config.time, now) {
            self.tell_alert(alert, effects);
            self.close_all(effects);
        }
    }

    /// Accounts a row that an actor panicked on, without applying it.
    pub fn bury(&mut self, topic: TopicIndex, batch: &Batch, row: usize, detail: &str, effects: &mut Effects) {
        if batch.offsets[row] < self.state.positions.get(topic) {
            return;
        }
        if self.state.counters.len() <= topic {
            self.state.counters.resize_with(topic + 1, Counters::default);
        }
        let clock_before = self.state.robot.clone();
        match self.state.robot.judge(topic, batch, row, &self.config.time) {
            Judgement::Duplicate => self.state.counters[topic].duplicate += 1,
            Judgement::Dead(reason) => self.dead(topic, batch, row, reason, String::new(), effects),
            Judgement::Apply { .. } => {
                // The clock must not show that the record was there; that its number was seen must.
                self.state.robot.forget_time(&clock_before);
                self.dead(topic, batch, row, DeadReason::Poison, format!("an actor panicked on it: {detail}"), effects);
            }
        }
        self.state.positions.advance(topic, batch.offsets[row] + 1);
    }

    /// What it knows, for people.
    pub fn view(&self) -> FamilyView {
        view::of(&self.robot_id, &self.state)
    }

    fn dead(&mut self, topic: TopicIndex, batch: &Batch, row: usize, reason: DeadReason, detail: String, effects: &mut Effects) {
        self.state.counters[topic].count_dead(reason);
        effects.dead.push(DeadRow {
            topic,
            offset: batch.offsets[row],
            append_time: batch.append_times[row],
            reason,
            detail,
            robot_id: Some(self.robot_id.clone()),
            schema_id: None,
            payload: view::row_json(batch, row).to_string().into_bytes(),
            sealed: false,
            size: 0,
            sha256: String::new(),
        });
    }

    fn tell_windows(&self, dataset: &str, rows: Vec<WindowRow>, effects: &mut Effects) {
        for row in rows {
            effects.facts.push(Fact {
                kind: FactKind::Window,
                robot_id: self.robot_id.clone(),
                id: format!("{}/{}/{dataset}/{}", row.window, self.robot_id, row.start_us),
                subject: format!("{dataset}/{}", row.window),
                revision: row.revision,
                event_time: row.start_us,
                payload: row.encode(),
            });
        }
    }

    fn tell_alert(&mut self, alert: Alert, effects: &mut Effects) {
        effects.urgent |= alert.priority == Priority::High;
        if let Some(procedure) = alert.procedure_id.as_ref().filter(|_| begins(&alert)).and_then(|id| self.state.procedures.get_mut(id)) {
            procedure.condition(&alert.condition_id, alert.priority);
        }
        effects.facts.push(Fact {
            kind: FactKind::Alert,
            robot_id: self.robot_id.clone(),
            id: alert.condition_id.clone(),
            subject: alert.rule_id.clone(),
            revision: u32::try_from(alert.revision).unwrap_or(0),
            event_time: alert.event_time,
            payload: alert.encode(),
        });
    }

    fn tell_outcome(&self, outcome: &Outcome, effects: &mut Effects) {
        effects.facts.push(Fact {
            kind: FactKind::Outcome,
            robot_id: self.robot_id.clone(),
            id: outcome.procedure_id.clone(),
            subject: outcome.procedure_id.clone(),
            revision: u32::try_from(outcome.revision).unwrap_or(0),
            event_time: outcome.ended_at,
            payload: outcome.encode(),
        });
    }

    /// Closes windows and tells ended procedures: the recording ended, or the robot fell silent.
    fn close_all(&mut self, effects: &mut Effects) {
        let config = self.config.clone();
        for (dataset, rows) in self.state.robot.flush_windows(&config.windows) {
            self.tell_windows(&dataset, rows, effects);
        }
        self.settle(i64::MAX, effects);
    }

    /// Tells the outcomes that are due at `clock`, in order of procedure id.
    fn settle(&mut self, clock: i64, effects: &mut Effects) {
        let due: Vec<String> =
            self.state.procedures.iter().filter(|(_, procedure)| procedure.due.is_some_and(|due| due <= clock)).map(|(id, _)| id.clone()).collect();
        for id in due {
            let settled = self.state.procedures.get_mut(&id).and_then(|procedure| procedure.settle(&id, &self.robot_id));
            if let Some(outcome) = settled {
                self.tell_outcome(&outcome, effects);
            }
        }
        self.evict();
        self.next_due = self.earliest_due();
    }

    fn earliest_due(&self) -> i64 {
        self.state.procedures.values().filter_map(|procedure| procedure.due).min().unwrap_or(i64::MAX)
    }

    /// Keeps the number of procedures bounded: told ones go first, the one heard of longest ago first.
    fn evict(&mut self) {
        while self.state.procedures.len() > self.config.procedures_max {
            let oldest = self.state.procedures.iter().min_by_key(|(id, procedure)| (!procedure.is_told(), procedure.heard, *id));
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
            self.state.procedures.remove(&id);
        }
    }
}
