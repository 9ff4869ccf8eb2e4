//! What is done about dead letters: their records are sent again once what was wrong is mended
//! ([`replay`]), or what they hold is erased ([`purge`]). Both hold a [lease](crate::lease) meanwhile, so that
//! two of them never work at once.
//!
//! Nothing of either touches what a partition's owner writes: a replayed record is a new record of
//! its topic, and an erased dead letter keeps number, place and reason.

mod ledger;
pub mod purge;
pub(crate) mod reading;
mod records;
pub mod replay;
#[cfg(test)]
pub(crate) mod test_site;

use serde::Serialize;
use theatre_actors::outputs::DeadReason;
use theatre_actors::ports::{CheckpointStore, Result, StoredDead};
use theatre_actors::position::{Partition, TopicIndex};

/// Dead letters that are looked at together. The largest of them hold 256 KiB.
const PAGE: usize = 200;

/// Which dead letters are meant. All that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// This one: its partition and number.
    pub one: Option<(Partition, u64)>,
    /// These ones; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub some: Vec<(Partition, u64)>,
    /// Those with one of these reasons; empty: any.
    pub reasons: Vec<DeadReason>,
    /// Those of an input topic, by its place among them.
    pub topic: Option<TopicIndex>,
    /// Those of a robot, as far as it was known: a record that could not be decoded names none.
    pub robot: Option<String>,
    /// Those whose record was appended then or later, microseconds UTC.
    pub from: Option<i64>,
    /// Those whose record was appended before, microseconds UTC.
    pub until: Option<i64>,
    /// At most so many are sent, or erased, the oldest of each partition first; 0: all.
    pub limit: u64,
}

impl Selection {
    /// Whether so many are enough.
    fn is_enough(&self, done: u64) -> bool {
        self.limit > 0 && done >= self.limit
    }

    /// Whether a dead letter is meant by its partition and number.
    fn names(&self, letter: (Partition, u64)) -> bool {
        self.one == Some(letter) || self.some.contains(&letter)
    }

    /// Whether a dead letter is meant, apart from the limit.
    pub fn takes(&self, stored: &StoredDead) -> bool {
        let dead = &stored.dead;
        let is_it = |one| one == (stored.partition, stored.sequence);
        self.one.is_none_or(is_it)
            && (self.some.is_empty() || self.some.iter().any(|one| is_it(*one)))
            && (self.reasons.is_empty() || self.reasons.contains(&dead.reason))
            && self.topic.is_none_or(|topic| topic == dead.topic)
            && (self.robot.as_ref()).is_none_or(|robot| dead.robot_id.as_ref() == Some(robot))
            && self.from.is_none_or(|from| dead.append_time >= from)
            && self.until.is_none_or(|until| dead.append_time < until)
    }
}

/// The dead letters of a selection, page by page, as they were when it began: one that comes
/// meanwhile, as of a record that was sent again in vain, is not among them.
struct Pages<'a> {
    store: &'a dyn CheckpointStore,
    selection: &'a Selection,
    /// Partitions that are left, the next one last: where to go on, and the last number.
    left: Vec<(Partition, u64, u64)>,
}

impl<'a> Pages<'a> {
    fn begin(store: &'a dyn CheckpointStore, selection: &'a Selection) -> Result<Self> {
        let (_, partitions) = store.layout()?.unwrap_or_default();
        let mut left = Vec::new();
        for (partition, number) in selection.some.iter().rev() {
            left.push((*partition, number.saturating_sub(1), *number));
        }
        let partitions = if selection.some.is_empty() {
            partitions
        } else {
            0
        };
        for partition in (0..partitions).rev() {
            match selection.one {
                Some((of, number)) if of == partition => {
                    left.push((partition, number.saturating_sub(1), number));
                }
                Some(_) => {}
                None => left.push((partition, 0, store.status(partition)?.last_dead)),
            }
        }
        Ok(Self {
            store,
            selection,
            left,
        })
    }

    /// The next ones that are meant; `None` at the end. A page may have none of them.
    fn next(&mut self) -> Result<Option<Vec<StoredDead>>> {
        while let Some((partition, after, last)) = self.left.pop() {
            let still = usize::try_from(last.saturating_sub(after)).unwrap_or(PAGE);
            let mut page = self.store.dead_after(partition, after, still.min(PAGE))?;
            let Some(reached) = page.last().map(|stored| stored.sequence) else {
                continue;
            };
            if reached < last {
                self.left.push((partition, reached, last));
            }
            page.retain(|stored| stored.sequence <= last && self.selection.takes(stored));
            return Ok(Some(page));
        }
        Ok(None)
    }
}

/// What is done with the dead letters of a selection, page by page.
trait Worker {
    /// These come next.
    fn turn_to(&mut self, page: &[StoredDead]) -> Result<()>;

    /// Takes one that is meant; says whether it counts for the limit.
    fn take(&mut self, stored: &StoredDead) -> Result<bool>;

    /// Does what is left to do with those that were taken.
    fn end_page(&mut self) -> Result<()>;
}

/// Goes through a selection, up to its limit.
fn walk(store: &dyn CheckpointStore, selection: &Selection, worker: &mut dyn Worker) -> Result<()> {
    let mut pages = Pages::begin(store, selection)?;
    let mut taken = 0;
    while let Some(page) = pages.next()? {
        worker.turn_to(&page)?;
        for stored in &page {
            taken += u64::from(worker.take(stored)?);
            if selection.is_enough(taken) {
                return worker.end_page();
            }
        }
        worker.end_page()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::test_site::Site;
    use super::*;

    #[test]
    fn a_selection_means_what_all_of_its_parts_mean() {
        let site = Site::new();
        let (bad, late) = (DeadReason::BadFrame, DeadReason::Late);
        for (partition, offset, reason) in [(0, 0, bad), (0, 1, late), (0, 2, bad), (1, 0, bad)] {
            site.bury_as(partition, offset, b"?", reason);
        }
        let numbers = |selection: Selection| -> Vec<(Partition, u64)> {
            let mut pages = Pages::begin(&site.store, &selection).unwrap();
            let mut found = Vec::new();
            while let Some(page) = pages.next().unwrap() {
                found.extend(page.iter().map(|it| (it.partition, it.sequence)));
            }
            found
        };
        let all = Selection::default;
        assert_eq!(numbers(all()), [(0, 1), (0, 2), (0, 3), (1, 1)]);
        let only = |change: fn(&mut Selection)| {
            let mut selection = all();
            change(&mut selection);
            numbers(selection)
        };
        assert_eq!(only(|it| it.one = Some((0, 2))), [(0, 2)]);
        assert_eq!(only(|it| it.one = Some((0, 4))), []);
        assert_eq!(only(|it| it.one = Some((9, 1))), []);
        assert_eq!(only(|it| it.reasons = vec![DeadReason::Late]), [(0, 2)]);
        assert_eq!(only(|it| it.topic = Some(1)), []);
        assert_eq!(only(|it| it.robot = Some("r".to_owned())), []);
        assert_eq!(only(|it| it.from = Some(1_002)), [(0, 3)]);
        assert_eq!(only(|it| it.until = Some(1_001)), [(0, 1), (1, 1)]);
        let of_both = |it: &mut Selection| {
            it.reasons = vec![DeadReason::BadFrame, DeadReason::Future];
            it.until = Some(1_001);
        };
        assert_eq!(only(of_both), [(0, 1), (1, 1)]);
    }
}
