//! Other clients of a Kafka broker: kcat as a producer, and a `read_committed` consumer that sees
//! what Theatre publishes.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use theatre_actors::outputs::OutputTopics;
use theatre_actors::ports::NewRecord;

/// How a producer chooses a key's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// As Java's client does.
    Murmur2,
    /// As kcat and other C clients do by default.
    Crc32,
}

/// Produces records with kcat, in order, each to the partition that its key has by `partitioner`.
pub fn kcat(
    broker: &str,
    topic: &str,
    partitioner: Partitioner,
    records: &[NewRecord],
) -> Result<()> {
    // Values are bytes: what separates them must be in none. kcat takes no zero byte in it.
    const END: &[u8] = b"\xff\xfe<end of record>\xfe\xff";
    const KEY: &[u8] = b"\xff\xfe<end of key>\xfe\xff";
    let escaped = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("\\x{byte:02x}"))
            .collect::<String>()
    };
    let partitioner = match partitioner {
        Partitioner::Murmur2 => "topic.partitioner=murmur2",
        Partitioner::Crc32 => "topic.partitioner=consistent",
    };
    let mut input = Vec::new();
    for record in records {
        for part in [&record.key[..], KEY, &record.value, END] {
            input.extend_from_slice(part);
        }
    }
    let mut command = Command::new("kcat");
    command.args([
        "-P",
        "-b",
        broker,
        "-t",
        topic,
        "-X",
        partitioner,
        "-X",
        "enable.idempotence=true",
        "-D",
        &escaped(END),
        "-K",
        &escaped(KEY),
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("kcat cannot be started: apt-get install kcat, or run the tests with tests/run")?;
    child.stdin.take().context("no pipe")?.write_all(&input)?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "kcat: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A published record as a consumer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Topic.
    pub topic: String,
    /// Key.
    pub key: String,
    /// Value.
    pub value: Vec<u8>,
    /// Its CloudEvents id: what was published, and which time.
    pub id: String,
    /// The partition whose owner published it.
    pub source: u32,
    /// All headers.
    pub headers: BTreeMap<String, String>,
    /// When it was in hand.
    pub at: Instant,
}

/// A `read_committed` consumer on a thread of its own, from the beginning.
pub struct Audience {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Audience {
    /// Begins to listen to the topics of all outputs that are published by default; they are there.
    pub fn listen(broker: &str, partitions: u32) -> Result<Self> {
        let topics = OutputTopics::new(|_| None);
        Self::listen_to(broker, &topics.iter().collect::<Vec<_>>(), partitions)
    }

    /// Begins to listen to these topics; they are there.
    pub fn listen_to(broker: &str, topics: &[&str], partitions: u32) -> Result<Self> {
        let mut assignment = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..partitions as i32 {
                assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
            }
        }
        let mut listener = Listener::open(broker, &assignment)?;
        let (seen, stop) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
        );
        let (into, until) = (seen.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("audience".to_owned())
            .spawn(move || {
                listener.receive(&into, |_| Ok(until.load(Ordering::Acquire)))?;
                // No process publishes any more: asked again, each partition says once that it has
                // ended.
                listener.again()?;
                let asked = Instant::now();
                listener.receive(&into, |ends| {
                    ensure!(
                        asked.elapsed() < TO_THE_END,
                        "{ends} of {} partitions have said that they end",
                        assignment.count()
                    );
                    Ok(ends == assignment.count())
                })
            })?;
        Ok(Self {
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// What it has seen so far.
    pub fn so_far(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The first record after `moment` that the owner of one of `sources` published.
    pub fn first_after(&self, moment: Instant, source: u32) -> Option<Instant> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|seen| seen.source == source && seen.at > moment)
            .map(|seen| seen.at)
    }

    /// Reads to the end and says all it has seen.
    pub fn leave(mut self) -> Result<Vec<Seen>> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().context("it has left already")?;
        thread
            .join()
            .map_err(|_| anyhow!("the consumer panicked"))??;
        Ok(self.so_far())
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// How long what is there may take to arrive.
const TO_THE_END: Duration = Duration::from_secs(120);
/// A consumer that has lost its brokers is opened anew no more often than this.
const REOPEN: Duration = Duration::from_secs(10);

/// A consumer that goes on where it was. A client of librdkafka may lose its brokers for good when
/// they come back.
struct Listener {
    config: ClientConfig,
    consumer: BaseConsumer,
    /// Where it began.
    from: TopicPartitionList,
    opened: Instant,
    lost: bool,
}

impl Listener {
    fn open(broker: &str, assignment: &TopicPartitionList) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", broker)
            .set("group.id", "audience")
            .set("isolation.level", "read_committed");
        config
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .set("log_level", "0");
        let consumer: BaseConsumer = config.create()?;
        consumer.assign(assignment)?;
        Ok(Self {
            config,
            consumer,
            from: assignment.clone(),
            opened: Instant::now(),
            lost: false,
        })
    }

    /// Asks again from where it is.
    fn again(&mut self) -> Result<()> {
        self.from = positions(&self.consumer, &self.from)?;
        Ok(self.consumer.assign(&self.from)?)
    }

    fn reopen(&mut self) -> Result<()> {
        self.from = positions(&self.consumer, &self.from)?;
        self.consumer = self.config.create()?;
        (self.opened, self.lost) = (Instant::now(), false);
        Ok(self.consumer.assign(&self.from)?)
    }

    /// Takes what comes until `done`, which gets how many partitions have said that they end.
    fn receive(
        &mut self,
        into: &Mutex<Vec<Seen>>,
        done: impl Fn(usize) -> Result<bool>,
    ) -> Result<()> {
        let mut ends = 0;
        while !done(ends)? {
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => into
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(seen_of(&message)?),
                Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown))) => {
                    self.lost = true
                }
                // Passing: the broker is paused or restarted, and the consumer finds it again.
                Some(Err(KafkaError::MessageConsumption(_))) | None => {}
                Some(Err(error)) => return Err(error.into()),
            }
            if self.lost && self.opened.elapsed() > REOPEN {
                self.reopen()?;
                ends = 0;
            }
        }
        Ok(())
    }
}

/// From where to go on: where nothing was received, from where it began.
fn positions(consumer: &BaseConsumer, from: &TopicPartitionList) -> Result<TopicPartitionList> {
    let reached = consumer.position()?;
    let mut positions = TopicPartitionList::new();
    for element in from.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let offset = reached
            .find_partition(topic, partition)
            .map(|found| found.offset())
            .filter(|offset| offset.to_raw().is_some_and(|at| at >= 0));
        positions.add_partition_offset(topic, partition, offset.unwrap_or(element.offset()))?;
    }
    Ok(positions)
}

fn seen_of(message: &BorrowedMessage<'_>) -> Result<Seen> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let sent = message.headers().context("a record without headers")?;
    let headers: BTreeMap<String, String> = sent
        .iter()
        .map(|header| {
            (
                header.key.to_owned(),
                header.value.map(text).unwrap_or_default(),
            )
        })
        .collect();
    let source = headers.get("ce_source").context("no ce_source")?;
    Ok(Seen {
        topic: message.topic().to_owned(),
        key: message.key().map(text).unwrap_or_default(),
        value: message.payload().unwrap_or_default().to_vec(),
        id: headers.get("ce_id").context("no ce_id")?.clone(),
        source: source
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("ce_source {source}"))?,
        headers,
        at: Instant::now(),
    })
}

/// How many processes share the partitions of a consumer group.
pub fn group_members(broker: &str, group: &str) -> Result<usize> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("log_level", "0")
        .create()?;
    let list = client.fetch_group_list(Some(group), Duration::from_secs(10))?;
    Ok(list
        .groups()
        .first()
        .map_or(0, |group| group.members().len()))
}

/// The offsets that a consumer group has noted, by topic and partition; what was never noted is
/// missing.
pub fn group_offsets(
    broker: &str,
    group: &str,
    topics: &[&str],
    partitions: u32,
) -> Result<BTreeMap<(String, u32), u64>> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", group)
        .set("log_level", "0")
        .create()?;
    let mut asked = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..partitions as i32 {
            asked.add_partition(topic, partition);
        }
    }
    let answer = client.committed_offsets(asked, Duration::from_secs(10))?;
    let mut noted = BTreeMap::new();
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            noted.insert(
                (element.topic().to_owned(), element.partition() as u32),
                offset as u64,
            );
        }
    }
    Ok(noted)
}

/// Wants each record to have been seen once; says values by topic and id.
pub fn seen_once(seen: &[Seen]) -> Result<BTreeMap<(String, String), Vec<u8>>> {
    let mut once = BTreeMap::new();
    for record in seen {
        let twice = once.insert(
            (record.topic.clone(), record.id.clone()),
            record.value.clone(),
        );
        ensure!(
            twice.is_none(),
            "{} on {} was seen twice",
            record.id,
            record.topic
        );
    }
    Ok(once)
}
