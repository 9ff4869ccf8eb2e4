//! Robots and procedures as the store has them, read at most once a second however many ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use theatre_actors::ports::{CheckpointStore, Result};
use theatre_actors::processor::ProcessorView;
use theatre_actors::time::{Clock, LogTime};

/// How old an answer may be.
const AGE_MAX: Duration = Duration::from_secs(1);

/// All robots at one moment.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// When the store was read.
    pub(crate) as_of: LogTime,
    /// By id.
    pub(crate) robots: Vec<ProcessorView>,
}

impl Fleet {
    /// One robot.
    pub(crate) fn robot(&self, id: &str) -> Option<&ProcessorView> {
        let place = self
            .robots
            .binary_search_by(|view| view.robot_id.as_str().cmp(id));
        place.ok().map(|place| &self.robots[place])
    }
}

/// Keeps the last answer.
#[derive(Default)]
pub(crate) struct Snapshot(Mutex<Option<(Instant, Arc<Fleet>)>>);

impl Snapshot {
    /// All robots, at most a second old. Blocks; of several callers one reads, the others wait for
    /// it.
    pub(crate) fn fleet(
        &self,
        store: &dyn CheckpointStore,
        clock: &dyn Clock,
    ) -> Result<Arc<Fleet>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, fleet)) = kept.as_ref().filter(|(at, _)| at.elapsed() < AGE_MAX) {
            return Ok(fleet.clone());
        }
        let as_of = clock.now();
        let robots = theatre_queries::robots(store)?;
        let fleet = Arc::new(Fleet { as_of, robots });
        *kept = Some((Instant::now(), fleet.clone()));
        Ok(fleet)
    }
}
