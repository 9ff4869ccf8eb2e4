//! This process's membership of the consumer group, by which processes share partitions.
//!
//! It subscribes to the first input topic only: the process that is assigned partition *p* of that
//! topic owns partition *p* of every input topic, so the topics are co-partitioned by construction.
//! No data passes through the member; its thread polls for rebalances and passes them to the owner.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use theatre_actors::ports::{Error, Membership, Ownership, Result};
use theatre_actors::position::Partition;

use super::client::{Base, WHAT, consumer, failed};
use super::context::Context;
use theatre_config::log::LogConfig;
use theatre_telemetry::names;

const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// How long the commit of the last positions is retried. The group refuses commits for moments
/// while other members join or leave.
const LAST_COMMIT_WITHIN: Duration = Duration::from_secs(3);

/// The role of the member: it passes rebalances to the owner of partitions.
struct RebalanceListener {
    owner: Arc<dyn Ownership>,
    topics: Vec<String>,
    leaving: Arc<AtomicBool>,
}

impl ConsumerContext for Context<RebalanceListener> {
    fn rebalance(
        &self,
        member: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let numbers: Vec<Partition> = partitions
            .elements()
            .iter()
            .map(|element| element.partition() as Partition)
            .collect();
        let listener = &self.role;
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                names::rebalanced("assigned");
                // The member fetches nothing: its partitions begin at their ends and are paused.
                let done = partitions
                    .set_all_offsets(Offset::End)
                    .and_then(|()| member.incremental_assign(partitions))
                    .and_then(|()| member.pause(partitions));
                // The owner learns of an empty assignment too: it then knows that the first
                // rebalance is over and that there is nothing to wait for.
                listener.notify_owner("assigned", &numbers, |owner| owner.assigned(&numbers));
                done
            }
            _ => {
                if !numbers.is_empty() && !listener.leaving.load(Ordering::Acquire) {
                    if member.assignment_lost() {
                        names::rebalanced("lost");
                        listener.notify_owner("lost", &numbers, |owner| owner.lost(&numbers));
                    } else {
                        names::rebalanced("revoked");
                        listener.notify_owner("revoked", &numbers, |owner| owner.revoked(&numbers));
                        // Until the callback returns, the group still takes commits for the revoked
                        // partitions from this member; afterwards only from their next owner.
                        let positions = listener.positions(true);
                        if let Err(error) = commit(member, &positions, CommitMode::Sync) {
                            log_uncommitted(&error);
                        }
                    }
                }
                member.incremental_unassign(partitions)
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the group's assignment could not be taken over");
        }
    }
}

impl RebalanceListener {
    /// Calls the owner. A panic there must not unwind into librdkafka, which runs this callback:
    /// the partitions then count as lost.
    fn notify_owner(&self, what: &str, numbers: &[Partition], call: impl FnOnce(&dyn Ownership)) {
        let owner = &*self.owner;
        if catch_unwind(AssertUnwindSafe(|| call(owner))).is_err() {
            tracing::error!(
                what,
                ?numbers,
                "the owner of partitions ended by a panic; they count as lost"
            );
            if catch_unwind(AssertUnwindSafe(|| owner.lost(numbers))).is_err() {
                tracing::error!(
                    ?numbers,
                    "the owner could not stop them either: their epochs fence what is left of them"
                );
            }
        }
    }

    /// The saved positions of the partitions that this process owns and, when `with_left`, of those
    /// that it has left since the last such call: the owner returns the latter only once.
    fn positions(&self, with_left: bool) -> TopicPartitionList {
        let mut offsets = TopicPartitionList::new();
        let saved = catch_unwind(AssertUnwindSafe(|| {
            let mut saved = self.owner.saved();
            if with_left {
                saved.extend(self.owner.left());
            }
            saved
        }));
        let saved = saved.unwrap_or_else(|_| {
            tracing::error!(
                "the owner of partitions ended by a panic; their positions are not committed to the group"
            );
            Vec::new()
        });
        for (partition, positions) in saved {
            for (index, topic) in self.topics.iter().enumerate() {
                // At 0 nothing was saved here: a commit would undo that of another member.
                let position = positions.get(index);
                if position > 0
                    && let Err(error) = offsets.add_partition_offset(
                        topic,
                        partition as i32,
                        Offset::Offset(position as i64),
                    )
                {
                    tracing::warn!(%error, "a position cannot be committed to the group");
                }
            }
        }
        offsets
    }
}

/// Commits positions to the group, for tools that show lag. Theatre itself never reads them.
fn commit(
    member: &BaseConsumer<Context<RebalanceListener>>,
    offsets: &TopicPartitionList,
    mode: CommitMode,
) -> KafkaResult<()> {
    if offsets.count() > 0 {
        member.commit(offsets, mode)
    } else {
        Ok(())
    }
}

fn log_uncommitted(error: &KafkaError) {
    tracing::warn!(%error, "positions could not be committed to the group; they are in the store");
}

struct Member {
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Joins the group.
pub(super) fn join(
    base: &Base,
    config: &LogConfig,
    topics: &[String],
    owner: Arc<dyn Ownership>,
) -> Result<Box<dyn Membership>> {
    let first_topic = topics
        .first()
        .ok_or_else(|| Error::Refused("there is no input topic to share".to_owned()))?
        .clone();
    let session_timeout_ms = config.session_timeout.0 / 1000;
    let mut settings = consumer(base);
    settings
        .set("group.id", &config.deployment)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", session_timeout_ms.to_string())
        .set(
            "heartbeat.interval.ms",
            (session_timeout_ms / 15).clamp(100, 3000).to_string(),
        );
    if let Some(name) = &config.group_instance_id {
        settings.set("group.instance.id", name);
    }
    names::kafka_joined();
    let leaving = Arc::new(AtomicBool::new(false));
    let listener = RebalanceListener {
        owner,
        topics: topics.to_vec(),
        leaving: leaving.clone(),
    };
    let member: BaseConsumer<Context<RebalanceListener>> = settings
        .create_with_context(Context::new(base, &settings, listener))
        .map_err(|error| failed("joining the group", &error))?;
    member
        .subscribe(&[&first_topic])
        .map_err(|error| failed("joining the group", &error))?;
    let is_leaving = leaving.clone();
    let thread = std::thread::Builder::new()
        .name("kafka-member".to_owned())
        .spawn(move || serve(&member, &is_leaving))
        .map_err(|error| {
            Error::Refused(format!("a thread for the group cannot be started: {error}"))
        })?;
    Ok(Box::new(Member {
        leaving,
        thread: Some(thread),
    }))
}

/// Polls the member until it is to leave. The caller then drops the consumer, which leaves the
/// group unless the member is a static one.
fn serve(member: &BaseConsumer<Context<RebalanceListener>>, leaving: &AtomicBool) {
    let context = member.context();
    let mut committed = Instant::now();
    while !leaving.load(Ordering::Acquire) {
        if let Some(Err(error)) = member.poll(Duration::from_millis(100)) {
            tracing::warn!(%error, "the consumer group reports an error");
        }
        context.brokers.restore_if_lost(member.client());
        if committed.elapsed() >= COMMIT_INTERVAL {
            // An asynchronous commit may get lost, and the owner returns the positions of
            // partitions that it has left only once: those are committed synchronously, in the
            // rebalance or at the end.
            let positions = context.role.positions(false);
            if let Err(error) = commit(member, &positions, CommitMode::Async) {
                log_uncommitted(&error);
            }
            committed = Instant::now();
        }
    }
    let (offsets, until) = (
        context.role.positions(true),
        Instant::now() + LAST_COMMIT_WITHIN,
    );
    while let Err(error) = commit(member, &offsets, CommitMode::Sync) {
        if Instant::now() > until {
            return log_uncommitted(&error);
        }
        drop(member.poll(Duration::from_millis(100)));
    }
}

impl Member {
    fn stop(&mut self) -> Result<()> {
        self.leaving.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(Error::Unavailable {
                what: WHAT,
                why: "the thread of the group ended by a panic".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

impl Membership for Member {
    fn leave(mut self: Box<Self>) -> Result<()> {
        self.stop()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the group could not be left in order; it will notice by itself");
        }
    }
}
