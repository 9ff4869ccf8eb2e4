//! Which broker leads which partition, as the metadata say, and the threads that go with that: one
//! for each leader, and one that asks for the metadata.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::backoff::Backoff;
use super::connection::Connection;
use super::errors::{self, Remedy};
use super::leader::{self, Leader};
use super::memory::Memory;
use super::partition::Partition;
use super::settings::Settings;
use super::signal::Signal;
use super::transport::{Address, ConnectionFailure, Result};

/// Metadata are asked for no more often than this, whatever wants them.
const REFRESH_MIN: Duration = Duration::from_millis(100);
/// While a leader is missing they are asked for at intervals from [`REFRESH_MIN`] up to this.
const REFRESH_MISSING: Duration = Duration::from_secs(1);
/// A topic that was just made may be unknown to some brokers for this long.
const MISSING_PATIENCE: Duration = Duration::from_secs(30);

/// What all threads of the fetcher share.
pub(super) struct Cluster {
    pub(super) settings: Settings,
    pub(super) memory: Arc<Memory>,
    pub(super) ended: Arc<AtomicBool>,
    state: Mutex<State>,
    /// Wakes the thread that asks for metadata.
    refresh: Signal,
    requests: AtomicU64,
}

#[derive(Default)]
struct State {
    partitions: Vec<Arc<Partition>>,
    leaders: BTreeMap<i32, Arc<Leader>>,
    is_running: bool,
}

impl Cluster {
    /// Without a partition, a connection or a thread.
    pub(super) fn new(settings: Settings, ended: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            memory: Memory::new(settings.fetch_memory),
            settings,
            ended,
            state: Mutex::default(),
            refresh: Signal::default(),
            requests: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a partition that is to be read.
    pub(super) fn add(self: &Arc<Self>, partition: Arc<Partition>) -> std::io::Result<()> {
        let mut state = self.lock();
        state.partitions.push(partition);
        if !state.is_running {
            let cluster = self.clone();
            std::thread::Builder::new()
                .name("kafka-metadata".to_owned())
                .spawn(move || cluster.run())?;
            state.is_running = true;
        }
        drop(state);
        self.refresh.ring();
        Ok(())
    }

    /// Removes a partition that is not read any more.
    pub(super) fn remove(&self, partition: &Arc<Partition>) {
        partition.close();
        self.lock()
            .partitions
            .retain(|other| !Arc::ptr_eq(other, partition));
    }

    /// The number of the next Fetch request, of all leaders.
    pub(super) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Asks for the metadata soon: a leader may have moved.
    pub(super) fn want_refresh(&self) {
        self.refresh.ring();
    }

    /// Asks for metadata whenever they are wanted or old, until the log is closed.
    fn run(self: Arc<Self>) {
        let mut asker = Asker {
            cluster: self.clone(),
            connection: None,
            backoff: Backoff::new(&self.settings),
            next: 0,
        };
        let mut wait = Duration::ZERO;
        let mut missing = Backoff::between(REFRESH_MIN, REFRESH_MISSING);
        loop {
            self.refresh.wait(wait);
            if self.ended.load(Ordering::Acquire) {
                break;
            }
            let topics = self.topics();
            wait = self.settings.metadata_age;
            if !topics.is_empty() {
                match asker.ask_safely(topics) {
                    Ok(answer) if self.apply(&answer) => missing.reset(),
                    Ok(_) => wait = missing.next(),
                    Err(failure) => {
                        self.report(&failure);
                        wait = if failure.is_refusal() {
                            asker.backoff.after_refusal()
                        } else {
                            asker.backoff.next()
                        };
                    }
                }
            }
            // Not more often than this, though many ask for it.
            self.refresh.pause(REFRESH_MIN, &self.ended);
        }
        for leader in self.lock().leaders.values() {
            leader.signal.ring();
        }
    }

    fn topics(&self) -> Vec<StrBytes> {
        let mut topics: Vec<StrBytes> = self
            .lock()
            .partitions
            .iter()
            .map(|partition| partition.place.topic.clone())
            .collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Tells the partitions that no broker gives metadata. One with a leader goes on with it.
    fn report(&self, failure: &ConnectionFailure) {
        tracing::debug!(%failure, "no metadata from Kafka");
        let now = Instant::now();
        let state = self.lock();
        for partition in &state.partitions {
            if partition.leader_epoch() < 0 {
                partition.set_outage(Some(&failure.to_string()), now);
            }
        }
    }

    /// Gives each partition to its leader; false if one has none.
    fn apply(self: &Arc<Self>, answer: &MetadataResponse) -> bool {
        let mut state = self.lock();
        for broker in &answer.brokers {
            let Ok(port) = u16::try_from(broker.port) else {
                continue;
            };
            let address = Address {
                host: broker.host.as_str().to_owned(),
                port,
            };
            state
                .leaders
                .entry(broker.node_id.0)
                .or_insert_with(|| Arc::new(Leader::new(broker.node_id.0, address.clone())))
                .set_address(address);
        }
        // One that is gone would be asked for metadata in vain.
        state.leaders.retain(|id, leader| {
            answer.brokers.iter().any(|broker| broker.node_id.0 == *id) || leader.has_partitions()
        });
        let now = Instant::now();
        let mut all_led = true;
        let partitions = state.partitions.clone();
        for partition in &partitions {
            let topic = answer.topics.iter().find(|topic| {
                topic
                    .name
                    .as_ref()
                    .is_some_and(|name| name.0 == partition.place.topic)
            });
            let Some(topic) = topic else { continue };
            if !partition.check_topic(*topic.topic_id.as_bytes()) {
                continue;
            }
            all_led &= self.give(&state, partition, topic, now);
        }
        all_led
    }

    /// Gives a partition to its leader; false if it has none.
    fn give(
        self: &Arc<Self>,
        state: &State,
        partition: &Arc<Partition>,
        topic: &MetadataResponseTopic,
        now: Instant,
    ) -> bool {
        if topic.error_code != 0 && errors::remedy(topic.error_code) == Remedy::Refuse {
            partition.set_refused(topic.error_code);
            return false;
        }
        let found = topic
            .partitions
            .iter()
            .find(|found| found.partition_index == partition.place.index);
        let Some(found) = found else {
            partition.set_missing(now, MISSING_PATIENCE);
            return false;
        };
        let leader = state.leaders.get(&found.leader_id.0);
        let (true, Some(leader)) = (found.leader_id.0 >= 0, leader) else {
            partition.set_outage(Some("the partition has no leader"), now);
            return false;
        };
        // A broker that lags behind tells of a former leader.
        if found.leader_epoch < partition.leader_epoch() {
            return false;
        }
        for (id, other) in &state.leaders {
            if *id != found.leader_id.0 {
                other.remove(partition);
            }
        }
        partition.set_leader(leader.signal.clone(), found.leader_epoch);
        if leader.add(partition.clone()) {
            let work = leader::Worker::new(leader.clone(), self.clone());
            if let Err(error) = std::thread::Builder::new()
                .name("kafka-fetch".to_owned())
                .spawn(move || work.run())
            {
                leader.set_stopped();
                partition.set_outage(Some(&format!("no thread: {error}")), now);
                return false;
            }
        }
        leader.signal.ring();
        true
    }

    /// Brokers to ask: those that are known, then those of the configuration.
    fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<Address> = self
            .lock()
            .leaders
            .values()
            .map(|leader| leader.address())
            .collect();
        for address in &self.settings.bootstrap {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }
}

/// Asks one broker after the other for metadata.
struct Asker {
    cluster: Arc<Cluster>,
    connection: Option<Connection>,
    backoff: Backoff,
    /// Which broker is asked next.
    next: usize,
}

impl Asker {
    /// Asks, and takes a panic over an answer for a failure: without this thread no leader is
    /// found.
    fn ask_safely(&mut self, topics: Vec<StrBytes>) -> Result<MetadataResponse> {
        catch_unwind(AssertUnwindSafe(|| self.ask(topics))).unwrap_or_else(|_| {
            self.connection = None;
            Err(ConnectionFailure::protocol(
                "an answer ended in a panic".to_owned(),
            ))
        })
    }

    fn ask(&mut self, topics: Vec<StrBytes>) -> Result<MetadataResponse> {
        let topics = topics
            .into_iter()
            .map(|topic| MetadataRequestTopic::default().with_name(Some(TopicName(topic))))
            .collect();
        let request = MetadataRequest::default()
            .with_topics(Some(topics))
            .with_allow_auto_topic_creation(false);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let addresses = self.cluster.addresses();
                let address = &addresses[self.next % addresses.len()];
                self.next = self.next.wrapping_add(1);
                let opened =
                    Connection::open(address, &self.cluster.settings, self.cluster.ended.clone());
                none.insert(opened.map_err(|failure| failure.during(&address.to_string()))?)
            }
        };
        let answer = connection
            .authenticate_if_due(&self.cluster.settings)
            .and_then(|()| connection.call(&request, connection.metadata_version()));
        match answer {
            Ok(answer) => {
                self.backoff.reset();
                Ok(answer)
            }
            Err(failure) => {
                let address = connection.address().to_string();
                self.connection = None;
                Err(failure.during(&address))
            }
        }
    }
}
