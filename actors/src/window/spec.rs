//! What is remembered of one kind of window, and how long things wait.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::WindowSpec;

/// Before any time there is.
pub(super) const BEFORE_ALL_TIME: i64 = i64::MIN;
/// How long things wait, microseconds, all within [`super::plan::WAIT_LIMIT_US`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Delays {
    pub reorder_us: i64,
    pub lateness_us: i64,
    pub fragment_us: i64,
}

/// What is remembered per kind of window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SpecState {
    pub spec: WindowSpec,
    /// Windows that end at or before this were closed by a flush, ahead of the watermark.
    pub flushed_to: Option<i64>,
    /// Highest revision told, by end of window, of windows that rows may still correct.
    pub revisions: BTreeMap<i64, u32>,
    /// The highest revision among those forgotten, and their highest end.
    evicted: Option<(i64, u32)>,
}

impl SpecState {
    pub fn new(spec: WindowSpec) -> Self {
        Self {
            spec,
            flushed_to: None,
            revisions: BTreeMap::new(),
            evicted: None,
        }
    }

    pub fn closed_to(&self, watermark: i64) -> i64 {
        watermark.max(self.flushed_to.unwrap_or(BEFORE_ALL_TIME))
    }

    pub fn is_pane_required(&self, pane_start: i64, watermark: i64) -> bool {
        self.spec.ends_over(pane_start).1 > self.closed_to(watermark)
    }

    /// How many windows over a pane have closed.
    pub fn closed_windows_over(&self, pane_start: i64, watermark: i64) -> u32 {
        let (first, last) = self.spec.ends_over(pane_start);
        let closed_to = self.closed_to(watermark).min(last);
        if closed_to < first {
            0
        } else {
            ((closed_to - first) / self.spec.hop_us + 1) as u32
        }
    }

    pub fn next_revision(&mut self, end: i64) -> u32 {
        let floor = match self.evicted {
            Some((evicted_to, revision)) if end <= evicted_to => revision,
            _ => 0,
        };
        let revision = self.revisions.entry(end).or_insert(floor);
        *revision = revision.saturating_add(1);
        *revision
    }

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
