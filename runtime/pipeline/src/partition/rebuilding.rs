//! Processors of a partition that panicked: each is rebuilt from its last save, row by row.

use theatre_actors::ports::Result;

use super::PartitionActor;
use crate::recovery::{RebuildRequest, rebuild};

impl PartitionActor {
    /// Rebuilds processors that panicked, once no commit is under way.
    pub(super) fn recover(&mut self) -> Result<bool> {
        if self.unsaved.in_flight() {
            return Ok(false);
        }
        let broken = self.unsaved.broken();
        for slot in &broken {
            self.recover_slot(*slot)?;
        }
        Ok(!broken.is_empty())
    }

    fn recover_slot(&mut self, slot: usize) -> Result<()> {
        let robot = self.unsaved.name(slot).clone();
        let from = self.unsaved.unsaved_from(slot);
        let from = from.unwrap_or(&self.positions).clone();
        let until = self.positions.clone();
        let rebuilt = rebuild(&RebuildRequest {
            partition: self.partition,
            robot: &robot,
            from: &from,
            until: &until,
            params: &self.params,
            ports: &self.ports,
            book: &self.book,
        })?;
        self.progress
            .count_outputs(rebuilt.outputs.events.iter().map(|output| &output.kind));
        self.progress.recovered();
        let open = rebuilt.processor.open_conditions();
        self.observed.restored(slot, open);
        self.host.remove(slot);
        self.host.insert(slot, rebuilt.processor);
        self.list_slot(slot);
        self.unsaved.replace(slot, rebuilt.outputs);
        Ok(())
    }
}
