//! The processors of a partition as they were saved, put into a host that has none yet.

use std::sync::Arc;

use theatre_actors::control::{self, ControlBook};
use theatre_actors::host::ProcessorHost;
use theatre_actors::ports::{CheckpointStore, Result};
use theatre_actors::position::Partition;
use theatre_actors::processor::{IntakeProcessor, Processor};
use theatre_telemetry::names;

use super::observed::Observed;
use super::routing::Routes;
use super::unsaved::UnsavedOutputs;
use super::{INTAKE_SLOT, unreadable};
use crate::progress::Progress;
use crate::{PipelineParams, Ports};

/// Restored processors between two reports of how many there are.
const SHOW_RESTORED_EVERY: usize = 256;

/// The processors of a partition as they were saved, but for those that the host has.
pub(super) struct Restored {
    pub(super) intake_processor: IntakeProcessor,
    pub(super) routes: Routes,
    pub(super) unsaved: UnsavedOutputs,
    pub(super) observed: Observed,
    /// What was said to all robots.
    pub(super) book: Arc<ControlBook>,
}

/// Restores all processors of a partition from the store into the host.
pub(super) fn restore(
    partition: Partition,
    params: &PipelineParams,
    ports: &Ports,
    host: &mut ProcessorHost,
    routes: Routes,
    progress: &Progress,
) -> Result<Restored> {
    let mut restored = Restored {
        intake_processor: IntakeProcessor::default(),
        routes,
        unsaved: UnsavedOutputs::new(params.limits.clone()),
        observed: Observed::default(),
        book: Arc::new(params.control_book()),
    };
    names::restore_progress(partition, 0.0);
    let all = ports.store.processors(partition)?;
    let count = all.len();
    // Before any robot: which rules it goes on under is in there.
    let own = control::name(partition);
    if let Some(stored) = all.iter().find(|stored| stored.processor == own) {
        let noted = restored.book.restore(&stored.state);
        noted.map_err(|error| unreadable(partition, &own, error))?;
    } else {
        inherit(partition, &*ports.store, &restored.book)?;
    }
    for (at, stored) in all.into_iter().enumerate() {
        if at % SHOW_RESTORED_EVERY == 0 {
            names::restore_progress(partition, at as f64 / count as f64);
            progress.taking.note(partition, at, count);
        }
        if stored.processor.is_empty() {
            restored.intake_processor = IntakeProcessor::restore(&stored.state)
                .map_err(|error| unreadable(partition, "", error))?;
            let unsaved = &mut restored.unsaved;
            unsaved.restore(INTAKE_SLOT, &Arc::from(""), stored.save_number);
            continue;
        }
        let processor =
            Processor::restore(&stored.processor, &stored.state, params.processor.clone())
                .map_err(|error| unreadable(partition, &stored.processor, error))?
                .under(&restored.book);
        let slot = restored.routes.add(&stored.processor);
        let open = processor.open_conditions();
        restored.observed.restored(slot, open);
        host.insert(slot, processor);
        let name = restored.routes.name(slot);
        restored.unsaved.restore(slot, name, stored.save_number);
    }
    restored.book.settle();
    names::restore_progress(partition, 1.0);
    Ok(restored)
}

/// A partition that a repartition has made begins with what was said to all robots before. It has
/// no actor of its own that remembers it until something is said again.
///
/// # Errors
/// When the store cannot be asked, or its state cannot be read.
pub fn inherit(
    partition: Partition,
    store: &dyn CheckpointStore,
    book: &ControlBook,
) -> Result<()> {
    let layouts = store.past_layouts()?;
    let before = layouts
        .iter()
        .rev()
        .find(|layout| layout.partitions <= partition);
    let Some(read) = before.and_then(|layout| layout.ended_at.first()) else {
        return Ok(());
    };
    let first = control::name(0);
    match store.processor(0, &first)? {
        Some(stored) => book
            .inherit(&stored.state, read)
            .map_err(|error| unreadable(0, &first, error)),
        None => Ok(()),
    }
}
