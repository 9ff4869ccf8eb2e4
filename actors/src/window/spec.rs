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
}

impl SpecState {
    /// Nothing remembered yet.
    pub fn new(spec: WindowSpec) -> Self {
        Self {
            spec,
            flushed_to: None,
            revisions: BTreeMap::new(),
            evicted: None,
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

    /// Counts and returns the next revision of the window that ends at `end`. A window whose entry
    /// was evicted continues above the highest evicted revision: numbers may be skipped, but never
    /// repeat.
    pub fn next_revision(&mut self, end: i64) -> u32 {
        let floor = match self.evicted {
            Some((evicted_to, revision)) if end <= evicted_to => revision,
            _ => 0,
        };
        let revision = self.revisions.entry(end).or_insert(floor);
        *revision = revision.saturating_add(1);
        *revision
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
