//! The instruments on a robot: by serial number, how many lives each has used, for how long it was
//! used, and in which cases.
//!
//! An instrument that moves to another robot has a leg on each. Lives are counted by the instrument
//! itself, so the whole has the greatest of its legs; hours and cases are counted by the robot, so
//! the whole has their sum.
//!
//! Bounded: of more than [`INSTRUMENTS_MAX`] instruments the one that was seen longest ago is
//! forgotten; it counts anew when it comes again. Time and lives are taken from rows as they come: a
//! row that is older than the one before it adds no time.

mod columns;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::{Alert, InstrumentUse};

use crate::name_map::NameMap;
use crate::outputs::fingerprint;
use crate::processor::without_slash;
use crate::robot::{Columns, RuleContext};
use crate::rules::{AlertContext, Condition, ConditionChange};

use columns::Reading;
pub use columns::{InstrumentColumns, InstrumentSpec};

/// Most instruments that are remembered of a robot.
pub(crate) const INSTRUMENTS_MAX: usize = 64;
/// Most cases that are named of an instrument; all of them are counted.
const CASES_MAX: usize = 32;
/// After a longer silence than this, an instrument does not count as used in it. Microseconds.
const GAP_US: i64 = 600 * 1_000_000;
/// Microseconds of an hour.
const HOUR: f64 = 3.6e9;

/// The instruments of a robot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instruments {
    known: NameMap<Instrument>,
    /// The instrument of the last row.
    attached: Option<Box<str>>,
}

/// An instrument on one robot. Times are event times, microseconds UTC.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Instrument {
    kind: Option<String>,
    /// First and last time it was seen; `None` before the first row.
    seen: Option<(i64, i64)>,
    /// Lives that it says it has used, the most it ever said.
    lives: Option<i64>,
    /// Lives that there are; `None` where that is not known.
    limit: Option<i64>,
    attached_us: i64,
    active_us: i64,
    /// The row before and whether it was active in it; `None` where time does not go on.
    last: Option<(i64, bool)>,
    cases: i64,
    /// The latest cases, oldest first.
    recent: VecDeque<String>,
    /// Raised while it is used without a life left.
    condition: Condition,
    /// The case in which its lives ended.
    ended_in: Option<String>,
    /// Revision and fingerprint of what was published last.
    published: Option<(i32, u64)>,
}

impl Instruments {
    /// Notes the instruments of accepted rows, in order. Returns the alerts, each with the index
    /// into `rows` of the row that caused it.
    pub(crate) fn on_rows(
        &mut self,
        context: RuleContext<'_>,
        columns: &InstrumentColumns,
        batch: &Batch,
        rows: &[u32],
    ) -> Vec<(usize, Alert)> {
        let (reading, cases) = (columns.read(batch), Columns::of(batch));
        let mut alerts = Vec::new();
        let mut from = 0;
        while from < rows.len() {
            let serial = reading.serial(rows[from] as usize);
            let same = |row: &&u32| reading.serial(**row as usize) == serial;
            let to = from + rows[from..].iter().take_while(same).count();
            if self.attached.as_deref() != serial {
                self.attach(serial);
            }
            if let Some(serial) = serial {
                self.make_room(serial);
                let instrument = self.known.get_or_default(serial);
                for (at, row) in rows.iter().enumerate().take(to).skip(from) {
                    let row = *row as usize;
                    let (time, case) = (cases.times[row], cases.procedure(row));
                    instrument.note(&reading, row, time, case);
                    if at == from {
                        let kind = instrument.kind.as_deref();
                        instrument.limit = columns.lives(kind);
                    }
                    let ended = instrument.ends(context, serial, time, case);
                    alerts.extend(ended.map(|alert| (at, alert)));
                }
            }
            from = to;
        }
        alerts
    }

    /// Another instrument is on the robot, or none: time does not go on for the one before.
    fn attach(&mut self, serial: Option<&str>) {
        if let Some(before) = self.attached.take()
            && let Some(instrument) = self.known.get_mut(&before)
        {
            instrument.last = None;
        }
        self.attached = serial.map(Into::into);
    }

    fn make_room(&mut self, serial: &str) {
        while self.known.len() >= INSTRUMENTS_MAX && !self.known.contains(serial) {
            let oldest = (self.known.iter())
                .min_by_key(|(name, of)| (of.condition.is_raised(), of.seen, *name))
                .map(|(name, _)| name.to_owned());
            let Some(oldest) = oldest else { return };
            self.known.remove(&oldest);
        }
    }

    /// A case has concluded: the condition of an instrument whose lives ended in it is cleared.
    pub(crate) fn clear(
        &mut self,
        context: RuleContext<'_>,
        procedure_id: &str,
        ended_at: i64,
    ) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for (serial, instrument) in self.known.iter_mut() {
            let is_over = instrument.ended_in.as_deref() == Some(procedure_id);
            if is_over && instrument.condition.is_raised() {
                let at = instrument.condition.raised().map_or(ended_at, |(at, _)| at);
                let why = Some("the case has ended");
                let change = instrument
                    .condition
                    .clear(ended_at.max(at), None, None, why);
                alerts.extend(alert(context, serial, procedure_id, change));
            }
        }
        alerts
    }

    /// The uses that differ from what was published last, of the instruments of a case or of all
    /// that were in one.
    pub(crate) fn revise(
        &mut self,
        robot_id: &str,
        procedure_id: Option<&str>,
    ) -> Vec<InstrumentUse> {
        let is_wanted = |case: &String| procedure_id.is_none_or(|id| case == id);
        let of_case = self
            .known
            .iter_mut()
            .filter(|(_, instrument)| instrument.recent.iter().any(is_wanted));
        of_case
            .filter_map(|(serial, instrument)| instrument.revise(robot_id, serial))
            .collect()
    }

    /// Lives used, and lives left, of the attached instrument, as far as they are known.
    pub(crate) fn lives(&self) -> (Option<i64>, Option<i64>) {
        let attached = self.attached.as_deref().and_then(|it| self.known.get(it));
        let Some(instrument) = attached else {
            return (None, None);
        };
        let left = instrument.limit.zip(instrument.lives);
        (
            instrument.lives,
            left.map(|(all, used)| (all - used).max(0)),
        )
    }

    /// The robot's clock begins anew: no time passes from one recording to the next.
    pub(crate) fn begin_anew(&mut self) {
        self.attach(None);
    }

    /// The open conditions, by serial number.
    pub(crate) fn open_conditions(&self) -> impl Iterator<Item = (&str, &Condition)> {
        let all = self
            .known
            .iter()
            .map(|(serial, of)| (serial, &of.condition));
        all.filter(|(_, condition)| condition.is_raised())
    }
}

impl Instrument {
    fn note(&mut self, reading: &Reading<'_>, row: usize, time: i64, case: Option<&str>) {
        let (first, last) = self.seen.unwrap_or((time, time));
        self.seen = Some((first.min(time), last.max(time)));
        let is_active = reading.is_active(row);
        match self.last {
            Some((before, was_active)) => {
                let passed = time.saturating_sub(before);
                if passed > 0 {
                    let used = if passed <= GAP_US { passed } else { 0 };
                    self.attached_us = self.attached_us.saturating_add(used);
                    if was_active {
                        self.active_us = self.active_us.saturating_add(used);
                    }
                    self.last = Some((time, is_active));
                }
            }
            None => {
                self.last = Some((time, is_active));
                let kind = reading.kind(row);
                if kind.is_some() && kind != self.kind.as_deref() {
                    self.kind = kind.map(str::to_owned);
                }
            }
        }
        if let Some(lives) = reading.lives(row) {
            self.lives = self.lives.max(Some(lives));
        }
        if let Some(case) = case
            && self.recent.back().is_none_or(|known| known != case)
            && !self.recent.iter().any(|known| known == case)
        {
            self.cases += 1;
            if self.recent.len() == CASES_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(case.to_owned());
        }
    }

    /// Raises its condition, once, in a row of a case by which it has used all of its lives.
    fn ends(
        &mut self,
        context: RuleContext<'_>,
        serial: &str,
        time: i64,
        case: Option<&str>,
    ) -> Option<Alert> {
        let (case, used, lives) = (case?, self.lives?, self.limit?);
        if used < lives || self.ended_in.is_some() {
            return None;
        }
        let rule = &context.rules.rules()[context.rules.instrument_rule()?];
        self.ended_in = Some(case.to_owned());
        let raised = rule.raises_with(rule.spec.priority);
        let limit = Some(lives as f64);
        let change = self.condition.raise(raised, time, Some(used as f64), limit);
        alert(context, serial, case, change)
    }

    fn revise(&mut self, robot_id: &str, serial: &str) -> Option<InstrumentUse> {
        let mut record = self.record(robot_id, serial);
        let content = fingerprint(&record.encode());
        record.revision = match self.published {
            Some((_, known)) if known == content => return None,
            Some((revision, _)) => revision + 1,
            None => 0,
        };
        self.published = Some((record.revision, content));
        Some(record)
    }

    fn record(&self, robot_id: &str, serial: &str) -> InstrumentUse {
        let (first_seen, last_seen) = self.seen.unwrap_or_default();
        InstrumentUse {
            instrument_id: instrument_id(serial, robot_id),
            tool_serial: serial.to_owned(),
            robot_id: robot_id.to_owned(),
            revision: 0,
            tool_type: self.kind.clone(),
            first_seen,
            last_seen,
            lives_used: self.lives,
            lives_left: (self.limit.zip(self.lives)).map(|(all, used)| (all - used).max(0)),
            attached_hours: self.attached_us as f64 / HOUR,
            active_hours: self.active_us as f64 / HOUR,
            cases: self.cases,
            sterilisations: self.lives,
            recent_cases: self.recent.iter().cloned().collect(),
            ended_in: self.ended_in.clone(),
        }
    }
}

/// The id of an instrument's leg on a robot.
fn instrument_id(serial: &str, robot_id: &str) -> String {
    format!("{}/{}", without_slash(serial), without_slash(robot_id))
}

/// The alert of a change; `None` without the built-in rule, which is always there.
fn alert(
    context: RuleContext<'_>,
    serial: &str,
    procedure_id: &str,
    change: ConditionChange,
) -> Option<Alert> {
    let rule = &context.rules.rules()[context.rules.instrument_rule()?];
    let mut alert = change.alert(
        rule,
        AlertContext {
            robot_id: context.robot_id,
            // Part of the condition's id: each instrument has its own.
            dataset: serial,
            signal: None,
            procedure_id: Some(procedure_id),
            one_of_many: None,
        },
    );
    alert.message.push_str(&format!(": instrument {serial}"));
    Some(alert)
}
