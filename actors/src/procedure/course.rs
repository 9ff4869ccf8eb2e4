//! The rows of a case, cut where the case and its phases begin and end.
//!
//! A row waits until the robot's watermark has passed its event time, in order of event time and
//! number, and is then folded into the segment of event time that it lies in. A step of the case
//! cuts a segment in two. So what is measured is exact, in whatever order rows and steps came, as
//! long as a step comes before the watermark has passed it by. A row that comes later than that is
//! bound to its segment by its event time, too; it is in all that does not depend on the order. A
//! step that comes later divides a segment exactly if all rows that were folded into it lie on one
//! side; if not, what begins or ends there says that it is not exact.
//!
//! Bounded: [`HELD_MAX`] rows wait, and there are [`SEGMENTS_MAX`] segments. Once the case has ended
//! and no row can come for it any more, only its indicators are kept.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;
use theatre_schemas::records::Indicator;

use super::indicators::IndicatorColumns;
use super::measures::{CaseRow, Measures, NO_TOOL};

/// Most rows of a case that wait. Of more than these the first in event time is folded, whatever may
/// come before it.
pub(crate) const HELD_MAX: usize = 4_096;
/// Most segments of a case; further steps cut nothing.
pub(crate) const SEGMENTS_MAX: usize = 64;
/// Most names of tools of a case; further ones count as none.
const TOOLS_MAX: usize = 64;

/// What a course needs to know of rows besides their batch.
#[derive(Clone, Copy)]
pub(crate) struct CaseRows<'a> {
    /// Indices into the batch.
    pub(crate) rows: &'a [u32],
    /// The robot's watermark after each, microseconds UTC.
    pub(crate) watermarks: &'a [i64],
    /// Boot and sequence of each.
    pub(crate) numbers: &'a [Option<(i64, i64)>],
}

/// Rows from one cut to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Segment {
    /// First moment, microseconds UTC; the least for rows before the first cut.
    from: i64,
    measures: Measures,
}

impl Segment {
    fn new(from: i64) -> Self {
        Self {
            from,
            measures: Measures::default(),
        }
    }
}

/// The rows of a case between two moments.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Stretch {
    pub(super) measures: Measures,
    pub(super) is_exact: bool,
}

/// What a course knows of the dataset that it measures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    dataset: String,
    /// Names of the signals.
    pub(super) names: Vec<String>,
    pub(super) position_unit: Option<String>,
    pub(super) force_unit: Option<String>,
    camera_step: f64,
}

impl Measured {
    fn of(columns: &IndicatorColumns) -> Self {
        Self {
            dataset: columns.dataset().to_owned(),
            names: columns.names().to_vec(),
            position_unit: columns.position_unit().map(str::to_owned),
            force_unit: columns.force_unit().map(str::to_owned),
            camera_step: columns.camera_step(),
        }
    }
}

/// The rows of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Course {
    /// The dataset of the first row that is measured; those of others are not.
    measured: Option<Measured>,
    tools: Vec<String>,
    /// Rows that wait, ascending by time, then by number.
    held: VecDeque<CaseRow>,
    /// Highest event time of a row that was folded.
    folded_to: Option<i64>,
    /// Ascending by their first moment.
    segments: Vec<Segment>,
    /// All rows; not merged from the segments, so that it is the same to the last bit when the
    /// steps come after the rows.
    whole: Measures,
    /// A cut was left out, or rows were, because the configuration has changed in the case.
    is_partial: bool,
    /// Revision and fingerprint of each phase that was published, by its number.
    published: Vec<(i32, u64)>,
    /// When the robot's clock reaches this, no row can come any more.
    closes_at: Option<i64>,
    /// Of a case that is closed: its indicators.
    closed: Option<Vec<Indicator>>,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            measured: None,
            tools: Vec::new(),
            held: VecDeque::new(),
            folded_to: None,
            segments: vec![Segment::new(i64::MIN)],
            whole: Measures::default(),
            is_partial: false,
            published: Vec::new(),
            closes_at: None,
            closed: None,
        }
    }
}

impl Course {
    /// Adds rows in order of their arrival.
    pub(crate) fn add(
        &mut self,
        columns: &IndicatorColumns,
        batch: &Batch,
        CaseRows {
            rows,
            watermarks,
            numbers,
        }: CaseRows<'_>,
    ) {
        if self.closed.is_some() || !self.measures(columns) {
            return;
        }
        let times = batch.event_times();
        for ((row, watermark), number) in rows.iter().zip(watermarks).zip(numbers) {
            let at = *row as usize;
            let row = CaseRow {
                time: times[at],
                number: number.unwrap_or((i64::MIN, i64::MIN)),
                tool: self.tool(columns, batch, at),
                values: columns.values(batch, at),
            };
            if row.time < (*watermark).max(self.folded_to.unwrap_or(i64::MIN)) {
                self.settle(columns, *watermark);
                let segment = self.segment_at(row.time);
                self.segments[segment].measures.add_late(columns, &row);
                self.whole.add_late(columns, &row);
                continue;
            }
            let key = |row: &CaseRow| (row.time, row.number);
            let place = self.held.partition_point(|held| key(held) <= key(&row));
            self.held.insert(place, row);
            if self.held.len() > HELD_MAX {
                self.settle(columns, *watermark);
                while self.held.len() > HELD_MAX {
                    self.fold_first(columns);
                }
            }
        }
    }

    /// Whether rows of these columns are measured.
    fn measures(&mut self, columns: &IndicatorColumns) -> bool {
        let measured = self.measured.get_or_insert_with(|| Measured::of(columns));
        let fits = measured.dataset == columns.dataset() && measured.names == columns.names();
        self.is_partial |= !fits && measured.dataset == columns.dataset();
        fits
    }

    fn tool(&mut self, columns: &IndicatorColumns, batch: &Batch, row: usize) -> u8 {
        let Some(name) = columns.tool().and_then(|column| batch.text(column, row)) else {
            return NO_TOOL;
        };
        let known = self.tools.iter().position(|tool| tool == name);
        let at = known.unwrap_or_else(|| {
            if self.tools.len() < TOOLS_MAX {
                self.tools.push(name.to_owned());
                self.tools.len() - 1
            } else {
                usize::from(NO_TOOL)
            }
        });
        u8::try_from(at).unwrap_or(NO_TOOL)
    }

    /// The columns that it measures, if the configuration still has them.
    pub(crate) fn columns<'a>(
        &self,
        all: impl IntoIterator<Item = &'a IndicatorColumns>,
    ) -> Option<&'a IndicatorColumns> {
        let measured = self.measured.as_ref()?;
        all.into_iter().find(|columns| {
            measured.dataset == columns.dataset() && measured.names == columns.names()
        })
    }

    /// Folds the rows that the watermark has passed. Without their columns, which have left the
    /// configuration, no row can be measured.
    pub(crate) fn settle_with<'a>(
        &mut self,
        all: impl IntoIterator<Item = &'a IndicatorColumns>,
        watermark: i64,
    ) {
        if self.held.is_empty() {
            return;
        }
        match self.columns(all) {
            Some(columns) => self.settle(columns, watermark),
            None => {
                self.held.clear();
                self.is_partial = true;
            }
        }
    }

    fn settle(&mut self, columns: &IndicatorColumns, watermark: i64) {
        while self.held.front().is_some_and(|row| row.time < watermark) {
            self.fold_first(columns);
        }
    }

    fn fold_first(&mut self, columns: &IndicatorColumns) {
        if let Some(row) = self.held.pop_front() {
            self.folded_to = self.folded_to.max(Some(row.time));
            let segment = self.segment_at(row.time);
            self.segments[segment].measures.push(columns, &row);
            self.whole.push(columns, &row);
        }
    }

    /// Index of the segment that a moment lies in; the first one begins before all.
    fn segment_at(&self, time: i64) -> usize {
        self.segments
            .partition_point(|segment| segment.from <= time)
            .saturating_sub(1)
    }

    /// A step cuts the case at its event time. Rows that the watermark has passed must be settled.
    pub(crate) fn cut(&mut self, time: i64) {
        if self.closed.is_some() {
            return;
        }
        let at = self.segment_at(time);
        let is_full = self.segments.len() >= SEGMENTS_MAX;
        let segment = &mut self.segments[at];
        if segment.from == time || is_full {
            self.is_partial |= segment.from != time;
            return;
        }
        let mut next = Segment::new(time);
        if segment.measures.span.is_some_and(|(from, _)| from >= time) {
            next.measures = std::mem::take(&mut segment.measures);
        }
        self.segments.insert(at + 1, next);
    }

    /// The rows from one moment up to another.
    pub(super) fn stretch(&self, from: i64, to: i64) -> Stretch {
        let step = self.measured.as_ref().map_or(0.0, |of| of.camera_step);
        let mut measures = Measures::default();
        for segment in &self.segments {
            if segment.from >= from && segment.from < to {
                measures.merge(&segment.measures, step);
            }
        }
        Stretch {
            measures,
            is_exact: !self.is_partial && self.is_cut_at(from) && self.is_cut_at(to),
        }
    }

    /// Whether the rows on both sides of a moment lie in different segments.
    fn is_cut_at(&self, time: i64) -> bool {
        let mut before = self.segments.iter().filter(|segment| segment.from < time);
        before.all(|segment| segment.measures.span.is_none_or(|(_, to)| to < time))
    }

    /// All rows, whatever cuts there are, with those that wait.
    pub(super) fn whole(&self, columns: Option<&IndicatorColumns>) -> Cow<'_, Measures> {
        let Some(columns) = columns.filter(|_| !self.held.is_empty()) else {
            return Cow::Borrowed(&self.whole);
        };
        let mut whole = self.whole.clone();
        self.held.iter().for_each(|row| whole.push(columns, row));
        Cow::Owned(whole)
    }

    /// What it measures; `None` while no row was measured.
    pub(super) fn measured(&self) -> Option<&Measured> {
        self.measured.as_ref()
    }

    /// Takes the fingerprint of a phase's content. Returns the revision to publish it under; `None`
    /// when it was published already.
    pub(super) fn revise(&mut self, index: usize, fingerprint: u64) -> Option<i32> {
        match self.published.get_mut(index) {
            Some((_, known)) if *known == fingerprint => None,
            Some((revision, known)) => {
                *known = fingerprint;
                *revision += 1;
                Some(*revision)
            }
            None => {
                self.published.push((0, fingerprint));
                Some(0)
            }
        }
    }

    /// When it is to be closed.
    pub(crate) fn closes_at(&self) -> Option<i64> {
        self.closes_at
    }

    /// It is to be closed at this clock of the robot.
    pub(crate) fn close_at(&mut self, clock: i64) {
        if self.closed.is_none() {
            self.closes_at = Some(clock);
        }
    }

    /// Keeps the indicators and nothing else.
    pub(crate) fn close(&mut self, indicators: Vec<Indicator>) {
        *self = Self {
            closed: Some(indicators),
            segments: Vec::new(),
            ..Self::default()
        };
    }

    /// The indicators of a case that is closed.
    pub(super) fn closed(&self) -> Option<&Vec<Indicator>> {
        self.closed.as_ref()
    }
}
