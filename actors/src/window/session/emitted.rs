//! What was emitted of sessions: under which revision, and what was withdrawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::window::aggregate::SignalAggregate;

/// Most sessions of which it is remembered that they were emitted.
const EMITTED_MAX: usize = 128;

/// A session, or that one was withdrawn. Times are in microseconds UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    /// Event time of its first row; names it.
    pub start_us: i64,
    /// Event time of its last row.
    pub end_us: i64,
    /// 0 first, one more for each correction.
    pub revision: u32,
    /// It is in another session now.
    pub is_withdrawn: bool,
    /// It is a part of a longer chain.
    pub is_cut: bool,
    /// Active rows in it.
    pub rows: u64,
    /// One per signal of the dataset.
    pub signals: Vec<SignalAggregate>,
}

/// The sessions that were emitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct EmittedSessions {
    /// What was emitted last under each time.
    by_start: BTreeMap<i64, Emitted>,
    /// Of the sessions that were forgotten: the latest time, and the highest revision.
    forgotten: Option<(i64, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Emitted {
    revision: u32,
    rows: u64,
    to: i64,
    is_cut: bool,
    is_withdrawn: bool,
}

impl EmittedSessions {
    /// The times between two moments under which there is a session that is not withdrawn.
    pub(super) fn between(&self, first: i64, last: i64) -> Vec<i64> {
        let known = self.by_start.range(first..=last);
        let present = known.filter(|(_, known)| !known.is_withdrawn);
        present.map(|(start, _)| *start).collect()
    }

    /// Withdraws the session of a time.
    pub(super) fn withdraw(&mut self, start: i64) -> Option<SessionRow> {
        let known = self.by_start.get_mut(&start)?;
        known.is_withdrawn = true;
        known.revision = known.revision.saturating_add(1);
        Some(SessionRow {
            start_us: start,
            end_us: known.to,
            revision: known.revision,
            is_withdrawn: true,
            is_cut: known.is_cut,
            rows: 0,
            signals: Vec::new(),
        })
    }

    /// A session under its next revision; `None` when it was emitted as it is.
    pub(super) fn revise(&mut self, mut row: SessionRow) -> Option<SessionRow> {
        let content = Emitted {
            revision: 0,
            rows: row.rows,
            to: row.end_us,
            is_cut: row.is_cut,
            is_withdrawn: false,
        };
        let floor = self.forgotten.filter(|(to, _)| row.start_us <= *to);
        row.revision = match self.by_start.get(&row.start_us) {
            Some(known)
                if (Emitted {
                    revision: 0,
                    ..*known
                }) == content =>
            {
                return None;
            }
            Some(known) => known.revision.saturating_add(1),
            None => floor.map_or(0, |(_, revision)| revision.saturating_add(1)),
        };
        let revision = row.revision;
        let known = Emitted {
            revision,
            ..content
        };
        self.by_start.insert(row.start_us, known);
        while self.by_start.len() > EMITTED_MAX {
            let Some((start, known)) = self.by_start.pop_first() else {
                break;
            };
            let (to, highest) = self.forgotten.unwrap_or((start, known.revision));
            self.forgotten = Some((to.max(start), highest.max(known.revision)));
        }
        Some(row)
    }
}
