//! Records that were sent again (`theatre dlq replay`) and that the lake does not have: it keeps the
//! first record of a number, and of one that was refused at first, as one from the future, the
//! copy that was applied is in the log alone.

use std::collections::VecDeque;

use theatre_actors::ports::Result;
use theatre_actors::position::{Partition, Positions};
use theatre_parquet::merge::Source;
use theatre_parquet::records::{RecordReader, Records};
use theatre_pipeline::intake::reread::{Reread, reread};
use theatre_pipeline::{PipelineParams, Ports};

use crate::dead_letters::reading::Lookup;

/// Rows of a cut, from a file of the lake or from the log.
pub(super) enum Rows {
    File(RecordReader),
    /// Copies of a topic, in order.
    Copies(VecDeque<Records>),
}

impl Source for Rows {
    fn read_next(&mut self) -> Result<Option<Records>> {
        match self {
            Self::File(reader) => reader.read_next(),
            Self::Copies(copies) => Ok(copies.pop_front()),
        }
    }
}

/// The copies in a partition between two positions, as far as the log has them, whether the lake
/// has them, too, or not. One that could not be decoded is a row of no actor.
///
/// # Errors
/// When store or log do not answer, or a source of schemas does not.
pub(super) fn between(
    params: &PipelineParams,
    ports: &Ports,
    partition: Partition,
    (from, until): (&Positions, &Positions),
) -> Result<Vec<Rows>> {
    let mut lookup = Lookup::new(&*ports.log);
    let mut all = Vec::new();
    for (topic, name) in params.topics.iter().enumerate() {
        let offsets = from.get(topic)..until.get(topic);
        let replays = ports.store.dead_replays_within(topic, partition, offsets)?;
        let mut copies = VecDeque::new();
        for offset in replays.iter().filter_map(|replay| replay.offset) {
            let mut found = None;
            lookup.visit((name, partition), offset, &mut |record| {
                found = Some((record.value.to_vec(), record.append_time));
            })?;
            let Some((value, appended_at)) = found else {
                continue;
            };
            if let Reread::Row(batch) = reread(&params.intake(), topic, &value, appended_at)? {
                let mut batch = batch.as_ref().clone();
                batch.offsets = vec![offset];
                copies.push_back(Records {
                    batch: batch.into(),
                    topics: vec![(name.clone(), 1)],
                });
            }
        }
        if !copies.is_empty() {
            all.push(Rows::Copies(copies));
        }
    }
    Ok(all)
}
