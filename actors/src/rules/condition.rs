//! A condition: one rule on one robot, idle, pending or raised.

use serde::{Deserialize, Serialize};
use theatre_schemas::records::{Priority, Transition};

use super::change::{ConditionChange, Open};
use super::{Limit, Predicate, Rule, escalation_for};

/// The phase of a condition; times are event times in microseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Phase {
    /// The signal is within its limit.
    Idle,
    /// The signal is beyond the limit, but not yet for as long as the rule's `hold`.
    Pending {
        /// When the signal went beyond the limit.
        since: i64,
    },
    /// The condition is open.
    Raised {
        open: Open,
        /// Since when the signal has been back within the clearing limit, if it has.
        clearing: Option<i64>,
    },
}

/// What a row is to the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The next row in event time, or by arrival where the rule wants that.
    Next,
    /// A row that was applied before the clock began anew and came once more: it starts nothing.
    Again,
    /// A row that came after rows later than it had been judged.
    Late,
}

/// The state of one rule on one robot and dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    phase: Phase,
    /// How often the condition was raised.
    ordinal: u64,
    /// Event time of the latest value that moved the condition or kept it pending or raised; for
    /// rules for missing data, of the signal's latest value. Only of rows since the clock began.
    seen_at: Option<i64>,
    /// Open since before the robot's clock began anew: it is taken up by the first row that is not
    /// older than it.
    parked: Option<Open>,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            phase: Phase::Idle,
            ordinal: 0,
            seen_at: None,
            parked: None,
        }
    }
}

/// A condition as version 1 of the processor stored it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct ConditionV1 {
    phase: PhaseV1,
    ordinal: u64,
    present_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum PhaseV1 {
    Idle,
    Pending {
        since: i64,
    },
    Raised {
        at: i64,
        revision: i32,
        priority: Priority,
        clearing: Option<i64>,
    },
}

impl From<ConditionV1> for Condition {
    fn from(stored: ConditionV1) -> Self {
        let phase = match stored.phase {
            PhaseV1::Idle => Phase::Idle,
            PhaseV1::Pending { since } => Phase::Pending { since },
            PhaseV1::Raised {
                at,
                revision,
                priority,
                clearing,
            } => Phase::Raised {
                open: Open {
                    at,
                    revision,
                    priority,
                    ordinal: stored.ordinal,
                    rule_version: 0,
                },
                clearing,
            },
        };
        Self {
            phase,
            ordinal: stored.ordinal,
            seen_at: stored.present_at,
            parked: None,
        }
    }
}

impl Condition {
    /// True while raised.
    pub fn is_raised(&self) -> bool {
        self.open().is_some()
    }

    /// When it was raised and with which priority.
    pub fn raised(&self) -> Option<(i64, Priority)> {
        self.open().map(|open| (open.at, open.priority))
    }

    fn open(&self) -> Option<&Open> {
        match &self.phase {
            Phase::Raised { open, .. } => Some(open),
            _ => self.parked.as_ref(),
        }
    }

    /// True while a row that starts nothing could move it.
    pub(crate) fn is_begun(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// Since when the limit has been exceeded, while that is not yet for as long as the `hold`.
    pub(crate) fn pending_since(&self) -> Option<i64> {
        match self.phase {
            Phase::Pending { since } => Some(since),
            _ => None,
        }
    }

    /// How many are open: one that is parked may be beside one that was raised since.
    pub(crate) fn open_count(&self) -> u32 {
        let raised = matches!(self.phase, Phase::Raised { .. });
        u32::from(raised) + u32::from(self.parked.is_some())
    }

    /// Nothing is held any more: what comes next begins anew.
    pub(crate) fn rest(&mut self) {
        if !matches!(self.phase, Phase::Raised { .. }) {
            self.phase = Phase::Idle;
        }
        self.seen_at = None;
    }

    /// A row at this event time is outside of the rule's scope: there is no value that could end
    /// what is open.
    pub(crate) fn leave_scope(&mut self, time: i64) -> Option<ConditionChange> {
        self.take_up(time);
        self.rest();
        matches!(self.phase, Phase::Raised { .. })
            .then(|| self.clear(time, None, None, Some("outside of its scope")))
    }

    /// True in the initial state: a condition that was never raised and holds no times.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// While this is `Some((sign, raise))`, rows with `sign * value` of at most `raise` do not
    /// change the condition: the caller may skip them.
    #[inline]
    pub(crate) fn skip_limit(&self, rule: &Rule) -> Option<(f64, f64)> {
        match (&self.phase, &rule.predicate, &self.parked) {
            (Phase::Idle, Predicate::Limit(limit), None) => Some((limit.sign, limit.raise)),
            _ => None,
        }
    }

    /// Evaluates a row: the signal's value (`None`: missing or not finite) at an event time in
    /// microseconds UTC. Returns the transition that the row causes, if any.
    #[inline]
    pub(crate) fn evaluate(
        &mut self,
        rule: &Rule,
        value: Option<f64>,
        time: i64,
        manner: Manner,
    ) -> Option<ConditionChange> {
        match manner {
            Manner::Next => self.take_up(time),
            Manner::Again if !self.is_begun() || self.seen_at > Some(time) => return None,
            Manner::Again => {}
            Manner::Late => return self.evaluate_late(rule, value, time),
        }
        match &rule.predicate {
            Predicate::Limit(limit) => self.evaluate_limit(rule, limit, value?, time),
            Predicate::Missing { after_us } => {
                if value.is_some() {
                    self.seen_at = self.seen_at.max(Some(time));
                    return self.is_begun().then(|| self.clear(time, value, None, None));
                }
                // The wait begins at the first row without a value when there was none before.
                let since = *self.seen_at.get_or_insert(time);
                (!self.is_begun() && time.saturating_sub(since) >= *after_us)
                    .then(|| self.raise(rule.raises_with(rule.spec.priority), time, None, None))
            }
            Predicate::Silence { .. }
            | Predicate::ClockSkew
            | Predicate::InstrumentLives
            | Predicate::Told => None,
        }
    }

    fn evaluate_limit(
        &mut self,
        rule: &Rule,
        limit: &Limit,
        value: f64,
        time: i64,
    ) -> Option<ConditionChange> {
        // With the sign applied, "beyond" is "greater" for rules above and below a limit.
        let level = limit.sign * value;
        if level <= limit.raise && !self.is_begun() {
            return None;
        }
        // Nothing was observed in a long gap: it proves neither that the signal was beyond the
        // limit all the time nor that it was back.
        let has_gap = self
            .seen_at
            .is_some_and(|seen| time.saturating_sub(seen) > limit.max_gap_us);
        self.seen_at = self.seen_at.max(Some(time));
        match self.phase {
            Phase::Raised { open, .. } if level >= limit.clear => {
                self.phase = Phase::Raised {
                    open,
                    clearing: None,
                };
                // A value beyond the clearing limit interrupts the clearing and may escalate the
                // condition.
                self.escalate(limit, level, value, time)
            }
            Phase::Raised { open, clearing } => {
                let since = clearing.filter(|_| !has_gap).unwrap_or(time);
                if time.saturating_sub(since) < limit.clear_after_us {
                    self.phase = Phase::Raised {
                        open,
                        clearing: Some(since),
                    };
                    return None;
                }
                Some(self.clear(time, Some(value), Some(limit.sign * limit.clear), None))
            }
            _ if level <= limit.raise => {
                self.phase = Phase::Idle;
                None
            }
            phase => {
                let since = match phase {
                    Phase::Pending { since } if !has_gap => since,
                    _ => time,
                };
                if time.saturating_sub(since) < limit.hold_us {
                    self.phase = Phase::Pending { since };
                    return None;
                }
                // A value that is beyond an escalation already is raised with that priority, so
                // that the next row does not cause an update.
                let (crossed, priority) = escalation_for(&limit.escalate, level)
                    .unwrap_or((limit.raise, rule.spec.priority));
                let raised = rule.raises_with(priority);
                Some(self.raise(raised, time, Some(value), Some(limit.sign * crossed)))
            }
        }
    }

    /// Evaluates a row that came after later ones had been judged: only what would be so as well had
    /// it come in order. So it raises nothing at a time at which the condition may have been open or
    /// pending, and never counts towards a hold.
    fn evaluate_late(
        &mut self,
        rule: &Rule,
        value: Option<f64>,
        time: i64,
    ) -> Option<ConditionChange> {
        let limit = match &rule.predicate {
            Predicate::Limit(limit) => limit,
            Predicate::Missing { .. } if value.is_some() && self.seen_at < Some(time) => {
                self.seen_at = Some(time);
                return matches!(self.phase, Phase::Raised { open, .. } if open.at <= time)
                    .then(|| self.clear(time, value, None, None));
            }
            _ => return None,
        };
        let value = value?;
        let level = limit.sign * value;
        match self.phase {
            Phase::Idle => {
                let is_news = self.seen_at < Some(time)
                    && self.parked.is_none_or(|parked| time < parked.at)
                    && limit.hold_us == 0
                    && level > limit.raise;
                if !is_news {
                    return None;
                }
                self.evaluate_limit(rule, limit, value, time)
            }
            Phase::Pending { since } => {
                if level <= limit.raise && time > since {
                    self.phase = Phase::Idle;
                }
                None
            }
            Phase::Raised { open, clearing } => {
                if level < limit.clear || time < open.at {
                    return None;
                }
                let clearing = clearing.filter(|since| time < *since);
                self.phase = Phase::Raised { open, clearing };
                self.escalate(limit, level, value, time)
            }
        }
    }

    /// Gives the open condition the priority of a level, unless it has it or a more urgent one:
    /// priorities only ever rise while it is open.
    fn escalate(
        &mut self,
        limit: &Limit,
        level: f64,
        value: f64,
        time: i64,
    ) -> Option<ConditionChange> {
        let (crossed, priority) = escalation_for(&limit.escalate, level)?;
        let Phase::Raised { open, .. } = &mut self.phase else {
            return None;
        };
        if priority >= open.priority {
            return None;
        }
        open.priority = priority;
        open.revision += 1;
        Some(ConditionChange {
            transition: Transition::Updated,
            event_time: time,
            value: Some(value),
            limit: Some(limit.sign * crossed),
            open: *open,
            reason: None,
            spread: None,
        })
    }

    /// Opens the condition at event time `time`, with a priority and by a version of its rule;
    /// counts a new ordinal and begins at revision 0.
    pub(crate) fn raise(
        &mut self,
        (priority, rule_version): (Priority, i32),
        time: i64,
        value: Option<f64>,
        limit: Option<f64>,
    ) -> ConditionChange {
        self.ordinal += 1;
        let open = Open {
            at: time,
            revision: 0,
            priority,
            ordinal: self.ordinal,
            rule_version,
        };
        self.phase = Phase::Raised {
            open,
            clearing: None,
        };
        ConditionChange {
            transition: Transition::Raised,
            event_time: time,
            value,
            limit,
            open,
            reason: None,
            spread: None,
        }
    }

    /// Closes the condition; to be called only while it is raised.
    pub(crate) fn clear(
        &mut self,
        time: i64,
        value: Option<f64>,
        limit: Option<f64>,
        reason: Option<&'static str>,
    ) -> ConditionChange {
        let open = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Raised { open, .. } => Some(open),
            _ => self.parked.take(),
        };
        let mut open = open.unwrap_or(Open {
            at: time,
            revision: -1,
            priority: Priority::Low,
            ordinal: self.ordinal,
            rule_version: 0,
        });
        open.revision += 1;
        ConditionChange {
            transition: Transition::Cleared,
            event_time: time,
            value,
            limit,
            open,
            reason,
            spread: None,
        }
    }

    /// Goes on with the condition that was open before the clock began anew, unless another is open.
    #[inline]
    fn take_up(&mut self, time: i64) {
        if let Some(open) = self.parked
            && open.at <= time
            && !matches!(self.phase, Phase::Raised { .. })
        {
            self.parked = None;
            self.phase = Phase::Raised {
                open,
                clearing: None,
            };
        }
    }

    /// The robot's clock begins anew: rows of another recording neither prove how long a signal was
    /// beyond a limit, nor end what later ones began. What is open stays so until a row that is not
    /// older. When one was open already, the one that was raised first is cleared.
    pub(crate) fn begin_anew(&mut self) -> Option<ConditionChange> {
        let seen_at = self.seen_at.take();
        let Phase::Raised { open, .. } = self.phase else {
            self.phase = Phase::Idle;
            return None;
        };
        let time = seen_at.map_or(open.at, |seen| seen.max(open.at));
        if self.parked.is_some() {
            return Some(self.clear(time, None, None, Some("the recording ended")));
        }
        self.phase = Phase::Idle;
        self.parked = Some(open);
        None
    }

    /// The rule is gone: clears what is open, not before `time`. The ordinal is kept, because the
    /// rule may come back.
    pub(crate) fn remove_rule(&mut self, time: i64) -> Vec<ConditionChange> {
        let mut changes = Vec::new();
        while let Some(open) = self.open() {
            let time = time.max(open.at);
            changes.push(self.clear(time, None, None, Some("the rule was removed")));
        }
        *self = Self {
            ordinal: self.ordinal,
            ..Self::default()
        };
        changes
    }
}
