//! Session windows of one robot, one dataset and one kind: stretches of activity with a gap that ends
//! them.
//!
//! Active rows that are at most a gap apart make a *chain*. A chain of at most the longest length is
//! one session, from its first to its last row. A longer one is cut at the multiples of that length
//! since 1970, so that what a session holds depends on the rows alone and not on when they came.
//!
//! **Closing.** A session closes when the watermark has passed its end by the gap, or the end of its
//! slice where the chain is cut, or by [`Sessions::flush`]. It is then emitted whole, under the time
//! of its first row.
//!
//! **Late rows.** They extend chains, join two, or make one between others. What has changed is
//! emitted again, whole, as the next revision, a reorder bound after the first late row. A session
//! that begins with another row now has another time: the one under the old time is *withdrawn*, as
//! is the later one of two that were joined. So of each time the highest revision counts, unless it
//! is withdrawn.
//!
//! **Bounds.** Chains are kept for as long as a row may come for them; [`CHAINS_MAX`] at most, beyond
//! which the oldest is closed for good and rows within a gap of it are left out. Of
//! 128 sessions it is remembered that they were emitted; older ones go on above the
//! highest revision of those that were forgotten.

mod chain;
mod emitted;

use serde::{Deserialize, Serialize};
use theatre_schemas::batch::Batch;

use super::cells::Cells;
use super::plan::{AggregateSet, TIME_LIMIT_US, WAIT_LIMIT_US};
use super::run::PaneRun;
use super::state::clamp_clock;
use crate::time::{EventTime, TimePolicy};

use chain::{Chain, Slice, session};
use emitted::EmittedSessions;
pub use emitted::SessionRow;

/// Most chains that are kept.
const CHAINS_MAX: usize = 32;

/// One kind of session window, on one dataset. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSpec {
    /// Name in ids and tables.
    pub name: String,
    /// Index of the signal that is not 0 in active rows; `None`: every row is active.
    pub active: Option<usize>,
    /// Rows further apart than this are of two sessions.
    pub gap_us: i64,
    /// The longest session.
    pub longest_us: i64,
    /// What is computed per signal.
    pub aggregates: AggregateSet,
}

impl SessionSpec {
    fn is_active(&self, batch: &Batch, row: u32) -> bool {
        self.active.is_none_or(|signal| {
            let value = batch.signals.value(row as usize, signal);
            value.is_finite() && value != 0.0
        })
    }

    fn slice_of(&self, time: i64) -> i64 {
        time.div_euclid(self.longest_us) * self.longest_us
    }
}

/// The sessions of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    gap_us: i64,
    longest_us: i64,
    aggregates: AggregateSet,
    /// Ascending, more than a gap apart.
    chains: Vec<Chain>,
    emitted: EmittedSessions,
    /// Rows up to here are left out: they belong to a chain that was closed for good.
    closed_to: Option<i64>,
    /// The clock at which something falls due next.
    next_due: i64,
}

/// Delays of the robot's clock.
#[derive(Debug, Clone, Copy)]
struct Waits {
    reorder_us: i64,
    lateness_us: i64,
}

impl Waits {
    fn of(policy: &TimePolicy) -> Self {
        Self {
            reorder_us: policy.reorder_bound_us.clamp(0, WAIT_LIMIT_US),
            lateness_us: policy.allowed_lateness_us.clamp(0, WAIT_LIMIT_US),
        }
    }
}

impl Sessions {
    /// Sessions of a kind, without rows.
    pub fn new(spec: &SessionSpec) -> Self {
        Self {
            gap_us: spec.gap_us,
            longest_us: spec.longest_us,
            aggregates: spec.aggregates,
            chains: Vec::new(),
            emitted: EmittedSessions::default(),
            closed_to: None,
            next_due: i64::MAX,
        }
    }

    /// Adds accepted rows in order and returns what closes on the way, each with the index into
    /// `rows` of the row that closed it. `clocks[i]` is the robot's clock after `rows[i]`. If the
    /// kind has other lengths than before, all is closed first.
    pub fn apply(
        &mut self,
        spec: &SessionSpec,
        policy: &TimePolicy,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
    ) -> Vec<(usize, SessionRow)> {
        let (mut out, mut closed) = (Vec::new(), Vec::new());
        self.adopt(spec, &mut closed);
        let waits = Waits::of(policy);
        let times = batch.event_times();
        let mut at = 0;
        while at < rows.len().min(clocks.len()) {
            let clock = clamp_clock(clocks[at]);
            if clock >= self.next_due {
                self.examine(clock, waits, false, &mut closed);
            }
            out.extend(closed.drain(..).map(|row| (at, row)));
            if !spec.is_active(batch, rows[at]) {
                at += 1;
                continue;
            }
            let time = times[rows[at] as usize].clamp(-TIME_LIMIT_US, TIME_LIMIT_US);
            if self.closed_to.is_some_and(|to| time <= to) {
                at += 1;
                continue;
            }
            let chain = self.chain_at(time);
            let start = spec.slice_of(time);
            let slice = self.slice_at(chain, start, time, batch.signals.width());
            let rest = &rows[at..rows.len().min(clocks.len())];
            let length = self.run_length((chain, slice), spec, batch, rest, &clocks[at..], waits);
            let run = PaneRun {
                batch,
                rows: &rows[at..at + length],
                times,
                origin: start,
            };
            let last = clamp_clock(clocks[at + length - 1]);
            self.add((chain, slice), &run, last, waits, &mut closed);
            out.extend(closed.drain(..).map(|row| (at, row)));
            at += length;
        }
        out
    }

    /// How many of the first rows go on with a chain in the same slice, in time and before anything
    /// falls due, so that they can be added at once; at least the first one.
    fn run_length(
        &self,
        (chain, slice): (usize, usize),
        spec: &SessionSpec,
        batch: &Batch,
        rows: &[u32],
        clocks: &[EventTime],
        waits: Waits,
    ) -> usize {
        let times = batch.event_times();
        let known = &self.chains[chain];
        // A next chain may be near: such rows join it one by one.
        let is_last = chain + 1 == self.chains.len();
        let in_time = |at: usize| {
            let clock = clamp_clock(clocks[at]);
            times[rows[at] as usize] >= clock.saturating_sub(waits.reorder_us)
        };
        if !is_last || known.slices[slice].is_done || !in_time(0) {
            return 1;
        }
        let end = known.slices[slice].start.saturating_add(self.longest_us);
        let mut to = known.to.max(times[rows[0] as usize]);
        // Nothing falls due because the chain has become too long in between.
        let longest = if self.is_long(known) {
            i64::MAX
        } else {
            known
                .from
                .min(times[rows[0] as usize])
                .saturating_add(self.longest_us)
        };
        let mut length = 1;
        while length < rows.len() {
            let time = times[rows[length] as usize];
            let fits = clamp_clock(clocks[length]) < self.next_due
                && in_time(length)
                && spec.is_active(batch, rows[length])
                && time >= to
                && time <= to.saturating_add(self.gap_us)
                && time < end
                && time <= longest;
            if !fits {
                break;
            }
            to = time;
            length += 1;
        }
        length
    }

    /// Closes what is open, as of now: rows that go on with a session revise it.
    pub fn flush(&mut self, policy: &TimePolicy) -> Vec<SessionRow> {
        let mut out = Vec::new();
        self.examine(i64::MIN, Waits::of(policy), true, &mut out);
        out
    }

    /// The robot's clock begins anew; to be called after a flush. Sessions of earlier times may
    /// come; those that are known are corrected by rows that a corrected recording adds.
    pub fn begin_anew(&mut self) {
        self.closed_to = None;
    }

    /// First and last time and rows of the chains that are not closed.
    pub fn open(&self) -> impl Iterator<Item = (i64, i64, u64)> {
        let open = self.chains.iter().filter(|chain| {
            let last = chain.slices.last();
            last.is_some_and(|slice| !slice.is_done)
        });
        open.map(|chain| {
            let rows = chain.slices.iter().map(|slice| slice.rows).sum();
            (chain.from, chain.to, rows)
        })
    }

    fn adopt(&mut self, spec: &SessionSpec, out: &mut Vec<SessionRow>) {
        let known = (self.gap_us, self.longest_us, self.aggregates);
        if known == (spec.gap_us, spec.longest_us, spec.aggregates) {
            return;
        }
        let waits = Waits {
            reorder_us: 0,
            lateness_us: 0,
        };
        self.examine(i64::MIN, waits, true, out);
        self.chains.clear();
        self.next_due = i64::MAX;
        (self.gap_us, self.longest_us, self.aggregates) =
            (spec.gap_us, spec.longest_us, spec.aggregates);
    }

    /// Index of the chain that a row belongs to: made, or joined of two, if need be.
    fn chain_at(&mut self, time: i64) -> usize {
        let gap_us = self.gap_us;
        let reaches = |chain: &Chain| {
            chain.from.saturating_sub(gap_us) <= time && time <= chain.to.saturating_add(gap_us)
        };
        let at = self
            .chains
            .partition_point(|chain| chain.to.saturating_add(gap_us) < time);
        if !self.chains.get(at).is_some_and(reaches) {
            let chain = Chain {
                from: time,
                to: time,
                slices: Vec::new(),
            };
            self.chains.insert(at, chain);
            return at;
        }
        if self.chains.get(at + 1).is_some_and(reaches) {
            let next = self.chains.remove(at + 1);
            self.chains[at].join(next);
        }
        at
    }

    /// Index of the slice of a chain that begins at a moment.
    fn slice_at(&mut self, chain: usize, start: i64, time: i64, width: usize) -> usize {
        let aggregates = self.aggregates;
        let slices = &mut self.chains[chain].slices;
        match slices.binary_search_by_key(&start, |slice| slice.start) {
            Ok(at) => {
                slices[at].cells.grow(width);
                at
            }
            Err(at) => {
                let slice = Slice {
                    start,
                    from: time,
                    to: time,
                    rows: 0,
                    cells: Cells::new(aggregates, width),
                    joined: Vec::new(),
                    is_done: false,
                    not_before: None,
                };
                slices.insert(at, slice);
                at
            }
        }
    }

    fn add(
        &mut self,
        (chain, slice): (usize, usize),
        run: &PaneRun<'_>,
        clock: i64,
        waits: Waits,
        out: &mut Vec<SessionRow>,
    ) {
        let extremes = run.extremes();
        let (from, to) = (
            run.origin + extremes.first_at,
            run.origin + extremes.last_at,
        );
        let was_long = self.is_long(&self.chains[chain]);
        let of_run = &mut self.chains[chain];
        of_run.from = of_run.from.min(from);
        of_run.to = of_run.to.max(to);
        let slice = &mut of_run.slices[slice];
        slice.cells.add(run);
        slice.rows += run.rows.len() as u64;
        slice.from = slice.from.min(from);
        slice.to = slice.to.max(to);
        let is_late = to < clock.saturating_sub(waits.reorder_us);
        if (slice.is_done || is_late) && slice.not_before.is_none() {
            slice.not_before = Some(clock.saturating_add(waits.reorder_us));
        }
        slice.is_done = false;
        if self.is_long(&self.chains[chain]) != was_long {
            // What was one session is several now.
            let slices = &mut self.chains[chain].slices;
            slices.iter_mut().for_each(|slice| slice.is_done = false);
        }
        self.limit_chains(out);
        self.refresh_due(waits);
    }

    /// Closes the oldest of too many chains for good.
    fn limit_chains(&mut self, out: &mut Vec<SessionRow>) {
        while self.chains.len() > CHAINS_MAX {
            self.emit_chain(0, i64::MAX, true, out);
            let oldest = self.chains.remove(0);
            let to = oldest.to.saturating_add(self.gap_us);
            self.closed_to = self.closed_to.max(Some(to));
        }
    }

    /// When something falls due next: an emission, or that a chain can be dropped.
    fn refresh_due(&mut self, waits: Waits) {
        let due = |chain: &Chain| self.due_of(chain, waits).min(self.drop_of(chain, waits));
        self.next_due = self.chains.iter().map(due).min().unwrap_or(i64::MAX);
    }

    fn is_long(&self, chain: &Chain) -> bool {
        chain.to.saturating_sub(chain.from) > self.longest_us
    }

    /// The clock at which a chain, or a slice of it, is to be emitted.
    fn due_of(&self, chain: &Chain, waits: Waits) -> i64 {
        let end = self.end_of(chain);
        let is_long = self.is_long(chain);
        let open = chain.slices.iter().filter(|slice| !slice.is_done);
        let due = open.map(|slice| {
            let closes = if is_long {
                end.min(slice.start.saturating_add(self.longest_us))
            } else {
                end
            };
            let due = closes.saturating_add(waits.reorder_us);
            due.max(slice.not_before.unwrap_or(due))
        });
        due.min().unwrap_or(i64::MAX)
    }

    /// The watermark from which no row in time goes on with a chain.
    fn end_of(&self, chain: &Chain) -> i64 {
        chain.to.saturating_add(self.gap_us).saturating_add(1)
    }

    /// The clock from which no row can come for a chain, or for its first slice if it is cut.
    fn drop_of(&self, chain: &Chain, waits: Waits) -> i64 {
        let is_cut = self.is_long(chain) && chain.slices.len() > 1;
        let needed = if is_cut { 1 } else { chain.slices.len() };
        if !chain.slices[..needed].iter().all(|slice| slice.is_done) {
            return i64::MAX;
        }
        let end = match chain.slices.first().filter(|_| is_cut) {
            Some(slice) => slice.start.saturating_add(self.longest_us),
            None => self.end_of(chain),
        };
        end.saturating_add(waits.lateness_us)
    }

    /// Emits what is due at a clock, or all of it, in order of time, and drops what is over.
    fn examine(&mut self, clock: i64, waits: Waits, all: bool, out: &mut Vec<SessionRow>) {
        let watermark = clock.saturating_sub(waits.reorder_us);
        for at in 0..self.chains.len() {
            if all || self.due_of(&self.chains[at], waits) <= clock {
                self.emit_chain(at, watermark, all, out);
            }
        }
        if !all {
            self.drop_chains(clock, waits);
        }
        self.refresh_due(waits);
    }

    fn drop_chains(&mut self, clock: i64, waits: Waits) {
        for at in (0..self.chains.len()).rev() {
            while !self.chains[at].slices.is_empty()
                && self.drop_of(&self.chains[at], waits) <= clock
            {
                self.chains[at].slices.remove(0);
            }
            if self.chains[at].slices.is_empty() {
                self.chains.remove(at);
            }
        }
    }

    /// Emits what has closed of a chain, and withdraws what is not there any more.
    fn emit_chain(&mut self, at: usize, watermark: i64, all: bool, out: &mut Vec<SessionRow>) {
        let is_over = all || watermark >= self.end_of(&self.chains[at]);
        let is_long = self.is_long(&self.chains[at]);
        let longest_us = self.longest_us;
        let chain = &mut self.chains[at];
        let mut wanted = Vec::new();
        if is_long {
            for slice in &mut chain.slices {
                let is_closed = is_over || slice.start.saturating_add(longest_us) <= watermark;
                wanted.push((slice.from, is_closed.then(|| session(&[slice], true))));
                slice.is_done |= is_closed;
            }
        } else {
            let slices: Vec<&Slice> = chain.slices.iter().collect();
            wanted.push((chain.from, is_over.then(|| session(&slices, false))));
            chain
                .slices
                .iter_mut()
                .for_each(|slice| slice.is_done |= is_over);
        }
        let done = chain.slices.iter_mut().filter(|slice| slice.is_done);
        done.for_each(|slice| slice.not_before = None);
        // What was emitted of slices that were dropped lies before the first one and stays.
        let first = wanted.first().map_or(chain.from, |(start, _)| *start);
        let last = chain.to;
        for start in self.emitted.between(first, last) {
            if wanted.iter().all(|(wanted, _)| *wanted != start) {
                out.extend(self.emitted.withdraw(start));
            }
        }
        for row in wanted.into_iter().filter_map(|(_, row)| row) {
            out.extend(self.emitted.revise(row));
        }
    }
}
