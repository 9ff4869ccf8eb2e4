//! A signal of a batch as rules see it.

use theatre_schemas::batch::Batch;
use theatre_schemas::signal_rows::SignalRows;

use crate::rules::{Condition, ConditionChange, Manner, Rule};
use crate::time::{EventTime, TimePolicy};

/// One signal in all rows of a batch.
pub(super) struct SignalColumn<'a> {
    signals: &'a SignalRows,
    signal: usize,
}

impl<'a> SignalColumn<'a> {
    /// A signal, by its index in the dataset.
    pub(super) fn of(batch: &'a Batch, signal: usize) -> Self {
        Self {
            signals: &batch.signals,
            signal,
        }
    }

    /// The value of a row; `None` when it is missing or not finite.
    #[inline]
    pub(super) fn value(&self, row: usize) -> Option<f64> {
        self.signals.finite(row, self.signal)
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
                // A missing value is NaN, which compares as not beyond the limit.
                let value = |row: &u32| self.signals.value(*row as usize, self.signal);
                let next = (rows[at..].iter()).position(|row| sign * value(row) > raise);
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
