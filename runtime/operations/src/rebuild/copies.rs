//! Records that were sent again (`theatre dlq replay`) and that the lake does not have: it keeps the
//! first record of a number, and of one that was refused at first, as one from the future, the
//! copy that was applied is in the log alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use theatre_actors::ports::{CheckpointStore, DeadReplay, EventLog, Result};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_parquet::merge::Source;
use theatre_parquet::records::{RecordReader, Records};
use theatre_pipeline::PipelineParams;
use theatre_pipeline::intake::reread::Reread;

use crate::dead_letters::reading::{Lookup, reread_patiently};

/// Rows of a cut, from a file of the lake or from the log.
pub(super) enum Rows<'a> {
    File(RecordReader),
    /// Copies of a topic, in order.
    Copies(Copies<'a>),
}

impl Source for Rows<'_> {
    fn read_next(&mut self) -> Result<Option<Records>> {
        match self {
            Self::File(reader) => reader.read_next(),
            Self::Copies(copies) => copies.read_next(),
        }
    }
}

/// An input topic and an offset in it.
type Place = (TopicIndex, u64);

/// Copies of one topic, of which each is looked up when its turn comes.
pub(super) struct Copies<'a> {
    params: &'a PipelineParams,
    lookup: Lookup<'a>,
    topic: TopicIndex,
    name: &'a str,
    partition: Partition,
    offsets: VecDeque<u64>,
    lost: Rc<RefCell<BTreeSet<Place>>>,
}

impl Copies<'_> {
    /// The next one. One that could not be decoded is a row of no actor.
    fn read_next(&mut self) -> Result<Option<Records>> {
        while let Some(offset) = self.offsets.pop_front() {
            let place = (self.name, self.partition);
            let mut found = None;
            self.lookup.visit(place, offset, &mut |record| {
                found = Some((record.value.to_vec(), record.append_time));
            })?;
            let Some((value, appended_at)) = found else {
                self.lost.borrow_mut().insert((self.topic, offset));
                continue;
            };
            let params = self.params.intake();
            let read = reread_patiently(&params, self.topic, &value, appended_at)?;
            if let Reread::Row(batch) = read {
                let mut batch = batch.as_ref().clone();
                batch.offsets = vec![offset];
                return Ok(Some(Records {
                    batch: batch.into(),
                    topics: vec![(self.name.to_owned(), 1)],
                }));
            }
        }
        Ok(None)
    }
}

/// The copies of a cut, whether the lake has them, too, or not.
pub(super) struct Between<'a> {
    /// Where they are read from.
    pub(super) rows: Vec<Rows<'a>>,
    /// Those that were not met, with their dead letters.
    left: BTreeMap<Place, (Partition, u64)>,
    lost: Rc<RefCell<BTreeSet<Place>>>,
}

/// The copies in a partition between two positions.
///
/// # Errors
/// When the store does not answer.
pub(super) fn between<'a>(
    params: &'a PipelineParams,
    (log, store): (&'a dyn EventLog, &dyn CheckpointStore),
    partition: Partition,
    (from, until): (&Positions, &Positions),
) -> Result<Between<'a>> {
    let mut between = Between {
        rows: Vec::new(),
        left: BTreeMap::new(),
        lost: Rc::default(),
    };
    for (topic, name) in params.topics.iter().enumerate() {
        let within = from.get(topic)..until.get(topic);
        let mut offsets = VecDeque::new();
        for replay in store.dead_replays_within(topic, partition, within)? {
            if let Some(offset) = replay.offset {
                let letter = (replay.partition, replay.sequence);
                between.left.insert((topic, offset), letter);
                offsets.push_back(offset);
            }
        }
        if !offsets.is_empty() {
            between.rows.push(Rows::Copies(Copies {
                params,
                lookup: Lookup::new(log),
                topic,
                name,
                partition,
                offsets,
                lost: between.lost.clone(),
            }));
        }
    }
    Ok(between)
}

impl Between<'_> {
    /// The row at a place was met, in the lake or in the log.
    pub(super) fn meet(&mut self, topic: TopicIndex, offset: u64) {
        if !self.left.is_empty() {
            self.left.remove(&(topic, offset));
        }
    }

    /// Copies that neither lake nor log has, in words.
    pub(super) fn lost(&self, topics: &[String]) -> Vec<String> {
        let lost = self.lost.borrow();
        let in_words = |place: &Place| {
            let ((topic, offset), (of, number)) = (place, self.left.get(place)?);
            let name = topics.get(*topic)?;
            Some(format!(
                "the copy of dead letter {of} {number} at offset {offset} of {name} is not in the log any more"
            ))
        };
        lost.iter().filter_map(in_words).collect()
    }
}

/// Replays of which it is not known whether there is a copy in a partition below these positions,
/// in words.
///
/// # Errors
/// When the store does not answer.
pub(super) fn in_doubt(
    params: &PipelineParams,
    store: &dyn CheckpointStore,
    partition: Partition,
    until: &Positions,
) -> Result<Vec<String>> {
    let mut all = store.dead_replays_in_doubt()?;
    all.retain(|replay| replay.to == partition && replay.after < until.get(replay.topic));
    let in_words = |replay: &DeadReplay| {
        let name = params.topics.get(replay.topic)?;
        Some(format!(
            "a replay of dead letter {} {} to {name} was interrupted, so it is not known whether a copy stands there at offset {} or above (`theatre dlq replay` finds it)",
            replay.partition, replay.sequence, replay.after
        ))
    };
    Ok(all.iter().filter_map(in_words).collect())
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::DeadLetterStore;
    use theatre_actors::time::LogTime;

    use super::*;
    use crate::dead_letters::test_site::Site;

    fn replay(sequence: u64, to: Partition, after: u64, offset: Option<u64>) -> DeadReplay {
        DeadReplay {
            partition: 0,
            sequence,
            count: 1,
            topic: 0,
            to,
            after,
            offset,
            begun_at: LogTime(1),
        }
    }

    #[test]
    fn copies_that_are_gone_or_in_doubt_are_gaps() {
        let site = Site::new();
        for value in [b"?a", b"?b", b"?c", b"?d", b"?e"] {
            site.append(0, value);
        }
        let topic = site.topic().to_owned();
        let replays = [
            replay(1, 0, 1, Some(1)),
            replay(2, 0, 1, Some(2)),
            replay(3, 0, 1, Some(4)),
            replay(4, 0, 3, None),
            replay(5, 0, 5, None),
            replay(6, 1, 0, None),
        ];
        site.store.begin_dead_replays(&replays).unwrap();
        site.log.trim(&topic, 0, 3).unwrap();
        let mut until = Positions::zero();
        until.advance(0, 5);
        let whole = (&Positions::zero(), &until);
        let mut found = between(&site.params, (&site.log, &site.store), 0, whole).unwrap();
        let mut rows = found.rows.pop().unwrap();
        assert!(rows.read_next().unwrap().is_none() && found.rows.is_empty());
        // The lake has it.
        found.meet(0, 2);
        let gone = format!(
            "the copy of dead letter 0 1 at offset 1 of {topic} is not in the log any more"
        );
        assert_eq!(found.lost(&site.params.topics), [gone]);
        let doubt = in_doubt(&site.params, &site.store, 0, &until).unwrap();
        assert!(
            doubt.len() == 1 && doubt[0].contains("letter 0 4 ") && doubt[0].contains("offset 3 "),
            "{doubt:?}"
        );
    }
}
