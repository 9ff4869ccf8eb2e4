//! Erases what dead letters hold. Their numbers, places and reasons stay: by these a record that is
//! read again is known for a dead letter, and accounted for once.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use theatre_actors::ports::{CheckpointStore, EventLog, Result, StoredDead};
use theatre_actors::position::Partition;
use theatre_actors::time::Clock;
use theatre_pipeline::outbox::DEAD_LETTER_RELAY;

use super::replay::APPENDER;
use super::{Selection, Worker, walk};

/// What was done, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Dead letters that were meant and looked at.
    pub selected: u64,
    /// Those of which the content was erased, or would be.
    pub purged: u64,
    /// Dead letters that stay as they are, by the reason: `purged` before, `unpublished`, or
    /// `in_replay`, of which a replay was interrupted.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Dead letters that are to be erased.
pub struct Purging<'a> {
    /// The store.
    pub store: &'a dyn CheckpointStore,
    /// The log that replays on other machines may append to; `None` of an embedded one.
    pub log: Option<&'a dyn EventLog>,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Which are meant.
    pub selection: &'a Selection,
    /// Only says what would be done.
    pub dry_run: bool,
}

impl Purging<'_> {
    /// Erases them; `hold` is called before each page and ends the work when it fails, `progress`
    /// after each. `report` says also after a failure what was done.
    ///
    /// # Errors
    /// When the store or the log does not answer, and what `hold` fails with. The command can be repeated.
    pub fn run(
        &self,
        report: &mut Report,
        hold: &mut dyn FnMut() -> Result<()>,
        progress: &mut dyn FnMut(&Report),
    ) -> Result<()> {
        // Before it is looked what is in doubt: nothing more comes of a replay that was frozen.
        let fence = self.log.filter(|_| !self.dry_run);
        let _appender = fence.map(|log| log.open_appender(APPENDER)).transpose()?;
        let in_doubt = self.store.dead_replays_in_doubt()?.into_iter();
        let mut work = Work {
            asked: self,
            in_doubt: in_doubt
                .map(|replay| (replay.partition, replay.sequence))
                .collect(),
            published: HashMap::new(),
            purged: Vec::new(),
            report,
            hold,
            progress,
        };
        walk(self.store, self.selection, &mut work)
    }
}

/// A purge under way.
struct Work<'a> {
    asked: &'a Purging<'a>,
    in_doubt: HashSet<(Partition, u64)>,
    /// The numbers up to which the dead letters of partitions are published, as the store knows.
    published: HashMap<Partition, u64>,
    /// What is to be erased.
    purged: Vec<(Partition, u64)>,
    report: &'a mut Report,
    hold: &'a mut dyn FnMut() -> Result<()>,
    progress: &'a mut dyn FnMut(&Report),
}

impl Work<'_> {
    fn published(&mut self, partition: Partition) -> Result<u64> {
        if let Some(up_to) = self.published.get(&partition) {
            return Ok(*up_to);
        }
        let status = self.asked.store.status(partition)?;
        let up_to = status.cursors.get(&DEAD_LETTER_RELAY.name);
        self.published.insert(partition, up_to);
        Ok(up_to)
    }
}

impl Worker for Work<'_> {
    fn turn_to(&mut self, _page: &[StoredDead]) -> Result<()> {
        (self.hold)()
    }

    fn take(&mut self, stored: &StoredDead) -> Result<bool> {
        self.report.selected += 1;
        let up_to = self.published(stored.partition)?;
        let refused = refusal(stored, up_to, &self.in_doubt);
        match refused {
            Some(why) => *self.report.refused.entry(why).or_default() += 1,
            None => self.purged.push((stored.partition, stored.sequence)),
        }
        Ok(refused.is_none())
    }

    fn end_page(&mut self) -> Result<()> {
        let purged = std::mem::take(&mut self.purged);
        if self.asked.dry_run {
            self.report.purged += purged.len() as u64;
        } else if !purged.is_empty() {
            (self.hold)()?;
            let now = self.asked.clock.now();
            self.report.purged += self.asked.store.purge_dead(&purged, now)?;
            (self.progress)(self.report);
        }
        Ok(())
    }
}

/// Why a dead letter stays as it is.
fn refusal(
    stored: &StoredDead,
    published: u64,
    in_doubt: &HashSet<(Partition, u64)>,
) -> Option<&'static str> {
    if stored.purged_at.is_some() {
        Some("purged")
    } else if stored.sequence > published {
        Some("unpublished")
    } else if in_doubt.contains(&(stored.partition, stored.sequence)) {
        Some("in_replay")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
