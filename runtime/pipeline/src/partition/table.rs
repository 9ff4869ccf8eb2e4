//! Rows of a chunk by processor: one message for each that has any.
//!
//! Rows are noted as they come and counted by processor; then each goes to its place in one array
//! that all messages of the chunk share. It costs what the chunk holds, however many processors
//! there are.

use std::sync::Arc;

use theatre_actors::host::Segment;
use theatre_actors::rows::Rows;

use crate::intake::Chunk;

/// Where the share of each slot stands in the table of a chunk. Kept from chunk to chunk and never
/// cleared: what a slot's share says of itself decides whether it is that of this chunk.
#[derive(Default)]
pub(super) struct Places(Vec<u32>);

/// What a slot gets of a chunk.
struct Share {
    slot: usize,
    /// How many rows.
    rows: usize,
}

/// A row on its way.
#[derive(Clone, Copy, Default)]
struct Noted {
    batch: u32,
    row: u32,
}

/// Collects rows by slot.
#[derive(Default)]
pub(super) struct Table {
    /// In the order of their first rows.
    shares: Vec<Share>,
    /// All rows, each with the number of its share.
    noted: Vec<(u32, Noted)>,
}

impl Table {
    /// Adds a row to a processor's share; `places` are the partition's.
    pub(super) fn push(&mut self, places: &mut Places, slot: usize, batch: u32, row: u32) {
        if places.0.len() <= slot {
            places.0.resize(slot + 1, 0);
        }
        let place = &mut places.0[slot];
        match self.shares.get_mut(*place as usize) {
            Some(share) if share.slot == slot => share.rows += 1,
            _ => {
                *place = self.shares.len() as u32;
                self.shares.push(Share { slot, rows: 1 });
            }
        }
        self.noted.push((*place, Noted { batch, row }));
    }

    /// The shares of processors that `wanted` names, as messages in slot order: runs of rows of one
    /// batch, in order.
    pub(super) fn finish(
        self,
        chunk: &Chunk,
        wanted: impl FnMut(usize) -> bool,
    ) -> Vec<(usize, Vec<Segment>)> {
        self.by_slot(wanted, |batch, rows| {
            let (topic, batch) = &chunk.batches[batch as usize];
            Segment {
                topic: *topic,
                batch: batch.clone(),
                rows,
            }
        })
    }

    /// Orders by slot whatever `make` makes of a run's batch and rows.
    fn by_slot<T>(
        self,
        mut wanted: impl FnMut(usize) -> bool,
        make: impl Fn(u32, Rows) -> T,
    ) -> Vec<(usize, Vec<T>)> {
        // Where the next row of each share goes.
        let mut next = Vec::with_capacity(self.shares.len());
        let mut before = 0;
        for share in &self.shares {
            next.push(before);
            before += share.rows;
        }
        let mut sorted = vec![Noted::default(); self.noted.len()];
        for (share, noted) in self.noted {
            let place = &mut next[share as usize];
            sorted[*place] = noted;
            *place += 1;
        }
        let rows: Arc<[u32]> = sorted.iter().map(|noted| noted.row).collect();
        let mut work = Vec::with_capacity(self.shares.len());
        for (share, end) in self.shares.into_iter().zip(next) {
            if !wanted(share.slot) {
                continue;
            }
            let mut from = end - share.rows;
            let runs = sorted[from..end].chunk_by(|one, next| one.batch == next.batch);
            let runs = runs.map(|run| {
                let range = from..from + run.len();
                from = range.end;
                make(run[0].batch, Rows::of(&rows, range))
            });
            work.push((share.slot, runs.collect()));
        }
        work.sort_unstable_by_key(|(slot, _)| *slot);
        work
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Rows of one chunk after another as (slot, batch), numbered in each batch as they come.
    fn chunks() -> impl Strategy<Value = Vec<Vec<(usize, u32)>>> {
        let row = (prop_oneof![0..4_usize, 0..2_000_usize], 0..3_u32);
        prop::collection::vec(prop::collection::vec(row, 0..80), 1..6)
    }

    proptest! {
        #[test]
        fn every_processor_gets_its_rows_of_each_chunk_in_order(chunks in chunks()) {
            let mut places = Places::default();
            for chunk in chunks {
                let mut table = Table::default();
                let mut expected = BTreeMap::<usize, Vec<(u32, Vec<u32>)>>::new();
                let mut rows = [0_u32; 3];
                for (slot, batch) in chunk {
                    let row = rows[batch as usize];
                    rows[batch as usize] += 1;
                    table.push(&mut places, slot, batch, row);
                    let runs = expected.entry(slot).or_default();
                    match runs.last_mut() {
                        Some((last, rows)) if *last == batch => rows.push(row),
                        _ => runs.push((batch, vec![row])),
                    }
                }
                // One that panicked gets none.
                expected.remove(&1);
                let work = table.by_slot(|slot| slot != 1, |batch, rows| (batch, rows.to_vec()));
                prop_assert_eq!(work, expected.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
