//! The tables that people read in the store: each has a row for each output that was written there.
//!
//! Tables of kinds that expire are left out: store and table lose their old ones at different
//! moments.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use theatre_actors::outputs::{ALL, OutputEvent};
use theatre_actors::ports::{PartitionStatus, Result, StoredOutput};
use theatre_pipeline::outbox::{self, TABLES};
use theatre_pipeline::{PipelineParams, Ports};

use super::Findings;

/// The rows that tables should have, by what tells them apart; with each, whether it may have been
/// erased.
#[derive(Default)]
pub(super) struct Written(BTreeMap<&'static str, HashMap<u64, bool>>);

impl Written {
    /// Notes outputs of a partition, of which those up to the consumer's position are written;
    /// `could_be_erased` says whether one is of what was erased.
    ///
    /// # Errors
    /// As `could_be_erased`.
    pub(super) fn note(
        &mut self,
        status: &PartitionStatus,
        outputs: &[StoredOutput],
        could_be_erased: impl Fn(&OutputEvent) -> Result<bool>,
    ) -> Result<()> {
        let position = status.cursors.get(&TABLES.name);
        let written = outputs.iter().filter(|stored| stored.sequence <= position);
        for output in written.map(|stored| &stored.output) {
            let spec = output.kind.spec();
            if spec.expires {
                continue;
            }
            let mut hasher = DefaultHasher::new();
            let of_its_own = spec.table.keeps_every_row.then_some(output.revision);
            (&output.id, of_its_own).hash(&mut hasher);
            let rows = self.0.entry(spec.table.name).or_default();
            let erased = rows.entry(hasher.finish()).or_default();
            *erased |= could_be_erased(output)?;
        }
        Ok(())
    }

    /// Compares them with the rows that are there, and says how many there are of each table; of
    /// none where the tables are not kept. More are no fault while the consumer goes on.
    ///
    /// # Errors
    /// When something cannot be read.
    pub(super) fn judge(
        &self,
        params: &PipelineParams,
        ports: &Ports,
        statuses: &[PartitionStatus],
        found: &mut Findings,
    ) -> Result<BTreeMap<&'static str, u64>> {
        let mut rows = BTreeMap::new();
        if !outbox::active(params).any(|consumer| consumer == TABLES) {
            return Ok(rows);
        }
        for spec in ALL {
            rows.insert(spec.table.name, ports.store.row_count(spec.kind)?);
        }
        let mut moves = false;
        for (partition, before) in (0..).zip(statuses) {
            let now = ports.store.status(partition)?;
            moves |= now.cursors.get(&TABLES.name) != before.cursors.get(&TABLES.name);
        }
        for spec in ALL.iter().filter(|spec| !spec.expires) {
            let name = spec.table.name;
            let wanted = self.0.get(name);
            let erased = wanted.map_or(0, |rows| rows.values().filter(|is| **is).count());
            let wanted = wanted.map_or(0, HashMap::len) as u64;
            let there = rows[name];
            if there + (erased as u64) < wanted || there > wanted && !moves {
                found.gaps.push(format!(
                    "table {name} in the store: {there} rows, the outputs that were written make {wanted}"
                ));
            }
        }
        Ok(rows)
    }
}
