//! Rows of a chunk by family: one message per family and chunk, naming rows of the shared batches.

use theatre_actors::shell::Segment;

use crate::pipeline::intake::Chunk;

#[derive(Default)]
struct Share {
    /// Runs of rows of one batch, in order.
    runs: Vec<(u32, Vec<u32>)>,
}

/// Collects rows by slot.
#[derive(Default)]
pub(super) struct Table {
    shares: Vec<Share>,
}

impl Table {
    /// Adds a row to a family's share.
    pub(super) fn push(&mut self, slot: usize, batch: u32, row: u32) {
        if self.shares.len() <= slot {
            self.shares.resize_with(slot + 1, Share::default);
        }
        let runs = &mut self.shares[slot].runs;
        match runs.last_mut() {
            Some((last, rows)) if *last == batch => rows.push(row),
            _ => runs.push((batch, vec![row])),
        }
    }

    /// The shares of families that `wanted` names, as messages in slot order.
    pub(super) fn finish(self, chunk: &Chunk, mut wanted: impl FnMut(usize) -> bool) -> Vec<(usize, Vec<Segment>)> {
        let mut work = Vec::new();
        for (slot, share) in self.shares.into_iter().enumerate() {
            if share.runs.is_empty() || !wanted(slot) {
                continue;
            }
            let segments = share.runs.into_iter().map(|(batch, rows)| {
                let (topic, batch) = &chunk.batches[batch as usize];
                Segment { topic: *topic, batch: batch.clone(), rows }
            });
            work.push((slot, segments.collect()));
        }
        work
    }
}
