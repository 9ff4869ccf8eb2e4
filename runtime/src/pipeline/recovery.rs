//! Rebuilding one family after a panic: back to its last save, and forward again row by row.
//!
//! A row that panics again is buried (dead-lettered as poison) and the family goes on from the
//! state before it, so that the state is the one without it. Other families are not touched; they
//! go on with the next chunk.

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::effect::Effects;
use theatre_actors::family::{Family, FamilyConfig};
use theatre_actors::ports::{Error, Result};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_actors::shell::{FamilyShell, Reply, Segment};
use theatre_schemas::batch::Batch;

use super::intake::{Chunk, Entry, Intake};
use super::{PipelineParams, Ports};

/// Which family to rebuild, over which rows.
pub(super) struct Case<'a> {
    pub(super) partition: Partition,
    pub(super) robot: &'a str,
    /// Read from here: the lowest position the family may still need.
    pub(super) from: &'a Positions,
    /// Up to here: where the partition stands.
    pub(super) until: &'a Positions,
    pub(super) params: &'a PipelineParams,
    pub(super) ports: &'a Ports,
}

/// A family that has seen all rows up to the partition's position, and what it concluded since its
/// last save.
pub(super) struct Rebuilt {
    pub(super) family: Family,
    pub(super) effects: Effects,
}

/// How long to wait before a log is asked again that had nothing to bring and has not ended.
const FETCH_REST: Duration = Duration::from_millis(5);

/// Rebuilds a family.
///
/// # Errors
/// Port errors; nothing has changed then, and the rebuild can be tried again.
pub(super) fn rebuild(case: &Case<'_>) -> Result<Rebuilt> {
    let config = &case.params.family;
    let family = match case.ports.store.family(case.partition, case.robot)? {
        Some(stored) => restore(case.robot, &stored.state, config)?,
        None => Family::new(case.robot, config.clone()),
    };
    let mut careful = Careful {
        robot: case.robot,
        config,
        family,
        effects: Effects::default(),
    };
    let mut intake = Intake::open(
        &*case.ports.log,
        case.partition,
        case.params.intake(),
        case.from,
    )?;
    let mut reached = case.from.clone();
    while !reached.covers(case.until) {
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
                    case.until.as_slice()
                ),
            });
        }
        for entry in &chunk.entries {
            careful.take(&chunk, *entry, case.until)?;
        }
        reached = chunk.to;
    }
    Ok(Rebuilt {
        family: careful.family,
        effects: careful.effects,
    })
}

struct Careful<'a> {
    robot: &'a str,
    config: &'a Arc<FamilyConfig>,
    family: Family,
    effects: Effects,
}

impl Careful<'_> {
    fn take(&mut self, chunk: &Chunk, entry: Entry, until: &Positions) -> Result<()> {
        let Entry::Row { batch, row } = entry else {
            return Ok(());
        };
        let (topic, batch) = &chunk.batches[batch as usize];
        let at = row as usize;
        if batch.offsets[at] >= until.get(*topic) || batch.robot_id(at) != self.robot {
            return Ok(());
        }
        self.apply(*topic, batch, row)
    }

    fn apply(&mut self, topic: TopicIndex, batch: &Arc<Batch>, row: u32) -> Result<()> {
        let before = self.family.snapshot();
        let family = std::mem::replace(
            &mut self.family,
            Family::new(self.robot, self.config.clone()),
        );
        let mut shell = FamilyShell::new(family);
        match shell.deliver(&[Segment {
            topic,
            batch: batch.clone(),
            rows: vec![row],
        }]) {
            Reply::Applied { effects } => {
                self.family = shell.into_family();
                self.keep(effects);
            }
            Reply::Panicked { message } => {
                self.family = restore(self.robot, &before, self.config)?;
                let mut effects = Effects::default();
                self.family
                    .bury(topic, batch, row as usize, &message, &mut effects);
                self.keep(effects);
            }
        }
        Ok(())
    }

    fn keep(&mut self, effects: Effects) {
        self.effects.facts.extend(effects.facts);
        self.effects.dead.extend(effects.dead);
        self.effects.urgent |= effects.urgent;
    }
}

fn restore(robot: &str, state: &[u8], config: &Arc<FamilyConfig>) -> Result<Family> {
    Family::restore(robot, state, config.clone()).map_err(|error| {
        Error::Refused(format!(
            "the state of family '{robot}' cannot be read back: {error}"
        ))
    })
}
