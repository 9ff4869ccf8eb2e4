//! The tables that people read in the store: each has a row for each output that was written there.
//!
//! Tables of kinds that expire are left out: store and table lose their old ones at different
//! moments.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use theatre_actors::outputs::ALL;
use theatre_actors::ports::{PartitionStatus, Result, StoredOutput};
use theatre_pipeline::outbox::{self, TABLES};
use theatre_pipeline::{PipelineParams, Ports};

use super::Findings;

/// The rows that tables should have, by what tells them apart.
#[derive(Default)]
pub(super) struct Written(BTreeMap<&'static str, HashSet<u64>>);

impl Written {
    /// Notes outputs of a partition, of which those up to the consumer's position are written.
    pub(super) fn note(&mut self, status: &PartitionStatus, outputs: &[StoredOutput]) {
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
            rows.insert(hasher.finish());
        }
    }

    /// Compares them with the rows that are there. More are no fault while the consumer goes on.
    ///
    /// # Errors
    /// When something cannot be read.
    pub(super) fn judge(
        &self,
        params: &PipelineParams,
        ports: &Ports,
        statuses: &[PartitionStatus],
        found: &mut Findings,
    ) -> Result<()> {
        if !outbox::active(params).any(|consumer| consumer == TABLES) {
            return Ok(());
        }
        let mut counts = Vec::new();
        for spec in ALL.iter().filter(|spec| !spec.expires) {
            let name = spec.table.name;
            let wanted = self.0.get(name).map_or(0, HashSet::len) as u64;
            counts.push((name, wanted, ports.store.row_count(spec.kind)?));
        }
        let mut moves = false;
        for (partition, before) in (0..).zip(statuses) {
            let now = ports.store.status(partition)?;
            moves |= now.cursors.get(&TABLES.name) != before.cursors.get(&TABLES.name);
        }
        for (name, wanted, there) in counts {
            if there < wanted || there > wanted && !moves {
                found.gaps.push(format!(
                    "table {name} in the store: {there} rows, the outputs that were written make {wanted}"
                ));
            }
        }
        Ok(())
    }
}
