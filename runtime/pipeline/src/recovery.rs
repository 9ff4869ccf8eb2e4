//! Rebuilding one processor after a panic: back to its last save, and forward again row by row.
//!
//! A row that panics again is buried (dead-lettered as poison) and the processor goes on from the
//! state before it, so that the state is the one without it. Other processors are not touched; they
//! go on with the next chunk.

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::control::{self, ControlBook};
use theatre_actors::host::{GuardedProcessor, Reply, Segment};
use theatre_actors::outputs::Outputs;
use theatre_actors::ports::{Error, EventLog, Result};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_actors::processor::{Processor, ProcessorConfig};
use theatre_schemas::batch::Batch;

use super::intake::{Chunk, Entry, Intake, IntakeParams};
use super::{PipelineParams, Ports};

/// Which processor to rebuild, over which rows.
pub(super) struct RebuildRequest<'a> {
    pub(super) partition: Partition,
    pub(super) robot: &'a str,
    /// Read from here: the lowest position the processor may still need.
    pub(super) from: &'a Positions,
    /// Up to here: where the partition stands.
    pub(super) until: &'a Positions,
    pub(super) params: &'a PipelineParams,
    pub(super) ports: &'a Ports,
    /// What was said to all robots of the partition.
    pub(super) book: &'a Arc<ControlBook>,
}

/// A processor that has seen all rows up to the partition's position, and what it concluded since
/// its last save.
pub(super) struct Rebuilt {
    pub(super) processor: Processor,
    pub(super) outputs: Outputs,
}

/// How long to wait before a log is asked again that had nothing to bring and has not ended.
const FETCH_REST: Duration = Duration::from_millis(5);

/// Rebuilds a processor.
///
/// # Errors
/// Port errors; nothing has changed then, and the rebuild can be tried again.
pub(super) fn rebuild(case: &RebuildRequest<'_>) -> Result<Rebuilt> {
    let config = &case.params.processor;
    let processor = match case.ports.store.processor(case.partition, case.robot)? {
        Some(stored) => restore(case.robot, &stored.state, config)?.under(case.book),
        None => Processor::begun(case.robot, config.clone(), case.book, case.from),
    };
    let mut careful = RowByRowReplay {
        robot: case.robot,
        partition: case.partition,
        config,
        book: case.book,
        processor,
        outputs: Outputs::default(),
    };
    let place = (case.partition, case.params.intake());
    read(&*case.ports.log, place, case.from, case.until, |chunk| {
        let mut entries = chunk.entries.iter();
        entries.try_for_each(|entry| careful.take(chunk, *entry, case.until))
    })?;
    Ok(Rebuilt {
        processor: careful.processor,
        outputs: careful.outputs,
    })
}

/// Reads a partition's input again from one position until another, which it had reached before;
/// hands on each chunk. The last one may go beyond.
///
/// # Errors
/// Port errors, those of `take`, and when records below `until` are not there.
pub fn read(
    log: &dyn EventLog,
    (partition, params): (Partition, IntakeParams),
    from: &Positions,
    until: &Positions,
    mut take: impl FnMut(&Chunk) -> Result<()>,
) -> Result<()> {
    let mut intake = Intake::open(log, partition, params, from)?;
    let mut reached = from.clone();
    while !reached.covers(until) {
        let chunk = intake.poll()?;
        if chunk.is_empty() && !chunk.caught_up {
            // Not fetched yet; a reader that brings nothing for long fails by itself.
            std::thread::sleep(FETCH_REST);
            continue;
        }
        if chunk.is_empty() {
            return Err(Error::Unavailable {
                what: "event log",
                why: format!(
                    "rows below {:?} that were read before are not there",
                    until.as_slice()
                ),
            });
        }
        take(&chunk)?;
        reached = chunk.to;
    }
    Ok(())
}

struct RowByRowReplay<'a> {
    partition: Partition,
    robot: &'a str,
    config: &'a Arc<ProcessorConfig>,
    book: &'a Arc<ControlBook>,
    processor: Processor,
    outputs: Outputs,
}

impl RowByRowReplay<'_> {
    fn take(&mut self, chunk: &Chunk, entry: Entry, until: &Positions) -> Result<()> {
        let Entry::Row { batch, row } = entry else {
            return Ok(());
        };
        let (topic, batch) = &chunk.batches[batch as usize];
        let at = row as usize;
        let name = batch.robot_id(at);
        let is_wide = batch.dataset.kind.reaches_partitions()
            && control::is_robot(self.robot)
            && control::partition_of(name) == Some(self.partition);
        if batch.offsets[at] >= until.get(*topic) || !(name == self.robot || is_wide) {
            return Ok(());
        }
        self.apply(*topic, batch, row)
    }

    fn apply(&mut self, topic: TopicIndex, batch: &Arc<Batch>, row: u32) -> Result<()> {
        let before = self.processor.snapshot();
        let processor = std::mem::replace(
            &mut self.processor,
            Processor::new(self.robot, self.config.clone()),
        );
        let mut shell = GuardedProcessor::new(processor);
        match shell.deliver(&[Segment {
            topic,
            batch: batch.clone(),
            rows: vec![row].into(),
        }]) {
            Reply::Applied { outputs } => {
                self.processor = shell.into_processor();
                self.keep(outputs);
            }
            Reply::Panicked { message } => {
                self.processor = restore(self.robot, &before, self.config)?.under(self.book);
                let mut outputs = Outputs::default();
                self.processor
                    .dead_letter_row(topic, batch, row as usize, &message, &mut outputs);
                self.keep(outputs);
            }
        }
        Ok(())
    }

    fn keep(&mut self, outputs: Outputs) {
        self.outputs.events.extend(outputs.events);
        self.outputs.dead.extend(outputs.dead);
        self.outputs.urgent |= outputs.urgent;
    }
}

fn restore(robot: &str, state: &[u8], config: &Arc<ProcessorConfig>) -> Result<Processor> {
    Processor::restore(robot, state, config.clone()).map_err(|error| {
        Error::Refused(format!(
            "the state of processor '{robot}' cannot be read back: {error}"
        ))
    })
}
