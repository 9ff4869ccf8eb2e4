//! The records of dead letters: as the log still has them, else from their seals; and the search
//! for copies.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use theatre_actors::outputs::DeadRow;
use theatre_actors::ports::{EventLog, LogReader, PollLimit, Result, StoredDead};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_pipeline::PipelineParams;
use theatre_pipeline::actor_keys::is_registry;
use theatre_pipeline::intake::reread;

use super::ledger::PlaceInLog;

/// Pause before a log is polled again that brought nothing and is not at its end.
const FETCH_REST: Duration = Duration::from_millis(5);
/// A record that lies no further ahead is read up to; one beyond is gone to.
const READ_ON: u64 = 2_000;

/// A record as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    /// Its key; `None` where it is not known any more.
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
}

/// Reads records of dead letters, which come roughly in the log's order.
pub(super) struct Records<'a> {
    params: &'a PipelineParams,
    log: &'a dyn EventLog,
    readers: HashMap<(TopicIndex, Partition), (Box<dyn LogReader>, u64)>,
}

impl<'a> Records<'a> {
    pub(super) fn new(params: &'a PipelineParams, log: &'a dyn EventLog) -> Self {
        Self {
            params,
            log,
            readers: HashMap::new(),
        }
    }

    /// The record of a dead letter; `None` where neither log nor seal has it whole. A registry's
    /// record that is not in the log was superseded, and its key must not get an older one back.
    pub(super) fn of(&mut self, stored: &StoredDead) -> Result<Option<Original>> {
        let dead = &stored.dead;
        let Some(topic) = self.params.topics.get(dead.topic) else {
            return Ok(None);
        };
        if let Some(found) = self.in_log(topic, stored.partition, dead)? {
            return Ok(Some(found));
        }
        let sealed = reread::sealed_record(dead, &self.params.pseudonyms);
        let sealed = sealed.filter(|_| !is_registry(topic));
        Ok(sealed.map(|value| Original { key: None, value }))
    }

    fn in_log(
        &mut self,
        topic: &str,
        partition: Partition,
        dead: &DeadRow,
    ) -> Result<Option<Original>> {
        let range = self.log.range(topic, partition)?;
        if !(range.start..range.end).contains(&dead.offset) {
            return Ok(None);
        }
        let place = (dead.topic, partition);
        let at_hand = self.readers.remove(&place);
        let near = |(_, next): &(_, u64)| {
            (dead.offset.saturating_sub(READ_ON)..=dead.offset).contains(next)
        };
        let (mut reader, mut next) = match at_hand.filter(near) {
            Some(at_hand) => at_hand,
            None => (self.log.reader(topic, partition, dead.offset)?, dead.offset),
        };
        let mut found = None;
        while next <= dead.offset {
            let left = dead.offset - next + 1;
            let limit = PollLimit {
                records: usize::try_from(left).unwrap_or(1),
                bytes: 1 << 20,
            };
            let end = reader.poll(limit, &mut |record| {
                if record.offset == dead.offset
                    && reread::is_record_of(dead, record.append_time, record.value)
                {
                    found = Some(Original {
                        key: Some(record.key.to_vec()),
                        value: record.value.to_vec(),
                    });
                }
            })?;
            if end.next_offset == next {
                if end.at_end {
                    break;
                }
                // A log that is fetched from afar brings nothing at first.
                std::thread::sleep(FETCH_REST);
            }
            next = end.next_offset;
        }
        self.readers.insert(place, (reader, next));
        Ok(found)
    }
}

/// A record that is looked for.
pub(super) struct Wanted<N> {
    /// What it is called.
    pub(super) name: N,
    /// It stands at this offset or above it.
    pub(super) after: u64,
    /// Its key, where that is known.
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
}

/// Looks through a topic partition from the lowest offset at which one may stand to the present end;
/// returns the names of the records that are there, with their offsets. Of equal records the first
/// name gets the first one. Places of which `is_taken` says so are passed over.
pub(super) fn find<N>(
    log: &dyn EventLog,
    (topic, name, partition): (TopicIndex, &str, Partition),
    wanted: impl IntoIterator<Item = Wanted<N>>,
    is_taken: &dyn Fn(PlaceInLog) -> bool,
) -> Result<Vec<(N, u64)>> {
    let mut by_value: HashMap<Vec<u8>, VecDeque<Wanted<N>>> = HashMap::new();
    let mut from = u64::MAX;
    for mut wanted in wanted {
        from = from.min(wanted.after);
        let value = std::mem::take(&mut wanted.value);
        by_value.entry(value).or_default().push_back(wanted);
    }
    let mut left: usize = by_value.values().map(VecDeque::len).sum();
    if left == 0 {
        return Ok(Vec::new());
    }
    let range = log.range(name, partition)?;
    let mut next = from.max(range.start);
    let mut reader = log.reader(name, partition, next)?;
    let mut found = Vec::new();
    while left > 0 && next < range.end {
        let limit = PollLimit {
            records: 4_096,
            bytes: 2 << 20,
        };
        let end = reader.poll(limit, &mut |record| {
            if is_taken((topic, partition, record.offset)) {
                return;
            }
            let Some(names) = by_value.get_mut(record.value) else {
                return;
            };
            let fits = |wanted: &Wanted<N>| {
                let key = wanted.key.as_deref();
                wanted.after <= record.offset && key.is_none_or(|key| key == record.key)
            };
            let at = names.iter().position(fits);
            if let Some(Wanted { name, .. }) = at.and_then(|at| names.remove(at)) {
                found.push((name, record.offset));
                left -= 1;
            }
        })?;
        if end.next_offset == next {
            if end.at_end {
                break;
            }
            std::thread::sleep(FETCH_REST);
        }
        next = end.next_offset;
    }
    Ok(found)
}
