//! The records of dead letters: as the log still has them, else from their seals; and the search
//! for copies.

use std::collections::{HashMap, VecDeque};

use theatre_actors::outputs::DeadRow;
use theatre_actors::ports::{EventLog, PlaceInLog, RecordView, Result, StoredDead};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_pipeline::PipelineParams;
use theatre_pipeline::actor_keys::is_registry;
use theatre_pipeline::intake::reread;

use super::reading::{Forward, Lookup};

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
    lookup: Lookup<'a>,
}

impl<'a> Records<'a> {
    pub(super) fn new(params: &'a PipelineParams, log: &'a dyn EventLog) -> Self {
        Self {
            params,
            lookup: Lookup::new(log),
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
        let mut found = None;
        let place = (topic, partition);
        self.lookup.visit(place, dead.offset, &mut |record| {
            if reread::is_record_of(dead, record.append_time, record.value) {
                found = Some(Original {
                    key: Some(record.key.to_vec()),
                    value: record.value.to_vec(),
                });
            }
        })?;
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

/// Looks through a topic partition from the lowest offset at which one may stand to `end`, up to
/// which it can be read; returns the names of the records that are there, with their offsets. Of
/// equal records the first name gets the first one. Places of which `is_taken` says so are passed
/// over. `hold` is called meanwhile and ends the search when it fails.
pub(super) fn find<N>(
    log: &dyn EventLog,
    (topic, name, partition): (TopicIndex, &str, Partition),
    end: u64,
    wanted: impl IntoIterator<Item = Wanted<N>>,
    is_taken: &dyn Fn(PlaceInLog) -> Result<bool>,
    hold: &mut dyn FnMut() -> Result<()>,
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
    let from = from.max(log.range(name, partition)?.start);
    let mut found = Vec::new();
    let mut failed = Ok(());
    let mut visit = |record: RecordView<'_>| {
        let Some(names) = by_value.get_mut(record.value) else {
            return true;
        };
        let fits = |wanted: &Wanted<N>| {
            let key = wanted.key.as_deref();
            wanted.after <= record.offset && key.is_none_or(|key| key == record.key)
        };
        let Some(at) = names.iter().position(fits) else {
            return true;
        };
        match is_taken((topic, partition, record.offset)) {
            Ok(true) => {}
            Ok(false) => {
                found.extend(names.remove(at).map(|wanted| (wanted.name, record.offset)));
                left -= 1;
            }
            Err(error) => failed = Err(error),
        }
        left > 0 && failed.is_ok()
    };
    Forward::open(log, (name, partition), from)?.read_to(end, &mut visit, hold)?;
    failed.map(|()| found)
}
