//! Windows in event time over shared panes.
//!
//! Event time is cut into panes as wide as the greatest common divisor of all sizes and hops; a row is aggregated once, into its
//! pane, and every window is the merge of its panes. A window closes when the robot's clock, less the reorder bound, reaches its
//! end. A later row joins the pane for the windows that are still open, and a *fragment* for those that are closed; a fragment is told as
//! the next revision of its windows, holding only its own rows, once the clock has moved on by the reorder bound. All of it is a
//! function of rows and clock alone: where batches are cut and when state is saved cannot be seen in the result.

mod aggregate;
mod row;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;

use crate::time::{EventTime, TimePolicy};
use aggregate::Pane;
pub use row::{SignalAggregate, WindowRow, merge_revisions};

/// What is aggregated per signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateSet {
    /// Count, sum, minimum, maximum.
    Basic,
    /// And mean, variance, first and last.
    #[default]
    Full,
}

/// A window: `size_us` long, one every `hop_us`; tumbling when they are equal. Starts are multiples of the hop since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpec {
    /// Name in facts and tables.
    pub name: String,
    /// Length, microseconds.
    pub size_us: i64,
    /// Distance between starts, microseconds.
    pub hop_us: i64,
}

/// Why windows cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("window '{name}': {why}")]
pub struct WindowError {
    name: String,
    why: String,
}

/// The windows of a deployment.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    specs: Vec<WindowSpec>,
    aggregates: AggregateSet,
    pane_us: i64,
}

impl WindowPlan {
    /// Checks windows and finds the pane width.
    ///
    /// # Errors
    /// When a size is not a positive multiple of its hop, a name is there twice, or there is no window.
    pub fn new(specs: Vec<WindowSpec>, aggregates: AggregateSet) -> Result<Self, WindowError> {
        let fault = |name: &str, why: &str| Err(WindowError { name: name.to_owned(), why: why.to_owned() });
        let mut names = BTreeSet::new();
        for spec in &specs {
            if spec.hop_us <= 0 || spec.size_us < spec.hop_us || spec.size_us % spec.hop_us != 0 {
                return fault(&spec.name, "the size must be a positive multiple of the hop");
            }
            if !names.insert(&spec.name) {
                return fault(&spec.name, "is there twice");
            }
        }
        let pane_us = specs.iter().fold(0, |width, spec| gcd(gcd(width, spec.size_us), spec.hop_us));
        if pane_us == 0 {
            return fault("", "at least one window is needed");
        }
        Ok(Self { specs, aggregates, pane_us })
    }

    /// The windows.
    pub fn specs(&self) -> &[WindowSpec] {
        &self.specs
    }

    fn pane_start(&self, time: i64) -> i64 {
        time.div_euclid(self.pane_us).saturating_mul(self.pane_us)
    }

    /// Windows that contain the pane: (end, index of the spec, start).
    fn windows_of(&self, pane: i64) -> impl Iterator<Item = (i64, usize, i64)> + '_ {
        self.specs.iter().enumerate().flat_map(move |(index, spec)| {
            let last = pane.div_euclid(spec.hop_us).saturating_mul(spec.hop_us);
            let count = spec.size_us / spec.hop_us;
            (0..count).rev().map(move |back| last.saturating_sub(back * spec.hop_us)).map(move |start| (start.saturating_add(spec.size_us), index, start))
        })
    }

    fn first_end(&self, pane: i64) -> i64 {
        self.windows_of(pane).map(|(end, ..)| end).min().unwrap_or(i64::MAX)
    }
}

fn gcd(left: i64, right: i64) -> i64 {
    if right == 0 { left } else { gcd(right, left % right) }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fragment {
    /// The clock from which on it is told.
    due: i64,
    pane: Pane,
}

/// Rows of one pane that follow each other.
#[derive(Debug, Clone, Copy)]
struct Run {
    pane: i64,
    first_end: i64,
}

/// The open panes and fragments of one robot and one dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    signals: usize,
    panes: BTreeMap<i64, Pane>,
    /// By pane and by the latest end of a window that was closed when its rows came: a window that closes later has them already.
    fragments: BTreeMap<(i64, i64), Fragment>,
    /// Next revision of windows that had fragments, by (spec, start).
    revisions: BTreeMap<(usize, i64), u32>,
    /// Windows that end here or before are closed.
    closed_to: i64,
    /// No open pane's window ends before this.
    next_close: i64,
    /// No fragment is due before this.
    next_due: i64,
}

impl Windows {
    /// Nothing yet, for a dataset with that many signals.
    pub fn new(signals: usize) -> Self {
        Self {
            signals,
            panes: BTreeMap::new(),
            fragments: BTreeMap::new(),
            revisions: BTreeMap::new(),
            closed_to: i64::MIN,
            next_close: i64::MAX,
            next_due: i64::MAX,
        }
    }

    /// Adds rows, in order; `clocks[i]` is the robot's clock once row `rows[i]` was heard. Tells windows that close on the way.
    pub fn apply(&mut self, plan: &WindowPlan, policy: &TimePolicy, batch: &Batch, rows: &[u32], clocks: &[EventTime], out: &mut Vec<WindowRow>) {
        let times = batch.event_times();
        // The run that is not added yet begins at `from`; all windows of its pane are open.
        let mut from = 0;
        let mut run: Option<Run> = None;
        for (at, (row, clock)) in rows.iter().zip(clocks).enumerate() {
            let time = times[*row as usize];
            let watermark = clock.0.saturating_sub(policy.reorder_bound_us);
            let first_end = run.map_or(i64::MAX, |run| run.first_end);
            if watermark >= self.next_close.min(first_end) || clock.0 >= self.next_due {
                self.add_run(plan, batch, &rows[from..at], run.take());
                self.advance(plan, policy, *clock, out);
            }
            self.closed_to = self.closed_to.max(watermark);
            if run.is_some_and(|run| time >= run.pane && time < run.pane.saturating_add(plan.pane_us)) {
                continue;
            }
            self.add_run(plan, batch, &rows[from..at], run.take());
            let pane = plan.pane_start(time);
            let first_end = plan.first_end(pane);
            if first_end > self.closed_to {
                (from, run) = (at, Some(Run { pane, first_end }));
            } else {
                self.add_late(plan, policy, batch, *row, pane, *clock);
            }
        }
        self.add_run(plan, batch, &rows[from..], run);
    }

    fn add_run(&mut self, plan: &WindowPlan, batch: &Batch, rows: &[u32], run: Option<Run>) {
        if let Some(Run { pane, .. }) = run {
            self.pane(plan, pane).add(batch, rows, plan.aggregates == AggregateSet::Full);
        }
    }

    /// Adds a row to a pane of which some window is closed.
    fn add_late(&mut self, plan: &WindowPlan, policy: &TimePolicy, batch: &Batch, row: u32, pane: i64, clock: EventTime) {
        let full = plan.aggregates == AggregateSet::Full;
        let closed_to = self.closed_to;
        if plan.windows_of(pane).any(|(end, ..)| end > closed_to) {
            self.pane(plan, pane).add(batch, &[row], full);
        }
        let closed_end = plan.windows_of(pane).map(|(end, ..)| end).filter(|end| *end <= closed_to).max().unwrap_or(i64::MIN);
        let due = clock.0.saturating_add(policy.reorder_bound_us.max(plan.pane_us));
        let signals = self.signals;
        let fragment = self.fragments.entry((pane, closed_end)).or_insert_with(|| Fragment { due, pane: Pane::new(signals) });
        self.next_due = self.next_due.min(fragment.due);
        fragment.pane.add(batch, &[row], full);
    }

    fn pane(&mut self, plan: &WindowPlan, start: i64) -> &mut Pane {
        let open_end = plan.windows_of(start).map(|(end, ..)| end).filter(|end| *end > self.closed_to).min();
        self.next_close = self.next_close.min(open_end.unwrap_or(i64::MAX));
        let signals = self.signals;
        self.panes.entry(start).or_insert_with(|| Pane::new(signals))
    }

    /// Tells what the clock has reached: windows that end, fragments that are due.
    pub fn advance(&mut self, plan: &WindowPlan, policy: &TimePolicy, clock: EventTime, out: &mut Vec<WindowRow>) {
        self.close(plan, clock.0.saturating_sub(policy.reorder_bound_us), out);
        self.tell_fragments(plan, clock.0, out);
        let oldest = clock.0.saturating_sub(policy.allowed_lateness_us).saturating_sub(policy.reorder_bound_us);
        self.revisions.retain(|(spec, start), _| start.saturating_add(plan.specs[*spec].size_us) > oldest);
    }

    /// Closes everything that is open: at the end of a recording, or when a robot fell silent. Later rows become fragments.
    pub fn flush(&mut self, plan: &WindowPlan, out: &mut Vec<WindowRow>) {
        let last_end = self.panes.keys().flat_map(|pane| plan.windows_of(*pane)).map(|(end, ..)| end).max();
        if let Some(end) = last_end {
            self.close(plan, end, out);
        }
        self.tell_fragments(plan, i64::MAX, out);
    }

    /// Number of open panes and fragments.
    pub fn open(&self) -> usize {
        self.panes.len() + self.fragments.len()
    }

    fn close(&mut self, plan: &WindowPlan, upto: i64, out: &mut Vec<WindowRow>) {
        if upto >= self.next_close {
            let ended = |end: i64| end <= upto && end > self.closed_to;
            let windows: BTreeSet<(i64, usize, i64)> = self.panes.keys().flat_map(|pane| plan.windows_of(*pane)).filter(|(end, ..)| ended(*end)).collect();
            for (end, spec, start) in windows {
                let mut merged = Pane::new(self.signals);
                for pane in self.panes.range(start..end).map(|(_, pane)| pane) {
                    merged.merge(pane);
                }
                out.push(merged.row(&plan.specs[spec], start, 0));
            }
            self.panes.retain(|pane, _| plan.windows_of(*pane).any(|(end, ..)| end > upto));
            let ends = self.panes.keys().flat_map(|pane| plan.windows_of(*pane)).map(|(end, ..)| end);
            self.next_close = ends.filter(|end| *end > upto).min().unwrap_or(i64::MAX);
        }
        self.closed_to = self.closed_to.max(upto);
    }

    fn tell_fragments(&mut self, plan: &WindowPlan, clock: i64, out: &mut Vec<WindowRow>) {
        if clock < self.next_due {
            return;
        }
        let due: Vec<(i64, i64)> = self.fragments.iter().filter(|(_, fragment)| fragment.due <= clock).map(|(key, _)| *key).collect();
        for (pane, closed_end) in due {
            let Some(fragment) = self.fragments.remove(&(pane, closed_end)) else { continue };
            for (_, spec, start) in plan.windows_of(pane).filter(|(end, ..)| *end <= closed_end) {
                let revision = self.revisions.entry((spec, start)).or_insert(1);
                out.push(fragment.pane.row(&plan.specs[spec], start, *revision));
                *revision += 1;
            }
        }
        self.next_due = self.fragments.values().map(|fragment| fragment.due).min().unwrap_or(i64::MAX);
    }
}
