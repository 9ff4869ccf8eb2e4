//! Robots and procedures as the store has them, read at most once a second however many ask.

use std::sync::{Arc, Mutex, PoisonError};

use theatre_actors::ports::{CheckpointStore, Result};
use theatre_actors::processor::ProcessorView;
use theatre_actors::time::{Clock, LogTime};

/// How old an answer may be, microseconds.
const AGE_MAX_US: i64 = 1_000_000;

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
pub(crate) struct Snapshot(Mutex<Option<Arc<Fleet>>>);

impl Snapshot {
    /// All robots, at most a second old. Blocks; of several callers one reads, the others wait for
    /// it.
    pub(crate) fn fleet(
        &self,
        store: &dyn CheckpointStore,
        clock: &dyn Clock,
    ) -> Result<Arc<Fleet>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let as_of = clock.now();
        // A clock that was set back makes no answer last for ever.
        let is_fresh = |fleet: &&Arc<Fleet>| (0..AGE_MAX_US).contains(&(as_of.0 - fleet.as_of.0));
        if let Some(fleet) = kept.as_ref().filter(is_fresh) {
            return Ok(fleet.clone());
        }
        let robots = theatre_queries::robots(store)?;
        let fleet = Arc::new(Fleet { as_of, robots });
        *kept = Some(fleet.clone());
        Ok(fleet)
    }
}
