//! The robot actor: judges its records, keeps its clock, its windows and its conditions.
//!
//! A record is judged once, in this order: seen before (by boot and sequence), dated in the future,
//! too late; what passes is applied. One that was refused for its time may come again under its
//! number: then its time alone is judged. The clock is the highest event time of an applied
//! telemetry record, so the silence or the speed of other robots does not affect it. It ends with a
//! recording, and the next record begins a new one.

mod columns;
mod feed;
mod following;
mod judging;
mod measuring;
mod numbers;
mod parts;
mod row_judge;
mod servicing;
mod signal;
mod stored;
mod waiting;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::{Alert, Transition};

use crate::name_map::NameMap;
use crate::outputs::DeadReason;
use crate::position::TopicIndex;
use crate::rules::{Condition, MeasureState};
use crate::sequence::{SequenceTracker, Verdict};
use crate::time::{EventTime, LogTime, TimePolicy};
use crate::window::{WindowPlan, WindowRow, Windows};

pub(crate) use columns::Columns;
use feed::Feed;
use following::Following;
pub(crate) use judging::RuleContext;
use numbers::TopicNumbers;
pub(crate) use stored::{RobotV1, RobotV3, RobotV4};
#[cfg(test)]
pub(crate) use waiting::WAITING_MAX;
use waiting::WaitingRows;

/// The dataset name under which conditions of the robot as a whole are kept.
const ROBOT_WIDE: &str = "";

/// What the processor does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The record is applied.
    Apply {
        /// By how much this record changes the number of missing records: positive when numbers
        /// before it were skipped, -1 when the record itself was counted as missing.
        missing: i64,
        /// Its number shows that nothing is missing before it.
        in_order: bool,
    },
    /// The record was seen before and is dropped.
    Duplicate,
    /// The record becomes a dead letter.
    Dead(DeadReason),
}

/// State of one robot, apart from its procedures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RobotActor {
    /// Highest event time of an applied telemetry record; `None` before the first one, and after
    /// the end of a recording.
    clock: Option<EventTime>,
    /// The clock at the end of the last recording, for people.
    ended_clock: Option<EventTime>,
    /// A recording has ended: rows that come again may belong to a corrected one.
    began_anew: bool,
    /// Highest append time of the robot's own records judged so far.
    last_seen: Option<LogTime>,
    feed: Feed,
    /// What is known of the sequence numbers, by topic index.
    numbers: Vec<TopicNumbers>,
    /// Open windows by dataset name.
    windows: NameMap<Windows>,
    /// Conditions by dataset ([`ROBOT_WIDE`]: the robot as a whole) and rule id. A condition in its
    /// initial state is not stored.
    conditions: NameMap<NameMap<Condition>>,
    /// Rows that rules have not judged yet, by dataset.
    waiting: NameMap<WaitingRows>,
    /// Correctly dated telemetry records since the last one from the future, counted while the
    /// clock-skew condition is open.
    valid_rows_in_a_row: u32,
    /// Number of signal values that were NaN or infinite.
    not_finite: u64,
    /// Type and event time of the latest robot event (start-up, error, end of a recording).
    last_event: Option<(String, i64)>,
    /// What measures remember, by dataset and the key of the condition.
    measures: NameMap<NameMap<MeasureState>>,
    /// Conditions that follow others, events or counters, by rule id.
    following: NameMap<Following>,
    /// The highest boot number.
    boot: Option<i64>,
    /// Event times at which the robot started or was serviced, the latest ones.
    starts: Vec<i64>,
    /// The robot's clock at which its usage is judged next.
    usage_due: Option<i64>,
}

impl RobotActor {
    /// Judges a record and, if it is telemetry to be applied, moves the clock.
    pub(crate) fn judge(
        &mut self,
        topic: TopicIndex,
        columns: &Columns<'_>,
        row: usize,
        policy: &TimePolicy,
    ) -> Judgement {
        if columns.is_of_robot {
            self.last_seen = self.last_seen.max(Some(LogTime(columns.append_times[row])));
        }
        let Some(number) = columns.sequence(row) else {
            return match self.judge_time(columns, row, policy) {
                Some(reason) => Judgement::Dead(reason),
                None => Judgement::Apply {
                    missing: 0,
                    in_order: false,
                },
            };
        };
        if self.numbers.len() <= topic {
            self.numbers.reserve_exact(topic + 1 - self.numbers.len());
            self.numbers.resize_with(topic + 1, TopicNumbers::default);
        }
        // Duplicates are recognised first: a record that was applied once must not become a dead
        // letter when it comes again later.
        let verdict = self.numbers[topic].tracker.judge(number.0, number.1);
        let mut was_refused = false;
        let missing = match verdict {
            Verdict::New { gap } => i64::try_from(gap).unwrap_or(i64::MAX),
            Verdict::Filled => -1,
            Verdict::Duplicate if self.numbers[topic].refused.contains(number) => {
                was_refused = true;
                0
            }
            Verdict::Duplicate => return Judgement::Duplicate,
            Verdict::GivenUp => return Judgement::Dead(DeadReason::SequenceGivenUp),
        };
        let refusal = self.judge_time(columns, row, policy);
        let clock = self.clock().0;
        let watermark = clock.saturating_sub(policy.reorder_bound_us);
        let numbers = &mut self.numbers[topic];
        let in_order = numbers
            .order
            .note(&numbers.tracker, number, verdict, clock, watermark);
        match refusal {
            Some(_) if was_refused => Judgement::Duplicate,
            Some(reason) => {
                // Neither the clock of the machine nor that of the robot stays what it is: the row
                // may come again.
                numbers.refused.insert(number);
                Judgement::Dead(reason)
            }
            None => {
                if was_refused {
                    numbers.refused.remove(number);
                }
                if columns.is_of_robot {
                    self.note_boot(number.0, columns.times[row]);
                }
                Judgement::Apply { missing, in_order }
            }
        }
    }

    /// Refuses a record for its time, or moves the clock if it is telemetry.
    fn judge_time(
        &mut self,
        columns: &Columns<'_>,
        row: usize,
        policy: &TimePolicy,
    ) -> Option<DeadReason> {
        let time = columns.times[row];
        if time > columns.append_times[row].saturating_add(policy.future_tolerance_us) {
            return Some(DeadReason::Future);
        }
        if columns.telemetry {
            if self
                .clock
                .is_some_and(|clock| time < clock.0.saturating_sub(policy.allowed_lateness_us))
            {
                return Some(DeadReason::Late);
            }
            self.clock = self.clock.max(Some(EventTime(time)));
        }
        None
    }

    /// Sets the clock back to what it was before a record was judged. The record's sequence number
    /// stays known.
    pub(crate) fn restore_clock(&mut self, before: EventTime) {
        self.clock = (before.0 != i64::MIN).then_some(before);
    }

    /// The robot's clock; `i64::MIN` before the first telemetry record.
    pub fn clock(&self) -> EventTime {
        self.clock.unwrap_or(EventTime(i64::MIN))
    }

    /// The clock as people see it: after the end of a recording that of its end.
    pub fn shown_clock(&self) -> Option<EventTime> {
        self.clock.or(self.ended_clock)
    }

    /// Highest append time of the robot's records; `None` before the first one.
    pub fn last_seen(&self) -> Option<LogTime> {
        self.last_seen
    }

    /// Adds accepted telemetry rows to the dataset's windows and pushes the windows this closes to
    /// `out`. `clocks[i]` is the robot's clock after `rows[i]`.
    pub fn aggregate(
        &mut self,
        plan: &WindowPlan,
        policy: &TimePolicy,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
        out: &mut Vec<WindowRow>,
    ) {
        let windows = self
            .windows
            .get_or_insert_with(&batch.dataset.name, || Windows::new(batch.signals.width()));
        windows.apply(plan, batch, rows, clocks, policy.reorder_bound_us, out);
    }

    /// The robot's clock before which no window of a dataset closes, whatever rows come from `clock`
    /// on, microseconds UTC; the least where that is not known.
    pub(crate) fn windows_close_at(
        &self,
        plan: &WindowPlan,
        policy: &TimePolicy,
        dataset: &str,
        clock: EventTime,
    ) -> i64 {
        self.windows.get(dataset).map_or(i64::MIN, |windows| {
            windows.closes_at(plan, clock, policy.reorder_bound_us)
        })
    }

    /// Closes all windows; returns their rows by dataset.
    pub fn flush_windows(&mut self, plan: &WindowPlan) -> Vec<(String, Vec<WindowRow>)> {
        let flush = |(dataset, windows): (&str, &mut Windows)| {
            let mut out = Vec::new();
            windows.flush(plan, &mut out);
            (dataset.to_owned(), out)
        };
        self.windows.iter_mut().map(flush).collect()
    }

    /// Counts values that are not finite in accepted rows.
    pub fn count_not_finite(&mut self, batch: &Batch, rows: &[u32]) {
        let signals = &batch.signals;
        if signals.are_whole() {
            return;
        }
        for signal in (0..signals.width()).filter(|signal| !signals.is_whole(*signal)) {
            let is_not_finite = |row: &&u32| {
                let row = **row as usize;
                !signals.value(row, signal).is_finite() && !signals.is_missing(row, signal)
            };
            self.not_finite += rows.iter().filter(is_not_finite).count() as u64;
        }
    }

    /// The recording has ended, and all is closed: the next row begins a new clock, whatever its
    /// time. Returns the alerts of conditions that cannot stay open.
    pub(crate) fn begin_anew(&mut self, context: RuleContext<'_>) -> Vec<Alert> {
        self.ended_clock = self.clock.or(self.ended_clock);
        self.clock = None;
        self.began_anew = true;
        self.end_recording();
        self.windows.values_mut().for_each(Windows::begin_anew);
        self.begin_rules_anew(context)
    }

    /// True once a clock has ended with its recording.
    pub(crate) fn began_anew(&self) -> bool {
        self.began_anew
    }

    /// Remembers a robot event unless a later one is known; `time` is event time, microseconds
    /// UTC.
    pub fn note_event(&mut self, event_type: &str, time: i64) {
        if self
            .last_event
            .as_ref()
            .is_none_or(|(_, last)| *last <= time)
        {
            self.last_event = Some((event_type.to_owned(), time));
        }
    }

    /// Type and event time (microseconds UTC) of the latest robot event.
    pub fn last_event(&self) -> Option<&(String, i64)> {
        self.last_event.as_ref()
    }

    /// Open conditions: (dataset, key, condition); the key is the rule's id, with the signal where
    /// the rule is on several. The dataset is empty for those of the robot as a whole.
    pub fn open_conditions(&self) -> impl Iterator<Item = (&str, &str, &Condition)> {
        let all = self.conditions.iter().flat_map(|(dataset, rules)| {
            rules
                .iter()
                .map(move |(id, condition)| (dataset, id, condition))
        });
        let following = self.following_conditions();
        let following = following.map(|(id, condition)| (ROBOT_WIDE, id, condition));
        all.chain(following)
            .filter(|(.., condition)| condition.is_raised())
    }

    /// (missing, given up, restarts, not finite), over all topics.
    pub fn quality(&self) -> (u64, u64, u64, u64) {
        let sum = |pick: fn(&SequenceTracker) -> u64| {
            self.numbers
                .iter()
                .map(|numbers| pick(&numbers.tracker))
                .fold(0, u64::saturating_add)
        };
        let restarts = self
            .numbers
            .iter()
            .map(|numbers| numbers.tracker.restarts())
            .max()
            .unwrap_or(0);
        (
            sum(SequenceTracker::missing),
            sum(SequenceTracker::given_up),
            restarts,
            self.not_finite,
        )
    }

    /// Numbers of a topic that were ever found missing and have not come since.
    pub(crate) fn missing_on(&self, topic: TopicIndex) -> u64 {
        self.numbers.get(topic).map_or(0, |numbers| {
            let tracker = &numbers.tracker;
            tracker.missing().saturating_add(tracker.given_up())
        })
    }

    /// The number after the highest that was seen on a topic of records without a boot number.
    pub(crate) fn next_sequence(&self, topic: TopicIndex) -> i64 {
        self.numbers
            .get(topic)
            .map_or(0, |numbers| numbers.tracker.next_of(0))
    }

    /// Dataset, name, start, end and rows of every open window that has rows.
    pub fn open_windows(&self) -> impl Iterator<Item = (&str, &str, i64, i64, u64)> {
        self.windows.iter().flat_map(|(dataset, windows)| {
            let open = windows.open_windows().into_iter();
            open.map(move |(name, start, end, rows)| (dataset, name, start, end, rows))
        })
    }

    /// Number of open panes and fragments, over all datasets.
    pub fn open_panes(&self) -> usize {
        self.windows
            .values()
            .map(|windows| windows.open_panes() + windows.open_fragments())
            .sum()
    }
}

/// True when the alert opens its condition: the transition that a procedure counts.
pub(crate) fn is_raising(alert: &Alert) -> bool {
    alert.transition == Transition::Raised
}
