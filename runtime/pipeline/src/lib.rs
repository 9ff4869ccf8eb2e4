//! The pipeline: the way of the data, one direction, no way back.
//!
//! ```text
//! log -> intake -> partition -> processors -> save queue -> checkpointer -> store -> relay    -> log (alerts, outcomes, dead letters)
//!                    |                                               |
//!                    +-> lake queue -> lake writer -> store (cuts)   +-> exporter, completer, loader -> lake, warehouse
//!                                                                    +-> tables -> store (tables for people)
//! ```
//!
//! Every component is a struct with a `step` that does a bounded piece of work through the ports
//! and says whether there was any. [`wiring`] lists those of a partition, [`lifecycle`] says what
//! may follow what, and [`supervisor`] gives each a thread; the simulation in `tests` steps the
//! same ones on one thread, under virtual time, in any order. Every queue between them is bounded;
//! a full one makes the partition stop polling, that to the lake only for a while.

pub mod actor_keys;
mod assignment;
mod backlog;
pub mod checkpointer;
pub mod commit_feed;
pub mod completer;
mod components;
pub mod ends;
pub mod exporter;
pub mod input_schemas;
pub mod intake;
pub mod lake_gap;
pub mod lake_writer;
pub mod lifecycle;
mod limits;
pub mod live;
pub mod loader;
mod loading;
pub mod notifier;
pub mod outbox;
pub mod params;
pub mod partition;
pub mod progress;
pub mod queue;
pub mod recovery;
pub mod relay;
pub mod retention;
pub mod retry;
pub mod run_loop;
pub mod supervisor;
pub mod tables;
mod taking;
pub mod trackers;
pub mod wiring;

use std::sync::Arc;

use theatre_actors::ports::{CheckpointStore, EventLog, Lake, Warehouse};
use theatre_actors::time::Clock;

pub use limits::Limits;
pub use params::PipelineParams;
pub use progress::Progress;
pub use wiring::{Pipeline, start};

/// The world, as ports.
#[derive(Clone)]
pub struct Ports {
    /// Event log.
    pub log: Arc<dyn EventLog>,
    /// Checkpoint store.
    pub store: Arc<dyn CheckpointStore>,
    /// Lake.
    pub lake: Arc<dyn Lake>,
    /// Warehouse.
    pub warehouse: Arc<dyn Warehouse>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
}

/// What a step found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something; ask again at once.
    Worked,
    /// Nothing; ask again after news or a pause.
    Idle,
}
