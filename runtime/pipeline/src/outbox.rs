//! The outbox: committed outputs and dead letters, numbered by the store, and who reads them.
//!
//! A [`Consumer`] is a name under which the store keeps how far it is in each partition. Whether
//! everything is out, and what retention may delete, are folds over the consumers that a pipeline
//! has ([`active`]). Three are built in: the relays of outputs and of dead letters, and the
//! exporter. Any number of [`OutputSink`]s may stand beside them.

use std::sync::Arc;

use theatre_actors::ports::{Epoch, Error, PartitionStatus, Result, StoredOutput};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// The name under which its positions are stored; never re-used for another consumer.
    pub name: &'static str,
    /// What it reads.
    pub stream: Stream,
    /// What its backlog is to people, after a number.
    pub backlog: &'static str,
}

/// Publishes outputs to the log.
pub const RELAY: Consumer = Consumer {
    name: "relay",
    stream: Stream::Outputs,
    backlog: "outputs are not published",
};

/// Publishes dead letters to the log.
pub const DEAD_LETTER_RELAY: Consumer = Consumer {
    name: "dead_letter_relay",
    stream: Stream::DeadLetters,
    backlog: "dead letters are not published",
};

/// Writes outputs to lake files, where there is a lake.
pub const EXPORTER: Consumer = Consumer {
    name: "exporter",
    stream: Stream::Outputs,
    backlog: "outputs are not in the lake",
};

/// The part of a consumer that delivers the records of one partition.
///
/// A consumer moves its position in the store only after it has delivered, under the partition's
/// epoch: what it delivered before a crash it may deliver again, unless the receiver keeps the
/// position together with the records, as the log's lanes and the lake's registration do.
pub trait OutboxConsumer: Send {
    /// The consumer, with the name of its position.
    fn consumer(&self) -> Consumer;

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

/// A receiver of outputs beside log and lake, such as a webhook or a search index.
///
/// It gets the outputs of each partition in order and at least once: those that it had when an
/// owner ended before the position was noted come again, with the same ids and revisions.
pub trait OutputSink: Send + Sync {
    /// The consumer: its stream is that of outputs, and its name differs from all others.
    fn consumer(&self) -> Consumer;

    /// Takes outputs of one partition. It returns once they are safe with the receiver.
    ///
    /// # Errors
    /// `Unavailable`: they are delivered again. `Refused`: a person must put something right.
    fn take(&self, outputs: &[StoredOutput]) -> Result<()>;
}

/// The consumers that a pipeline has. One that it does not have any more keeps its positions, and
/// nothing waits for it.
pub fn active(params: &PipelineParams) -> impl Iterator<Item = Consumer> {
    let exporter = params.lake.then_some(EXPORTER);
    let sinks = params.sinks.iter().map(|sink| sink.consumer());
    [RELAY, DEAD_LETTER_RELAY]
        .into_iter()
        .chain(exporter)
        .chain(sinks)
}

/// The consumers that the outward thread of a partition runs; the relays have a thread of their
/// own.
pub fn outward(
    partition: Partition,
    epoch: Epoch,
    params: &PipelineParams,
    ports: &Ports,
) -> Vec<Box<dyn OutboxConsumer>> {
    let mut consumers: Vec<Box<dyn OutboxConsumer>> = Vec::new();
    if params.lake {
        let (registry, limits) = (params.registry.clone(), params.limits.clone());
        let exporter = Exporter::new(partition, epoch, ports.clone(), registry, limits);
        consumers.push(Box::new(exporter));
    }
    for sink in &params.sinks {
        consumers.push(Box::new(Delivery {
            partition,
            epoch,
            ports: ports.clone(),
            sink: sink.clone(),
            limit: params.limits.relay_records,
        }));
    }
    consumers
}

/// What each active consumer has not delivered yet, where that is anything.
pub fn backlogs(
    params: &PipelineParams,
    status: &PartitionStatus,
) -> impl Iterator<Item = (Consumer, u64)> {
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

/// Delivers the outputs of one partition to a sink.
struct Delivery {
    partition: Partition,
    epoch: Epoch,
    ports: Ports,
    sink: Arc<dyn OutputSink>,
    /// Most outputs of one delivery.
    limit: usize,
}

impl OutboxConsumer for Delivery {
    fn consumer(&self) -> Consumer {
        self.sink.consumer()
    }

    fn deliver(&mut self, _: bool) -> Result<Step> {
        let (store, name) = (&self.ports.store, self.consumer().name);
        let status = store.status(self.partition)?;
        // The position is fenced by the epoch, the sink is not: a former owner that looks first
        // delivers nothing any more.
        if status.epoch != self.epoch {
            return Err(Error::StaleEpoch {
                partition: self.partition,
                ours: self.epoch,
                current: status.epoch,
            });
        }
        let position = status.cursors.get(name);
        if position >= status.last_output {
            return Ok(Step::Idle);
        }
        let outputs = store.outputs_after(self.partition, position, self.limit)?;
        // Nothing is there up to the last one where all has expired before there was this sink.
        let up_to = outputs
            .last()
            .map_or(status.last_output, |last| last.sequence);
        if !outputs.is_empty() {
            self.sink.take(&outputs)?;
        }
        store.advance_cursor(self.partition, self.epoch, name, up_to)?;
        Ok(Step::Worked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use theatre_actors::outputs::{OutputEvent, OutputKind};
    use theatre_actors::ports::{CheckpointStore, PartitionCommit, ProcessorSave};
    use theatre_actors::position::Positions;
    use theatre_actors::time::LogTime;
    use theatre_config::Config;
    use theatre_embedded::warehouse::EmbeddedWarehouse;
    use theatre_system::clock::SystemClock;
    use theatre_testkit::memory::lake::MemoryLake;
    use theatre_testkit::memory::log::MemoryLog;
    use theatre_testkit::memory::store::MemoryStore;

    use super::*;

    const WEBHOOK: Consumer = Consumer {
        name: "webhook",
        stream: Stream::Outputs,
        backlog: "outputs are not delivered to the webhook",
    };

    /// Remembers the numbers of what it took.
    #[derive(Default)]
    struct Webhook {
        taken: Mutex<Vec<u64>>,
        is_away: AtomicBool,
    }

    impl OutputSink for Webhook {
        fn consumer(&self) -> Consumer {
            WEBHOOK
        }

        fn take(&self, outputs: &[StoredOutput]) -> Result<()> {
            if self.is_away.load(Ordering::Relaxed) {
                return Err(Error::Unavailable {
                    what: "webhook",
                    why: "it is away".to_owned(),
                });
            }
            let numbers = outputs.iter().map(|stored| stored.sequence);
            self.taken.lock().unwrap().extend(numbers);
            Ok(())
        }
    }

    fn status(positions: &[(Consumer, u64)]) -> PartitionStatus {
        let cursors = positions
            .iter()
            .map(|(consumer, position)| (consumer.name.to_owned(), *position));
        PartitionStatus {
            last_output: 7,
            last_dead: 2,
            cursors: cursors.collect(),
            ..PartitionStatus::default()
        }
    }

    #[test]
    fn everything_is_out_when_the_active_consumers_are_at_the_end() {
        let mut params = crate::params::without_sources(&Config::default()).unwrap();
        for ((relay, dead, export), with_lake, without) in [
            ((7, 2, 7), true, true),
            ((7, 2, 6), false, true),
            ((7, 1, 7), false, false),
            ((6, 2, 7), false, false),
            ((0, 0, 0), false, false),
        ] {
            let status = status(&[
                (RELAY, relay),
                (DEAD_LETTER_RELAY, dead),
                (EXPORTER, export),
            ]);
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
        let status = status(&[(RELAY, 5), (DEAD_LETTER_RELAY, 1), (EXPORTER, 4)]);
        params.lake = true;
        assert_eq!(delivered_outputs(&params, &status), 4);
        params.lake = false;
        assert_eq!(delivered_outputs(&params, &status), 5);
        params.sinks.push(Arc::new(Webhook::default()));
        assert_eq!(delivered_outputs(&params, &status), 0);
        let backlogs: Vec<_> = backlogs(&params, &status).collect();
        assert_eq!(
            backlogs,
            [(RELAY, 2), (DEAD_LETTER_RELAY, 1), (WEBHOOK, 7)],
            "everything waits for it"
        );
    }

    fn commit(store: &MemoryStore, epoch: Epoch, number: u64) {
        let output = OutputEvent {
            kind: OutputKind::Alert,
            robot_id: "r".to_owned(),
            id: format!("a{number}"),
            subject: "hot".to_owned(),
            revision: 0,
            event_time: 0,
            payload: Vec::new(),
        };
        let save = ProcessorSave {
            processor: "r".to_owned(),
            save_number: number,
            positions: Positions::zero(),
            state: Vec::new(),
            outputs: vec![output],
            dead: Vec::new(),
        };
        let commit = PartitionCommit {
            partition: 0,
            epoch,
            processors: vec![save],
            floor: Positions::zero(),
        };
        store.commit(&[commit], LogTime(1)).unwrap();
    }

    #[test]
    fn a_sink_gets_the_outputs_in_order_and_the_next_owner_goes_on_where_it_is() {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(SystemClock));
        let ports = Ports {
            log: Arc::new(MemoryLog::new(clock.clone())),
            store: store.clone(),
            lake: Arc::new(MemoryLake::default()),
            warehouse: Arc::new(EmbeddedWarehouse::in_memory().unwrap()),
            clock,
        };
        let mut params = crate::params::without_sources(&Config::default()).unwrap();
        let webhook = Arc::new(Webhook::default());
        params.lake = false;
        params.limits.relay_records = 2;
        params.sinks.push(webhook.clone());
        let first = store.acquire(0).unwrap();
        (1..=3).for_each(|number| commit(&store, first, number));
        let position = || store.status(0).unwrap().cursors.get(WEBHOOK.name);

        let mut consumers = outward(0, first, &params, &ports);
        let deliver = |consumers: &mut Vec<Box<dyn OutboxConsumer>>| consumers[0].deliver(false);
        webhook.is_away.store(true, Ordering::Relaxed);
        assert!(matches!(
            deliver(&mut consumers),
            Err(Error::Unavailable { .. })
        ));
        assert_eq!(position(), 0, "what was not taken is not passed over");
        webhook.is_away.store(false, Ordering::Relaxed);
        assert_eq!(deliver(&mut consumers), Ok(Step::Worked));
        assert_eq!(position(), 2);

        let second = store.acquire(0).unwrap();
        assert!(matches!(
            deliver(&mut consumers),
            Err(Error::StaleEpoch { .. })
        ));
        let mut consumers = outward(0, second, &params, &ports);
        assert_eq!(deliver(&mut consumers), Ok(Step::Worked));
        assert_eq!(deliver(&mut consumers), Ok(Step::Idle));
        assert_eq!(*webhook.taken.lock().unwrap(), [1, 2, 3]);
        assert_eq!(position(), 3);
    }
}
