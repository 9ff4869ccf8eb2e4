//! The procedure actor: one case on one robot, from its first record to its outcome and later
//! corrections.
//!
//! A procedure begins with its first sample, event or result, in whatever order these arrive. Its
//! outcome is published once its end event has arrived and the robot's clock has passed the time of
//! that event by the reorder bound, or the recording ended. A record that arrives later and changes
//! the outcome leads to the next revision. Events are kept as a set ordered by event time, so the
//! order of their arrival does not affect the outcome. What is measured of the rows is cut where the
//! case and its phases begin and end, see `course.rs`.

mod before;
mod course;
mod indicators;
mod life;
mod measures;
mod motion;
mod phases;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::{
    ClinicalResult, Indicator, Outcome, OutcomeStatus, PhaseDuration, Priority, ProcedurePhase,
};

use crate::name_map::NameMap;

pub(crate) use before::ProcedureV2;
pub(crate) use course::{CaseRows, Course};
pub use indicators::{IndicatorColumns, IndicatorSpec, Indicators, SIGNALS_MAX};
use life::Described;
pub(crate) use phases::Leg;

/// A step in a procedure's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ProcedureStep {
    Scheduled,
    Started,
    PhaseStarted,
    Paused,
    Resumed,
    Converted,
    Aborted,
    Cancelled,
    Completed,
}

impl ProcedureStep {
    /// Parses the name that the schema uses; `None` for an unknown one.
    pub fn parse(name: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
    }

    /// True for the steps at which a case or a phase begins or ends.
    pub(crate) fn cuts(self) -> bool {
        ends(self) || matches!(self, Self::Started | Self::PhaseStarted)
    }
}

/// An event of a procedure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcedureEvent {
    /// Event time, microseconds UTC.
    pub time: i64,
    /// The step that the procedure took.
    pub step: ProcedureStep,
    /// Name of the phase, for [`ProcedureStep::PhaseStarted`].
    pub phase: Option<String>,
    /// Descriptive fields, as far as the event carries them.
    pub metadata: ProcedureMetadata,
}

/// What became of an event given to [`ProcedureActor::insert_event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertResult {
    /// The event was added.
    New,
    /// An event with this id was there already.
    Known,
    /// The procedure has its maximum number of events; the event was refused.
    TooMany,
}

/// Descriptive fields of a procedure, besides its course.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ProcedureMetadata {
    pub category: Option<String>,
    pub procedure_type: Option<String>,
    /// A pseudonym, set by the decoder.
    pub surgeon_id: Option<String>,
    /// A pseudonym, set by the decoder.
    pub patient_id: Option<String>,
    /// 1 to 5.
    pub complexity: Option<f64>,
}

/// Most events kept per procedure; further ones are refused, but for a few end events.
pub const EVENTS_MAX: usize = 256;
/// Most end events kept beyond [`EVENTS_MAX`]: a flood of steps must not keep a case from ending.
const ENDS_MAX: usize = 8;
/// Most conditions named in an outcome; all of them are counted.
const CONDITIONS_MAX: usize = 64;

/// How the rows of a case are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Measuring {
    /// Of a case that began under version 2 of the processor: as they come.
    ByArrival(Box<Indicators>),
    /// In event order, by phase.
    Course(Box<Course>),
}

impl Default for Measuring {
    fn default() -> Self {
        Self::Course(Box::default())
    }
}

/// What a procedure concludes: what has changed since it did so last.
#[derive(Debug, Default)]
pub(crate) struct Conclusion {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) phases: Vec<ProcedurePhase>,
}

/// One case on one robot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcedureActor {
    /// Events by their id.
    events: NameMap<ProcedureEvent>,
    measuring: Measuring,
    /// Number of applied telemetry rows.
    rows: i64,
    /// Number of missing telemetry rows, by their sequence numbers.
    missing: i64,
    /// The first conditions raised during the case, in order.
    conditions: Vec<String>,
    /// Number of conditions raised with high, medium and low priority.
    raised: [i32; 3],
    /// Event time and content of the latest clinical result.
    result: Option<(i64, ClinicalResult)>,
    /// Revision and content of the outcome that was published last.
    last_published: Option<(i32, Box<Outcome>)>,
    /// Revision and fingerprint of the state that was published last.
    state_published: Option<(i32, u64)>,
    #[serde(skip)]
    described: Described,
    /// When the robot's clock reaches this, changes since the last publication are published.
    pub(crate) due: Option<i64>,
    /// Latest event time of the procedure's records.
    pub(crate) last_seen: i64,
    /// Distinguishes it from an earlier case with the same id that has been evicted; see the
    /// procedure table.
    pub(crate) incarnation: u64,
}

impl ProcedureActor {
    /// A procedure without records, of this incarnation.
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            ..Self::default()
        }
    }

    /// Adds an event under its id.
    pub fn insert_event(&mut self, id: &str, event: ProcedureEvent) -> InsertResult {
        if self.events.contains(id) {
            return InsertResult::Known;
        }
        let room = EVENTS_MAX + if ends(event.step) { ENDS_MAX } else { 0 };
        if self.events.len() >= room {
            return InsertResult::TooMany;
        }
        self.last_seen = self.last_seen.max(event.time);
        self.events.insert(id, event);
        InsertResult::New
    }

    /// The course of its rows; `None` for a case that is measured by arrival.
    pub(crate) fn course_mut(&mut self) -> Option<&mut Course> {
        match &mut self.measuring {
            Measuring::Course(course) => Some(course),
            Measuring::ByArrival(_) => None,
        }
    }

    /// The same, to look at.
    pub(crate) fn course(&self) -> Option<&Course> {
        match &self.measuring {
            Measuring::Course(course) => Some(course),
            Measuring::ByArrival(_) => None,
        }
    }

    /// Sets the clinical result, unless one with a later event time (microseconds UTC) is there.
    pub fn insert_result(&mut self, time: i64, result: ClinicalResult) {
        self.last_seen = self.last_seen.max(time);
        if self.result.as_ref().is_none_or(|(known, _)| *known <= time) {
            self.result = Some((time, result));
        }
    }

    /// Adds telemetry rows in order. `missing[i]` is the change of the number of missing records
    /// that `rows[i]` causes, see [`crate::robot::Judgement::Apply`].
    pub(crate) fn add_samples(
        &mut self,
        columns: Option<&IndicatorColumns>,
        batch: &Batch,
        rows: CaseRows<'_>,
        missing: &[i64],
    ) {
        self.rows = self.rows.saturating_add(rows.rows.len() as i64);
        let times = batch.event_times();
        for (row, missing) in rows.rows.iter().zip(missing) {
            self.missing = self.missing.saturating_add(*missing);
            self.last_seen = self.last_seen.max(times[*row as usize]);
        }
        let Some(columns) = columns else { return };
        match &mut self.measuring {
            Measuring::Course(course) => course.add(columns, batch, rows),
            Measuring::ByArrival(indicators) => {
                for row in rows.rows {
                    let row = *row as usize;
                    indicators.add_sample(columns, batch, row, times[row]);
                }
            }
        }
    }

    /// Counts a condition that was raised during the case.
    pub fn add_condition(&mut self, id: &str, priority: Priority) {
        let counter = &mut self.raised[rank(priority)];
        *counter = counter.saturating_add(1);
        if self.conditions.len() < CONDITIONS_MAX {
            self.conditions.push(id.to_owned());
        }
    }

    /// Event time of its latest end event, microseconds UTC; `None` while there is none.
    pub fn ended_at(&self) -> Option<i64> {
        let ends = self.events.values().filter(|event| ends(event.step));
        ends.map(|event| event.time).max()
    }

    /// True once an outcome was published.
    pub fn is_published(&self) -> bool {
        self.last_published.is_some()
    }

    /// The outcome that was published last.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.last_published.as_ref().map(|(_, outcome)| &**outcome)
    }

    /// Its status in a word, for display.
    pub fn status(&self) -> &'static str {
        match self.ordered().last().map(|event| event.step) {
            None => "heard of",
            Some(ProcedureStep::Scheduled) => "scheduled",
            Some(
                ProcedureStep::Started
                | ProcedureStep::PhaseStarted
                | ProcedureStep::Resumed
                | ProcedureStep::Converted,
            ) => "under way",
            Some(ProcedureStep::Paused) => "paused",
            Some(ProcedureStep::Aborted) => "aborted",
            Some(ProcedureStep::Cancelled) => "cancelled",
            Some(ProcedureStep::Completed) => "completed",
        }
    }

    /// Computes the outcome if the procedure has ended. Returns it, with the next revision, when it
    /// differs from the one published last, and remembers it as published. `columns`: those of its
    /// rows.
    pub(crate) fn finalize(
        &mut self,
        procedure_id: &str,
        robot_id: &str,
        columns: Option<&IndicatorColumns>,
    ) -> Option<Outcome> {
        self.due = None;
        let ended_at = self.ended_at()?;
        let mut outcome = self.compute(procedure_id, robot_id, ended_at, columns);
        if let Some((revision, published)) = &self.last_published {
            // Compare the content under the same revision number: only the rest may differ.
            outcome.revision = *revision;
            if outcome == **published {
                return None;
            }
            outcome.revision = revision + 1;
        }
        self.last_published = Some((outcome.revision, Box::new(outcome.clone())));
        Some(outcome)
    }

    /// Concludes as [`Self::finalize`] does, and its phases with it. The rows up to its end must
    /// be settled.
    pub(crate) fn conclude(
        &mut self,
        leg: Leg<'_>,
        columns: Option<&IndicatorColumns>,
    ) -> Conclusion {
        let outcome = self.finalize(leg.procedure_id, leg.robot_id, columns);
        let (started_at, ended_at) = (self.started_at(), self.ended_at());
        let (Measuring::Course(course), Some(ended_at)) = (&mut self.measuring, ended_at) else {
            return Conclusion {
                outcome,
                phases: Vec::new(),
            };
        };
        let events = in_order(&self.events);
        Conclusion {
            outcome,
            phases: phases::changed(course, leg, &events, started_at, ended_at),
        }
    }

    /// Keeps of its rows what its outcome needs: no more can come.
    pub(crate) fn close_course(&mut self) {
        if let (Measuring::Course(course), Some((_, outcome))) =
            (&mut self.measuring, &self.last_published)
        {
            course.close(outcome.indicators.clone());
        }
    }

    /// Event time of its first start; `None` while there is none.
    fn started_at(&self) -> Option<i64> {
        let is_start = |event: &&ProcedureEvent| event.step == ProcedureStep::Started;
        let starts = self.events.values().filter(is_start);
        starts.map(|event| event.time).min()
    }

    fn indicators(
        &self,
        columns: Option<&IndicatorColumns>,
        started_at: Option<i64>,
        ended_at: i64,
    ) -> Vec<Indicator> {
        let duration_us = started_at.map(|from| ended_at.saturating_sub(from).max(0));
        match &self.measuring {
            Measuring::ByArrival(indicators) => {
                indicators.values(duration_us.map(|us| us as f64 / 1e6))
            }
            Measuring::Course(course) => phases::indicators(course, columns, duration_us),
        }
    }

    /// The events by time; ties by step, then by id, so that the order is total.
    fn ordered(&self) -> Vec<&ProcedureEvent> {
        in_order(&self.events)
    }

    fn compute(
        &self,
        procedure_id: &str,
        robot_id: &str,
        ended_at: i64,
        columns: Option<&IndicatorColumns>,
    ) -> Outcome {
        let events = self.ordered();
        let started_at = self.started_at();
        let seconds = |from: i64, to: i64| to.saturating_sub(from).max(0) as f64 / 1e6;
        let count = |priority| self.raised[rank(priority)];
        // Each descriptive field is that of the latest event that carries it.
        let latest = |pick: fn(&ProcedureMetadata) -> &Option<String>| {
            events
                .iter()
                .rev()
                .find_map(|event| pick(&event.metadata).clone())
        };
        let expected = self.rows.saturating_add(self.missing.max(0));
        Outcome {
            procedure_id: procedure_id.to_owned(),
            robot_id: robot_id.to_owned(),
            revision: 0,
            status: status(&events),
            category: latest(|metadata| &metadata.category),
            procedure_type: latest(|metadata| &metadata.procedure_type),
            surgeon_id: latest(|metadata| &metadata.surgeon_id),
            started_at,
            ended_at,
            duration_s: started_at.map(|started| seconds(started, ended_at)),
            paused_s: paused(&events, ended_at),
            phases: phases(&events, ended_at),
            indicators: self.indicators(columns, started_at, ended_at),
            alerts_high: count(Priority::High),
            alerts_medium: count(Priority::Medium),
            alerts_low: count(Priority::Low),
            alert_conditions: self.conditions.clone(),
            telemetry_rows: self.rows,
            telemetry_missing: self.missing.max(0),
            completeness: (expected > 0).then(|| (self.rows as f64 / expected as f64).min(1.0)),
            result: self.result.as_ref().map(|(_, result)| result.clone()),
        }
    }
}

/// Events by time; ties by step, then by id, so that the order is total.
fn in_order(events: &NameMap<ProcedureEvent>) -> Vec<&ProcedureEvent> {
    let mut events: Vec<(&str, &ProcedureEvent)> = events.iter().collect();
    events.sort_by_key(|(id, event)| (event.time, event.step, *id));
    events.into_iter().map(|(_, event)| event).collect()
}

/// Index into [`ProcedureActor::raised`].
fn rank(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Medium => 1,
        Priority::Low => 2,
    }
}

/// True for the steps that end a procedure.
fn ends(step: ProcedureStep) -> bool {
    matches!(
        step,
        ProcedureStep::Aborted | ProcedureStep::Cancelled | ProcedureStep::Completed
    )
}

fn status(events: &[&ProcedureEvent]) -> OutcomeStatus {
    let converted = events
        .iter()
        .any(|event| event.step == ProcedureStep::Converted);
    match events
        .iter()
        .rev()
        .find(|event| ends(event.step))
        .map(|event| event.step)
    {
        Some(ProcedureStep::Completed) if converted => OutcomeStatus::Converted,
        Some(ProcedureStep::Completed) => OutcomeStatus::Completed,
        Some(ProcedureStep::Aborted) => OutcomeStatus::Aborted,
        Some(ProcedureStep::Cancelled) => OutcomeStatus::Cancelled,
        _ => OutcomeStatus::Unknown,
    }
}

/// Seconds of pause; a pause without a resumption lasts until the end.
fn paused(events: &[&ProcedureEvent], ended_at: i64) -> f64 {
    let mut since = None;
    let mut total = 0;
    for event in events {
        match event.step {
            ProcedureStep::Paused => since = since.or(Some(event.time)),
            ProcedureStep::Resumed => {
                total = since
                    .take()
                    .map_or(0, |since| event.time.saturating_sub(since))
                    .saturating_add(total)
            }
            _ => {}
        }
    }
    total = since
        .map_or(0, |since| ended_at.saturating_sub(since).max(0))
        .saturating_add(total);
    total as f64 / 1e6
}

/// Durations by phase, a phase lasting until the next begins; in order of first entry.
fn phases(events: &[&ProcedureEvent], ended_at: i64) -> Vec<PhaseDuration> {
    let starts: Vec<(&str, i64)> = events
        .iter()
        .filter(|event| event.step == ProcedureStep::PhaseStarted)
        .filter_map(|event| Some((event.phase.as_deref()?, event.time)))
        .collect();
    let mut durations: Vec<PhaseDuration> = Vec::new();
    for (at, (name, start)) in starts.iter().enumerate() {
        let end = starts.get(at + 1).map_or(ended_at, |(_, next)| *next);
        let duration_s = end.saturating_sub(*start).max(0) as f64 / 1e6;
        match durations.iter_mut().find(|phase| phase.name == *name) {
            Some(phase) => phase.duration_s += duration_s,
            None => durations.push(PhaseDuration {
                name: (*name).to_owned(),
                duration_s,
            }),
        }
    }
    durations
}
