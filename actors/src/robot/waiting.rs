//! The rows of a dataset that rules have not judged yet, because a row before them may still come.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::numbers::TopicNumbers;
use crate::position::TopicIndex;
use crate::rules::DatasetRules;

/// Most rows that wait per robot and dataset. Of more than these the first in event time is judged,
/// whatever is missing before it.
pub(crate) const WAITING_MAX: usize = 4_096;

/// Rows in event time, and how far they were judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WaitingRows {
    /// The latest event time that was judged, since the clock began.
    pub(super) judged_to: Option<i64>,
    /// Numbers are not believed to show the order until the watermark has reached this: the times of
    /// rows went back although their numbers followed each other.
    pub(super) distrusted_until: Option<i64>,
    /// Names of the signals whose values are kept.
    pub(super) signals: Vec<String>,
    /// Names of the text columns that are kept.
    pub(super) texts: Vec<String>,
    /// Ascending by time, then by number.
    pub(super) rows: VecDeque<WaitingRow>,
}

/// A row that waits: what rules need of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WaitingRow {
    /// Event time, microseconds UTC.
    pub(super) time: i64,
    /// Topic, boot and sequence; `None` for a row that nothing but the watermark lets go.
    pub(super) number: Option<(TopicIndex, i64, i64)>,
    /// It was applied before the clock began anew.
    pub(super) is_again: bool,
    pub(super) procedure: Option<String>,
    /// By signal; `None`: missing or not finite.
    pub(super) values: Vec<Option<f64>>,
    /// By text column; `None`: there is none.
    pub(super) texts: Vec<Option<String>>,
}

impl WaitingRows {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether nothing that may still come could be judged before a row: later ones were judged, or
    /// its number does not tell its place among those of its time.
    pub(super) fn has_passed(&self, row: &WaitingRow) -> bool {
        let is_placed = row.number.is_some() && self.distrusted_until.is_none();
        Some(row.time) < self.judged_to || (Some(row.time) == self.judged_to && !is_placed)
    }

    /// Adds a row with the values of the signals that these rules need.
    pub(super) fn push(&mut self, rules: &DatasetRules, row: WaitingRow) {
        if self.signals.is_empty() {
            self.signals = names(&rules.signals);
            self.texts = names(&rules.texts);
        }
        let key = |row: &WaitingRow| (row.time, row.number);
        let at = self
            .rows
            .partition_point(|waiting| key(waiting) <= key(&row));
        self.rows.insert(at, row);
    }

    /// Makes the values those that these rules need. What was not kept counts as missing.
    pub(super) fn adopt(&mut self, rules: Option<&DatasetRules>) {
        if self.signals.is_empty() {
            return;
        }
        let signals = rules.map(|rules| names(&rules.signals)).unwrap_or_default();
        let texts = rules.map(|rules| names(&rules.texts)).unwrap_or_default();
        if signals.is_empty() {
            self.rows.clear();
        }
        if signals != self.signals {
            let kept = places(&signals, &self.signals);
            for row in &mut self.rows {
                row.values = kept
                    .iter()
                    .map(|at| row.values.get((*at)?).copied().flatten())
                    .collect();
            }
        }
        if texts != self.texts {
            let kept = places(&texts, &self.texts);
            for row in &mut self.rows {
                row.texts = kept
                    .iter()
                    .map(|at| row.texts.get((*at)?).cloned().flatten())
                    .collect();
            }
        }
        (self.signals, self.texts) = (signals, texts);
    }

    /// Takes the next row in event time if its turn has come: when the watermark has passed it, when
    /// too many wait, or when `numbers` show that nothing is missing before it.
    pub(super) fn next_due(
        &mut self,
        numbers: &[TopicNumbers],
        clock: i64,
        watermark: i64,
        last: &mut Option<(TopicIndex, i64, i64)>,
    ) -> Option<WaitingRow> {
        let row = self.rows.front()?;
        if row.time > watermark && self.rows.len() <= WAITING_MAX {
            let number = row.number.filter(|_| self.distrusted_until.is_none())?;
            let (topic, boot, sequence) = number;
            if !numbers.get(topic)?.is_complete_before((boot, sequence)) {
                return None;
            }
            let is_lower =
                |(of, in_boot, before)| (of, in_boot) == (topic, boot) && before > sequence;
            if last.is_some_and(is_lower) {
                self.distrusted_until = Some(clock);
                return None;
            }
            *last = Some(number);
        }
        self.rows.pop_front()
    }

    /// The watermark has moved: numbers may be believed again.
    pub(super) fn advance(&mut self, watermark: i64) {
        self.distrusted_until = self.distrusted_until.filter(|until| *until > watermark);
    }

    /// Takes the first row, whatever is missing before it.
    pub(super) fn next(&mut self) -> Option<WaitingRow> {
        self.rows.pop_front()
    }

    /// A row at this event time was judged.
    pub(super) fn note_judged(&mut self, time: i64) {
        self.judged_to = self.judged_to.max(Some(time));
    }

    /// The robot's clock begins anew; no row waits.
    pub(super) fn begin_anew(&mut self) {
        self.judged_to = None;
        self.distrusted_until = None;
    }
}

fn names(of: &[(usize, String)]) -> Vec<String> {
    of.iter().map(|(_, name)| name.clone()).collect()
}

/// Where the wanted names are among those that were kept.
fn places(wanted: &[String], kept: &[String]) -> Vec<Option<usize>> {
    let place = |name: &String| kept.iter().position(|known| known == name);
    wanted.iter().map(place).collect()
}
