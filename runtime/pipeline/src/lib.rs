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
//! and says whether there was any. [`wiring`] lists those of a partition, [`lifecycle`] says what may
//! follow what, and [`supervisor`] gives each a thread; the simulation in `tests` steps the same ones
//! on one thread, under virtual time, in any order. Every queue between them is bounded; a
//! full one makes the partition stop polling, that to the lake only for a while.

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
use std::time::Duration;

use theatre_actors::control::ControlBook;
use theatre_actors::outputs::OutputTopics;
use theatre_actors::ports::{CheckpointStore, EventLog, Lake, Warehouse};
use theatre_actors::processor::ProcessorConfig;
use theatre_actors::rules::Micros;
use theatre_actors::time::Clock;
use theatre_config::Config;
use theatre_config::store::KeptTables;
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::Registry;
use theatre_telemetry::traces::Traces;

use crate::input_schemas::InputSchemas;

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

/// Every bound of the pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Most records one poll of a topic brings.
    pub poll_records: usize,
    /// Most bytes one poll of a topic brings.
    pub poll_bytes: usize,
    /// Longest record that is decoded, bytes.
    pub record_bytes: usize,
    /// A processor with news is saved after this long.
    pub save_interval: Duration,
    /// One commit of a partition holds about this many bytes.
    pub commit_bytes: usize,
    /// Unsaved outputs and dead letters of a partition, bytes: beyond it processors are saved
    /// early; at four times it, polling stops.
    pub unsaved_bytes: usize,
    /// Chunks waiting for the lake writer of a partition.
    pub lake_queue: usize,
    /// A partition waits so long for its lake writer to take a chunk; then it goes on without, and
    /// the writer reads by itself what it has missed.
    pub lake_patience: Duration,
    /// A lake cut is made when a partition's open files hold this many bytes.
    pub lake_roll_bytes: usize,
    /// A lake cut is made when the oldest row in an open file has waited this long.
    pub lake_roll_age: Duration,
    /// A lake cut is made when a partition has more open files than this. A chunk is written whole
    /// first; days keep its files few.
    pub lake_open_files: usize,
    /// Memory of a partition's open lake files, bytes; beyond it a cut is made.
    pub lake_memory_bytes: usize,
    /// Outputs in one export.
    pub export_outputs: usize,
    /// Outputs wait at most this long to be exported.
    pub export_age: Duration,
    /// Files in one warehouse load.
    pub load_files: usize,
    /// Records in one relay transaction.
    pub relay_records: usize,
    /// Input older than this by its append time is deleted once processors and lake need it no
    /// more.
    pub log_retention: Duration,
    /// Outputs of the kinds that expire, committed longer ago than this, are deleted from the store
    /// once all consumers of the outbox have delivered them.
    pub window_retention: Duration,
}

impl Limits {
    /// The bounds that a configuration sets, and the fixed ones.
    pub fn of(config: &Config) -> Self {
        let duration = |micros: Micros| Duration::from_micros(micros.0.unsigned_abs());
        Self {
            poll_records: 4096,
            poll_bytes: 2 << 20,
            record_bytes: config.record_bytes,
            save_interval: duration(config.save_interval),
            commit_bytes: 128 << 10,
            unsaved_bytes: 1 << 20,
            lake_queue: 2,
            lake_patience: Duration::from_secs(5),
            lake_roll_bytes: 64 << 20,
            lake_roll_age: duration(config.lake_roll_age),
            lake_open_files: 32,
            lake_memory_bytes: 16 << 20,
            export_outputs: 4_000,
            export_age: duration(config.export_age),
            load_files: 64,
            relay_records: 1000,
            log_retention: duration(config.log_retention),
            window_retention: duration(config.window_retention),
        }
    }
}

/// The bounds of the default configuration.
impl Default for Limits {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}

/// What a pipeline does, apart from where.
#[derive(Clone)]
pub struct PipelineParams {
    /// Partitions of every topic.
    pub partitions: u32,
    /// Input topics, in the order that their positions are stored in.
    pub topics: Arc<Vec<String>>,
    /// Their schemas, in the same order.
    pub inputs: Arc<Vec<Arc<InputSchemas>>>,
    /// Topics that outputs are published to, by kind.
    pub output_topics: OutputTopics,
    /// Whether there is a lake at all.
    pub lake: bool,
    /// Whether the lake is loaded into a warehouse.
    pub warehouse: bool,
    /// Which tables for people to read are kept in the store.
    pub tables: KeptTables,
    /// Receivers of outputs beside log and lake.
    pub sinks: Vec<Arc<dyn outbox::OutputSink>>,
    /// Whether a change of rules counts only once another person approves it.
    pub rules_approval: bool,
    /// What processors do.
    pub processor: Arc<ProcessorConfig>,
    /// Schemas.
    pub registry: Arc<Registry>,
    /// Pseudonyms.
    pub pseudonyms: Arc<Pseudonyms>,
    /// Bounds.
    pub limits: Limits,
    /// Processors of the machine, which all partitions share.
    pub cores: usize,
    /// Where the ways of records are handed to that have ended.
    pub traces: Traces,
}

impl PipelineParams {
    /// The dead-letter topic of an input topic.
    pub fn dead_letter_topic(topic: &str) -> String {
        format!("{topic}.dlq")
    }

    /// The book of a partition in which nothing was said to all robots so far.
    pub fn control_book(&self) -> ControlBook {
        let inputs = self.inputs.iter().enumerate();
        let topics = inputs.filter(|(_, input)| input.reaches_partitions());
        let topics = topics.map(|(topic, _)| topic).collect();
        let datasets = self.registry.datasets();
        ControlBook::new(
            self.processor.clone(),
            datasets,
            topics,
            self.rules_approval,
        )
    }

    /// Every topic the pipeline reads or writes.
    pub fn all_topics(&self) -> Vec<String> {
        let dead = self
            .topics
            .iter()
            .map(|topic| Self::dead_letter_topic(topic));
        let outputs = self.output_topics.iter().map(str::to_owned);
        self.topics
            .iter()
            .cloned()
            .chain(outputs)
            .chain(dead)
            .collect()
    }

    /// What an intake of any partition needs.
    pub fn intake(&self) -> intake::IntakeParams {
        intake::IntakeParams {
            topics: self.topics.clone(),
            inputs: self.inputs.clone(),
            registry: self.registry.clone(),
            pseudonyms: self.pseudonyms.clone(),
            limits: self.limits.clone(),
        }
    }
}

/// What a step found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something; ask again at once.
    Worked,
    /// Nothing; ask again after news or a pause.
    Idle,
}
