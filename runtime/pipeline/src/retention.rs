//! Retention: deletes input in the log, and outputs in the store, that are old enough and not
//! needed any more.
//!
//! Input is needed above the processors' floor and above the lake's position, both as committed;
//! its age is judged by append time. On a log whose servers keep their own retention
//! [`EventLog::trim`](theatre_actors::ports::EventLog::trim) need do nothing. An output of a
//! kind that expires is needed until all active consumers of the outbox have delivered it; its age
//! is judged by its commit.

use std::sync::Arc;
use std::time::Duration;

use theatre_actors::ports::{Epoch, Expiry, PartitionStatus, Result};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;
use theatre_config::store::KeptTables;

use super::actor_keys::is_registry;
use super::{PipelineParams, Ports, outbox};

/// Time between two steps that do something, microseconds.
const EVERY_US: i64 = 30_000_000;
/// Outputs that one transaction looks at: few, so that no save waits long for it.
const OUTPUTS_AT_ONCE: usize = 1000;
/// Rows of a table that one transaction deletes.
const ROWS_AT_ONCE: usize = 20_000;
/// Transactions of one step; what is left is for the next.
const TRANSACTIONS_MAX: usize = 20;

/// Trims one partition of the input topics and of the store.
pub struct Retention {
    partition: Partition,
    epoch: Epoch,
    params: Arc<PipelineParams>,
    ports: Ports,
    last: Option<LogTime>,
    /// No expired output up to this sequence number is left.
    expired_to: u64,
}

impl Retention {
    /// For a partition owned under `epoch`.
    pub fn new(
        partition: Partition,
        epoch: Epoch,
        params: Arc<PipelineParams>,
        ports: Ports,
    ) -> Self {
        Self {
            partition,
            epoch,
            params,
            ports,
            last: None,
            expired_to: 0,
        }
    }

    /// Trims if it is time to; with `at_once` without waiting.
    ///
    /// # Errors
    /// Errors of log and store; `StaleEpoch`: the partition is lost.
    pub fn step(&mut self, at_once: bool) -> Result<()> {
        let now = self.ports.clock.now();
        if !at_once && self.last.is_some_and(|last| now.0 - last.0 < EVERY_US) {
            return Ok(());
        }
        let status = self.ports.store.status(self.partition)?;
        self.trim_input(&status, now)?;
        self.expire_outputs(&status, now)?;
        self.last = Some(now);
        Ok(())
    }

    fn trim_input(&self, status: &PartitionStatus, now: LogTime) -> Result<()> {
        let needed = if self.params.lake {
            status.floor.lowest(&status.lake_positions)
        } else {
            status.floor.clone()
        };
        let oldest = before(now, self.params.limits.log_retention);
        for (topic, name) in self.params.topics.iter().enumerate() {
            // What is registered holds until something else is.
            if is_registry(name) {
                continue;
            }
            let before = self
                .ports
                .log
                .offset_at(name, self.partition, oldest)?
                .min(needed.get(topic));
            if before > self.ports.log.range(name, self.partition)?.start {
                self.ports.log.trim(name, self.partition, before)?;
            }
        }
        Ok(())
    }

    fn expire_outputs(&mut self, status: &PartitionStatus, now: LogTime) -> Result<()> {
        let up_to = outbox::delivered_outputs(&self.params, status);
        let before = before(now, self.params.limits.window_retention);
        for _ in 0..TRANSACTIONS_MAX {
            let expiry = Expiry {
                before,
                after: self.expired_to,
                up_to,
                limit: OUTPUTS_AT_ONCE,
            };
            let reached = self
                .ports
                .store
                .expire_outputs(self.partition, self.epoch, expiry)?;
            if reached == self.expired_to {
                break;
            }
            self.expired_to = reached;
        }
        self.expire_rows(before)
    }

    /// The rows of what has expired, in the tables that people read.
    fn expire_rows(&self, before: LogTime) -> Result<()> {
        if self.params.tables == KeptTables::Off {
            return Ok(());
        }
        for _ in 0..TRANSACTIONS_MAX {
            if self.ports.store.expire_rows(before, ROWS_AT_ONCE)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn before(now: LogTime, kept: Duration) -> LogTime {
    LogTime(
        now.0
            .saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX)),
    )
}
