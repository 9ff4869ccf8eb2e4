//! What a benchmark's run reads and publishes: topics of its own, as many as `theatre run` reads.

use std::sync::Arc;

use clap::ValueEnum;
use theatre_actors::outputs::{self, Topic};
use theatre_config::INPUT_TOPICS;
use theatre_pipeline::PipelineParams;
use theatre_pipeline::input_schemas::InputSchemas;
use theatre_system::clock::SystemClock;

/// Which input topics a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Inputs {
    /// All that `theatre run` reads; all but the one with the records are empty, as they mostly are
    /// in a fleet.
    All,
    /// Only the topic with the records.
    One,
}

impl Inputs {
    /// The word for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::One => "one",
        }
    }

    /// The topics of `run` that stand in for the standard ones, all empty.
    pub(super) fn empty(self, run: &str) -> Vec<String> {
        match self {
            Self::All => INPUT_TOPICS[1..]
                .iter()
                .map(|topic| format!("{run}.{topic}"))
                .collect(),
            Self::One => Vec::new(),
        }
    }

    /// Reads `topic` in place of the standard telemetry, topics of `run` in place of the others, and
    /// publishes to topics of `run`.
    pub(super) fn set(self, params: &mut PipelineParams, topic: &str, run: &str) {
        let mut topics = vec![topic.to_owned()];
        topics.extend(self.empty(run));
        let clock = Arc::new(SystemClock);
        let schemas = topics.iter().map(|topic| {
            let (registry, clock) = (params.registry.clone(), clock.clone());
            Arc::new(InputSchemas::shared(topic, registry, clock))
        });
        params.inputs = Arc::new(schemas.collect());
        params.topics = Arc::new(topics);
        for spec in outputs::ALL {
            if matches!(spec.topic, Topic::Named(_)) {
                let topic = format!("{run}.{}s", spec.name);
                params.output_topics.set(spec.kind, topic);
            }
        }
    }
}
