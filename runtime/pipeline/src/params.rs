//! What a pipeline does, apart from where: what a configuration makes of it.

mod inputs;
mod processor;

use std::sync::Arc;

use theatre_actors::control::ControlBook;
use theatre_actors::outputs::OutputTopics;
use theatre_actors::processor::ProcessorConfig;
use theatre_actors::time::Clock;
use theatre_config::check::Faults;
use theatre_config::inputs::SchemaSources;
use theatre_config::store::KeptTables;
use theatre_config::{Config, ConfigError};
use theatre_schemas::pseudonym::Pseudonyms;
use theatre_schemas::registry::Registry;
use theatre_telemetry::traces::Traces;

use crate::input_schemas::InputSchemas;
use crate::{Limits, intake, outbox};

pub use inputs::registry;
pub use processor::window_plan;

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

impl PipelineParams {
    /// The pipeline that a configuration makes, with pseudonyms under `key`.
    ///
    /// # Errors
    /// When schemas, rules, windows or indicators do not fit together; names all faults.
    pub fn from_config(
        config: &Config,
        key: [u8; 32],
        sources: &dyn SchemaSources,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let mut faults = config.faults();
        let made = Self::try_out(config, key, sources, clock, &mut faults);
        faults.checked()?;
        made.ok_or_else(|| ConfigError("the configuration makes no pipeline".to_owned()))
    }

    /// The pipeline as far as it can be had; what is wrong is added to `faults`. Without a fault
    /// there is a pipeline.
    pub fn try_out(
        config: &Config,
        key: [u8; 32],
        sources: &dyn SchemaSources,
        clock: &Arc<dyn Clock>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let (registry, inputs) = inputs::registry_and_inputs(config, sources, faults);
        let windows = processor::windows(config, faults);
        // A dataset that could not be made is at no other fault than its schema.
        let processor = if inputs.is_some() {
            processor::processor(config, &registry, windows?, faults)
        } else {
            None
        };
        let registry = Arc::new(registry);
        let (inputs, processor) = (inputs?, processor?);
        Some(Self {
            partitions: config.partitions,
            topics: Arc::new(inputs.iter().map(|input| input.topic.clone()).collect()),
            inputs: Arc::new(
                inputs
                    .into_iter()
                    .map(|input| Arc::new(input.schemas(&registry, clock.clone())))
                    .collect(),
            ),
            output_topics: OutputTopics::new(|kind| config.output_topic(kind)),
            lake: config.lake.enabled,
            warehouse: config.lake.enabled && config.warehouse.enabled,
            tables: tables(config),
            sinks: Vec::new(),
            rules_approval: config.rules_approval,
            processor: Arc::new(processor),
            registry,
            pseudonyms: Arc::new(Pseudonyms::new(key)),
            limits: Limits::of(config),
            cores: std::thread::available_parallelism().map_or(2, usize::from),
            traces: Traces::default(),
        })
    }
}

/// The tables that are kept: the embedded store has none.
fn tables(config: &Config) -> KeptTables {
    match &config.store.url {
        Some(_) => config.store.tables,
        None => KeptTables::Off,
    }
}

impl PipelineParams {
    /// Takes over the order of inputs that a store has recorded, since positions are stored by it:
    /// inputs that the store does not know come after all that it does. Nothing changes where the
    /// store knows one that is not configured, which the start refuses.
    pub fn follow(&mut self, known: &[String]) {
        let place = |topic: &String| known.iter().position(|other| other == topic);
        if known.iter().any(|topic| !self.topics.contains(topic)) {
            return;
        }
        let mut order: Vec<usize> = (0..self.topics.len()).collect();
        order.sort_by_key(|at| place(&self.topics[*at]).unwrap_or(known.len() + at));
        self.topics = Arc::new(order.iter().map(|at| self.topics[*at].clone()).collect());
        self.inputs = Arc::new(order.iter().map(|at| self.inputs[*at].clone()).collect());
    }

    /// The same, of inputs that the store knows and no others: for commands that look at a store
    /// which the next start is going to give more inputs.
    pub fn follow_only(&mut self, known: &[String]) {
        self.follow(known);
        if self.topics.starts_with(known) {
            self.topics = Arc::new(self.topics[..known.len()].to_vec());
            self.inputs = Arc::new(self.inputs[..known.len()].to_vec());
        }
    }
}

/// The pipeline of a configuration that names no schema source.
#[cfg(test)]
pub(crate) fn without_sources(config: &Config) -> Result<PipelineParams, ConfigError> {
    let clock: Arc<dyn Clock> = Arc::new(theatre_system::clock::SystemClock);
    PipelineParams::from_config(config, [0; 32], &theatre_config::inputs::NoSources, &clock)
}

#[cfg(test)]
mod tests;
