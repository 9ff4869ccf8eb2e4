//! Brokers of a cluster in this process, with partitions of made-up batches. Each answers a Fetch
//! request as Kafka would, or in one of the ways that a test asks for.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse,
    ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer,
};

use super::super::visit::Aborted;
use super::encode::Batch;
use super::fake_sessions::{Sessions, WRONG_EPOCH};

pub(super) const TOPIC: &str = "input";

/// How one answer fails.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// It ends after so many bytes, and the connection with it.
    Cut(usize),
    /// It answers another request.
    Correlation,
    /// It has an error for every partition.
    Error(i16),
    /// The client is to wait for so many milliseconds.
    Throttle(i32),
    /// It comes in pieces of so many bytes, a millisecond apart.
    Drip(usize),
    /// A byte of the records has other bits changed.
    Flip(usize, u8),
    /// Bytes follow that belong to nothing.
    Tail,
    /// It is as long as no answer is.
    Length(i32),
    /// It never comes.
    Silence,
    /// What was read is not what this log has.
    Diverging(i64),
    /// The session is not there any more.
    Forget,
    /// The session is said to stand elsewhere.
    Epoch,
    /// The client is to wait for so many milliseconds, and nothing was looked at.
    Mute(i32),
    /// The last partition is left out.
    Omit,
}

impl Fault {
    /// Whether it needs a request of a session.
    fn is_of_session(&self) -> bool {
        matches!(self, Self::Forget | Self::Epoch)
    }
}

/// What fetching has cost.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) requests: usize,
    /// Requests that name all partitions.
    pub(super) full: usize,
    /// Partitions in requests, and in answers.
    pub(super) asked: usize,
    pub(super) answered: usize,
    pub(super) forgotten: usize,
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) batches: Vec<Batch>,
    pub(super) aborted: Vec<Aborted>,
    /// Where records begin that are not to be read yet; the end of the log if `None`.
    pub(super) last_stable: Option<i64>,
    pub(super) start: i64,
    pub(super) epoch: i32,
    pub(super) leader: i32,
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, Batch::next)
    }
}

#[derive(Default)]
struct State {
    logs: BTreeMap<i32, Log>,
    faults: VecDeque<Fault>,
    /// Ports of brokers that are up.
    ports: BTreeMap<i32, u16>,
    topic_id: u128,
    /// Most bytes of records in an answer.
    largest: usize,
    /// How long a session lasts, if clients have to authenticate by PLAIN.
    session: Option<Duration>,
    throttled_until: Option<Instant>,
    too_early: usize,
    sessions: BTreeMap<i32, Sessions>,
    traffic: Traffic,
}

/// A cluster; its threads end with the process.
#[derive(Clone, Default)]
pub(super) struct Cluster {
    state: Arc<Mutex<State>>,
    appended: Arc<Condvar>,
    pub(super) fetches: Arc<AtomicUsize>,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Cluster {
    /// Brokers with these numbers; partition `i` is led by the `i`-th, from the first again.
    pub(super) fn start(brokers: &[i32], partitions: i32) -> Self {
        let cluster = Self::default();
        for broker in brokers {
            cluster.up(*broker);
        }
        let mut state = cluster.lock();
        state.topic_id = 7;
        for partition in 0..partitions {
            let log = Log {
                leader: brokers[partition as usize % brokers.len()],
                ..Log::default()
            };
            state.logs.insert(partition, log);
        }
        drop(state);
        cluster
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Starts a broker at a port of its own.
    pub(super) fn up(&self, broker: i32) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        self.lock().ports.insert(broker, port);
        let cluster = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let cluster = cluster.clone();
                cluster.connections.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    // An error is the end of the connection.
                    let _ = cluster.serve(broker, port, stream);
                });
            }
        });
    }

    /// Ends a broker: it answers no more, and the others do not name it.
    pub(super) fn down(&self, broker: i32) {
        self.lock().ports.remove(&broker);
    }

    pub(super) fn bootstrap(&self) -> String {
        let state = self.lock();
        let addresses: Vec<String> = state
            .ports
            .values()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        addresses.join(",")
    }

    /// Changes a partition.
    pub(super) fn change(&self, partition: i32, change: impl FnOnce(&mut Log)) {
        change(self.lock().logs.get_mut(&partition).unwrap());
        self.appended.notify_all();
    }

    pub(super) fn append(&self, partition: i32, values: &[&[u8]]) {
        self.change(partition, |log| {
            let epoch = log.epoch;
            log.batches.push(Batch {
                epoch,
                ..Batch::of(log.end(), values)
            });
        });
    }

    /// The topic is deleted and made anew.
    pub(super) fn make_anew(&self) {
        self.lock().topic_id += 1;
    }

    /// The next answers to Fetch requests fail like this, one after the other.
    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    pub(super) fn faults_left(&self) -> usize {
        self.lock().faults.len()
    }

    /// From now on clients have to prove who they are, and again before so long has passed.
    pub(super) fn require_login(&self, session: Duration) {
        self.lock().session = Some(session);
    }

    /// Requests that came while their client was to wait.
    pub(super) fn too_early(&self) -> usize {
        self.lock().too_early
    }

    /// Changes the sessions of a broker.
    pub(super) fn sessions<T>(&self, broker: i32, change: impl FnOnce(&mut Sessions) -> T) -> T {
        change(self.lock().sessions.entry(broker).or_default())
    }

    /// What fetching has cost since it was asked for last.
    pub(super) fn traffic(&self) -> Traffic {
        std::mem::take(&mut self.lock().traffic)
    }

    pub(super) fn largest(&self) -> usize {
        self.lock().largest
    }

    fn serve(&self, broker: i32, port: u16, mut stream: TcpStream) -> std::io::Result<()> {
        let mut login_until = None;
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request)?;
            if self.lock().ports.get(&broker) != Some(&port) {
                return Ok(());
            }
            let mut request = Bytes::from(request);
            let header = decode_request_header_from_buffer(&mut request).unwrap();
            let (version, id) = (header.request_api_version, header.correlation_id);
            let key = ApiKey::try_from(header.request_api_key).unwrap();
            let session = self.lock().session;
            let is_open = matches!(
                key,
                ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate
            );
            if !is_open
                && session.is_some()
                && login_until.is_none_or(|until| Instant::now() > until)
            {
                return Ok(());
            }
            match key {
                ApiKey::SaslHandshake => {
                    send(&mut stream, id, &SaslHandshakeResponse::default(), version)?;
                }
                ApiKey::SaslAuthenticate => {
                    let request = SaslAuthenticateRequest::decode(&mut request, version).unwrap();
                    let is_known = is_known(&request.auth_bytes);
                    let session = session.unwrap_or_default();
                    login_until = is_known.then(|| Instant::now() + session);
                    let answer = SaslAuthenticateResponse::default()
                        .with_error_code(if is_known { 0 } else { 58 })
                        .with_session_lifetime_ms(session.as_millis() as i64);
                    send(&mut stream, id, &answer, version)?;
                }
                ApiKey::ApiVersions => send(&mut stream, id, &versions(), version)?,
                ApiKey::Metadata => {
                    let request = MetadataRequest::decode(&mut request, version).unwrap();
                    send(&mut stream, id, &self.metadata(&request), version)?;
                }
                ApiKey::Fetch => {
                    let request = FetchRequest::decode(&mut request, version).unwrap();
                    self.fetch(broker, &mut stream, id, &request, version)?;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let state = self.lock();
        let brokers = state
            .ports
            .iter()
            .map(|(broker, port)| {
                MetadataResponseBroker::default()
                    .with_node_id((*broker).into())
                    .with_host(StrBytes::from_static_str("127.0.0.1"))
                    .with_port((*port).into())
            })
            .collect();
        let topics = request.topics.iter().flatten().map(|topic| {
            let name = topic.name.clone().unwrap();
            let is_ours = name.0.as_str() == TOPIC;
            let partitions = state.logs.iter().filter(|_| is_ours).map(|(index, log)| {
                let is_up = state.ports.contains_key(&log.leader);
                MetadataResponsePartition::default()
                    .with_partition_index(*index)
                    .with_leader_id(if is_up { log.leader } else { -1 }.into())
                    .with_leader_epoch(log.epoch)
            });
            MetadataResponseTopic::default()
                .with_error_code(if is_ours { 0 } else { 3 })
                .with_topic_id(uuid::Uuid::from_u128(state.topic_id))
                .with_name(Some(name))
                .with_partitions(partitions.collect())
        });
        MetadataResponse::default()
            .with_topics(topics.collect())
            .with_brokers(brokers)
    }

    fn fetch(
        &self,
        broker: i32,
        stream: &mut TcpStream,
        id: i32,
        request: &FetchRequest,
        version: i16,
    ) -> std::io::Result<()> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        if self
            .lock()
            .throttled_until
            .is_some_and(|until| Instant::now() < until)
        {
            self.lock().too_early += 1;
        }
        let is_in_session = request.session_epoch > 0;
        let lost = self.fault_if(|_, fault| fault.is_of_session() && is_in_session);
        let whole = match self.enter(broker, request, lost.as_ref()) {
            Ok(whole) => whole,
            Err(code) => {
                let answer = FetchResponse::default().with_error_code(code);
                return send(stream, id, &answer, version);
            }
        };
        // What needs records or a session waits for them.
        let fault = self.fault_if(|state, fault| match fault {
            Fault::Flip(..) => answer(state, broker, &whole).1,
            fault => !fault.is_of_session(),
        });
        let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms as u64);
        let mut response = loop {
            let state = self.lock();
            let (response, has_news) = answer(&state, broker, &whole);
            let left = deadline.saturating_duration_since(Instant::now());
            if has_news || fault.is_some() || left.is_zero() {
                break response;
            }
            drop(self.appended.wait_timeout(state, left).unwrap());
        };
        let mut given = 0;
        for partition in partitions_of(&mut response) {
            given += partition.records.as_ref().map_or(0, Bytes::len);
            match fault {
                Some(Fault::Error(code)) => {
                    partition.error_code = code;
                    partition.records = None;
                }
                Some(Fault::Diverging(end)) => {
                    partition.records = None;
                    partition.diverging_epoch =
                        EpochEndOffset::default().with_epoch(0).with_end_offset(end);
                }
                Some(Fault::Flip(at, bits)) => {
                    if let Some(records) = &mut partition.records {
                        let mut bytes = records.to_vec();
                        let at = at.min(bytes.len().saturating_sub(1));
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= bits;
                        }
                        *records = bytes.into();
                    }
                }
                _ => {}
            }
        }
        {
            let mut state = self.lock();
            state.largest = state.largest.max(given);
        }
        let mut response = self.leave(broker, &whole, response, fault.as_ref());
        if let Some(Fault::Throttle(millis) | Fault::Mute(millis)) = fault {
            response.throttle_time_ms = millis;
            self.lock().throttled_until =
                Some(Instant::now() + Duration::from_millis(millis as u64));
        }
        let id = id + i32::from(matches!(fault, Some(Fault::Correlation)));
        let mut bytes = message(id, &response, version);
        match fault {
            Some(Fault::Cut(length)) => {
                stream.write_all(&bytes[..length.min(bytes.len() - 1)])?;
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            Some(Fault::Drip(size)) => {
                for piece in bytes.chunks(size) {
                    stream.write_all(piece)?;
                    std::thread::sleep(Duration::from_millis(1));
                }
                return Ok(());
            }
            Some(Fault::Tail) => {
                bytes.extend_from_slice(&[0; 9]);
                let length = (bytes.len() - 4) as u32;
                bytes[..4].copy_from_slice(&length.to_be_bytes());
            }
            Some(Fault::Length(length)) => bytes[..4].copy_from_slice(&length.to_be_bytes()),
            Some(Fault::Silence) => return Ok(()),
            _ => {}
        }
        stream.write_all(&bytes)
    }

    /// The next fault, if it is due.
    fn fault_if(&self, is_due: impl Fn(&State, &Fault) -> bool) -> Option<Fault> {
        let mut state = self.lock();
        let is_due = state
            .faults
            .front()
            .is_some_and(|fault| is_due(&state, fault));
        if is_due {
            state.faults.pop_front()
        } else {
            None
        }
    }

    /// What a request asks for in all, or what is wrong with its session.
    fn enter(
        &self,
        broker: i32,
        request: &FetchRequest,
        fault: Option<&Fault>,
    ) -> Result<FetchRequest, i16> {
        let mut state = self.lock();
        let named = request.topics.iter().map(|topic| topic.partitions.len());
        let forgotten = request.forgotten_topics_data.iter();
        state.traffic.requests += 1;
        state.traffic.full += usize::from(request.session_epoch <= 0);
        state.traffic.asked += named.sum::<usize>();
        state.traffic.forgotten += forgotten.map(|topic| topic.partitions.len()).sum::<usize>();
        let sessions = state.sessions.entry(broker).or_default();
        match fault {
            Some(Fault::Forget) => sessions.forget(),
            Some(Fault::Epoch) => return Err(WRONG_EPOCH),
            _ => {}
        }
        sessions.enter(request)
    }

    /// What is said of the whole answer to a request.
    fn leave(
        &self,
        broker: i32,
        whole: &FetchRequest,
        mut answer: FetchResponse,
        fault: Option<&Fault>,
    ) -> FetchResponse {
        let mut state = self.lock();
        let sessions = state.sessions.entry(broker).or_default();
        if matches!(fault, Some(Fault::Mute(_))) {
            let is_in_session = whole.session_epoch > 0;
            return FetchResponse::default().with_session_id(if is_in_session {
                whole.session_id
            } else {
                0
            });
        }
        if matches!(fault, Some(Fault::Omit))
            && let Some(topic) = answer.responses.last_mut()
        {
            topic.partitions.pop();
        }
        let answer = sessions.leave(whole, answer);
        state.traffic.answered += answer
            .responses
            .iter()
            .map(|topic| topic.partitions.len())
            .sum::<usize>();
        answer
    }
}

/// Whether a client is let in: the one user of PLAIN, and who sends a token as RFC 7628 has it.
fn is_known(message: &[u8]) -> bool {
    let token = message
        .strip_prefix(b"n,,\x01auth=Bearer ")
        .and_then(|rest| rest.strip_suffix(b"\x01\x01"));
    let is_token = token.is_some_and(|token| {
        token.len() > 100
            && token
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(byte))
    });
    is_token || message == b"\0user\0open sesame"
}

fn partitions_of(response: &mut FetchResponse) -> impl Iterator<Item = &mut PartitionData> {
    response
        .responses
        .iter_mut()
        .flat_map(|topic| topic.partitions.iter_mut())
}

fn versions() -> ApiVersionsResponse {
    let keys = [(1, 4, 17), (3, 0, 13), (18, 0, 4)];
    ApiVersionsResponse::default().with_api_keys(
        keys.iter()
            .map(|(key, min, max)| {
                ApiVersion::default()
                    .with_api_key(*key)
                    .with_min_version(*min)
                    .with_max_version(*max)
            })
            .collect(),
    )
}

/// An answer as Kafka gives it: the first partition with records gets a batch whole, however large;
/// batches are cut off where the room ends.
fn answer(state: &State, broker: i32, request: &FetchRequest) -> (FetchResponse, bool) {
    let (mut room, mut is_first, mut has_news) = (request.max_bytes as usize, true, false);
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let mut data = PartitionData::default().with_partition_index(wanted.partition);
            let log = state.logs.get(&wanted.partition);
            let error = match log {
                None => 3,
                Some(log) if log.leader != broker => 6,
                Some(log) if wanted.current_leader_epoch < log.epoch => 74,
                Some(log) if wanted.current_leader_epoch > log.epoch => 75,
                Some(log) if !(log.start..=log.end()).contains(&wanted.fetch_offset) => 1,
                Some(_) => 0,
            };
            data.error_code = error;
            has_news |= error != 0;
            let Some(log) = log.filter(|_| error == 0) else {
                return data;
            };
            let stable = log.last_stable.unwrap_or(log.end());
            data.high_watermark = log.end();
            data.last_stable_offset = stable;
            data.log_start_offset = log.start;
            let mut records = Vec::new();
            for batch in log
                .batches
                .iter()
                .filter(|batch| batch.next() > wanted.fetch_offset && batch.next() <= stable)
            {
                records.extend_from_slice(&batch.bytes());
                let limit = room.min(wanted.partition_max_bytes as usize);
                if records.len() >= limit {
                    let first = log
                        .batches
                        .iter()
                        .find(|batch| batch.next() > wanted.fetch_offset)
                        .map_or(0, |batch| batch.bytes().len());
                    let least = if is_first { first } else { 0 };
                    records.truncate(limit.max(least));
                    // Kafka sends nothing where not even one batch fits.
                    if records.len() < first {
                        records.clear();
                    }
                    break;
                }
            }
            has_news |= !records.is_empty();
            is_first &= records.is_empty();
            room = room.saturating_sub(records.len());
            let aborted = log
                .aborted
                .iter()
                .map(|aborted| {
                    AbortedTransaction::default()
                        .with_producer_id(aborted.producer.into())
                        .with_first_offset(aborted.first_offset)
                })
                .collect();
            data.with_aborted_transactions(Some(aborted))
                .with_records(Some(records.into()))
        });
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions.collect())
    });
    let response = FetchResponse::default().with_responses(topics.collect());
    (response, has_news)
}

fn message<M: Encodable + HeaderVersion>(id: i32, message: &M, version: i16) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    ResponseHeader::default()
        .with_correlation_id(id)
        .encode(&mut bytes, M::header_version(version))
        .unwrap();
    message.encode(&mut bytes, version).unwrap();
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn send<M: Encodable + HeaderVersion>(
    stream: &mut TcpStream,
    id: i32,
    answer: &M,
    version: i16,
) -> std::io::Result<()> {
    stream.write_all(&message(id, answer, version))
}
