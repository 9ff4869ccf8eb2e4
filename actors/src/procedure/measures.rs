//! What is measured over a stretch of a case: aggregates of its signals and its indicators.

use serde::{Deserialize, Serialize};

use super::indicators::IndicatorColumns;
use super::motion::{AXES_MAX, Motion, Sample};

/// No tool is named.
pub(super) const NO_TOOL: u8 = u8::MAX;

/// Count, sum, least and greatest of the finite values of a signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Aggregate {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Aggregate {
    /// Adds a value, if it is finite.
    pub(crate) fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.merge(&Self {
                count: 1,
                sum: value,
                min: value,
                max: value,
            });
        }
    }

    /// Adds the aggregates of other values.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            *self = *other;
        } else if other.count > 0 {
            self.count += other.count;
            self.sum += other.sum;
            self.min = self.min.min(other.min);
            self.max = self.max.max(other.max);
        }
    }
}

/// The tools of rows in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tools {
    /// The first and the last one.
    ends: Option<(u8, u8)>,
    changes: u32,
}

impl Tools {
    fn push(&mut self, tool: u8) {
        self.merge(&Self {
            ends: (tool != NO_TOOL).then_some((tool, tool)),
            changes: 0,
        });
    }

    fn merge(&mut self, next: &Self) {
        let Some((first, last)) = next.ends else {
            return;
        };
        let (begin, before) = self.ends.unwrap_or((first, first));
        self.changes = self
            .changes
            .saturating_add(next.changes)
            .saturating_add(u32::from(before != first));
        self.ends = Some((begin, last));
    }
}

/// The movements of the camera over rows in order: it moves in a row where one of its signals is
/// further than a step from its value in the row before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Camera {
    /// The signals in the first and in the last row.
    ends: Option<([f64; AXES_MAX], [f64; AXES_MAX])>,
    rows: u64,
    /// Whether it moved in the second row, and in the last one.
    moves_second: bool,
    moves_last: bool,
    moves: u32,
}

impl Camera {
    fn of(at: [f64; AXES_MAX]) -> Self {
        Self {
            ends: Some((at, at)),
            rows: 1,
            ..Self::default()
        }
    }

    fn merge(&mut self, next: &Self, step: f64) {
        let (Some((begin, before)), Some((first, last))) = (self.ends, next.ends) else {
            if self.ends.is_none() {
                self.clone_from(next);
            }
            return;
        };
        let is_moving = (before.iter().zip(&first)).any(|(from, to)| (to - from).abs() > step);
        self.moves = self.moves.saturating_add(next.moves);
        if is_moving {
            self.moves += u32::from(!self.moves_last);
            // The move that the next stretch took for a new one goes on.
            self.moves -= u32::from(next.moves_second);
        }
        if self.rows == 1 {
            self.moves_second = is_moving;
        }
        self.moves_last = if next.rows == 1 {
            is_moving
        } else {
            next.moves_last
        };
        self.rows += next.rows;
        self.ends = Some((begin, last));
    }
}

/// A row of a case: the values of the signals that are measured, in the order of
/// [`IndicatorColumns::names`]; NaN where there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CaseRow {
    /// Event time, microseconds UTC.
    pub(super) time: i64,
    /// Boot and sequence; the least number for a row without.
    pub(super) number: (i64, i64),
    /// Index of its tool in the names of the case, or [`NO_TOOL`].
    pub(super) tool: u8,
    pub(super) values: Box<[f64]>,
}

/// Equal to the last bit, so that what is missing equals itself.
impl PartialEq for CaseRow {
    fn eq(&self, other: &Self) -> bool {
        let bits = |row: &Self| -> Vec<u64> { row.values.iter().map(|of| of.to_bits()).collect() };
        (self.time, self.number, self.tool) == (other.time, other.number, other.tool)
            && bits(self) == bits(other)
    }
}

/// Measures over rows, those in order and those that came too late for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measures {
    pub(crate) rows: u64,
    /// Those of them that came after later ones had been judged.
    pub(crate) late_rows: u64,
    /// Least and greatest event time of its rows.
    pub(super) span: Option<(i64, i64)>,
    pub(crate) signals: Vec<Aggregate>,
    pub(crate) force: Aggregate,
    pub(crate) motion: Motion,
    tools: Tools,
    camera: Camera,
}

impl Measures {
    /// Adds the next row in event time.
    pub(super) fn push(&mut self, columns: &IndicatorColumns, row: &CaseRow) {
        self.add_values(columns, row);
        if let Some(at) = point(row, columns.position()) {
            self.motion.push(Sample { time: row.time, at });
        }
        self.tools.push(row.tool);
        if let Some(at) = point(row, columns.camera()) {
            self.camera.merge(&Camera::of(at), columns.camera_step());
        }
    }

    /// Adds a row that came after later ones: to what does not depend on the order.
    pub(super) fn add_late(&mut self, columns: &IndicatorColumns, row: &CaseRow) {
        self.late_rows += 1;
        self.add_values(columns, row);
    }

    fn add_values(&mut self, columns: &IndicatorColumns, row: &CaseRow) {
        self.rows += 1;
        let (from, to) = self.span.unwrap_or((row.time, row.time));
        self.span = Some((from.min(row.time), to.max(row.time)));
        if self.signals.is_empty() {
            self.signals = vec![Aggregate::default(); row.values.len()];
        }
        for (signal, value) in self.signals.iter_mut().zip(&row.values) {
            signal.add(*value);
        }
        if let Some(force) = point(row, columns.force()) {
            let squares = force.iter().map(|axis| axis * axis);
            self.force.add(squares.sum::<f64>().sqrt());
        }
    }

    /// Adds the measures of the stretch that follows.
    pub(super) fn merge(&mut self, next: &Self, camera_step: f64) {
        self.rows += next.rows;
        self.late_rows += next.late_rows;
        self.span = match (self.span, next.span) {
            (Some((from, to)), Some((start, end))) => Some((from.min(start), to.max(end))),
            (span, other) => span.or(other),
        };
        if self.signals.is_empty() {
            self.signals.clone_from(&next.signals);
        } else {
            for (signal, other) in self.signals.iter_mut().zip(&next.signals) {
                signal.merge(other);
            }
        }
        self.force.merge(&next.force);
        self.motion.merge(&next.motion);
        self.tools.merge(&next.tools);
        self.camera.merge(&next.camera, camera_step);
    }

    /// How often another tool followed; `None` where no row names one.
    pub(super) fn tool_changes(&self) -> Option<f64> {
        self.tools.ends.map(|_| f64::from(self.tools.changes))
    }

    /// How often the camera began to move; `None` where no row has its signals.
    pub(super) fn camera_moves(&self) -> Option<f64> {
        self.camera.ends.map(|_| f64::from(self.camera.moves))
    }
}

/// The values of some signals as a vector; `None` without signals, and where one is missing.
fn point(row: &CaseRow, signals: &[usize]) -> Option<[f64; AXES_MAX]> {
    let mut at = [0.0; AXES_MAX];
    for (axis, signal) in at.iter_mut().zip(signals) {
        *axis = *row.values.get(*signal).filter(|of| of.is_finite())?;
    }
    (!signals.is_empty()).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tools_and_camera_of_stretches_merge_to_those_of_all(
            rows in proptest::collection::vec((0..3_u8, 0..3_u8), 0..25),
            cuts in proptest::collection::vec(0..26_usize, 0..4),
        ) {
            let of = |rows: &[(u8, u8)]| {
                let (mut tools, mut camera) = (Tools::default(), Camera::default());
                for (tool, zoom) in rows {
                    tools.push(if *tool == 0 { NO_TOOL } else { *tool });
                    camera.merge(&Camera::of([f64::from(*zoom), 0.0, 0.0]), 0.5);
                }
                (tools, camera)
            };
            let mut bounds: Vec<usize> = cuts.iter().map(|cut| *cut.min(&rows.len())).collect();
            bounds.extend([0, rows.len()]);
            bounds.sort_unstable();
            let (mut tools, mut camera) = (Tools::default(), Camera::default());
            for pair in bounds.windows(2) {
                let (next_tools, next_camera) = of(&rows[pair[0]..pair[1]]);
                tools.merge(&next_tools);
                camera.merge(&next_camera, 0.5);
            }
            prop_assert_eq!((tools, camera), of(&rows));
            // Counted straight from the rows.
            let moving: Vec<bool> = rows.windows(2).map(|pair| pair[0].1 != pair[1].1).collect();
            let begins = (0..moving.len()).filter(|at| moving[*at] && (*at == 0 || !moving[at - 1]));
            prop_assert_eq!(of(&rows).1.moves as usize, begins.count());
            let named: Vec<u8> = rows.iter().map(|(tool, _)| *tool).filter(|tool| *tool != 0).collect();
            let changes = named.windows(2).filter(|pair| pair[0] != pair[1]).count();
            prop_assert_eq!(of(&rows).0.changes as usize, changes);
        }
    }
}
