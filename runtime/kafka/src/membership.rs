//! This process's membership of the consumer group, by which processes share partitions.
//!
//! It subscribes to the first input topic only: whoever owns its partition *p* owns partition *p*
//! of every input topic, so they are co-partitioned by construction. No data passes through it; its
//! thread polls for the group's news and hands them to the owner.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use theatre_actors::ports::{Error, Membership, Ownership, Result};
use theatre_actors::position::Partition;

use super::brokers::Brokers;
use super::client::{Base, WHAT, consumer, failed};
use super::diagnostics::Diagnostics;
use super::identity::Identity;
use theatre_config::log::LogConfig;
use theatre_telemetry::names;

const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// How long the last positions are tried to be noted. The group refuses them for moments when
/// others join or leave.
const LAST_NOTE: Duration = Duration::from_secs(3);

struct RebalanceListener {
    owner: Arc<dyn Ownership>,
    topics: Vec<String>,
    leaving: Arc<AtomicBool>,
    identity: Identity,
    diagnostics: Diagnostics,
    brokers: Brokers,
}

impl ClientContext for RebalanceListener {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.diagnostics.hear(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.brokers.note(&error);
        self.diagnostics.report(&error, reason);
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        self.identity.answer()
    }
}

impl ConsumerContext for RebalanceListener {
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
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                names::rebalanced("assigned");
                // Nothing is fetched here: from the end, and paused at once.
                let done = partitions
                    .set_all_offsets(Offset::End)
                    .and_then(|()| member.incremental_assign(partitions))
                    .and_then(|()| member.pause(partitions));
                // An empty share is told too: this process knows then that it waits for no other.
                self.tell("assigned", &numbers, |owner| owner.assigned(&numbers));
                done
            }
            _ => {
                if !numbers.is_empty() && !self.leaving.load(Ordering::Acquire) {
                    if member.assignment_lost() {
                        names::rebalanced("lost");
                        self.tell("lost", &numbers, |owner| owner.lost(&numbers));
                    } else {
                        names::rebalanced("revoked");
                        self.tell("revoked", &numbers, |owner| owner.revoked(&numbers));
                        // What was just left is still ours in the group's eyes; its next owner
                        // notes it from here on.
                        if let Err(error) =
                            self.note(member, &self.positions(true), CommitMode::Sync)
                        {
                            unnoted(&error);
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
    /// Tells the owner. A panic there must not unwind into librdkafka, which calls this: the
    /// partitions then count as lost.
    fn tell(&self, what: &str, numbers: &[Partition], call: impl FnOnce(&dyn Ownership)) {
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
                    "and could not let go of them: their epochs fence what is left of them"
                );
            }
        }
    }

    /// How far partitions are saved: those that are owned, and if wanted those that were left
    /// meanwhile, which are told once.
    fn positions(&self, left: bool) -> TopicPartitionList {
        let mut offsets = TopicPartitionList::new();
        let told = catch_unwind(AssertUnwindSafe(|| {
            let mut told = self.owner.saved();
            if left {
                told.extend(self.owner.left());
            }
            told
        }));
        let told = told.unwrap_or_else(|_| {
            tracing::error!(
                "the owner of partitions ended by a panic; their positions are not noted"
            );
            Vec::new()
        });
        for (partition, positions) in told {
            for (index, topic) in self.topics.iter().enumerate() {
                // At 0 nothing was saved: what another member may have noted is not undone.
                let position = positions.get(index);
                if position > 0
                    && let Err(error) = offsets.add_partition_offset(
                        topic,
                        partition as i32,
                        Offset::Offset(position as i64),
                    )
                {
                    tracing::warn!(%error, "a position cannot be noted with the group");
                }
            }
        }
        offsets
    }

    /// Tells the group positions, for tools that show lag.
    fn note(
        &self,
        member: &BaseConsumer<Self>,
        offsets: &TopicPartitionList,
        mode: CommitMode,
    ) -> KafkaResult<()> {
        if offsets.count() > 0 {
            member.commit(offsets, mode)
        } else {
            Ok(())
        }
    }
}

fn unnoted(error: &KafkaError) {
    tracing::warn!(%error, "positions could not be noted with the group; they are in the store");
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
    let lead = topics
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
    let leaving = Arc::new(AtomicBool::new(false));
    let (identity, diagnostics, brokers) = (
        base.identity.clone(),
        base.diagnostics.clone(),
        Brokers::of(&settings),
    );
    let hand = RebalanceListener {
        owner,
        topics: topics.to_vec(),
        leaving: leaving.clone(),
        identity,
        diagnostics,
        brokers,
    };
    let member: BaseConsumer<RebalanceListener> = settings
        .create_with_context(hand)
        .map_err(|error| failed("joining the group", &error))?;
    member
        .subscribe(&[&lead])
        .map_err(|error| failed("joining the group", &error))?;
    let ends = leaving.clone();
    let thread = std::thread::Builder::new()
        .name("kafka-member".to_owned())
        .spawn(move || serve(&member, &ends))
        .map_err(|error| {
            Error::Refused(format!("a thread for the group cannot be started: {error}"))
        })?;
    Ok(Box::new(Member {
        leaving,
        thread: Some(thread),
    }))
}

/// Dropping the consumer at the end leaves the group, unless the member is a static one.
fn serve(member: &BaseConsumer<RebalanceListener>, leaving: &AtomicBool) {
    let hand = member.context();
    let mut noted = Instant::now();
    while !leaving.load(Ordering::Acquire) {
        if let Some(Err(error)) = member.poll(Duration::from_millis(100)) {
            tracing::warn!(%error, "the group reports");
        }
        hand.brokers.remind(member.client());
        if noted.elapsed() >= COMMIT_EVERY {
            // Those that were left wait for an answer, so that none gets lost on the way: they are
            // noted when they go, or at the end.
            if let Err(error) = hand.note(member, &hand.positions(false), CommitMode::Async) {
                unnoted(&error);
            }
            noted = Instant::now();
        }
    }
    let (offsets, until) = (hand.positions(true), Instant::now() + LAST_NOTE);
    while let Err(error) = hand.note(member, &offsets, CommitMode::Sync) {
        if Instant::now() > until {
            return unnoted(&error);
        }
        drop(member.poll(Duration::from_millis(100)));
    }
}

impl Member {
    fn end(&mut self) -> Result<()> {
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
        self.end()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "leaving the group");
        }
    }
}
