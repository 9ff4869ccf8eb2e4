//! Closing windows and finalising fragments when they are due.

use super::aggregate::SignalAggregate;
use super::pane::Pane;
use super::plan::{WindowPlan, WindowSpec};
use super::row::WindowRow;
use super::spec::{BEFORE_ALL_TIME, Delays, SpecState, evict_at};
use super::state::{NextDue, Windows, clamp_clock};
use crate::time::EventTime;

impl Windows {
    /// Advances the watermark to a clock and emits what fell due on the way.
    pub(super) fn advance_clock(
        &mut self,
        clock: EventTime,
        delays: Delays,
        out: &mut Vec<WindowRow>,
    ) {
        // Before the robot's first telemetry there is no clock, and nothing that could fall due.
        if clock.0 == BEFORE_ALL_TIME {
            return;
        }
        let clock = clamp_clock(clock);
        if self
            .scratch
            .due
            .is_none_or(|due| due.delays != delays || due.clock <= clock)
        {
            self.emit_due(clock, delays, out);
        }
        self.watermark = self.watermark.max(clock - delays.reorder_us);
    }

    /// Closes windows and finalises fragments up to `clock`, in order of the clock at which each
    /// fell due, windows before fragments.
    fn emit_due(&mut self, clock: i64, delays: Delays, out: &mut Vec<WindowRow>) {
        loop {
            let window = self
                .next_end()
                .map(|end| (end + delays.reorder_us, end))
                .filter(|(due, _)| *due <= clock);
            let fragment = self
                .fragments
                .first()
                .map(|fragment| fragment.due)
                .filter(|due| *due <= clock);
            match (window, fragment) {
                (Some((due, end)), fragment) if fragment.is_none_or(|other| due <= other) => {
                    for index in 0..self.specs.len() {
                        self.close(index, end, out);
                    }
                    // Now these windows count as closed, so that the loop finds the next end.
                    self.watermark = self.watermark.max(end);
                }
                (_, Some(_)) => self.finalise_first(out),
                (_, None) => break,
            }
        }
        self.watermark = self.watermark.max(clock - delays.reorder_us);
        self.drop_panes();
        for state in &mut self.specs {
            state.evict(clock, delays);
        }
        self.scratch.due = Some(NextDue {
            delays,
            clock: self.compute_next_due(delays),
        });
    }

    /// The robot's clock begins anew: windows open again, also those of earlier times. To be called
    /// after a flush.
    pub fn begin_anew(&mut self) {
        self.watermark = BEFORE_ALL_TIME;
        self.specs.iter_mut().for_each(SpecState::begin_anew);
        self.scratch.due = None;
    }

    /// Closes all windows with rows, whatever the clock, then finalises all fragments.
    pub(super) fn close_all(&mut self, out: &mut Vec<WindowRow>) {
        while let Some(end) = self.next_end() {
            for index in 0..self.specs.len() {
                if self.next_end_of(index) == Some(end) {
                    self.close(index, end, out);
                    self.specs[index].flushed_to = Some(end);
                }
            }
        }
        while !self.fragments.is_empty() {
            self.finalise_first(out);
        }
        self.drop_panes();
        self.scratch.due = None;
    }

    /// The clock at which something falls due next, cached; `i64::MAX` when nothing will.
    pub(super) fn next_due(&self, delays: Delays) -> i64 {
        match self.scratch.due {
            Some(due) if due.delays == delays => due.clock,
            _ => self.compute_next_due(delays),
        }
    }

    /// The robot's clock before which no window closes and no fragment is finalised, whatever rows
    /// come from `clock` on, microseconds UTC; the least where that is not known.
    pub fn closes_at(&self, plan: &WindowPlan, clock: EventTime, reorder_bound_us: i64) -> i64 {
        if !self.follows(plan) || self.watermark == BEFORE_ALL_TIME {
            return i64::MIN;
        }
        let delays = self.delays(plan, reorder_bound_us);
        // Rows may open windows that end sooner than those that are open, but none that has ended;
        // and fragments, which wait for their time from then on.
        let ends = (self.specs.iter())
            .map(|state| state.spec.end_at_or_after(self.watermark.saturating_add(1)));
        let window = ends.min().map(|end| end + delays.reorder_us);
        let fragment = clamp_clock(clock) + delays.fragment_us;
        let new = window.map_or(i64::MAX, |window| window.min(fragment));
        new.min(self.next_due(delays))
    }

    /// As [`Self::next_due`], computed from the state.
    pub(super) fn compute_next_due(&self, delays: Delays) -> i64 {
        let window = self.next_end().map(|end| end + delays.reorder_us);
        let fragment = self.fragments.first().map(|fragment| fragment.due);
        let ends = self
            .specs
            .iter()
            .filter_map(|state| state.revisions.first_key_value());
        let forget = ends.map(|(end, _)| evict_at(*end, delays)).min();
        [window, fragment, forget]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(i64::MAX)
    }

    /// The end of the window that closes next, among those with rows.
    fn next_end(&self) -> Option<i64> {
        (0..self.specs.len())
            .filter_map(|index| self.next_end_of(index))
            .min()
    }

    /// The same for the windows of one spec.
    fn next_end_of(&self, index: usize) -> Option<i64> {
        let state = &self.specs[index];
        let closed_to = state.closed_to(self.watermark);
        let done = self
            .panes
            .partition_point(|pane| !state.is_pane_required(pane.start, self.watermark));
        let pane = self.panes.get(done)?;
        Some(
            state
                .spec
                .end_at_or_after((pane.start + self.pane_us).max(closed_to.saturating_add(1))),
        )
    }

    /// Emits the window of a spec that ends at `end`, if the spec has such a window and it is open
    /// and has rows.
    fn close(&mut self, index: usize, end: i64, out: &mut Vec<WindowRow>) {
        let state = &self.specs[index];
        let spec = &state.spec;
        if end.rem_euclid(spec.hop_us) != 0 || end <= state.closed_to(self.watermark) {
            return;
        }
        let start = end - spec.size_us;
        let from = self.panes.partition_point(|pane| pane.start < start);
        let to = self.panes.partition_point(|pane| pane.start < end);
        if from < to {
            let revision = self.specs[index].closing_revision(end);
            out.push(window_row(
                &self.specs[index].spec,
                end,
                revision,
                self.signals,
                &self.panes[from..to],
            ));
        }
    }

    /// Finalises the fragment that is due first: emits the next revision of every window it covers,
    /// by (end, order of specs).
    fn finalise_first(&mut self, out: &mut Vec<WindowRow>) {
        let fragment = self.fragments.remove(0);
        let emitted = out.len();
        let mut order = Vec::new();
        for (index, (state, &closed)) in self.specs.iter_mut().zip(&fragment.closed).enumerate() {
            let (first, _) = state.spec.ends_over(fragment.pane.start);
            let hop_us = state.spec.hop_us;
            for end in (0..i64::from(closed)).map(|hops| first + hops * hop_us) {
                let revision = state.next_revision(end);
                order.push((end, index, revision));
            }
        }
        order.sort_unstable();
        let pane = std::slice::from_ref(&fragment.pane);
        let rows = order.into_iter().map(|(end, index, revision)| {
            window_row(&self.specs[index].spec, end, revision, self.signals, pane)
        });
        out.extend(rows);
        debug_assert!(out.len() > emitted, "a fragment covers a window");
        Self::recycle(fragment.pane.cells);
    }

    /// Drops the panes that no open window needs; they are the first ones.
    fn drop_panes(&mut self) {
        let unneeded = self.panes.partition_point(|pane| {
            !self
                .specs
                .iter()
                .any(|state| state.is_pane_required(pane.start, self.watermark))
        });
        let dropped: Vec<Pane> = self.panes.drain(..unneeded).collect();
        for pane in dropped {
            Self::recycle(pane.cells);
        }
    }
}

fn window_row(
    spec: &WindowSpec,
    end: i64,
    revision: u32,
    signals: usize,
    panes: &[Pane],
) -> WindowRow {
    let mut aggregates = vec![SignalAggregate::empty(); signals];
    for pane in panes {
        pane.cells.merge_into(pane.start, &mut aggregates);
    }
    WindowRow {
        window: spec.name.clone(),
        size_us: spec.size_us,
        start_us: end - spec.size_us,
        revision,
        rows: panes.iter().map(|pane| pane.rows).sum(),
        signals: aggregates,
    }
}
