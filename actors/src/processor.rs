//! A processor: a robot and the procedures on it, one message at a time, one state, one position.
//!
//! The robot actor and the procedure actors are plain state machines in here; what one emits for the
//! other is handed over in row order before the next row. Applying rows is a function of the rows
//! alone: how they are cut into messages and when the state is saved cannot be seen in the result.
//! A row below the processor's own position was applied before and is skipped.

mod alerting;
mod config;
mod controlled;
mod entities;
mod events;
mod following;
mod foresight;
mod intake;
mod procedure_table;
mod rebuilt;
mod row_batch;
mod row_order;
mod stored;
mod telemetry;
#[cfg(test)]
mod tests;
mod view;
mod windowing;

use std::sync::Arc;

use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::records::{Alert, OutcomeStatus};

use crate::alerts::Alerts;
use crate::control::ControlBook;
use crate::outputs::{Counters, DeadReason, DeadRow, Outputs, TopicTally, outcome, phase, window};
use crate::position::{Positions, TopicIndex};
use crate::procedure::Conclusion;
use crate::robot::{Columns, Judgement, RobotActor, RuleContext};
use crate::rules::CohortAverages;
use crate::state::{self, StateError};
use crate::time::{EventTime, LogTime, Tick};
use crate::window::WindowRow;

pub use crate::alerts::{FACILITY_SILENCES_MAX, SILENCES_MAX, SilenceScope};
use following::Around;
pub(crate) use procedure_table::without_slash;
use procedure_table::{Concluded, Concluding};
use stored::ProcessorState;
pub(crate) use stored::control_state;

#[cfg(any(test, feature = "test-hooks"))]
pub use config::PanicHook;
pub use config::ProcessorConfig;
pub use entities::{EntityConfig, SessionConfig};
pub use foresight::foresee;
pub use intake::IntakeProcessor;
pub use rebuilt::{Difference, Missing, differences};
pub use view::{
    ConditionView, LiveView, OpenWindowView, ProcedureView, ProcessorView, SilenceView,
    next_sequence,
};

/// A robot and its procedures.
#[derive(Debug, Clone)]
pub struct Processor {
    robot_id: String,
    config: Arc<ProcessorConfig>,
    state: ProcessorState,
    /// The state is known to fit the rules; not stored, because they may change while nothing runs.
    has_adopted_rules: bool,
    /// The log's clock at the row or tick that is under way, microseconds UTC; not stored, because
    /// each of them says it.
    now: i64,
    /// The robot's clock after the row that is under way; not stored. Rows are judged ahead of what
    /// they cause, so the robot's own clock is later.
    row_clock: Option<EventTime>,
    /// What was said to all robots of its partition; without it the configuration's rules hold.
    book: Option<Arc<ControlBook>>,
}

impl Processor {
    /// A processor without a record so far.
    pub fn new(robot_id: &str, config: Arc<ProcessorConfig>) -> Self {
        Self {
            robot_id: robot_id.to_owned(),
            config,
            state: ProcessorState::default(),
            has_adopted_rules: false,
            now: i64::MIN,
            row_clock: None,
            book: None,
        }
    }

    /// A processor as it was saved.
    ///
    /// # Errors
    /// When the state is of an unknown version or damaged.
    pub fn restore(
        robot_id: &str,
        bytes: &[u8],
        config: Arc<ProcessorConfig>,
    ) -> Result<Self, StateError> {
        let mut processor = Self::new(robot_id, config);
        processor.state = state::decode(bytes)?;
        processor.state.procedures.restored();
        Ok(processor)
    }

    /// A stored state as it goes on in another partition, reading from `positions` there; nothing
    /// else of it knows of partitions.
    ///
    /// # Errors
    /// As [`Self::restore`].
    pub fn moved(bytes: &[u8], positions: &Positions) -> Result<Vec<u8>, StateError> {
        let state: ProcessorState = state::decode(bytes)?;
        Ok(state::encode(&ProcessorState {
            positions: positions.clone(),
            ..state
        }))
    }

    /// Its state, encoded and versioned.
    pub fn snapshot(&self) -> Vec<u8> {
        state::encode(&self.state)
    }

    /// The next offset it needs, by topic.
    pub fn positions(&self) -> &Positions {
        &self.state.positions
    }

    /// How many of its records came to what, by topic.
    pub fn counters(&self) -> &[Counters] {
        &self.state.counters
    }

    /// Applies rows of one topic, in order.
    pub fn apply(&mut self, topic: TopicIndex, batch: &Batch, rows: &[u32], outputs: &mut Outputs) {
        let from = self.state.positions.get(topic);
        let skip = rows.partition_point(|row| batch.offsets[*row as usize] < from);
        let rows = &rows[skip..];
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return;
        };
        if !self.has_adopted_rules {
            // What other rules make more urgent waits for a person from now on, and not since it
            // stopped.
            self.note_now(batch.append_times[*first as usize]);
        }
        self.adopt_rules(outputs);
        self.make_counters(topic);
        let before = self.seen_on(topic);
        match batch.dataset.kind {
            kind if kind.reaches_partitions() => rows
                .iter()
                .for_each(|row| self.apply_controlled(topic, batch, *row as usize, outputs)),
            DatasetKind::Telemetry => self.apply_telemetry(topic, batch, rows, outputs),
            _ => rows
                .iter()
                .for_each(|row| self.apply_event(topic, batch, *row as usize, outputs)),
        }
        self.state
            .positions
            .advance(topic, batch.offsets[*last as usize] + 1);
        let after = self.seen_on(topic);
        let counted = TopicTally {
            duplicates: after.duplicates - before.duplicates,
            // Numbers that came late make it less.
            missing: after.missing.saturating_sub(before.missing),
        };
        outputs.tally.add(topic, counted);
        self.tally_conditions(outputs);
    }

    /// Makes room for the counters of a topic, and for no more.
    fn make_counters(&mut self, topic: TopicIndex) {
        let counters = &mut self.state.counters;
        if counters.len() <= topic {
            counters.reserve_exact(topic + 1 - counters.len());
            counters.resize_with(topic + 1, Counters::default);
        }
    }

    /// How many records of a topic were seen before, and how many are known to be missing.
    fn seen_on(&self, topic: TopicIndex) -> TopicTally {
        TopicTally {
            duplicates: self.state.counters[topic].duplicate,
            missing: self.state.robot.missing_on(topic),
        }
    }

    /// Notes how many conditions are open, if any has moved.
    fn tally_conditions(&self, outputs: &mut Outputs) {
        if outputs.tally.transitions.iter().any(|count| *count > 0) {
            outputs.tally.open_conditions = Some(self.open_conditions());
        }
    }

    /// The wall clock says what time it is.
    pub fn advance_time(&mut self, tick: Tick, outputs: &mut Outputs) {
        if self.state.registry.is_some() {
            return; // What is registered has no conditions, and cannot fall silent.
        }
        self.at_time(tick.read_to, outputs, |processor, outputs| {
            processor.adopt_rules(outputs);
            processor.fall_due(outputs);
        });
        if let Some(now) = tick.silence {
            self.judge_silence(now, outputs);
        }
        self.tally_conditions(outputs);
    }

    /// Takes a time, and judges silence by it.
    pub fn tick(&mut self, now: LogTime, outputs: &mut Outputs) {
        let (read_to, silence) = (now, Some(now));
        self.advance_time(Tick { read_to, silence }, outputs);
    }

    /// Does something at a time of the wall clock. Where it puts nothing out, the next row is judged as
    /// if the time had not been known: it may have been appended before, and a replay knows no time.
    fn at_time(
        &mut self,
        now: LogTime,
        outputs: &mut Outputs,
        act: impl FnOnce(&mut Self, &mut Outputs),
    ) {
        let (before, known) = (self.now, outputs.events.len());
        self.note_now(now.0);
        act(self, outputs);
        if outputs.events.len() == known {
            self.now = before;
        }
    }

    /// When something that was said of a condition falls due next, microseconds UTC; `i64::MAX` when
    /// nothing does.
    pub fn next_due(&self) -> i64 {
        self.state.alerts.next_due(&self.config.rules)
    }

    fn judge_silence(&mut self, now: LogTime, outputs: &mut Outputs) {
        let is_silent = self.state.robot.is_silent(&self.config.time, now);
        let before = self.now;
        self.note_now(now.0);
        self.with_rules(outputs, |robot, context| robot.tick(context, now));
        // Not only when silence is raised: a procedure may end, by its event, while its robot is
        // silent.
        let open = self.state.robot.open_panes() > 0
            || self.state.robot.has_waiting_rows()
            || self.has_open_sessions()
            || self.state.procedures.next_due() != i64::MAX;
        if open && is_silent {
            self.close_all(outputs);
        }
        // What was read, and not that it is later by now, decides what falls due next.
        self.now = before;
        outputs.tally.is_silent = Some(is_silent);
    }

    /// Has the robot do something by the rules, and emits the alerts.
    fn with_rules<Alerts: IntoIterator<Item = Alert>>(
        &mut self,
        outputs: &mut Outputs,
        act: impl FnOnce(&mut RobotActor, RuleContext<'_>) -> Alerts,
    ) {
        let config = self.config.clone();
        let context = RuleContext {
            robot_id: &self.robot_id,
            rules: &config.rules,
            policy: &config.time,
            around: &Around {
                record: &self.state.record,
                procedures: &self.state.procedures,
            },
        };
        let alerts = act(&mut self.state.robot, context).into_iter();
        for alert in alerts.collect::<Vec<Alert>>() {
            self.emit_alert(alert, outputs);
        }
    }

    /// Once, before anything else: what was saved under other rules goes on under these.
    fn adopt_rules(&mut self, outputs: &mut Outputs) {
        if !self.has_adopted_rules {
            self.has_adopted_rules = true;
            self.with_rules(outputs, RobotActor::adopt_rules);
            self.recount(outputs);
            self.adopt_alert_policies(outputs);
        }
    }

    /// Accounts a row that an actor panicked on, without applying it.
    pub fn dead_letter_row(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        detail: &str,
        outputs: &mut Outputs,
    ) {
        if batch.offsets[row] < self.state.positions.get(topic) {
            return;
        }
        self.make_counters(topic);
        let clock_before = self.state.robot.clock();
        match self
            .state
            .robot
            .judge(topic, &Columns::of(batch), row, &self.config.time)
        {
            Judgement::Duplicate => self.state.counters[topic].duplicate += 1,
            Judgement::Dead(reason) => self.refuse(topic, batch, row, reason, outputs),
            Judgement::Apply { .. } => {
                // The clock must not show that the record was there; that its number was seen must.
                self.state.robot.restore_clock(clock_before);
                self.dead(
                    topic,
                    batch,
                    row,
                    DeadReason::Poison,
                    format!("an actor panicked on it: {detail}"),
                    outputs,
                );
            }
        }
        self.state.positions.advance(topic, batch.offsets[row] + 1);
    }

    /// What it knows, for people.
    pub fn view(&self) -> ProcessorView {
        view::of(&self.robot_id, &self.state)
    }

    /// Averages that rules on cohorts kept to learn from; none under the rules of a rule file.
    pub fn cohort_averages(&self) -> Vec<CohortAverages> {
        self.state.robot.cohort_averages()
    }

    /// What it knows, with its open windows.
    pub fn live_view(&self) -> LiveView {
        view::live(&self.robot_id, &self.state)
    }

    fn dead(
        &mut self,
        topic: TopicIndex,
        batch: &Batch,
        row: usize,
        reason: DeadReason,
        detail: String,
        outputs: &mut Outputs,
    ) {
        self.state.counters[topic].count_dead(reason);
        outputs.dead.push(DeadRow {
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

    fn emit_windows(&mut self, dataset: &str, rows: Vec<WindowRow>, outputs: &mut Outputs) {
        let rules = self.config.rules.for_name(dataset);
        let has_rules = rules.is_some_and(|rules| !rules.on_windows.is_empty());
        for row in &rows {
            outputs
                .events
                .push(window::output(&self.robot_id, dataset, row));
            self.follow_components(dataset, row, outputs);
            if has_rules {
                self.with_rules(outputs, |robot, context| {
                    robot.judge_window(context, dataset, row)
                });
            }
        }
    }

    /// A case that moves to another robot has a leg on each, with an outcome of its own.
    fn emit_concluded(&mut self, concluded: Concluded, outputs: &mut Outputs) {
        let Conclusion {
            outcome: ended,
            phases,
        } = concluded.conclusion;
        let ended_at = ended.as_ref().map(|ended| ended.ended_at);
        if let Some(ended) = ended {
            if ended.revision == 0 && ended.status != OutcomeStatus::Cancelled {
                self.state.record.count_case();
            }
            let output = outcome::output(&self.robot_id, concluded.leg_id, &ended);
            outputs.events.push(output);
        }
        outputs.events.extend(phases.iter().map(phase::output));
        self.conclude_instruments(&concluded.procedure_id, ended_at, outputs);
    }

    /// Closes windows, judges what waits and emits the outcomes of ended procedures, in this order:
    /// the recording ended, or the robot fell silent.
    fn close_all(&mut self, outputs: &mut Outputs) {
        let config = self.config.clone();
        for (dataset, rows) in self.state.robot.flush_windows(&config.windows) {
            self.emit_windows(&dataset, rows, outputs);
        }
        self.flush_sessions(outputs);
        self.with_rules(outputs, RobotActor::judge_all);
        self.pass_deadlines(self.state.robot.clock().0, outputs);
        self.settle_alerts(self.state.robot.clock().0, outputs);
        self.emit_due_outcomes(i64::MAX, outputs);
        self.revise_entities(outputs);
    }

    /// Closes all, and ends the robot's clock.
    fn begin_anew(&mut self, outputs: &mut Outputs) {
        self.close_all(outputs);
        self.settle_alerts(i64::MAX, outputs);
        self.state.alerts.change(Alerts::begin_anew);
        self.state.record.end_clock();
        self.with_rules(outputs, RobotActor::begin_anew);
        self.begin_entities_anew();
    }

    /// Emits the outcomes that are due at `clock`, in order of procedure id, and evicts procedures
    /// that are too old to be corrected.
    fn emit_due_outcomes(&mut self, clock: i64, outputs: &mut Outputs) {
        let config = self.config.clone();
        let concluding = Concluding {
            robot_id: &self.robot_id,
            clock,
            reorder_bound_us: config.time.reorder_bound_us,
            allowed_lateness_us: config.time.allowed_lateness_us,
            indicators: &config.indicators,
        };
        for concluded in self.state.procedures.take_due(concluding) {
            self.emit_concluded(concluded, outputs);
        }
        let oldest = self
            .state
            .robot
            .clock()
            .0
            .saturating_sub(self.config.procedure_retention_us);
        self.state.procedures.expire(oldest);
    }
}
