//! The windows of one robot and one dataset: open panes, open fragments, revision numbers.

use std::cell::Cell;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;

use super::cells::Cells;
use super::pane::{Fragment, Pane};
use super::plan::{AggregateSet, TIME_LIMIT_US, WAIT_LIMIT_US, WindowPlan};
use super::row::WindowRow;
use super::run::PaneRun;
use super::spec::{BEFORE_ALL_TIME, Delays, SpecState, SpecStateV1};
use crate::time::EventTime;

/// Up to so many open panes, the memory is just that of the panes.
const EXACT_PANES_MAX: usize = 2;

/// Open panes and fragments of one robot and one dataset; signals by index in its `signals`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    /// Number of signals of the dataset.
    pub(super) signals: usize,
    pub(super) aggregates: AggregateSet,
    pub(super) pane_us: i64,
    pub(super) specs: Vec<SpecState>,
    /// The highest clock seen since it began, less the reorder bound: windows that end at or before
    /// it have closed.
    pub(super) watermark: i64,
    /// Open panes, ascending by start: those that an open window needs.
    pub(super) panes: Vec<Pane>,
    /// Open fragments, ascending by `due`, then by opening.
    pub(super) fragments: Vec<Fragment>,
    /// Caches, which are not part of the state.
    #[serde(skip)]
    pub(super) scratch: Scratch,
}

/// As version 1 of the processor stored them.
#[derive(Debug, Deserialize)]
pub(crate) struct WindowsV1 {
    signals: usize,
    aggregates: AggregateSet,
    pane_us: i64,
    specs: Vec<SpecStateV1>,
    watermark: i64,
    panes: Vec<Pane>,
    fragments: Vec<Fragment>,
}

impl From<WindowsV1> for Windows {
    fn from(stored: WindowsV1) -> Self {
        let watermark = stored.watermark;
        let specs = stored.specs.into_iter();
        Self {
            signals: stored.signals,
            aggregates: stored.aggregates,
            pane_us: stored.pane_us,
            specs: specs.map(|spec| spec.into_state(watermark)).collect(),
            watermark,
            panes: stored.panes,
            fragments: stored.fragments,
            scratch: Scratch::default(),
        }
    }
}

/// Caches: they are not stored, and two states that differ only in them are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// When something falls due next; absent: it has to be found anew.
    pub due: Option<NextDue>,
}

thread_local! {
    /// The cells of the pane that was dropped last on this thread, of whichever robot, for the next
    /// one: they are empty, but have their memory.
    static SPARE: Cell<Option<Cells>> = const { Cell::new(None) };
}

impl PartialEq for Scratch {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The clock at which something falls due next, under these delays.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextDue {
    /// The delays it was found for.
    pub delays: Delays,
    /// The robot's clock, microseconds UTC.
    pub clock: i64,
}

impl Windows {
    /// The windows of a dataset with that many signals, without rows.
    pub fn new(signals: usize) -> Self {
        Self {
            signals,
            aggregates: AggregateSet::default(),
            pane_us: 0,
            specs: Vec::new(),
            watermark: BEFORE_ALL_TIME,
            panes: Vec::new(),
            fragments: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Adds rows in order and pushes to `out` what closes or is finalised on the way, in order of
    /// the clock at which it fell due; at the same clock windows first, by (end, order of specs),
    /// then fragments.
    ///
    /// `rows` are indices into `batch`, all of this robot and accepted (no duplicates, none beyond
    /// the allowed lateness or from the future). `clocks[i]` is the robot's clock after `rows[i]`;
    /// clocks never decrease, also between calls. If the plan differs from the last call's, all
    /// that is open under the old plan is closed first.
    pub fn apply(
        &mut self,
        plan: &WindowPlan,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
        reorder_bound_us: i64,
        out: &mut Vec<WindowRow>,
    ) {
        debug_assert_eq!(rows.len(), clocks.len(), "one clock per row");
        self.adopt_plan(plan, out);
        self.grow(batch.signals.width());
        if self.specs.is_empty() {
            return;
        }
        let delays = self.delays(plan, reorder_bound_us);
        let times = batch.event_times();
        let mut rows = &rows[..rows.len().min(clocks.len())];
        let mut clocks = clocks;
        while let (Some(&row), Some(&clock)) = (rows.first(), clocks.first()) {
            self.advance_clock(clock, delays, out);
            let time = times[row as usize].clamp(-TIME_LIMIT_US, TIME_LIMIT_US);
            let origin = time.div_euclid(self.pane_us) * self.pane_us;
            let targets = self.targets(origin, clamp_clock(clock), delays);
            // All rows of the run have the same targets, because nothing falls due before its last
            // row; so they can be added at once.
            let length = self.run_length(origin, rows, clocks, times, delays);
            let run = PaneRun {
                batch,
                rows: &rows[..length],
                times,
                origin,
            };
            if let Some(pane) = targets.pane {
                self.panes[pane].add(&run);
            }
            if let Some(fragment) = targets.fragment {
                self.fragments[fragment].pane.add(&run);
            }
            self.watermark = self
                .watermark
                .max(clamp_clock(clocks[length - 1]) - delays.reorder_us);
            (rows, clocks) = (&rows[length..], &clocks[length..]);
        }
    }

    /// Advances the robot's clock without rows of this dataset.
    pub fn advance(
        &mut self,
        plan: &WindowPlan,
        clock: EventTime,
        reorder_bound_us: i64,
        out: &mut Vec<WindowRow>,
    ) {
        self.adopt_plan(plan, out);
        if !self.specs.is_empty() {
            self.advance_clock(clock, self.delays(plan, reorder_bound_us), out);
        }
    }

    /// Closes everything open (end of a recording, silence): windows by (end, order of specs), then
    /// fragments in order of opening. Rows that come afterwards for windows closed by this are
    /// late.
    pub fn flush(&mut self, plan: &WindowPlan, out: &mut Vec<WindowRow>) {
        self.adopt_plan(plan, out);
        self.close_all(out);
    }

    /// Makes room for signals that the dataset has gained; [`Self::apply`] does so by itself.
    pub fn grow(&mut self, signals: usize) {
        if signals <= self.signals {
            return;
        }
        self.signals = signals;
        for pane in self
            .panes
            .iter_mut()
            .chain(self.fragments.iter_mut().map(|fragment| &mut fragment.pane))
        {
            pane.cells.grow(signals);
        }
    }

    /// Number of open panes.
    pub fn open_panes(&self) -> usize {
        self.panes.len()
    }

    /// The open windows that have rows, by (plan's order, end): name, start, end and rows so far.
    pub fn open_windows(&self) -> Vec<(&str, i64, i64, u64)> {
        let mut open = Vec::new();
        for state in &self.specs {
            let spec = &state.spec;
            let closed_to = state.closed_to(self.watermark);
            let mut rows_by_end = std::collections::BTreeMap::new();
            for pane in &self.panes {
                let (first, last) = spec.ends_over(pane.start);
                let mut end = first;
                while end <= last {
                    if end > closed_to {
                        *rows_by_end.entry(end).or_insert(0) += pane.rows;
                    }
                    end += spec.hop_us;
                }
            }
            let windows = rows_by_end.into_iter();
            open.extend(
                windows.map(|(end, rows)| (spec.name.as_str(), end - spec.size_us, end, rows)),
            );
        }
        open
    }

    /// Number of open fragments.
    pub fn open_fragments(&self) -> usize {
        self.fragments.len()
    }

    /// Switches to a plan. Windows that are open under the old plan are closed first, so that no
    /// row is lost. The state of a kind of window that both plans have is kept, so that late rows
    /// go on correcting its windows.
    fn adopt_plan(&mut self, plan: &WindowPlan, out: &mut Vec<WindowRow>) {
        if self.follows(plan) {
            return;
        }
        self.close_all(out);
        let specs = Vec::with_capacity(plan.specs().len());
        let mut old = std::mem::replace(&mut self.specs, specs);
        for spec in plan.specs() {
            let known = old.iter().position(|state| state.spec == *spec);
            self.specs
                .push(known.map_or_else(|| SpecState::new(spec.clone()), |at| old.swap_remove(at)));
        }
        self.aggregates = plan.aggregates();
        self.pane_us = plan.pane_us();
        self.scratch = Scratch::default();
    }

    /// Whether its windows are those of a plan.
    pub(super) fn follows(&self, plan: &WindowPlan) -> bool {
        self.aggregates == plan.aggregates()
            && self.specs.len() == plan.specs().len()
            && self
                .specs
                .iter()
                .zip(plan.specs())
                .all(|(mine, theirs)| mine.spec == *theirs)
    }

    pub(super) fn delays(&self, plan: &WindowPlan, reorder_bound_us: i64) -> Delays {
        let reorder_us = reorder_bound_us.clamp(0, WAIT_LIMIT_US);
        Delays {
            reorder_us,
            lateness_us: plan.allowed_lateness_us(),
            fragment_us: reorder_us.max(self.pane_us),
        }
    }

    /// How many of the first rows lie in the pane at `origin` before anything falls due; at least
    /// the first one, for which the clock was advanced already.
    fn run_length(
        &self,
        origin: i64,
        rows: &[u32],
        clocks: &[EventTime],
        times: &[i64],
        delays: Delays,
    ) -> usize {
        let due = self.next_due(delays);
        let end = origin + self.pane_us;
        let rest = rows.iter().zip(clocks).skip(1);
        let more = rest.take_while(|(row, clock)| {
            let time = times[**row as usize];
            time >= origin && time < end && clock.0 < due
        });
        1 + more.count()
    }

    pub(super) fn recycle(mut cells: Cells) {
        cells.clear();
        SPARE.set(Some(cells));
    }

    fn new_pane(&self, start: i64) -> Pane {
        let spare = SPARE.take();
        let cells = spare
            .filter(|cells| cells.are_of(self.aggregates, self.signals))
            .unwrap_or_else(|| Cells::new(self.aggregates, self.signals));
        Pane {
            start,
            rows: 0,
            cells,
        }
    }

    /// Where a row of the pane at `origin` goes at this clock; opens the pane or fragment if
    /// needed. The table in the module's head says which.
    fn targets(&mut self, origin: i64, clock: i64, delays: Delays) -> Targets {
        let (mut any_open, mut any_closed) = (false, false);
        for state in &self.specs {
            let (first, last) = state.spec.ends_over(origin);
            let closed_to = state.closed_to(self.watermark);
            any_open |= last > closed_to;
            any_closed |= first <= closed_to;
        }
        let pane = any_open.then(|| self.pane_at(origin, delays));
        let fragment = any_closed.then(|| self.fragment_at(origin, clock, delays));
        Targets { pane, fragment }
    }

    fn pane_at(&mut self, origin: i64, delays: Delays) -> usize {
        match self.panes.binary_search_by_key(&origin, |pane| pane.start) {
            Ok(at) => at,
            Err(at) => {
                let pane = self.new_pane(origin);
                // Of tumbling windows one is open, seldom two.
                if self.panes.len() < EXACT_PANES_MAX {
                    self.panes.reserve_exact(1);
                }
                self.panes.insert(at, pane);
                self.scratch.due = Some(NextDue {
                    delays,
                    clock: self.compute_next_due(delays),
                });
                at
            }
        }
    }

    fn fragment_at(&mut self, origin: i64, clock: i64, delays: Delays) -> usize {
        let closed: Vec<u32> = self
            .specs
            .iter()
            .map(|state| state.closed_windows_over(origin, self.watermark))
            .collect();
        let open = |fragment: &Fragment| fragment.pane.start == origin && fragment.closed == closed;
        if let Some(at) = self.fragments.iter().position(open) {
            return at;
        }
        let due = clock + delays.fragment_us;
        let at = self
            .fragments
            .partition_point(|fragment| fragment.due <= due);
        let pane = self.new_pane(origin);
        self.fragments.insert(at, Fragment { due, closed, pane });
        self.scratch.due = Some(NextDue {
            delays,
            clock: self.compute_next_due(delays),
        });
        at
    }
}

/// Indices of the open pane and the open fragment that rows go to.
struct Targets {
    pane: Option<usize>,
    fragment: Option<usize>,
}

pub(super) fn clamp_clock(clock: EventTime) -> i64 {
    clock.0.clamp(-TIME_LIMIT_US, TIME_LIMIT_US)
}
