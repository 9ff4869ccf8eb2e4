//! Conditions of the robot as a whole: silence and a clock that runs ahead; and whether its rows
//! come live or out of a recording, which says by which clock it is silent.

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::Alert;

use super::{ROBOT_WIDE, RobotActor, RuleContext};
use crate::rules::{AlertContext, CLOCK_SKEW, Condition, Predicate, ROBOT_SILENT};
use crate::time::{LogTime, TimePolicy};

/// Telemetry records in a row that must be dated well before a clock-skew condition is cleared.
const VALID_ROWS_TO_CLEAR: u32 = 10;

/// Where the robot's rows come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Feed {
    /// From the robot: the wall clock says when it is silent.
    #[default]
    Live,
    /// From a recording that has begun and not ended: event times say when it was silent.
    Recording {
        /// Latest event time in it.
        last: Option<i64>,
        /// The gap before that.
        pace: Option<i64>,
        /// A row of it was applied.
        has_news: bool,
    },
    /// From a recording that has ended, after which nothing came: it is not silent.
    Ended,
}

impl Feed {
    /// Notes the time of a row; in a recording, returns the latest time before it and the gap before
    /// that.
    fn note(&mut self, time: i64) -> Option<(i64, Option<i64>)> {
        let Self::Recording { last, pace, .. } = self else {
            return None;
        };
        let Some(before) = *last else {
            *last = Some(time);
            return None;
        };
        if time <= before {
            return None;
        }
        *last = Some(time);
        let pace_before = pace.replace(time.saturating_sub(before));
        Some((before, pace_before))
    }
}

impl RobotActor {
    /// A recording begins.
    pub(crate) fn begin_recording(&mut self) {
        self.feed = Feed::Recording {
            last: None,
            pace: None,
            has_news: false,
        };
    }

    /// The recording has ended.
    pub(super) fn end_recording(&mut self) {
        self.feed = Feed::Ended;
    }

    /// The end of a recording came once more: it ends one of which every row was known.
    pub(crate) fn end_known_recording(&mut self) {
        if let Feed::Recording {
            has_news: false, ..
        } = self.feed
        {
            self.end_recording();
        }
    }

    /// True between the beginning and the end of a recording.
    pub(crate) fn is_recording(&self) -> bool {
        matches!(self.feed, Feed::Recording { .. })
    }

    /// A row of a recording came once more: the robot was not silent then.
    pub(crate) fn note_again(&mut self, time: i64) {
        self.feed.note(time);
    }

    /// Opens the clock-skew condition for a record dated in the future; `None` when it is open
    /// already.
    pub(crate) fn on_future_record(
        &mut self,
        context: RuleContext<'_>,
        batch: &Batch,
        row: usize,
    ) -> Option<Alert> {
        self.valid_rows_in_a_row = 0;
        let ahead = batch.event_times()[row].saturating_sub(batch.append_times[row]) as f64 / 1e6;
        // The record's own time is wrong; the log's is the best there is.
        self.set_robot_condition(
            context,
            context.rules.clock_skew_rule()?,
            Some(ahead),
            batch.append_times[row],
        )
    }

    /// Telemetry was applied: after a recording, the robot is live again.
    pub(crate) fn note_applied(&mut self) {
        match &mut self.feed {
            Feed::Live => {}
            Feed::Recording { has_news, .. } => *has_news = true,
            Feed::Ended => self.feed = Feed::Live,
        }
    }

    /// True while [`Self::on_valid_record`] has to be called for every row: in a recording, and
    /// while a condition of the robot as a whole is open.
    pub(crate) fn watches_rows(&self) -> bool {
        self.is_recording()
            || self
                .conditions
                .get(ROBOT_WIDE)
                .is_some_and(|conditions| conditions.values().any(Condition::is_raised))
    }

    /// Handles a correctly dated telemetry record: says that the robot was silent before it, by its
    /// recording; clears silence conditions at once and clock skew after ten of them in a row.
    pub(crate) fn on_valid_record(
        &mut self,
        context: RuleContext<'_>,
        time: i64,
        append_time: i64,
    ) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let gap = self.feed.note(time);
        for slot in context.rules.silence_rules() {
            if let Some(gap) = gap {
                alerts.extend(self.silence_within(context, *slot, gap, time));
            }
            // One that was raised by the wall clock has times of the wall clock.
            let raised = self.raised_at(&context.rules.rules()[*slot].spec.id);
            let by_wall_clock = !self.is_recording() || raised > Some(time);
            let at = if by_wall_clock { append_time } else { time };
            alerts.extend(self.set_robot_condition(context, *slot, None, at));
        }
        // The caller stops at the first row without an open condition, which depends on how
        // batches are cut. Counting only while the condition is open keeps the state independent
        // of that.
        if self.raised_at(CLOCK_SKEW).is_some() {
            self.valid_rows_in_a_row += 1;
        }
        if self.valid_rows_in_a_row >= VALID_ROWS_TO_CLEAR {
            alerts.extend(
                context
                    .rules
                    .clock_skew_rule()
                    .and_then(|slot| self.set_robot_condition(context, slot, None, append_time)),
            );
        }
        alerts
    }

    /// Raises a silence that the next row of the recording, at `time`, shows. The built-in rule
    /// knows no robot's pace: for it a gap that is not even twice the one before it is none, nor is
    /// the first.
    fn silence_within(
        &mut self,
        context: RuleContext<'_>,
        slot: usize,
        (last, pace): (i64, Option<i64>),
        time: i64,
    ) -> Option<Alert> {
        let rule = &context.rules.rules()[slot];
        let Predicate::Silence { after_us } = rule.predicate else {
            return None;
        };
        let after_us = after_us.unwrap_or(context.policy.silence_after_us);
        let gap = time.saturating_sub(last);
        let is_usual =
            rule.spec.id == ROBOT_SILENT && pace.is_none_or(|pace| gap <= pace.saturating_mul(2));
        if gap <= after_us || is_usual {
            return None;
        }
        let at = last.saturating_add(after_us);
        self.set_robot_condition(context, slot, Some(after_us as f64 / 1e6), at)
    }

    /// Opens silence conditions when, at wall-clock time `now`, the robot has sent no record for
    /// too long. A recording is no robot that could fall silent now.
    pub(crate) fn tick(&mut self, context: RuleContext<'_>, now: LogTime) -> Vec<Alert> {
        let Some(last_seen) = self.last_seen.filter(|_| self.feed == Feed::Live) else {
            return Vec::new();
        };
        let raised = context.rules.silence_rules().iter().filter_map(|slot| {
            let Predicate::Silence { after_us } = context.rules.rules()[*slot].predicate else {
                return None;
            };
            let after_us = after_us.unwrap_or(context.policy.silence_after_us);
            let at = last_seen.0.saturating_add(after_us);
            if now.0 < at {
                None
            } else {
                self.set_robot_condition(context, *slot, Some(after_us as f64 / 1e6), at)
            }
        });
        raised.collect()
    }

    /// True when the robot has sent no record for [`TimePolicy::silence_after_us`]; never within a
    /// recording, whose end is yet to come.
    pub(crate) fn is_silent(&self, policy: &TimePolicy, now: LogTime) -> bool {
        !self.is_recording()
            && self.last_seen.is_some_and(|last_seen| {
                now.0.saturating_sub(last_seen.0) >= policy.silence_after_us
            })
    }

    /// True while it is said that the robot is silent.
    pub(crate) fn is_known_silent(&self) -> bool {
        self.raised_at(ROBOT_SILENT).is_some()
    }

    /// Whether an open condition of this rule says that nothing comes from the robot: that is so
    /// just then, while all others are as they were when the robot was last heard.
    pub(crate) fn is_found_silent_by(&self, rule_id: &str) -> bool {
        rule_id != CLOCK_SKEW && self.raised_at(rule_id).is_some()
    }

    /// When a condition of the robot as a whole was raised; `None` when it is not.
    fn raised_at(&self, id: &str) -> Option<i64> {
        let condition = self.conditions.get(ROBOT_WIDE)?.get(id)?;
        condition.raised().map(|(at, _)| at)
    }

    /// Raises (with a value) or clears (without one) a condition of the robot as a whole. Returns
    /// `None` when the condition is in that state already.
    fn set_robot_condition(
        &mut self,
        context: RuleContext<'_>,
        slot: usize,
        raise: Option<f64>,
        now: i64,
    ) -> Option<Alert> {
        let rule = &context.rules.rules()[slot];
        if raise.is_some() == self.raised_at(&rule.spec.id).is_some() {
            return None;
        }
        let condition = self
            .conditions
            .get_or_default(ROBOT_WIDE)
            .get_or_default(&rule.spec.id);
        let change = match raise {
            Some(value) => {
                let raised = rule.raises_with(rule.spec.priority);
                condition.raise(raised, now, Some(value), None)
            }
            None => condition.clear(now, None, None, None),
        };
        Some(change.alert(
            rule,
            AlertContext {
                robot_id: context.robot_id,
                dataset: ROBOT_WIDE,
                signal: None,
                procedure_id: None,
                one_of_many: None,
            },
        ))
    }
}
