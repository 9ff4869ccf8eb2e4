//! A signal of a batch as rules see it.

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use theatre_schemas::batch::Batch;

use crate::rules::{Condition, ConditionChange, Manner, Rule};
use crate::time::{EventTime, TimePolicy};

/// The column of one signal in a batch.
pub(super) struct SignalColumn<'a> {
    values: &'a [f64],
    nulls: Option<&'a NullBuffer>,
}

impl<'a> SignalColumn<'a> {
    /// The column of a signal, by its index in the dataset.
    pub(super) fn of(batch: &'a Batch, signal: usize) -> Self {
        Self {
            values: batch.signals[signal].values(),
            nulls: batch.signals[signal].nulls(),
        }
    }

    /// The value of a row; `None` when it is missing or not finite.
    #[inline]
    pub(super) fn value(&self, row: usize) -> Option<f64> {
        let is_present =
            self.values[row].is_finite() && !self.nulls.is_some_and(|nulls| nulls.is_null(row));
        is_present.then(|| self.values[row])
    }

    /// Evaluates a condition over rows and calls `on_change` with the index into `rows` and the
    /// change. While the condition is idle, rows are only compared with the raising limit.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn evaluate(
        &self,
        condition: &mut Condition,
        rule: &Rule,
        policy: &TimePolicy,
        times: &[i64],
        rows: &[u32],
        clocks: &[EventTime],
        mut on_change: impl FnMut(usize, ConditionChange),
    ) {
        let mut at = 0;
        while at < rows.len() {
            if let Some((sign, raise)) = condition.skip_limit(rule) {
                // The slot of a null may hold any number; it is checked below. NaN compares as not
                // beyond the limit.
                let next = rows[at..]
                    .iter()
                    .position(|row| sign * self.values[*row as usize] > raise);
                let Some(skip) = next else { return };
                at += skip;
            }
            let row = rows[at] as usize;
            if times[row] >= clocks[at].0.saturating_sub(policy.reorder_bound_us)
                && let Some(change) =
                    condition.evaluate(rule, self.value(row), times[row], Manner::Next)
            {
                on_change(at, change);
            }
            at += 1;
        }
    }
}
