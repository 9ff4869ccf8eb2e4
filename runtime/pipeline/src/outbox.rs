//! The outbox: committed outputs and dead letters, numbered by the store, and who reads them.
//!
//! A [`Consumer`] is a name under which the store keeps how far it is in each partition. Whether
//! everything is out, and what retention may delete, are folds over the consumers that a pipeline
//! has ([`active`]). Four are built in: the relays of outputs and of dead letters, the exporter,
//! and that of the store's tables. Any number of [`OutputSink`]s may stand beside them, each
//! delivered to apart from all others ([`super::notifier`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Epoch, PartitionStatus, Result, StoredOutput};
use theatre_actors::position::Partition;
use theatre_config::store::KeptTables;

use super::exporter::Exporter;
use super::tables::Tables;
use super::{PipelineParams, Ports, Step};

/// What a consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The outputs of a partition.
    Outputs,
    /// The outputs of one kind; the position goes on over the others.
    OutputsOf(OutputKind),
    /// The dead letters of a partition.
    DeadLetters,
}

impl Stream {
    /// The sequence number of the last record, 0 if there is none.
    pub fn last(self, status: &PartitionStatus) -> u64 {
        match self {
            Self::Outputs | Self::OutputsOf(_) => status.last_output,
            Self::DeadLetters => status.last_dead,
        }
    }

    /// Whether it has outputs of kinds that expire.
    fn expires(self) -> bool {
        match self {
            Self::Outputs => true,
            Self::OutputsOf(kind) => kind.spec().expires,
            Self::DeadLetters => false,
        }
    }
}

/// A consumer of the outbox, apart from how it delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// The name under which its positions are stored; never re-used for another consumer.
    pub name: Cow<'static, str>,
    /// What it reads.
    pub stream: Stream,
    /// What its backlog is to people, after a number.
    pub backlog: Cow<'static, str>,
}

impl Consumer {
    /// What it is called in metrics and troubles: a recipient by the name that the configuration
    /// gives it.
    pub fn label(&self) -> &str {
        let recipient = self.name.strip_prefix(RECIPIENT_PREFIX);
        recipient.unwrap_or(&self.name)
    }
}

/// Publishes outputs to the log.
pub const RELAY: Consumer = Consumer {
    name: Cow::Borrowed("relay"),
    stream: Stream::Outputs,
    backlog: Cow::Borrowed("outputs are not published"),
};

/// Publishes dead letters to the log.
pub const DEAD_LETTER_RELAY: Consumer = Consumer {
    name: Cow::Borrowed("dead_letter_relay"),
    stream: Stream::DeadLetters,
    backlog: Cow::Borrowed("dead letters are not published"),
};

/// Writes outputs to lake files, where there is a lake.
pub const EXPORTER: Consumer = Consumer {
    name: Cow::Borrowed("exporter"),
    stream: Stream::Outputs,
    backlog: Cow::Borrowed("outputs are not in the lake"),
};

/// Writes outputs into the tables that people read, where the store has them.
pub const TABLES: Consumer = Consumer {
    name: Cow::Borrowed("tables"),
    stream: Stream::Outputs,
    backlog: Cow::Borrowed("outputs are not in the store's tables"),
};

/// What the names of those consumers begin with that are recipients of the configuration; their
/// own names follow.
pub const RECIPIENT_PREFIX: &str = "notify/";

/// What the name of a sink ends with under which the store keeps that it began before there was an
/// output: a position of 0 is like none.
const BEGUN_AT_ZERO: &str = " begun";

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

/// What a receiver says of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// The output is safe with the receiver.
    Taken,
    /// The output will never be taken, however often it comes; why, in words.
    Refused(String),
    /// The output is not taken now, and may be later; others may be taken meanwhile. What the
    /// receiver answered, in words.
    NotNow(String),
}

/// A receiver of outputs beside log and lake, such as a webhook.
///
/// It gets the outputs of each partition at least once, those with the same id, such as the
/// transitions of a condition, in order. What it had when an owner ended before the position was
/// noted comes again, with the same id and revision. It is called by one thread for each partition,
/// at the same time.
pub trait OutputSink: Send + Sync {
    /// The consumer: its stream is that of a kind of outputs, and its name differs from all others.
    fn consumer(&self) -> Consumer;

    /// What cannot be delivered for so long since it was committed is set aside as undelivered, and
    /// the ones behind it go on: nothing waits longer for a receiver that is away.
    fn patience(&self) -> Duration;

    /// Whether an output is for this receiver.
    ///
    /// # Errors
    /// Errors of the store.
    fn wants(&self, output: &StoredOutput, store: &dyn CheckpointStore) -> Result<bool>;

    /// Hands one output over. It returns once the output is safe with the receiver, or refused.
    ///
    /// # Errors
    /// Any, where it does not answer: it is handed over again, after a pause, and nothing else
    /// before.
    fn take(&self, output: &StoredOutput, store: &dyn CheckpointStore) -> Result<Receipt>;

    /// How often what still holds is sent again; `None`: never.
    fn repeats_every(&self) -> Option<Duration> {
        None
    }

    /// Says again what still holds in a partition, as far as it follows from outputs that the
    /// receiver was handed already: `is_known` says of each whether it is one. It is called between
    /// two outputs of the partition, so that nothing older comes after it. `is_owner` fails once
    /// the partition has another owner, whose word counts: it is asked before each thing that is
    /// sent.
    ///
    /// # Errors
    /// As [`Self::take`], and that of `is_owner`; it is called again after a while.
    fn repeat(
        &self,
        _partition: Partition,
        _is_known: &dyn Fn(&StoredOutput) -> bool,
        _is_owner: &dyn Fn() -> Result<()>,
        _store: &dyn CheckpointStore,
    ) -> Result<Receipt> {
        Ok(Receipt::Taken)
    }
}

/// The consumers that a pipeline has. One that it does not have any more keeps its positions, and
/// nothing waits for it.
pub fn active(params: &PipelineParams) -> impl Iterator<Item = Consumer> {
    let exporter = params.lake.then_some(EXPORTER);
    let tables = (params.tables != KeptTables::Off).then_some(TABLES);
    let sinks = params.sinks.iter().map(|sink| sink.consumer());
    [RELAY, DEAD_LETTER_RELAY]
        .into_iter()
        .chain(exporter)
        .chain(tables)
        .chain(sinks)
}

/// How far each consumer is that the store knows, by name.
pub fn positions(status: &PartitionStatus) -> BTreeMap<String, u64> {
    let known = status.cursors.iter();
    let known = known.filter(|(name, _)| !name.ends_with(BEGUN_AT_ZERO));
    known
        .map(|(name, position)| (name.to_owned(), position))
        .collect()
}

/// A name that two active consumers have: they would share a position, and each would miss what the
/// other was given.
pub fn named_twice(params: &PipelineParams) -> Option<Cow<'static, str>> {
    let mut names: Vec<_> = active(params).map(|consumer| consumer.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(twice[0].clone())
}

/// The consumers that the outward thread of a partition runs; relays and sinks have threads of
/// their own.
pub fn outward(
    partition: Partition,
    epoch: Epoch,
    params: &Arc<PipelineParams>,
    ports: &Ports,
) -> Vec<Box<dyn OutboxConsumer>> {
    let mut consumers: Vec<Box<dyn OutboxConsumer>> = Vec::new();
    if params.tables != KeptTables::Off {
        let tables = Tables::new(partition, epoch, params.clone(), ports.clone());
        consumers.push(Box::new(tables));
    }
    if params.lake {
        let (registry, limits) = (params.registry.clone(), params.limits.clone());
        let exporter = Exporter::new(partition, epoch, ports.clone(), registry, limits);
        consumers.push(Box::new(exporter));
    }
    consumers
}

/// Has the sinks that are new begin at the end of what is committed: a receiver of what happens
/// from now on does not want everything that ever was. To be called before anything is committed
/// under the epoch, so that nothing of it counts as old.
///
/// # Errors
/// Errors of the store; `StaleEpoch`: the partition is lost.
pub fn begin(
    partition: Partition,
    epoch: Epoch,
    params: &PipelineParams,
    ports: &Ports,
    status: &PartitionStatus,
) -> Result<()> {
    for sink in &params.sinks {
        let name = sink.consumer().name;
        let begun_at_zero = format!("{name}{BEGUN_AT_ZERO}");
        if status.cursors.get(&name) > 0 || status.cursors.get(&begun_at_zero) > 0 {
            continue;
        }
        let (cursor, position) = match status.last_output {
            0 => (begun_at_zero.as_str(), 1),
            last => (&*name, last),
        };
        ports
            .store
            .advance_cursor(partition, epoch, cursor, position)?;
    }
    Ok(())
}

/// What each active consumer has not delivered yet, where that is anything.
pub fn backlogs(
    params: &PipelineParams,
    status: &PartitionStatus,
) -> impl Iterator<Item = (Consumer, u64)> {
    active(params).filter_map(|consumer| {
        let last = consumer.stream.last(status);
        let behind = last.saturating_sub(status.cursors.get(&consumer.name));
        (behind > 0).then_some((consumer, behind))
    })
}

/// True when the active consumers have delivered all that is committed.
pub fn is_out(params: &PipelineParams, status: &PartitionStatus) -> bool {
    backlogs(params, status).next().is_none()
}

/// The last output that no active consumer needs any more, of those that may expire.
pub fn delivered_outputs(params: &PipelineParams, status: &PartitionStatus) -> u64 {
    active(params)
        .filter(|consumer| consumer.stream.expires())
        .map(|consumer| status.cursors.get(&consumer.name))
        .min()
        .unwrap_or(status.last_output)
}

#[cfg(test)]
mod tests {
    use theatre_config::Config;

    use super::*;

    const WEBHOOK: Consumer = Consumer {
        name: Cow::Borrowed("webhook"),
        stream: Stream::OutputsOf(OutputKind::Alert),
        backlog: Cow::Borrowed("outputs are not delivered to the webhook"),
    };

    struct Webhook(Stream);

    impl OutputSink for Webhook {
        fn consumer(&self) -> Consumer {
            Consumer {
                stream: self.0,
                ..WEBHOOK
            }
        }

        fn patience(&self) -> Duration {
            Duration::MAX
        }

        fn wants(&self, _: &StoredOutput, _: &dyn CheckpointStore) -> Result<bool> {
            Ok(true)
        }

        fn take(&self, _: &StoredOutput, _: &dyn CheckpointStore) -> Result<Receipt> {
            Ok(Receipt::Taken)
        }
    }

    fn status(positions: &[(Consumer, u64)]) -> PartitionStatus {
        let cursors = positions
            .iter()
            .map(|(consumer, position)| (consumer.name.to_string(), *position));
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
            params.tables = KeptTables::All;
            assert!(!is_out(&params, &status), "the tables have nothing yet");
            params.tables = KeptTables::Off;
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
        params.sinks = vec![Arc::new(Webhook(WEBHOOK.stream))];
        assert_eq!(
            delivered_outputs(&params, &status),
            5,
            "alerts stay in the store: a sink that reads nothing else holds up no window"
        );
        params.sinks = vec![Arc::new(Webhook(Stream::OutputsOf(OutputKind::Window)))];
        assert_eq!(delivered_outputs(&params, &status), 0);
        assert_eq!(named_twice(&params), None);
        assert_eq!(positions(&status)["exporter"], 4);
        params.sinks.push(params.sinks[0].clone());
        assert_eq!(named_twice(&params).as_deref(), Some("webhook"));
        params.sinks = vec![Arc::new(Webhook(WEBHOOK.stream))];
        let backlogs: Vec<_> = backlogs(&params, &status).collect();
        assert_eq!(
            backlogs,
            [(RELAY, 2), (DEAD_LETTER_RELAY, 1), (WEBHOOK, 7)],
            "everything waits for it"
        );
    }
}
