//! Erases what dead letters hold. Their numbers, places and reasons stay: by these a record that is
//! read again is known for a dead letter, and accounted for once.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use theatre_actors::ports::{CheckpointStore, Result, StoredDead};
use theatre_actors::position::Partition;
use theatre_actors::time::Clock;
use theatre_pipeline::outbox::DEAD_LETTER_RELAY;

use super::{Pages, Selection};

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
    /// When the store does not answer, and what `hold` fails with. The command can be repeated.
    pub fn run(
        &self,
        report: &mut Report,
        hold: &mut dyn FnMut() -> Result<()>,
        progress: &mut dyn FnMut(&Report),
    ) -> Result<()> {
        let replays = self.store.dead_replays()?.into_iter();
        let in_doubt = replays.filter(|replay| replay.offset.is_none());
        let in_doubt: HashSet<(Partition, u64)> = in_doubt
            .map(|replay| (replay.partition, replay.sequence))
            .collect();
        let mut published: HashMap<Partition, u64> = HashMap::new();
        let mut pages = Pages::begin(self.store, self.selection)?;
        while let Some(page) = pages.next()? {
            let mut purged = Vec::new();
            for stored in &page {
                let done = report.purged + purged.len() as u64;
                if self.selection.is_enough(done) {
                    break;
                }
                report.selected += 1;
                let up_to = self.published(&mut published, stored.partition)?;
                match refusal(stored, up_to, &in_doubt) {
                    Some(why) => *report.refused.entry(why).or_default() += 1,
                    None => purged.push((stored.partition, stored.sequence)),
                }
            }
            if self.dry_run {
                report.purged += purged.len() as u64;
            } else if !purged.is_empty() {
                hold()?;
                report.purged += self.store.purge_dead(&purged, self.clock.now())?;
                progress(report);
            }
            if self.selection.is_enough(report.purged) {
                break;
            }
        }
        Ok(())
    }

    /// The number up to which a partition's dead letters are published, as the store knows.
    fn published(&self, known: &mut HashMap<Partition, u64>, partition: Partition) -> Result<u64> {
        if let Some(up_to) = known.get(&partition) {
            return Ok(*up_to);
        }
        let status = self.store.status(partition)?;
        let up_to = status.cursors.get(&DEAD_LETTER_RELAY.name);
        known.insert(partition, up_to);
        Ok(up_to)
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
