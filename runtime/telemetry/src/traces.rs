//! Traces: the way of a record from the log to what it caused on the log.
//!
//! The pipeline notes on the way of a batch when each stage of it ended, one small value for each
//! processor and commit, as it does for the metrics. Whether the way becomes a trace is decided at
//! its end, when all of it is known: until then nothing is traced, so a way that is not sampled
//! costs a comparison. What is sampled is handed to a sink, which must not wait.

use std::sync::{Arc, Mutex, PoisonError};

use theatre_actors::ports::Epoch;
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::time::LogTime;

#[cfg(feature = "traces")]
mod export;
#[cfg(feature = "traces")]
mod otlp;
mod sampling;
#[cfg(feature = "traces")]
mod spans;

#[cfg(feature = "traces")]
pub use export::{Collector, Exporter, LogNames, start};
use sampling::Sampler;

/// The records that caused an output, and how far they were when it was put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// When the last of the records that were read together was appended to the log.
    pub appended: LogTime,
    /// When they had been read and decoded.
    pub read: LogTime,
    /// When the processors had applied them.
    pub applied: LogTime,
    /// Index of the topic of the last of them.
    pub topic: TopicIndex,
    /// Its offset.
    pub offset: u64,
    /// How many there were.
    pub records: usize,
}

impl Cause {
    /// The one that was appended first.
    pub fn first(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter()
            .chain(other)
            .min_by_key(|cause| cause.appended)
    }
}

/// The way of an output up to its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// What caused it.
    pub cause: Cause,
    /// When the commit that holds it was begun.
    pub submitted: LogTime,
    /// When the store had committed it.
    pub committed: LogTime,
    /// How often the store had failed to.
    pub commit_failures: u32,
}

/// The whole way of outputs that were published together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Their partition.
    pub partition: Partition,
    /// The epoch of its owner.
    pub epoch: Epoch,
    /// Their way up to the commit; that of the first of them.
    pub way: Way,
    /// When the log had taken them.
    pub at: LogTime,
    /// How often it had failed to.
    pub failures: u32,
    /// Topic of the records that caused them.
    pub source: String,
    /// How many there are, by the name of their kind.
    pub counts: Vec<(&'static str, u64)>,
    /// The topic that they were published to, if it is the same for all.
    pub topic: Option<String>,
    /// The robot that they are about, if it is the same for all.
    pub robot_id: Option<String>,
    /// The id of the CloudEvent, if there is one only.
    pub id: Option<String>,
}

/// Where ways are handed to that have ended; off unless it is made with a sink.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Sampled>>);

struct Sampled {
    sampler: Mutex<Sampler>,
    sink: Box<dyn Fn(Published) + Send + Sync>,
}

impl Traces {
    /// Hands at most so many ways a second to `sink`, which is called by the relays and must return
    /// at once.
    pub fn to(per_second: f64, sink: impl Fn(Published) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Sampled {
            sampler: Mutex::new(Sampler::new(per_second)),
            sink: Box::new(sink),
        })))
    }

    /// A way has ended `now`, after so many failures on it; `describe` says which, if it is to be
    /// a trace. Returns whether it is.
    pub fn published(
        &self,
        now: LogTime,
        failures: u32,
        describe: impl FnOnce() -> Published,
    ) -> bool {
        let Some(sampled) = &self.0 else { return false };
        let admits = sampled
            .sampler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admits(now, failures > 0);
        if admits {
            (sampled.sink)(describe());
        }
        admits
    }
}
