//! The outbox: committed outputs and dead letters, numbered by the store, and who reads them.
//!
//! A consumer is one entry of [`ALL`]: a name under which the store keeps how far it is in each
//! partition, and when there is one. Whether everything is out, and what retention may delete, are
//! folds over the consumers that are active; each delivers behind [`OutboxConsumer`].

use std::sync::Arc;

use theatre_actors::ports::{Epoch, PartitionStatus, Result};
use theatre_actors::position::Partition;

use super::exporter::Exporter;
use super::{PipelineParams, Ports, Step};

/// What a consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The outputs of a partition.
    Outputs,
    /// The dead letters of a partition.
    DeadLetters,
}

impl Stream {
    /// The sequence number of the last record, 0 if there is none.
    pub fn last(self, status: &PartitionStatus) -> u64 {
        match self {
            Self::Outputs => status.last_output,
            Self::DeadLetters => status.last_dead,
        }
    }
}

/// A consumer of the outbox, apart from how it delivers.
pub struct Consumer {
    /// Under which its positions are stored; never re-used for another.
    pub name: &'static str,
    /// What it reads.
    pub stream: Stream,
    /// Whether a pipeline has it. One that is off keeps its positions, and nothing waits for it.
    pub is_active: fn(&PipelineParams) -> bool,
    /// What its backlog is to people, after a number.
    pub backlog: &'static str,
    /// Makes the part that delivers, for a partition owned under an epoch; `None` where another
    /// thread than the partition's outward one runs it.
    pub outward:
        Option<fn(Partition, Epoch, &Arc<PipelineParams>, &Ports) -> Box<dyn OutboxConsumer>>,
}

/// Publishes outputs to the log.
pub static RELAY: Consumer = Consumer {
    name: "relay",
    stream: Stream::Outputs,
    is_active: |_| true,
    backlog: "outputs are not published",
    outward: None,
};

/// Publishes dead letters to the log.
pub static DEAD_LETTER_RELAY: Consumer = Consumer {
    name: "dead_letter_relay",
    stream: Stream::DeadLetters,
    is_active: |_| true,
    backlog: "dead letters are not published",
    outward: None,
};

/// Writes outputs to lake files.
pub static EXPORTER: Consumer = Consumer {
    name: "exporter",
    stream: Stream::Outputs,
    is_active: |params| params.lake,
    backlog: "outputs are not in the lake",
    outward: Some(|partition, epoch, params, ports| {
        let (registry, limits) = (params.registry.clone(), params.limits.clone());
        Box::new(Exporter::new(
            partition,
            epoch,
            ports.clone(),
            registry,
            limits,
        ))
    }),
};

/// All consumers.
pub static ALL: &[&Consumer] = &[&RELAY, &DEAD_LETTER_RELAY, &EXPORTER];

/// The part of a consumer that delivers the records of one partition.
///
/// A consumer moves its position in the store only after it has delivered, under the partition's
/// epoch: what it delivered before a crash it may deliver again, unless the receiver keeps the
/// position together with the records, as the log's lanes and the lake's registration do.
pub trait OutboxConsumer: Send {
    /// The consumer, with the name of its position.
    fn consumer(&self) -> &'static Consumer;

    /// Delivers a bounded number of the records above its position and notes the new one;
    /// `everything`: without waiting for more records or for their age.
    ///
    /// # Errors
    /// `StaleEpoch`: the partition is lost. `Unavailable`: deliver again.
    fn deliver(&mut self, everything: bool) -> Result<Step>;

    /// Notes in the store what is delivered and not noted yet, when the partition is left.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The consumers that a pipeline has.
pub fn active(params: &PipelineParams) -> impl Iterator<Item = &'static Consumer> {
    ALL.iter()
        .copied()
        .filter(|consumer| (consumer.is_active)(params))
}

/// The consumers that a partition's outward thread runs.
pub fn outward(
    partition: Partition,
    epoch: Epoch,
    params: &Arc<PipelineParams>,
    ports: &Ports,
) -> Vec<Box<dyn OutboxConsumer>> {
    let made = active(params).filter_map(|consumer| consumer.outward);
    made.map(|make| make(partition, epoch, params, ports))
        .collect()
}

/// What each active consumer has not delivered yet, where that is anything.
pub fn backlogs(
    params: &PipelineParams,
    status: &PartitionStatus,
) -> impl Iterator<Item = (&'static Consumer, u64)> {
    active(params).filter_map(|consumer| {
        let last = consumer.stream.last(status);
        let behind = last.saturating_sub(status.cursors.get(consumer.name));
        (behind > 0).then_some((consumer, behind))
    })
}

/// True when the active consumers have delivered all that is committed.
pub fn is_out(params: &PipelineParams, status: &PartitionStatus) -> bool {
    backlogs(params, status).next().is_none()
}

/// The last output that no active consumer needs any more.
pub fn delivered_outputs(params: &PipelineParams, status: &PartitionStatus) -> u64 {
    active(params)
        .filter(|consumer| consumer.stream == Stream::Outputs)
        .map(|consumer| status.cursors.get(consumer.name))
        .min()
        .unwrap_or(status.last_output)
}

#[cfg(test)]
mod tests {
    use theatre_config::Config;

    use super::*;

    fn status(positions: [(&'static Consumer, u64); 3]) -> PartitionStatus {
        let cursors = positions.map(|(consumer, position)| (consumer.name.to_owned(), position));
        PartitionStatus {
            last_output: 7,
            last_dead: 2,
            cursors: cursors.into_iter().collect(),
            ..PartitionStatus::default()
        }
    }

    #[test]
    fn everything_is_out_when_the_active_consumers_are_at_the_end() {
        let mut params = crate::params::without_sources(&Config::default()).unwrap();
        let at = |relay, dead, export| {
            status([
                (&RELAY, relay),
                (&DEAD_LETTER_RELAY, dead),
                (&EXPORTER, export),
            ])
        };
        for (status, with_lake, without) in [
            (at(7, 2, 7), true, true),
            (at(7, 2, 6), false, true),
            (at(7, 1, 7), false, false),
            (at(6, 2, 7), false, false),
            (at(0, 0, 0), false, false),
        ] {
            params.lake = true;
            assert_eq!(is_out(&params, &status), with_lake, "{status:?}");
            params.lake = false;
            assert_eq!(is_out(&params, &status), without, "{status:?}");
        }
        assert!(
            is_out(&params, &PartitionStatus::default()),
            "nothing was committed"
        );
    }

    #[test]
    fn retention_waits_for_the_slowest_active_consumer_of_outputs() {
        let mut params = crate::params::without_sources(&Config::default()).unwrap();
        let status = status([(&RELAY, 5), (&DEAD_LETTER_RELAY, 1), (&EXPORTER, 4)]);
        params.lake = true;
        assert_eq!(delivered_outputs(&params, &status), 4);
        params.lake = false;
        assert_eq!(delivered_outputs(&params, &status), 5);
    }

    #[test]
    fn no_two_consumers_share_a_position() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
