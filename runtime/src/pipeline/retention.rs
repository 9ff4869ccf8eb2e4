//! Retention: deletes input that is old enough and that nobody needs any more.
//!
//! Needed is whatever lies above the families' floor or above the lake's position, both as committed; age is judged by append time. On a log
//! whose servers keep their own retention [`EventLog::trim`](theatre_actors::ports::EventLog::trim) need do nothing.

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::ports::Result;
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::{PipelineParams, Ports};

/// How often it looks, microseconds.
const EVERY_US: i64 = 30_000_000;

/// Trims one partition of the input topics.
pub struct Retention {
    partition: Partition,
    params: Arc<PipelineParams>,
    ports: Ports,
    last: Option<LogTime>,
}

impl Retention {
    /// For one partition.
    pub fn new(partition: Partition, params: Arc<PipelineParams>, ports: Ports) -> Self {
        Self { partition, params, ports, last: None }
    }

    /// Trims if it is time to; with `at_once` without waiting.
    ///
    /// # Errors
    /// Those of log and store.
    pub fn step(&mut self, at_once: bool) -> Result<()> {
        let now = self.ports.clock.now();
        if !at_once && self.last.is_some_and(|last| now.0 - last.0 < EVERY_US) {
            return Ok(());
        }
        let status = self.ports.store.status(self.partition)?;
        let needed = if self.params.lake { status.floor.lowest(&status.lake_positions) } else { status.floor };
        let keep_us = i64::try_from(self.params.limits.log_retention.as_micros()).unwrap_or(i64::MAX);
        let oldest = LogTime(now.0.saturating_sub(keep_us));
        for (topic, name) in self.params.topics.iter().enumerate() {
            let before = self.ports.log.offset_at(name, self.partition, oldest)?.min(needed.get(topic));
            if before > self.ports.log.range(name, self.partition)?.start {
                self.ports.log.trim(name, self.partition, before)?;
            }
        }
        self.last = Some(now);
        Ok(())
    }
}

/// A week.
pub(super) const DEFAULT: Duration = Duration::from_secs(7 * 86_400);
