//! What is remembered of one kind of window, and how long things wait.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::WindowSpec;

/// Before any time there is.
pub(super) const NEVER: i64 = i64::MIN;
/// How long things wait, microseconds, all within [`super::plan::WAIT_LIMIT_US`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Waits {
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
    forgotten: Option<(i64, u32)>,
}

impl SpecState {
    pub fn new(spec: WindowSpec) -> Self {
        Self {
            spec,
            flushed_to: None,
            revisions: BTreeMap::new(),
            forgotten: None,
        }
    }

    pub fn closed_to(&self, watermark: i64) -> i64 {
        watermark.max(self.flushed_to.unwrap_or(NEVER))
    }

    pub fn needs(&self, pane_start: i64, watermark: i64) -> bool {
        self.spec.ends_over(pane_start).1 > self.closed_to(watermark)
    }

    /// How many windows over a pane have closed.
    pub fn closed_over(&self, pane_start: i64, watermark: i64) -> u32 {
        let (first, last) = self.spec.ends_over(pane_start);
        let closed_to = self.closed_to(watermark).min(last);
        if closed_to < first {
            0
        } else {
            ((closed_to - first) / self.spec.hop_us + 1) as u32
        }
    }

    pub fn next_revision(&mut self, end: i64) -> u32 {
        let floor = match self.forgotten {
            Some((forgotten_to, revision)) if end <= forgotten_to => revision,
            _ => 0,
        };
        let revision = self.revisions.entry(end).or_insert(floor);
        *revision = revision.saturating_add(1);
        *revision
    }

    pub fn forget(&mut self, clock: i64, waits: Waits) {
        while let Some(entry) = self.revisions.first_entry() {
            if forget_at(*entry.key(), waits) > clock {
                break;
            }
            let (end, revision) = entry.remove_entry();
            let highest = self.forgotten.map_or(0, |(_, highest)| highest);
            let forgotten_to = self.forgotten.map_or(end, |(to, _)| to.max(end));
            self.forgotten = Some((forgotten_to, highest.max(revision)));
        }
    }
}

/// The clock from which no row, and no fragment opened by a row, can touch a window that ends at
/// `end`.
pub(super) fn forget_at(end: i64, waits: Waits) -> i64 {
    end + waits.lateness_us + waits.fragment_us
}
