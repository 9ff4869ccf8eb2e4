//! The state kept per kind of window, and the delays of closing and eviction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::WindowSpec;

/// Before any event time or clock.
pub(super) const BEFORE_ALL_TIME: i64 = i64::MIN;

/// Delays of the robot's clock, microseconds, each within [`super::plan::WAIT_LIMIT_US`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Delays {
    /// From the end of a window until it closes: the reorder bound.
    pub reorder_us: i64,
    /// How far behind the clock a row may be and still correct closed windows.
    pub lateness_us: i64,
    /// From the opening of a fragment until it is finalised.
    pub fragment_us: i64,
}

/// Most spans of windows that are remembered of earlier clocks; near ones are taken together.
const PAST_MAX: usize = 16;

/// The state of one kind of window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SpecState {
    pub spec: WindowSpec,
    /// End of the last window closed by a flush ahead of the watermark; all windows that end at or
    /// before it are closed.
    pub flushed_to: Option<i64>,
    /// Highest revision emitted, by end of window, for windows that late rows may still correct.
    pub revisions: BTreeMap<i64, u32>,
    /// Of the evicted entries of `revisions`: their highest end, and their highest revision.
    evicted: Option<(i64, u32)>,
    /// The first and the last end of the windows that were emitted since the clock began.
    emitted: Option<(i64, i64)>,
    /// What was emitted under earlier clocks, in order, without overlaps.
    past: Vec<Past>,
}

/// Windows that were emitted under earlier clocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Past {
    /// The first end of a window.
    from: i64,
    /// The last end of a window.
    to: i64,
    /// The highest revision of any of them.
    revision: u32,
}

/// As version 1 of the processor stored it.
#[derive(Debug, Deserialize)]
pub(super) struct SpecStateV1 {
    spec: WindowSpec,
    flushed_to: Option<i64>,
    revisions: BTreeMap<i64, u32>,
    evicted: Option<(i64, u32)>,
}

impl SpecStateV1 {
    /// The state now; `watermark` is that of its windows.
    pub fn into_state(self, watermark: i64) -> SpecState {
        let mut state = SpecState {
            flushed_to: self.flushed_to,
            revisions: self.revisions,
            evicted: self.evicted,
            ..SpecState::new(self.spec)
        };
        // Which windows were emitted was not kept: any of those that have closed may have been.
        let closed_to = state.closed_to(watermark);
        state.emitted = (closed_to > BEFORE_ALL_TIME).then_some((BEFORE_ALL_TIME, closed_to));
        state
    }
}

impl Past {
    /// Both spans and what lies between.
    fn with(self, other: &Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            revision: self.revision.max(other.revision),
        }
    }
}

impl SpecState {
    /// Nothing remembered yet.
    pub fn new(spec: WindowSpec) -> Self {
        Self {
            spec,
            flushed_to: None,
            revisions: BTreeMap::new(),
            evicted: None,
            emitted: None,
            past: Vec::new(),
        }
    }

    /// Windows that end at or before this are closed.
    pub fn closed_to(&self, watermark: i64) -> i64 {
        watermark.max(self.flushed_to.unwrap_or(BEFORE_ALL_TIME))
    }

    /// True while a window over the pane is open.
    pub fn is_pane_required(&self, pane_start: i64, watermark: i64) -> bool {
        self.spec.ends_over(pane_start).1 > self.closed_to(watermark)
    }

    /// How many of the windows over a pane have closed; they close in order of their ends.
    pub fn closed_windows_over(&self, pane_start: i64, watermark: i64) -> u32 {
        let (first, last) = self.spec.ends_over(pane_start);
        let closed_to = self.closed_to(watermark).min(last);
        if closed_to < first {
            0
        } else {
            ((closed_to - first) / self.spec.hop_us + 1) as u32
        }
    }

    /// The revision of the window that closes at `end`: 0, or the next one when it may have been
    /// emitted under an earlier clock.
    pub fn closing_revision(&mut self, end: i64) -> u32 {
        if self.past_revision(end).is_some() {
            return self.next_revision(end);
        }
        self.note_emitted(end);
        0
    }

    /// Counts and returns the next revision of the window that ends at `end`. A window whose entry
    /// was evicted continues above the highest evicted revision, and one of an earlier clock above
    /// the highest of its span: numbers may be skipped, but never repeat.
    pub fn next_revision(&mut self, end: i64) -> u32 {
        self.note_emitted(end);
        let floor = match self.evicted {
            Some((evicted_to, revision)) if end <= evicted_to => revision,
            _ => 0,
        };
        let floor = floor.max(self.past_revision(end).unwrap_or(0));
        let revision = self.revisions.entry(end).or_insert(floor);
        *revision = revision.saturating_add(1);
        *revision
    }

    /// The highest revision under earlier clocks of the windows around the one that ends at `end`;
    /// `None` when that was not emitted.
    fn past_revision(&self, end: i64) -> Option<u32> {
        let past = self
            .past
            .get(self.past.partition_point(|past| past.to < end))?;
        (past.from <= end).then_some(past.revision)
    }

    fn note_emitted(&mut self, end: i64) {
        let (from, to) = self.emitted.unwrap_or((end, end));
        self.emitted = Some((from.min(end), to.max(end)));
    }

    /// The robot's clock begins anew and all windows are closed: they open again, and are remembered
    /// as emitted.
    pub fn begin_anew(&mut self) {
        let evicted = self.evicted.take().map_or(0, |(_, revision)| revision);
        let highest = std::mem::take(&mut self.revisions).into_values().max();
        self.flushed_to = None;
        let Some((from, to)) = self.emitted.take() else {
            return;
        };
        let mut span = Past {
            from,
            to,
            revision: highest.unwrap_or(0).max(evicted),
        };
        self.past.retain(|past| {
            let is_apart = past.to < span.from || past.from > span.to;
            if !is_apart {
                span = span.with(past);
            }
            is_apart
        });
        let at = self.past.partition_point(|past| past.to < span.from);
        self.past.insert(at, span);
        if self.past.len() > PAST_MAX {
            let gap = |at: &usize| self.past[at + 1].from.saturating_sub(self.past[*at].to);
            let nearest = (0..self.past.len() - 1).min_by_key(gap).unwrap_or(0);
            let next = self.past.remove(nearest + 1);
            self.past[nearest] = self.past[nearest].with(&next);
        }
    }

    /// Evicts the revision numbers of windows that no row can correct any more.
    pub fn evict(&mut self, clock: i64, delays: Delays) {
        while let Some(entry) = self.revisions.first_entry() {
            if evict_at(*entry.key(), delays) > clock {
                break;
            }
            let (end, revision) = entry.remove_entry();
            let highest = self.evicted.map_or(0, |(_, highest)| highest);
            let evicted_to = self.evicted.map_or(end, |(to, _)| to.max(end));
            self.evicted = Some((evicted_to, highest.max(revision)));
        }
    }
}

/// The clock from which no row, and no fragment opened by a row, can touch a window that ends at
/// `end`.
pub(super) fn evict_at(end: i64, delays: Delays) -> i64 {
    end + delays.lateness_us + delays.fragment_us
}
