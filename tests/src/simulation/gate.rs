//! The gate around every port call of one process: passes it, fails it, does it and does not
//! answer, has a commit come in late, or crashes the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use theatre_actors::ports::*;
use theatre_actors::position::Partition;
use theatre_pipeline::Ports;

use super::World;

mod bugs;
mod lake;
mod log;
mod store;

use lake::{GatedLake, GatedWarehouse};
use log::GatedLog;
use store::GatedStore;

/// Commits that the store has begun and that no caller waits for any more: their caller has given
/// up, they hold their partition's lock, and readers do not see them yet. PostgreSQL can hold one
/// so while it waits for its disk or a standby.
#[derive(Default)]
pub(super) struct Late(Mutex<Vec<Commit>>);

type Commit = Box<dyn FnOnce(&dyn CheckpointStore) + Send>;

impl Late {
    /// They come in; a new write waits for that.
    fn land(&self, store: &dyn CheckpointStore) {
        let begun = self
            .0
            .lock()
            .map(|mut begun| std::mem::take(&mut *begun))
            .unwrap_or_default();
        begun.into_iter().for_each(|commit| commit(store));
    }

    fn begin(&self, commit: Commit) {
        if let Ok(mut begun) = self.0.lock() {
            begun.push(commit);
        }
    }
}

/// How far each topic is trimmed for the owners; the log itself keeps everything.
#[derive(Default)]
pub(super) struct Trimmed(Mutex<BTreeMap<(String, Partition), u64>>);

impl Trimmed {
    /// The first offset that can be read.
    pub(super) fn start(&self, topic: &str, partition: Partition) -> u64 {
        let starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        starts
            .get(&(topic.to_owned(), partition))
            .copied()
            .unwrap_or(0)
    }

    fn trim(&self, topic: &str, partition: Partition, before: u64) {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = starts.entry((topic.to_owned(), partition)).or_default();
        *start = before.max(*start);
    }
}

/// Under which epoch each lane was opened last: an older owner cannot publish on it any more.
#[derive(Default)]
pub(super) struct Lanes(Mutex<LaneEpochs>);

#[derive(Default)]
struct LaneEpochs {
    opened: BTreeMap<(Partition, &'static str), Epoch>,
    violation: Option<String>,
}

impl Lanes {
    /// What was committed too early, if anything was.
    pub(super) fn violation(&self) -> Option<String> {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.violation.clone()
    }

    fn opened(&self, partition: Partition, lane: Lane, epoch: Epoch) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lanes.opened.entry((partition, lane.as_str())).or_default();
        *last = epoch.max(*last);
    }

    /// Nothing is to be committed under an epoch while an older owner has a lane on which it could
    /// publish that.
    fn check(&self, commit: &PartitionCommit) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (partition, epoch) = (commit.partition, commit.epoch);
        let open = lanes
            .opened
            .iter()
            .find(|((of, _), opened)| *of == partition && **opened < epoch);
        if let Some(((_, lane), opened)) = open {
            lanes.violation = Some(format!(
                "epoch {epoch} commits while the lane of {lane} is open under epoch {opened}"
            ));
        }
    }
}

/// The fate of one process's calls.
pub(super) struct Gate {
    random: Mutex<ChaCha8Rng>,
    dead: AtomicBool,
    rate: f64,
    /// How often a commit is given up by its caller and comes in late.
    late: f64,
}

impl Gate {
    pub(super) fn new(seed: u64, rate: f64) -> Arc<Self> {
        Arc::new(Self {
            random: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            dead: AtomicBool::new(false),
            rate,
            late: rate * 6.0,
        })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(super) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub(super) fn revive(&self) {
        self.dead.store(false, Ordering::Relaxed);
    }

    fn roll(&self) -> f64 {
        self.random
            .lock()
            .map(|mut random| random.random::<f64>())
            .unwrap_or(1.0)
    }

    fn call<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let lost = |why: &str| {
            Err(Error::Unavailable {
                what: "simulation",
                why: why.to_owned(),
            })
        };
        if self.is_dead() {
            return lost("the process is dead");
        }
        let (before, crash_before) = (self.roll(), self.roll());
        if crash_before < self.rate / 4.0 {
            self.kill();
            return lost("crashed before the call");
        }
        if before < self.rate {
            return lost("not done");
        }
        let done = work();
        let (after, crash_after) = (self.roll(), self.roll());
        if crash_after < self.rate / 4.0 {
            self.kill();
            return lost("crashed after the call");
        }
        if after < self.rate {
            lost("done, but not answered")
        } else {
            done
        }
    }

    /// The world's ports behind this gate.
    pub(super) fn around(self: &Arc<Self>, world: &World) -> Ports {
        let ports = &world.ports;
        Ports {
            log: Arc::new(GatedLog {
                inner: ports.log.clone(),
                gate: self.clone(),
                trimmed: world.trimmed.clone(),
                lanes: world.lanes.clone(),
            }),
            store: Arc::new(GatedStore {
                inner: ports.store.clone(),
                log: ports.log.clone(),
                gate: self.clone(),
                late: world.late.clone(),
                lanes: world.lanes.clone(),
                bug: world.bug,
            }),
            lake: Arc::new(GatedLake {
                inner: ports.lake.clone(),
                gate: self.clone(),
            }),
            warehouse: Arc::new(GatedWarehouse {
                inner: ports.warehouse.clone(),
                plain_lake: ports.lake.clone(),
                gate: self.clone(),
            }),
            clock: ports.clock.clone(),
        }
    }
}
