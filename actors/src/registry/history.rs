//! Versions by event time, of reports that each say what something is from a moment on.
//!
//! A version begins only where something changed, and holds until the next one begins, so versions
//! never overlap. They are a function of the set of reports: late reports, repeated ones and those
//! of one moment in any order give what the sorted list gives. What was put out already is corrected
//! by revisions; a version that a late report makes superfluous is withdrawn by one.
//!
//! Bounded: the latest [`MOMENTS_MAX`] moments can still change. What lies before is settled; a
//! report about it is refused.

use serde::{Deserialize, Serialize};

use super::cells::Rank;

/// Moments of reports that are remembered, and of versions that were put out.
pub(crate) const MOMENTS_MAX: usize = 64;

/// What a report says from a moment on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    from: i64,
    /// Of several reports of one moment the highest one counts.
    rank: Rank,
    content: u32,
}

/// A version as it was put out last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Published {
    from: i64,
    revision: i32,
    is_withdrawn: bool,
    content: u32,
}

/// A version to be put out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version<A> {
    pub(crate) from: i64,
    pub(crate) revision: i32,
    pub(crate) is_withdrawn: bool,
    pub(crate) attributes: A,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    New,
    /// It was there, or one of its moment that outranks it.
    Known,
    /// Its moment is settled.
    Settled,
}

/// The reports about something, and the versions that were made of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct History<A> {
    /// What entries and versions say, each once.
    contents: Vec<A>,
    /// By moment. The first one holds from before the settled moment on, if there is one.
    entries: Vec<Entry>,
    /// By moment; of the settled ones the last that is not withdrawn only.
    published: Vec<Published>,
    /// Nothing changes up to this moment any more.
    settled: Option<i64>,
}

impl<A> Default for History<A> {
    fn default() -> Self {
        Self {
            contents: Vec::new(),
            entries: Vec::new(),
            published: Vec::new(),
            settled: None,
        }
    }
}

impl<A: Clone + PartialEq> History<A> {
    /// Takes a report. Versions follow when [`Self::publish`] is called.
    pub(crate) fn insert(&mut self, from: i64, rank: Rank, attributes: A) -> Inserted {
        if Some(from) <= self.settled {
            return Inserted::Settled;
        }
        let at = self.entries.partition_point(|entry| entry.from < from);
        let known = self.entries.get(at).filter(|entry| entry.from == from);
        if known.is_some_and(|entry| entry.rank >= rank) {
            return Inserted::Known;
        }
        let is_there = known.is_some();
        let content = self.intern(attributes);
        let entry = Entry {
            from,
            rank,
            content,
        };
        if is_there {
            self.entries[at] = entry;
        } else {
            self.entries.insert(at, entry);
        }
        Inserted::New
    }

    fn intern(&mut self, attributes: A) -> u32 {
        let found = self.contents.iter().position(|known| *known == attributes);
        let at = found.unwrap_or_else(|| {
            self.contents.push(attributes);
            self.contents.len() - 1
        });
        at as u32
    }

    /// The versions that have changed since the last call, by moment. `at` says what holds at a
    /// moment beside the reports, `edges` are the moments at which that changes.
    pub(crate) fn publish(&mut self, edges: &[i64], at: impl Fn(i64, &A) -> A) -> Vec<Version<A>> {
        let wanted = self.versions(edges, at);
        let mut changed = Vec::new();
        let mut wanted = wanted.into_iter().peekable();
        let is_open = |published: &&Published| Some(published.from) > self.settled;
        let before: Vec<Published> = self.published.iter().filter(is_open).cloned().collect();
        let mut before = before.into_iter().peekable();
        loop {
            let (next, known) = (
                wanted.peek().map(|it| it.0),
                before.peek().map(|it| it.from),
            );
            let moment = match (next, known) {
                (None, None) => break,
                (next, known) => next.into_iter().chain(known).min(),
            };
            let version = wanted.next_if(|(from, _)| Some(*from) == moment);
            let known = before.next_if(|known| Some(known.from) == moment);
            changed.extend(correction(version, known));
        }
        for change in &changed {
            self.note(change);
        }
        let changed = changed.into_iter().map(|change| Version {
            from: change.from,
            revision: change.revision,
            is_withdrawn: change.is_withdrawn,
            attributes: self.contents[change.content as usize].clone(),
        });
        let changed = changed.collect();
        self.bound();
        changed
    }

    /// The versions after the settled moment, by the reports.
    fn versions(&mut self, edges: &[i64], at: impl Fn(i64, &A) -> A) -> Vec<(i64, u32)> {
        let settled = self.settled;
        let moments = self.entries.iter().map(|entry| entry.from);
        let mut moments: Vec<i64> = moments.chain(edges.iter().copied()).collect();
        moments.retain(|moment| Some(*moment) > settled);
        moments.sort_unstable();
        moments.dedup();
        let mut last = self
            .published
            .iter()
            .filter(|published| Some(published.from) <= settled)
            .rfind(|published| !published.is_withdrawn)
            .map(|published| published.content);
        let mut versions = Vec::new();
        for moment in moments {
            let after = self.entries.partition_point(|entry| entry.from <= moment);
            let Some(entry) = after.checked_sub(1).map(|at| &self.entries[at]) else {
                continue;
            };
            let attributes = at(moment, &self.contents[entry.content as usize]);
            let content = self.intern(attributes);
            if last != Some(content) {
                versions.push((moment, content));
                last = Some(content);
            }
        }
        versions
    }

    fn note(&mut self, change: &Published) {
        let at = (self.published).partition_point(|published| published.from < change.from);
        match self.published.get_mut(at) {
            Some(published) if published.from == change.from => *published = change.clone(),
            _ => self.published.insert(at, change.clone()),
        }
    }

    /// Nothing up to this moment changes any more, whatever comes.
    pub(crate) fn settle(&mut self, moment: i64) {
        self.settled = self.settled.max(Some(moment));
        let settled = self.settled;
        let holds = |entry: &Entry| Some(entry.from) <= settled;
        let first = self.entries.partition_point(holds).saturating_sub(1);
        self.entries.drain(..first);
        let is_settled = |published: &Published| Some(published.from) <= settled;
        let last = (self.published.iter())
            .rposition(|published| is_settled(published) && !published.is_withdrawn);
        let mut at = 0..;
        self.published
            .retain(|published| !is_settled(published) || at.next() == last);
    }

    /// Keeps the bounds, and drops contents that nothing says any more.
    fn bound(&mut self) {
        if let Some(over) = self.entries.len().checked_sub(MOMENTS_MAX + 1) {
            self.settle(self.entries[over + 1].from);
        }
        if let Some(over) = self.published.len().checked_sub(2 * MOMENTS_MAX + 1) {
            self.settle(self.published[over].from);
        }
        let mut places: Vec<Option<u32>> = vec![None; self.contents.len()];
        let mut kept = Vec::new();
        let entries = self.entries.iter_mut().map(|entry| &mut entry.content);
        let published = self.published.iter_mut().map(|it| &mut it.content);
        for content in entries.chain(published) {
            let place = places[*content as usize].get_or_insert_with(|| {
                kept.push(self.contents[*content as usize].clone());
                kept.len() as u32 - 1
            });
            *content = *place;
        }
        self.contents = kept;
    }

    /// What holds at a moment, by the reports.
    pub(crate) fn at(&self, moment: i64) -> Option<&A> {
        let after = self.entries.partition_point(|entry| entry.from <= moment);
        let entry = self.entries.get(after.checked_sub(1)?)?;
        self.contents.get(entry.content as usize)
    }

    /// What holds at the end, by the reports.
    pub(crate) fn latest(&self) -> Option<&A> {
        let entry = self.entries.last()?;
        Some(&self.contents[entry.content as usize])
    }

    /// How many versions hold of those that can still change.
    pub(crate) fn count(&self) -> usize {
        (self.published.iter())
            .filter(|published| !published.is_withdrawn)
            .count()
    }
}

/// What is to be put out where a version is wanted and one is known, or only one of them.
fn correction(wanted: Option<(i64, u32)>, known: Option<Published>) -> Option<Published> {
    match (wanted, known) {
        (Some((from, content)), None) => Some(Published {
            from,
            revision: 0,
            is_withdrawn: false,
            content,
        }),
        (Some((_, content)), Some(known)) => {
            let is_same = !known.is_withdrawn && known.content == content;
            (!is_same).then(|| Published {
                revision: known.revision + 1,
                is_withdrawn: false,
                content,
                ..known
            })
        }
        (None, Some(known)) => (!known.is_withdrawn).then(|| Published {
            revision: known.revision + 1,
            is_withdrawn: true,
            ..known
        }),
        (None, None) => None,
    }
}

#[cfg(test)]
#[path = "history/tests.rs"]
mod tests;
